/** How soon a subscription may be made again because of what came: while that changes nothing, slower and slower. Pure. */

/** Between two remakes that changed nothing, ms. */
const SHORTEST_DELAY = 100;
const LONGEST_DELAY = 5000;

export class RemakePace {
  /** Remakes in a row that brought nothing new. */
  #futile = 0;
  /** The highest sequence received when it was made again last. */
  #madeAt = -1;

  /**
   * It is about to be made again.
   * @param highest the highest sequence received
   * @returns how long to wait before, ms
   */
  next(highest: number): number {
    this.#futile = highest === this.#madeAt ? this.#futile + 1 : 0;
    this.#madeAt = highest;
    // The first repetition is free: it tells what was lost on its way from what the server does not have.
    return this.#futile < 2 ? 0 : Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** (this.#futile - 2));
  }

  /** The channel started over. */
  reset(): void {
    this.#futile = 0;
    this.#madeAt = -1;
  }
}
