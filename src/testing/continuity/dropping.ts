/**
 * When a channel with a limit of messages dropped each of them. A message is dropped when a later one is stored that exceeds
 * the limit. It is known when that one was published and when it was acknowledged, and messages are stored in the order of
 * their sequences. Pure.
 */
import { Column } from './column.js';

/** The earliest and the latest time at which something happened, by the clock of the run, in ms. */
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

  /** Whether a message may have been stored in this time. */
  stored(sequence: number, { earliest, latest }: Between): boolean {
    return this.#earliest.get(sequence) <= latest && this.#latest.get(sequence) >= earliest;
  }

  /** Whether a message may have been dropped in this time. */
  within(sequence: number, from: number, to: number): boolean {
    if (sequence < 1 || sequence > this.end) return false;
    const by = sequence + this.#retention;
    return this.#earliest.get(by) <= to && this.#latest.get(by) >= from;
  }
}
