/**
 * When a channel that keeps only so many messages dropped each of them: when the one was stored that came so many later. Of
 * that it is known when it was published, and by when it was acknowledged; and what is stored before another one has the
 * lower sequence. Pure.
 */
import { Column } from './column.js';

/** When something happened: not before, and not after, on the run's own clock. */
export interface Between {
  earliest: number;
  latest: number;
}

export class Dropping {
  readonly #retention: number;
  readonly #earliest = new Column(Float64Array);
  readonly #latest = new Column(Float64Array);
  readonly #highest: number;

  /**
   * @param retention how many messages the channel keeps
   * @param highest the highest sequence that anybody has seen
   * @param stored when the message at a sequence was stored; undefined: nobody has seen it
   */
  constructor(retention: number, highest: number, stored: (sequence: number) => Between | undefined) {
    this.#retention = retention;
    this.#highest = highest;
    let earliest = Number.NEGATIVE_INFINITY;
    for (let sequence = 1; sequence <= highest; sequence++) {
      const between = stored(sequence);
      earliest = Math.max(earliest, between?.earliest ?? earliest);
      this.#earliest.set(sequence, earliest);
      this.#latest.set(sequence, between?.latest ?? Number.POSITIVE_INFINITY);
    }
    let latest = Number.POSITIVE_INFINITY;
    for (let sequence = highest; sequence >= 1; sequence--) {
      latest = Math.min(latest, this.#latest.get(sequence));
      this.#latest.set(sequence, latest);
    }
  }

  /** The highest sequence that was dropped. */
  get end(): number {
    return this.#highest - this.#retention;
  }

  /** Whether it may have been stored in this time. */
  stored(sequence: number, { earliest, latest }: Between): boolean {
    return this.#earliest.get(sequence) <= latest && this.#latest.get(sequence) >= earliest;
  }

  /** Whether it may have been dropped in this time. */
  within(sequence: number, from: number, to: number): boolean {
    if (sequence < 1 || sequence > this.end) return false;
    const by = sequence + this.#retention;
    return this.#earliest.get(by) <= to && this.#latest.get(by) >= from;
  }
}
