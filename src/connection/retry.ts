import pRetry, { AbortError } from 'p-retry';
import { toError } from '../errors.js';
import type { ResolvedRetryOptions } from '../options.js';
import { retryDelay } from './backoff.js';

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
  /** Before the wait; `attempt` is the one that failed, counted from 1. */
  onWait: (attempt: number, delay: number, error: Error) => void;
  /** Ends a wait early: what was waited for has come. */
  wake: () => Promise<void>;
}

/**
 * p-retry's loop and limits around an attempt. The wait is our own: p-retry caps the delay after randomising it, so at
 * the cap every client of a fleet would sleep the same, and it does not say how long it is going to sleep.
 */
export async function retry<T>(attempt: (attempt: number) => Promise<T>, hooks: RetryHooks): Promise<T> {
  const { options, signal } = hooks;
  const startedAt = performance.now();
  return await pRetry(
    async (number) => {
      try {
        return await attempt(number);
      } catch (error) {
        if (error instanceof Fatal) throw new AbortError(error.error);
        // p-retry takes any TypeError for a bug and gives up.
        throw error instanceof TypeError ? new Error(error.message, { cause: error }) : toError(error);
      }
    },
    {
      retries: options.retries,
      maxRetryTime: options.maxRetryTime,
      minTimeout: 0,
      maxTimeout: 0,
      signal,
      onFailedAttempt: async ({ attemptNumber, retriesLeft, error }) => {
        const left = options.maxRetryTime - (performance.now() - startedAt);
        if (retriesLeft <= 0 || left <= 0) return;
        const delay = Math.min(retryDelay(attemptNumber, options), left);
        hooks.onWait(attemptNumber, Math.round(delay), error);
        await wait(delay, signal, hooks.wake());
      },
    },
  );
}

function wait(delay: number, signal: AbortSignal, wake: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, delay);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
    void wake.then(end);
  });
}
