/**
 * Remembers what a queue group has received lately. It tells where to start so that messages that were sent since some moment
 * and lost are sent again. It counts in buckets, so that a message costs little time and the memory is fixed. Pure.
 */
const BUCKETS = 32;

export class RecentDeliveries {
  readonly #width: number;
  readonly #slot = new Float64Array(BUCKETS + 2).fill(-1);
  readonly #lowest = new Float64Array(BUCKETS + 2);
  readonly #highest = new Float64Array(BUCKETS + 2);
  #last = -Infinity;
  /** The highest sequence of buckets that were used again. */
  #older = 0;

  /** @param span time for which deliveries are told apart, in ms */
  constructor(span: number) {
    this.#width = span / BUCKETS;
  }

  note(sequence: number, now: number): void {
    this.#last = now;
    const slot = Math.floor(now / this.#width);
    const i = slot % this.#slot.length;
    if (this.#slot[i] !== slot) {
      if (this.#slot[i] !== -1 && this.#highest[i]! > this.#older) this.#older = this.#highest[i]!;
      this.#slot[i] = slot;
      this.#lowest[i] = this.#highest[i] = sequence;
    } else if (sequence < this.#lowest[i]!) {
      this.#lowest[i] = sequence;
    } else if (sequence > this.#highest[i]!) {
      this.#highest[i] = sequence;
    }
  }

  /** When the last delivery was noted, in ms of the clock; -Infinity if there was none. */
  get last(): number {
    return this.#last;
  }

  /** Whether the buckets reach back to a time. */
  covers(since: number): boolean {
    return since >= this.#last - this.#width * BUCKETS;
  }

  /**
   * Returns the lowest sequence that may have been lost since a time, or within the span before the last delivery if that is
   * later. It may be a little lower, because it counts whole buckets. Sequences above the highest one of older buckets were
   * sent since then.
   */
  from(since: number): number | undefined {
    if (this.#last === -Infinity) return undefined;
    const first = Math.floor(Math.max(since / this.#width, Math.floor(this.#last / this.#width) - BUCKETS));
    let lowest = Infinity;
    let older = this.#older;
    for (let i = 0; i < this.#slot.length; i++) {
      const slot = this.#slot[i]!;
      if (slot === -1) continue;
      if (slot < first) older = Math.max(older, this.#highest[i]!);
      else lowest = Math.min(lowest, this.#lowest[i]!);
    }
    return older === 0 ? lowest : Math.min(lowest, older + 1);
  }

  clear(): void {
    this.#last = -Infinity;
    this.#older = 0;
    this.#slot.fill(-1);
  }
}
