import pRetry, { AbortError } from 'p-retry';
import { toError } from '../errors.js';
import type { ResolvedRetryOptions } from './retry-options.js';
import type { RetryBudget } from './retry-budget.js';

/** Throw it to end the retries at once with this error. */
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
  /** Counted on here. Kept by who retries, for it may go on after a success. */
  budget: RetryBudget;
  /** Wait before the first attempt, in ms: sessions before have not lasted. */
  firstDelay: number;
  /** Before the wait; `attempt` is the one that failed, counted from 1. */
  onWait: (attempt: number, delay: number, error: Error) => void;
  /** Calls back when what is waited for has come, which ends a wait early. Returns what takes the callback away. */
  onWake: (callback: () => void) => () => void;
  /** By the clock of the budget. */
  now: () => number;
}

/**
 * p-retry's loop around an attempt. The limits and the wait are our own: p-retry counts anew in each call, caps the delay
 * after randomising it, so that at the cap every client of a fleet would sleep the same, and does not say how long it is
 * going to sleep.
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
        budget.failed();
        const now = hooks.now();
        if (budget.isSpent(options, now)) throw error;
        const delay = budget.delayAfter(attemptNumber, options, now);
        // Who has called it off meanwhile wants to hear no more of it.
        if (signal.aborted) return;
        hooks.onWait(attemptNumber, Math.round(delay), error);
        await wait(delay, hooks);
        if (budget.isSpent(options, hooks.now())) throw error;
      },
    },
  );
}

/** No reaction is left behind at anything that lives longer: an outage may have a hundred thousand waits. */
function wait(delay: number, { signal, onWake }: RetryHooks): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      forget();
      resolve();
    };
    const timer = setTimeout(end, delay);
    const forget = onWake(end);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}
