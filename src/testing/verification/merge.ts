/**
 * Merges the events of several processes, in the order of the clock. Pure.
 *
 * The publish of a message has to be known before its delivery, and the two are told by different processes over different
 * pipes. A process tells first and acts then, so in the order of the clock a cause comes before its effect.
 */
export interface Timed {
  readonly at: number;
}

export class Merge<T extends Timed> {
  #waiting: T[] = [];

  push(event: T): void {
    this.#waiting.push(event);
  }

  /** Takes all events up to this time, in their order. Events of the same time keep the order in which they came. */
  take(until: number): T[] {
    const due: T[] = [];
    const rest: T[] = [];
    for (const event of this.#waiting) (event.at <= until ? due : rest).push(event);
    this.#waiting = rest;
    return due.sort((a, b) => a.at - b.at);
  }
}
