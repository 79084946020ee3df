import { AbortWatch } from '../abort-signal.js';
import { AbortedError, type ResilientStanError } from '../errors.js';

/** Somebody who waits for answers of the server, until there is a reason to wait no more. */
export class Caller {
  /** The reason for which it waits no more. */
  error: ResilientStanError | undefined;
  readonly #ends = new Set<(error: ResilientStanError) => void>();

  /** Ends all waits with this error. Only the first call counts. */
  end(error: ResilientStanError): void {
    if (this.error !== undefined) return;
    this.error = error;
    for (const end of [...this.#ends]) end(error);
    this.#ends.clear();
  }

  /**
   * Calls back when the waiting ends, at once if it has ended.
   * @returns a function that cancels the callback
   */
  onEnd(callback: (error: ResilientStanError) => void): () => void {
    if (this.error !== undefined) {
      callback(this.error);
      return () => undefined;
    }
    this.#ends.add(callback);
    return () => void this.#ends.delete(callback);
  }

  /** The outcome of a promise, unless the waiting ends before. @throws the reason of the end */
  async wait<T>(promise: Promise<T>): Promise<T> {
    let cancel = (): void => undefined;
    const ended = new Promise<never>((_, reject) => {
      cancel = this.onEnd(reject);
    });
    // It may end while nobody waits.
    promise.catch(() => undefined);
    try {
      return await Promise.race([promise, ended]);
    } finally {
      cancel();
    }
  }
}

/**
 * Makes a caller that waits until a signal of the user is aborted.
 * @param what names the call in the error
 * @returns the caller, and a function that stops listening to the signal
 * @throws InvalidArgumentError when the signal does not let us listen
 */
export function callerUntil(signal: AbortSignal | undefined, what: string): { caller: Caller; done: () => void } {
  const caller = new Caller();
  if (signal === undefined) return { caller, done: () => undefined };
  const watch = new AbortWatch(signal);
  const abort = (): void => caller.end(new AbortedError(`${what} was aborted`, { cause: watch.reason }));
  watch.onAbort = abort;
  if (watch.aborted) abort();
  return { caller, done: () => watch.stop() };
}
