/**
 * One story out of several: what comes from several processes, in the order of the clock. Pure.
 *
 * A message must be known as published before it can be seen as delivered, and the two are told by different processes
 * over different pipes. Whoever tells writes first and acts then, so in the order of the clock causes come before effects.
 */
export interface Timed {
  readonly at: number;
}

export class Merge<T extends Timed> {
  #waiting: T[] = [];

  push(event: T): void {
    this.#waiting.push(event);
  }

  /** Everything up to this time, in its order; of the same time, in the order in which it came. */
  take(until: number): T[] {
    const due: T[] = [];
    const rest: T[] = [];
    for (const event of this.#waiting) (event.at <= until ? due : rest).push(event);
    this.#waiting = rest;
    return due.sort((a, b) => a.at - b.at);
  }
}
