/**
 * Decides about refusals for want of a leader on one session: how long to wait, and when to look for another server. Pure; times
 * are in ms of one clock.
 */

/** How long everything waits after the first burst of refusals, in ms. The time doubles with each further burst, up to `most`. */
const BACKOFF = { first: 50, most: 1000 };
/** For how long a leader that answers questions may refuse everything for want of a leader, in ms. */
export const LEADERLESS_FOR = 2500;

export class Leaderless {
  /** The number of bursts of refusals since the last acknowledgement. */
  #bursts = 0;
  /** When the present row of refusals began. */
  #since: number | undefined;

  /** A message was acknowledged: there is a leader. */
  acknowledged(): void {
    this.#bursts = 0;
    this.#since = undefined;
  }

  /** There may have been a leader meanwhile. */
  interrupted(): void {
    this.#since = undefined;
  }

  /**
   * Notes a refusal for want of a leader.
   * @param askedAt when the question was asked that the leader has answered last
   * @returns whether this server claims to lead and leads nothing, so that another one may do better
   */
  isStuck(now: number, askedAt: number): boolean {
    const since = (this.#since ??= now);
    return now - since > LEADERLESS_FOR && askedAt > since;
  }

  /** Notes a burst of refusals, and returns how long everything waits after it, in ms. */
  backoff(): number {
    return Math.min(BACKOFF.most, BACKOFF.first * 2 ** this.#bursts++);
  }
}
