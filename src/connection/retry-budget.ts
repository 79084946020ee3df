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
  /** The number of failed attempts and of sessions that did not last, without the attempts that found something to wait for. */
  #failures = 0;
  /** The number of sessions in a row that did not last, without the first one. They lengthen the delays like failed attempts. */
  #young = 0;
  #since: number;
  /** What is waited for: since when every attempt has found it, and for how long, in ms. Undefined if the last one did not. */
  #found: { readonly since: number; readonly patience: number } | undefined;
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
    this.#found = undefined;
  }

  /**
   * Notes that an attempt has found something that has to end or to come, as a client ID that another client holds. That is waited
   * for, so the attempt does not count as a retry.
   * @param patience for how long if only the number of retries is limited, in ms
   */
  found(now: number, patience: number): void {
    if (this.#found?.patience !== patience) this.#found = { since: now, patience };
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
    this.#found = undefined;
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
    if (this.#found === undefined) return this.#failures > retries;
    // Who asks for a single attempt gets one.
    return retries === 0 || now >= this.#waitUntil(options);
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
    const left = Math.min(options.maxRetryTime - (now - this.#since), this.#waitUntil(options) - now);
    return Math.min(retryDelay(this.#young + attempt, options), left);
  }

  /** Returns when the wait for what was found is over, in ms. A limit of time that the user has set is the only one then. */
  #waitUntil({ retries, maxRetryTime }: ResolvedRetryOptions): number {
    if (this.#found === undefined || retries === Infinity || maxRetryTime !== Infinity) return Infinity;
    return this.#found.since + this.#found.patience;
  }
}
