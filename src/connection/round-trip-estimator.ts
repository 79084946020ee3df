/**
 * The judge of evidence: is an answer that the leader owes us overdue? Pure; times are passed in (milliseconds of one
 * monotonic clock).
 *
 * Evidence is an ack, a pong or a message. What counts as overdue follows the connection's own recent round trips, so
 * that a slow path or a slow cluster is not mistaken for a dead one. The clock is one that stands still while our own
 * event loop does, so that such time is not held against the leader.
 */

/** No silence shorter than this is suspicious, in ms: elections, disks and schedulers take that long on a healthy day. */
export const MIN_THRESHOLD = 150;
/** No comparison of two paths is made on less than this difference, in ms. */
export const MIN_MARGIN = 75;

/** Weights of the round-trip estimate and of its variation: those of TCP's retransmission timer (RFC 6298). */
const ALPHA = 1 / 8;
const BETA = 1 / 4;
/** The longest recent round trip counts, too, and is forgotten with this half-life in ms. */
const PEAK_HALF_LIFE = 5000;

export class RoundTripEstimator {
  #smoothed: number;
  #variation: number;
  #peak: number;
  #peakAt: number;
  #lastHeard: number;

  /** @param roundTrip the first sample, from the race that found the leader */
  constructor(roundTrip: number, now: number) {
    this.#smoothed = roundTrip;
    this.#variation = roundTrip / 2;
    this.#peak = roundTrip;
    this.#peakAt = now;
    this.#lastHeard = now;
  }

  get lastHeard(): number {
    return this.#lastHeard;
  }

  /** The leader gave a sign of life. */
  heard(now: number): void {
    this.#lastHeard = now;
  }

  /** A round trip that ended now; also a sign of life. */
  sample(roundTrip: number, now: number): void {
    this.#lastHeard = now;
    this.#variation += BETA * (Math.abs(roundTrip - this.#smoothed) - this.#variation);
    this.#smoothed += ALPHA * (roundTrip - this.#smoothed);
    if (roundTrip >= this.#peakNow(now)) {
      this.#peak = roundTrip;
      this.#peakAt = now;
    }
  }

  /** How long an owed answer may take before it is suspicious, in ms. */
  threshold(now: number): number {
    return Math.max(MIN_THRESHOLD, 2 * this.#smoothed + 4 * this.#variation, 1.25 * this.#peakNow(now));
  }

  /** How much longer than another path ours may take to carry the same question before it is judged dead, in ms. */
  margin(now: number): number {
    return Math.max(MIN_MARGIN, this.threshold(now) / 2);
  }

  /**
   * For how long, in ms, the leader has been silent although it owes an answer.
   * @param owedSince when the oldest thing that is still owed was asked
   */
  silence(owedSince: number, now: number): number {
    return Math.max(0, now - Math.max(owedSince, this.#lastHeard));
  }

  #peakNow(now: number): number {
    return this.#peak * 2 ** (-(now - this.#peakAt) / PEAK_HALF_LIFE);
  }
}
