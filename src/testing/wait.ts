import { AbortedError, TimeoutError } from '../errors.js';
import type { Wait } from '../within.js';

/**
 * How {@link waitFor} waits.
 * @category Waiting
 */
export interface WaitOptions {
  /** Time after which it rejects with a `TimeoutError`, in ms. */
  timeout: number;
  /** How long to wait between two questions, in ms. Default 20. */
  interval?: number;
  /** Completes the sentence "after 5000 ms …" in the error. It is called when the wait fails, so it can tell the last state. */
  what: () => string;
  /** When it is aborted, the wait is given up. Default: none. */
  signal?: AbortSignal | undefined;
}

/**
 * Asks `probe` until it answers something other than undefined.
 *
 * @param probe what to ask; it may be asynchronous
 * @param options the limit of time, and the words of the error
 * @returns the answer
 * @throws TimeoutError when the time is over
 * @throws AbortedError when the signal is aborted
 * @throws whatever `probe` throws
 * @example
 * ```ts
 * await waitFor(() => (received.length === 100 ? true : undefined), {
 *   timeout: 5000,
 *   what: () => `${received.length} messages have come`,
 * });
 * ```
 * @category Waiting
 */
export async function waitFor<T>(
  probe: () => T | undefined | Promise<T | undefined>,
  options: WaitOptions,
): Promise<T> {
  const { timeout, interval = 20, what, signal } = options;
  const deadline = performance.now() + timeout;
  for (;;) {
    if (signal?.aborted) throw new AbortedError(`gave up waiting: ${what()}`, { cause: signal.reason });
    const found = await probe();
    if (found !== undefined) return found;
    if (performance.now() >= deadline) throw new TimeoutError(`after ${timeout} ms ${what()}`);
    await sleep(interval);
  }
}

/** The time of the host, for `within`. It keeps the process alive. */
export const realTime: Wait = (delay, callback) => {
  const timer = setTimeout(callback, delay);
  return () => clearTimeout(timer);
};

/** Waits, and keeps the process alive meanwhile. Nothing else of the harness does that. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Keeps the process alive until `promise` settles, as what it waits for (an unreferenced child) may not do. */
export async function keepAlive<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 1 << 30);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}
