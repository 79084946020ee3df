/**
 * Decides whether an answer of the leader is overdue. Pure; times are in ms of one clock that never decreases.
 *
 * Acknowledgements, pongs and messages are signs of life. The limit follows the recent round trips of the connection, so that a
 * slow path or a slow cluster does not count as a dead one. The clock stands still while our own event loop does, so that such
 * time does not count against the leader.
 */

/** Shortest silence that is suspicious, in ms. Elections, disks and schedulers take as long in normal operation. */
export const MIN_THRESHOLD = 150;
/** Least difference between two paths that counts, in ms. */
export const MIN_MARGIN = 75;

/** The weights of the round-trip estimate and of its variation, as in TCP's retransmission timer (RFC 6298). */
const ALPHA = 1 / 8;
const BETA = 1 / 4;
/** Half-life of the longest recent round trip, in ms. */
const PEAK_HALF_LIFE = 5000;

export class RoundTripEstimator {
  #smoothed: number;
  #variation: number;
  #peak: number;
  #peakAt: number;
  #lastHeard: number;

  /** @param roundTrip the first sample, from the search that found the leader, in ms */
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

  /** Notes a sign of life of the leader. */
  heard(now: number): void {
    this.#lastHeard = now;
  }

  /** Notes a round trip that ended now, which is also a sign of life. */
  sample(roundTrip: number, now: number): void {
    this.#lastHeard = now;
    this.#variation += BETA * (Math.abs(roundTrip - this.#smoothed) - this.#variation);
    this.#smoothed += ALPHA * (roundTrip - this.#smoothed);
    if (roundTrip >= this.#peakNow(now)) {
      this.#peak = roundTrip;
      this.#peakAt = now;
    }
  }

  /** Returns how long an owed answer may take until it is suspicious, in ms. */
  threshold(now: number): number {
    return Math.max(MIN_THRESHOLD, 2 * this.#smoothed + 4 * this.#variation, 1.25 * this.#peakNow(now));
  }

  /** Returns how much longer than another path ours may take for the same question until it counts as dead, in ms. */
  margin(now: number): number {
    return Math.max(MIN_MARGIN, this.threshold(now) / 2);
  }

  /**
   * Returns how long the leader has been silent although it owes an answer, in ms.
   * @param owedSince when the oldest question without an answer was asked
   */
  silence(owedSince: number, now: number): number {
    return Math.max(0, now - Math.max(owedSince, this.#lastHeard));
  }

  #peakNow(now: number): number {
    return this.#peak * 2 ** (-(now - this.#peakAt) / PEAK_HALF_LIFE);
  }
}
