import { AbortedError, TimeoutError } from '../errors.js';

export interface WaitOptions {
  /** Give up after this many ms. */
  timeout: number;
  /** Ask again this long after an answer that was not it, in ms. Default 20. */
  interval?: number;
  /** Completes "after 5000 ms …" in the error; asked when it fails, so that it can tell the last state. */
  what: () => string;
  signal?: AbortSignal | undefined;
}

/**
 * Asks `probe` until it gives something other than undefined. Waiting for a condition, never for a guessed time.
 * @throws TimeoutError, AbortedError, or whatever `probe` throws.
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

/** A referenced timer: something that is waited for keeps the process alive, and nothing else of the harness does. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Keeps the event loop alive until `promise` settles: what it waits for (an unreferenced child) may not. */
export async function keepAlive<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 1 << 30);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}
