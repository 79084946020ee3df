import { AbortWatch } from '../abort-signal.js';
import { AbortedError, type ResilientStanError } from '../errors.js';

/**
 * Somebody who waits for answers of the server, until there is a reason to wait no more. A signal of the user may be the reason. It
 * is listened to only while something is waited for, so nothing has to be ended by whoever is through or goes away.
 */
export class Caller {
  readonly #signal: AbortSignal | undefined;
  /** Names the call in the error. */
  readonly #what: string;
  #watch: AbortWatch | undefined;
  #error: ResilientStanError | undefined;
  readonly #ends = new Set<(error: ResilientStanError) => void>();

  /**
   * @param signal ends the waiting when it is aborted
   * @param what names the call in the error
   * @throws InvalidArgumentError when the signal does not let us listen
   */
  constructor(signal?: AbortSignal, what = '') {
    this.#signal = signal;
    this.#what = what;
    this.#listen();
    this.#watch?.stop();
  }

  /** The reason for which it waits no more. */
  get error(): ResilientStanError | undefined {
    if (this.#watch?.aborted) this.#abort();
    return this.#error;
  }

  /** Ends all waits with this error. Only the first call counts. */
  end(error: ResilientStanError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#watch?.stop();
    this.#watch = undefined;
    for (const end of [...this.#ends]) end(error);
    this.#ends.clear();
  }

  /**
   * Calls back when the waiting ends, at once if it has ended.
   * @returns a function that cancels the callback
   */
  onEnd(callback: (error: ResilientStanError) => void): () => void {
    if (this.#ends.size === 0) this.#listen();
    const { error } = this;
    if (error !== undefined) {
      callback(error);
      return () => undefined;
    }
    this.#ends.add(callback);
    return () => {
      if (this.#ends.delete(callback) && this.#ends.size === 0) this.#watch?.stop();
    };
  }

  /** The outcome of a promise, unless the waiting ends before. @throws the reason of the end */
  async wait<T>(promise: Promise<T>): Promise<T> {
    let cancel = (): void => undefined;
    // It may end while nobody waits.
    promise.catch(() => undefined);
    const ended = new Promise<never>((_, reject) => {
      cancel = this.onEnd(reject);
    });
    try {
      return await Promise.race([promise, ended]);
    } finally {
      cancel();
    }
  }

  #listen(): void {
    if (this.#signal === undefined || this.#error !== undefined) return;
    this.#watch = new AbortWatch(this.#signal);
    this.#watch.onAbort = () => this.#abort();
  }

  #abort(): void {
    this.end(new AbortedError(`${this.#what} was aborted`, { cause: this.#watch?.reason }));
  }
}
