import pRetry, { AbortError } from 'p-retry';
import type { Clock } from '../clock/clock.js';
import { toError } from '../errors.js';
import type { ResolvedRetryOptions } from '../retry-options.js';
import type { RetryBudget } from './retry-budget.js';

/** An error that ends the retries at once. It carries the error to throw. */
export class Fatal extends Error {
  readonly error: Error;
  constructor(error: Error) {
    super(error.message);
    this.error = error;
  }
}

export interface RetryHooks {
  options: ResolvedRetryOptions;
  signal: AbortSignal;
  /** Counts the attempts. The caller keeps it, because the count may go on after a success. */
  budget: RetryBudget;
  /** The delay before the first attempt, in ms, after sessions that did not last. */
  firstDelay: number;
  /** Is called before each delay. `attempt` is the failed one, counted from 1. */
  onWait: (attempt: number, delay: number, error: Error) => void;
  /** Registers a callback that ends a delay early. Returns a function that removes it. */
  onWake: (callback: () => void) => () => void;
  /**
   * Returns how long to wait for what an attempt has found, in ms. Undefined if it has found nothing to wait for, so that it counts
   * as a retry.
   */
  patience: (error: Error) => number | undefined;
  /** The clock of the delays and of the budget. */
  clock: Clock;
}

/**
 * Repeats an attempt with p-retry, but with our own limits and delays. p-retry counts anew in each call and does not tell the
 * delay. It also limits a delay after randomising it, so that at the limit all clients of a fleet would wait equally long.
 */
export async function retry<T>(attempt: (attempt: number) => Promise<T>, hooks: RetryHooks): Promise<T> {
  const { options, signal, budget } = hooks;
  if (hooks.firstDelay > 0) await wait(hooks.firstDelay, hooks);
  return await pRetry(
    async (number) => {
      signal.throwIfAborted();
      try {
        return await attempt(number);
      } catch (error) {
        if (error instanceof Fatal) throw new AbortError(error.error);
        // p-retry takes any TypeError for a bug and gives up.
        throw error instanceof TypeError ? new Error(error.message, { cause: error }) : toError(error);
      }
    },
    {
      retries: Infinity,
      minTimeout: 0,
      maxTimeout: 0,
      signal,
      onFailedAttempt: async ({ attemptNumber, error }) => {
        const now = hooks.clock.now();
        const patience = hooks.patience(error);
        if (patience === undefined) budget.failed();
        else budget.found(now, patience);
        if (budget.isSpent(options, now)) throw error;
        const delay = budget.delayAfter(attemptNumber, options, now);
        // Nobody wants to hear of it after a call-off.
        if (signal.aborted) return;
        hooks.onWait(attemptNumber, Math.round(delay), error);
        await wait(delay, hooks);
        if (budget.isSpent(options, hooks.clock.now())) throw error;
      },
    },
  );
}

/** Waits, and removes all its listeners afterwards, because an outage may have a hundred thousand waits. */
function wait(delay: number, { signal, clock, onWake }: RetryHooks): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      signal.removeEventListener('abort', end);
      forget();
      resolve();
    };
    const cancel = clock.after(delay, end);
    const forget = onWake(end);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}
