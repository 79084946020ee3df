/** What a group was handed: how often, when, and what it was not. */

interface Handled {
  value: string;
  /** When, by `performance.now()`. */
  times: number[];
  /** By whose clients. */
  by: string[];
}

/** What became of one group through one fault. */
export interface Outcome {
  /** Messages that were handled more than once. */
  repeated: number;
  /** How long before the fault the oldest of them was handled first, in ms; 0: none was before it. */
  reach: number;
  /** Acknowledged to the publisher, and never handled. */
  missing: number;
  /** The longest time without a message, from the fault on, in ms. */
  silence: number;
}

export class Tally {
  readonly #handled = new Map<number, Handled>();
  readonly #values = new Set<string>();
  /** When a message was handled first, in the order of time. */
  readonly #progress: number[] = [];

  note(sequence: number, value: string, by: string, now: number): void {
    const handled = this.#handled.get(sequence);
    if (handled !== undefined) {
      handled.times.push(now);
      handled.by.push(by);
      return;
    }
    this.#handled.set(sequence, { value, times: [now], by: [by] });
    this.#values.add(value);
    this.#progress.push(now);
  }

  missing(acknowledged: Iterable<string>): string[] {
    return [...acknowledged].filter((value) => !this.#values.has(value));
  }

  /** What was handled more than once. */
  get repeated(): (Handled & { sequence: number })[] {
    return [...this.#handled]
      .filter(([, { times }]) => times.length > 1)
      .map(([sequence, handled]) => ({ sequence, ...handled }));
  }

  outcome(acknowledged: Iterable<string>, struck: number): Outcome {
    const { repeated } = this;
    const oldest = Math.min(struck, ...repeated.map(({ times: [first] }) => first!));
    let silence = 0;
    let last = struck;
    for (const at of this.#progress) {
      if (at < struck) continue;
      silence = Math.max(silence, at - last);
      last = at;
    }
    return { repeated: repeated.length, reach: struck - oldest, missing: this.missing(acknowledged).length, silence };
  }
}
