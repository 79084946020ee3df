/** Holds back all parties until each of them has arrived. */
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

  /** Returns the side of one party. */
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
  /** Notes that this party has arrived. It may be called again. */
  arrive(): void;
  /** Resolves when all parties have arrived. */
  readonly passed: Promise<void>;
}
