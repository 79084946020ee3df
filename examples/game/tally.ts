/** Counts what was published, acknowledged and received. Pure: times are passed in, in ms. */

export interface Result {
  published: number;
  acknowledged: number;
  /** How many different messages came back. */
  received: number;
  /** How many were acknowledged and never came back. */
  lost: number;
  /** How many were neither acknowledged nor received when the run ended. */
  open: number;
  /** How many copies came after the first one of a message. */
  duplicates: number;
  /** Longest time without a message coming back, in ms. */
  longestPause: number;
}

export class Tally {
  readonly #prefix: string;
  readonly #acknowledged = new Set<number>();
  readonly #received = new Set<number>();
  #published = 0;
  #duplicates = 0;
  #lastAt: number | undefined;
  #longestPause = 0;

  /** @param run tells the messages of this run from those of others on the same channel */
  constructor(run: string) {
    this.#prefix = `msg ${run} `;
  }

  /** The next message to publish, and its number. */
  next(now: number): { value: string; number: number } {
    this.#lastAt ??= now;
    const number = this.#published++;
    return { value: this.#prefix + number, number };
  }

  acknowledged(number: number): void {
    this.#acknowledged.add(number);
  }

  /** Notes a message. Returns false when it is not one of this run. */
  received(value: string, now: number): boolean {
    const number = value.startsWith(this.#prefix) ? Number(value.slice(this.#prefix.length)) : NaN;
    if (!Number.isInteger(number) || number < 0 || number >= this.#published) return false;
    if (this.#received.has(number)) this.#duplicates++;
    this.#received.add(number);
    this.#longestPause = Math.max(this.#longestPause, now - (this.#lastAt ?? now));
    this.#lastAt = now;
    return true;
  }

  /** Whether everything that is acknowledged has come back. */
  get complete(): boolean {
    return this.#lost() === 0;
  }

  result(now: number): Result {
    const lost = this.#lost();
    const settled = new Set([...this.#acknowledged, ...this.#received]).size;
    const open = this.#published - settled;
    // A message is still missing, so the pause goes on.
    const pause = lost + open > 0 && this.#lastAt !== undefined ? now - this.#lastAt : 0;
    return {
      published: this.#published,
      acknowledged: this.#acknowledged.size,
      received: this.#received.size,
      lost,
      open,
      duplicates: this.#duplicates,
      longestPause: Math.max(this.#longestPause, pause),
    };
  }

  #lost(): number {
    let lost = 0;
    for (const number of this.#acknowledged) if (!this.#received.has(number)) lost++;
    return lost;
  }
}
