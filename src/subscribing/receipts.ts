/**
 * What a queue group has received lately: the lowest sequence within a span of time, kept in buckets so that it costs
 * next to nothing per message and a fixed amount of memory. Pure.
 */
const BUCKETS = 16;

export class Receipts {
  readonly #width: number;
  readonly #lowest = new Float64Array(BUCKETS + 2);
  readonly #slot = new Float64Array(BUCKETS + 2).fill(-1);
  #last = -Infinity;

  /** @param span how long a receipt counts, ms */
  constructor(span: number) {
    this.#width = span / BUCKETS;
  }

  note(sequence: number, now: number): void {
    this.#last = now;
    const slot = Math.floor(now / this.#width);
    const i = slot % this.#slot.length;
    if (this.#slot[i] !== slot) {
      this.#slot[i] = slot;
      this.#lowest[i] = sequence;
    } else if (sequence < this.#lowest[i]!) {
      this.#lowest[i] = sequence;
    }
  }

  /** When the last one was noted; -Infinity: never. */
  get last(): number {
    return this.#last;
  }

  /** The lowest sequence received within the span before the last receipt (a little more: whole buckets). */
  get lowest(): number | undefined {
    if (this.#last === -Infinity) return undefined;
    const first = Math.floor(this.#last / this.#width) - BUCKETS;
    let lowest = Infinity;
    for (let i = 0; i < this.#slot.length; i++) {
      if (this.#slot[i]! >= first && this.#lowest[i]! < lowest) lowest = this.#lowest[i]!;
    }
    return lowest;
  }

  clear(): void {
    this.#last = -Infinity;
    this.#slot.fill(-1);
  }
}
