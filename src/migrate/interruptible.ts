/**
 * How a step ends when its signal is aborted. A step waits for servers through these functions: what is on its way may
 * still come for a second, and nothing is waited for after that. So no step waits out a patience that it has with servers.
 */
import { makeClock, type Clock } from '../clock/clock.js';

/** How long the answer to a question may still take when the signal is aborted, in ms. */
export const GRACE = 1000;

/** How work is interrupted. */
export interface InterruptibleOptions<T> {
  /** How long the work may still take when the signal is aborted, in ms. Default {@link GRACE}. */
  readonly grace?: number;
  /** Gets rid of a result that comes when nobody waits for it any more. Default: nothing is done with it. */
  readonly discard?: (late: T) => unknown;
}

/**
 * Does a piece of work. From the moment on at which the signal is aborted, it has only a second left. What it rejects with after
 * that moment is the reason of the signal, because its own error may come from the end of a connection.
 * @throws the reason of the signal when that is aborted; else the errors of the work
 */
export async function interruptible<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  { grace = GRACE, discard }: InterruptibleOptions<T> = {},
): Promise<T> {
  if (signal === undefined) return await work();
  let forget = (): void => undefined;
  let isLate = false;
  const over = new Promise<never>((_, reject) => {
    const hear = (): void => {
      forget = makeClock().after(grace, () => {
        isLate = true;
        reject(signal.reason as Error);
      });
    };
    if (signal.aborted) return hear();
    signal.addEventListener('abort', hear, { once: true });
    forget = () => signal.removeEventListener('abort', hear);
  });
  const working = work();
  working.then(
    (result) => (isLate ? discard?.(result) : undefined),
    () => undefined,
  );
  try {
    return await Promise.race([working, over]);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    forget();
  }
}

/**
 * Does all of a step that answers nothing when it is interrupted.
 * @throws the reason of the signal when that is aborted before the step has answered; the errors of the step
 */
export async function interruptibleStep<T>(signal: AbortSignal, step: () => Promise<T>): Promise<T> {
  const answer = await interruptible(signal, step);
  signal.throwIfAborted();
  return answer;
}

/**
 * Resolves after `ms` of waking time.
 * @throws the reason of the signal as soon as that is aborted
 */
export async function interruptiblePause(clock: Clock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  if (ms <= 0) return;
  await new Promise<void>((resolve, reject) => {
    const hear = (): void => {
      cancel();
      reject(signal!.reason as Error);
    };
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener('abort', hear);
      resolve();
    });
    signal?.addEventListener('abort', hear, { once: true });
  });
}

/** What a piece of work has led to. Undefined when the step is told to stop before, and then it is not waited for. */
export async function unlessTold<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  const told = new AbortController();
  const aborted = new Promise<undefined>((resolve) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true, signal: told.signal });
  });
  try {
    return await Promise.race([work(), aborted]);
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  } finally {
    told.abort();
  }
}
