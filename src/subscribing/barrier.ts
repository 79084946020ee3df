/** Lets nobody pass before all have arrived. */
export class Barrier {
  readonly passed: Promise<void>;
  #missing: number;
  #open!: () => void;

  constructor(parties: number) {
    this.#missing = parties;
    this.passed = new Promise((resolve) => {
      this.#open = resolve;
    });
    if (parties === 0) this.#open();
  }

  /** One party's side of it. */
  party(): Party {
    let arrived = false;
    return {
      passed: this.passed,
      arrive: () => {
        if (arrived) return;
        arrived = true;
        if (--this.#missing === 0) this.#open();
      },
    };
  }
}

export interface Party {
  /** Tells the others that they need not wait for this one. Idempotent. */
  arrive(): void;
  /** Resolves when all have arrived. */
  readonly passed: Promise<void>;
}
