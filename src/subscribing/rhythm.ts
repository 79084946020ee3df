/**
 * The rhythm of a busy subscription, to notice when it falls silent: an idle session is asked only once a second, which
 * is a long time for a stream of a hundred messages a second. Pure; a few floating point operations a message.
 */

/** The shortest silence that counts, ms. Nothing comes of a surprise but one ping, so it may be short. */
const SHORTEST = 50;
/** How many times the mean gap is surprising: among gaps that chance makes, one in four hundred. */
const FACTOR = 6;
/** Slower than this, ms between messages, silence says nothing. */
const SLOWEST = 250;
/** So many messages in a row make a rhythm. */
const BEATS = 8;
/** After a pause this long, ms, the rhythm is another one. */
const PAUSE = 1000;

export class Rhythm {
  #last = -Infinity;
  #beats = 0;
  #mean = 0;
  /** A fading maximum: messages that come in bursts have a small mean and long pauses. */
  #longest = 0;
  #asked = false;

  /** A message came. @returns whether it completes a rhythm: from now on, until it is {@link over}, there is one */
  heard(now: number): boolean {
    const gap = now - this.#last;
    this.#last = now;
    this.#asked = false;
    if (gap > PAUSE) {
      this.#beats = 1;
      this.#mean = SLOWEST;
      this.#longest = 0;
      return false;
    }
    this.#beats++;
    this.#mean += (gap - this.#mean) / 8;
    this.#longest = gap > this.#longest ? gap : this.#longest * 0.98;
    return this.#beats === BEATS;
  }

  /** The next message begins another one. */
  over(now: number): boolean {
    return now - this.#last > PAUSE;
  }

  /** When its silence becomes surprising; undefined while it has no rhythm, or has been asked about. */
  get surpriseAt(): number | undefined {
    if (this.#asked || this.#beats < BEATS || this.#mean >= SLOWEST) return undefined;
    return this.#last + Math.max(SHORTEST, FACTOR * this.#mean, 1.5 * this.#longest);
  }

  /** Its silence has been asked about: no more until the next message. */
  asked(): void {
    this.#asked = true;
  }

  /** The session is another one. */
  stop(): void {
    this.#last = -Infinity;
    this.#beats = 0;
  }
}
