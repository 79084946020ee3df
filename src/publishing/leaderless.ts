/** Refusals for want of a leader on one session: how long to wait, and when to look for another server. Pure; times in ms of one clock. */

/** How long everything waits after the first refusal; the time doubles with each further one, up to the most. */
const BACKOFF = { first: 50, most: 1000 };
/** How long a leader that answers questions may refuse everything for want of a leader. */
export const LEADERLESS_FOR = 2500;

export class Leaderless {
  /** Bursts of refusals since the last acknowledgement. */
  #bursts = 0;
  /** Since when everything is refused. */
  #since: number | undefined;

  /** A message was acknowledged: there is a leader. */
  acknowledged(): void {
    this.#bursts = 0;
    this.#since = undefined;
  }

  /** The cluster took something, if only to refuse it for another reason. */
  interrupted(): void {
    this.#since = undefined;
  }

  /**
   * A message was refused for want of a leader.
   * @param askedAt when the question was asked that the leader has answered last
   * @returns whether this server claims to lead and leads nothing, so that another one may do better
   */
  isStuck(now: number, askedAt: number): boolean {
    const since = (this.#since ??= now);
    return now - since > LEADERLESS_FOR && askedAt > since;
  }

  /** Returns how long everything waits after a burst of refusals, in ms. */
  backoff(): number {
    return Math.min(BACKOFF.most, BACKOFF.first * 2 ** this.#bursts++);
  }
}
