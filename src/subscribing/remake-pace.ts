/**
 * Decides how soon a subscription may be made again because of the messages that came. The delays grow while that brings
 * nothing new. Pure.
 */

/** Shortest and longest delay after remakes that brought nothing new, in ms. */
const SHORTEST_DELAY = 100;
const LONGEST_DELAY = 5000;

export class RemakePace {
  /** The number of remakes in a row that brought nothing new. */
  #futile = 0;
  /** The highest sequence that was received before the last remake. */
  #madeAt = -1;

  /**
   * Notes that the subscription is about to be made again.
   * @param highest the highest sequence received
   * @returns the delay before that, in ms
   */
  next(highest: number): number {
    this.#futile = highest === this.#madeAt ? this.#futile + 1 : 0;
    this.#madeAt = highest;
    // The first repetition has no delay, because it shows whether messages were lost or are no longer stored.
    return this.#futile < 2 ? 0 : Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** (this.#futile - 2));
  }

  /** Forgets the past, because the channel started over. */
  reset(): void {
    this.#futile = 0;
    this.#madeAt = -1;
  }
}
