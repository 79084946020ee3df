/**
 * Counts what the search for the cluster has cost since the last session that lasted, and calculates the next delay from that.
 * A session that ends soon does not reset the count. Pure; times are in ms of one clock that never decreases.
 */
import { retryDelay } from '../backoff.js';
import type { ResolvedRetryOptions } from '../retry-options.js';

/** How a session ended: it had lasted, it was up for a moment, or it was never up. */
export type SessionEnd = 'lasted' | 'young' | 'never up';

/**
 * How long a client ID that another client holds is waited for if only the number of retries is limited, in ms. In a rolling
 * deployment the old process has mostly 30 s to end.
 */
export const HELD_PATIENCE = 60_000;

export class RetryBudget {
  /** The number of failed attempts and of sessions that did not last, without the attempts that found the client ID held. */
  #failures = 0;
  /** The number of sessions in a row that did not last, without the first one. They lengthen the delays like failed attempts. */
  #young = 0;
  #since: number;
  /** Since when every attempt has found the client ID held by another client. Undefined if the last one did not. */
  #heldSince: number | undefined;
  /** Whether the previous session did not last. */
  #youngBefore = false;

  /** @param now the present time, in ms */
  constructor(now: number) {
    this.#since = now;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Notes that an attempt has failed. */
  failed(): void {
    this.#failures += 1;
    this.#heldSince = undefined;
  }

  /**
   * Notes that an attempt has found the cluster, and the client ID held by another client. Then there is nothing to be found,
   * only an end to be waited for, so this does not count as a retry.
   */
  held(now: number): void {
    this.#heldSince ??= now;
  }

  /** Leaves a time before now out of the count, in ms, because nothing was tried in it. */
  excuse(duration: number): void {
    this.#since += duration;
  }

  /**
   * Notes that a session has ended.
   * @param settled whether the reason was given up for good, so that it does not end the next session
   */
  ended(end: SessionEnd, settled: boolean, now: number): void {
    this.#heldSince = undefined;
    // The count starts anew after a session that lasted. One session alone that did not last resets it as well, because its
    // server may have been killed soon after we came to it.
    if (end === 'lasted' || (end === 'young' && !this.#youngBefore)) {
      this.#failures = 0;
      this.#young = 0;
      this.#since = now;
      this.#youngBefore = end === 'young';
    } else if (!settled) {
      this.#young += 1;
      // A session that was never up is counted as a failed attempt elsewhere.
      if (end === 'young') this.#failures += 1;
    }
  }

  /** Returns whether no further attempt is allowed. */
  isSpent(options: ResolvedRetryOptions, now: number): boolean {
    const { retries, maxRetryTime } = options;
    if (now - this.#since >= maxRetryTime) return true;
    if (this.#heldSince === undefined) return this.#failures > retries;
    // Who asks for a single attempt gets one.
    return retries === 0 || now >= this.#heldUntil(options);
  }

  /** Returns the delay before the first attempt, in ms. */
  firstDelay(options: ResolvedRetryOptions): number {
    return this.#young > 0 ? retryDelay(this.#young, options) : 0;
  }

  /**
   * Returns the delay after a failed attempt, in ms.
   * @param attempt counted from 1
   */
  delayAfter(attempt: number, options: ResolvedRetryOptions, now: number): number {
    const left = Math.min(options.maxRetryTime - (now - this.#since), this.#heldUntil(options) - now);
    return Math.min(retryDelay(this.#young + attempt, options), left);
  }

  /** Returns when the wait for a held client ID is over, in ms. A limit of time that the user has set is the only one then. */
  #heldUntil({ retries, maxRetryTime }: ResolvedRetryOptions): number {
    if (this.#heldSince === undefined || retries === Infinity || maxRetryTime !== Infinity) return Infinity;
    return this.#heldSince + HELD_PATIENCE;
  }
}
