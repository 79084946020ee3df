/**
 * What finding the cluster has cost since the last session that lasted, and how long the next wait is by that. A session that
 * ends soon is no end of the trouble, so the count goes on through it. Pure.
 */
import { retryDelay } from './backoff.js';
import type { ResolvedRetryOptions } from './retry-options.js';

/** How a session ended: it had lasted, it was up for a moment, or it was never up. */
export type SessionEnd = 'lasted' | 'young' | 'never up';

export class RetryBudget {
  /** Attempts that failed, and sessions that did not last. */
  #failures = 0;
  /** Sessions in a row that did not last, but for the first: they lengthen the waits as failed attempts do. */
  #young = 0;
  #since: number;
  /** The session before has not lasted. */
  #youngBefore = false;

  /** @param now ms of a monotonic clock, as everywhere here */
  constructor(now: number) {
    this.#since = now;
  }

  get failures(): number {
    return this.#failures;
  }

  /** An attempt has failed. */
  failed(): void {
    this.#failures += 1;
  }

  /** The last `duration` ms are none in which we tried. */
  excuse(duration: number): void {
    this.#since += duration;
  }

  /**
   * A session has ended.
   * @param settled what ended it was given up for good, and will not end the next one
   */
  ended(end: SessionEnd, settled: boolean, now: number): void {
    // The count starts over with a session that lasted, not with one that began. But one alone that did not last says nothing:
    // a node was killed soon after we came to it.
    if (end === 'lasted' || (end === 'young' && !this.#youngBefore)) {
      this.#failures = 0;
      this.#young = 0;
      this.#since = now;
      this.#youngBefore = end === 'young';
    } else if (!settled) {
      this.#young += 1;
      // One that was never up is a failed attempt, and counted as such.
      if (end === 'young') this.#failures += 1;
    }
  }

  /** No further attempt is allowed. */
  isSpent({ retries, maxRetryTime }: ResolvedRetryOptions, now: number): boolean {
    return this.#failures > retries || now - this.#since >= maxRetryTime;
  }

  /** The wait before the first attempt, in ms. */
  firstDelay(options: ResolvedRetryOptions): number {
    return this.#young > 0 ? retryDelay(this.#young, options) : 0;
  }

  /**
   * The wait after a failed attempt, in ms.
   * @param attempt counted from 1
   */
  delayAfter(attempt: number, options: ResolvedRetryOptions, now: number): number {
    return Math.min(retryDelay(this.#young + attempt, options), options.maxRetryTime - (now - this.#since));
  }
}
