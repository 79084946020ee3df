/**
 * The rhythm in which messages arrive on a session, whatever subscription they are for, to notice when it falls silent: an
 * idle session is asked only once a second, which is a long time for a stream of a hundred messages a second. Answers are not
 * counted: they come when something was asked, and are owed. Pure; a few floating point operations a message.
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

  /** A message came. */
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

  /** When its silence becomes surprising; undefined while it has no rhythm, or has been asked about. */
  get surpriseAt(): number | undefined {
    if (this.#asked || this.#beats < BEATS || this.#mean >= SLOWEST) return undefined;
    return this.#last + Math.max(SHORTEST, FACTOR * this.#mean, 1.5 * this.#longest);
  }

  /** Its silence has been asked about: no more until the next message. */
  asked(): void {
    this.#asked = true;
  }
}
