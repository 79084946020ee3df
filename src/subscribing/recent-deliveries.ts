/**
 * What a queue group has received lately: where to start so that nothing is left out which was sent since some moment and
 * lost on its way. Kept in buckets, so that it costs next to nothing per message and a fixed amount of memory. Pure.
 */
const BUCKETS = 32;

export class RecentDeliveries {
  readonly #width: number;
  readonly #slot = new Float64Array(BUCKETS + 2).fill(-1);
  readonly #lowest = new Float64Array(BUCKETS + 2);
  readonly #highest = new Float64Array(BUCKETS + 2);
  #last = -Infinity;
  /** The highest one that no bucket has any more. */
  #older = 0;

  /** @param span for how long, in ms, receipts are told apart */
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

  /** When the last one was noted; -Infinity: never. */
  get last(): number {
    return this.#last;
  }

  /** Whether this reaches back to that moment. */
  covers(since: number): boolean {
    return since >= this.#last - this.#width * BUCKETS;
  }

  /**
   * From this sequence on, something may have been lost that was sent since then (or a little earlier: whole buckets), or within
   * the span before the last receipt, whichever is later. What is above the highest one received before was sent since.
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
