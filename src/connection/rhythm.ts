/**
 * Follows the rhythm in which messages arrive on a session, for all subscriptions together, and notices when they stop. An idle
 * session is asked only once a second, which is long for a stream of a hundred messages a second. Answers are not counted,
 * because they are owed anyway. Pure; it takes a few floating point operations for each message.
 */

/** Shortest silence that is surprising, in ms. It may be short, because a surprise costs only one ping. */
const SHORTEST = 50;
/** Shortest surprising silence, as a multiple of the mean gap. One in four hundred random gaps is longer. */
const FACTOR = 6;
/** Longest mean gap whose silence is surprising, in ms. */
const SLOWEST = 250;
/** The number of messages in a row that make a rhythm. */
const BEATS = 8;
/** Shortest pause after which a new rhythm begins, in ms. */
const PAUSE = 1000;

export class Rhythm {
  #last = -Infinity;
  #beats = 0;
  #mean = 0;
  /** The longest gap, which fades with time. Messages that come in bursts have a small mean gap and long pauses. */
  #longest = 0;
  #asked = false;

  /** Notes that a message came. */
  heard(now: number): void {
    const gap = now - this.#last;
    this.#last = now;
    this.#asked = false;
    if (gap > PAUSE) {
      this.#beats = 1;
      this.#mean = SLOWEST;
      this.#longest = 0;
      return;
    }
    this.#beats++;
    this.#mean += (gap - this.#mean) / 8;
    this.#longest = gap > this.#longest ? gap : this.#longest * 0.98;
  }

  /**
   * The time when the silence becomes surprising. It is undefined if there is no rhythm, or if the leader was asked because of
   * this silence.
   */
  get surpriseAt(): number | undefined {
    if (this.#asked || this.#beats < BEATS || this.#mean >= SLOWEST) return undefined;
    return this.#last + Math.max(SHORTEST, FACTOR * this.#mean, 1.5 * this.#longest);
  }

  /** Notes that the leader was asked because of this silence. The next message ends that. */
  asked(): void {
    this.#asked = true;
  }
}
