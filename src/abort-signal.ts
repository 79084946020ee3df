/** The only file that uses an AbortSignal of a caller. The signal may be a polyfill's or a false one, so what it throws is caught here. */
import { getMaxListeners, setMaxListeners } from 'node:events';
import { AbortedError, describe, InvalidArgumentError, type ResilientStanErrorOptions } from './errors.js';
import { show } from './validation.js';

const MANY = 10_000;

/**
 * Lets a signal have many listeners, as when it ends a hundred subscriptions. Node would take more than ten for a leak, and
 * warn on stderr.
 */
export function expectManyListeners(signal: AbortSignal): void {
  try {
    const limit = getMaxListeners(signal);
    if (limit !== 0 && limit < MANY) setMaxListeners(MANY, signal);
  } catch {
    // Node does not count the listeners of a signal that is not its own.
  }
}

/**
 * Why a value cannot be used as an AbortSignal, in words that follow the name of the option. Undefined if it can. Only its
 * shape counts, because a signal of another realm or of a polyfill is good as well.
 */
export function signalFault(value: unknown): string | undefined {
  try {
    if (Object.prototype.toString.call(value) === '[object AbortController]') {
      return 'must be an AbortSignal, not the AbortController: use controller.signal';
    }
    const { aborted, addEventListener, removeEventListener } = Object(value) as Partial<AbortSignal>;
    const fits =
      typeof aborted === 'boolean' &&
      typeof addEventListener === 'function' &&
      typeof removeEventListener === 'function';
    return fits ? undefined : `must be an AbortSignal, not ${show(value)}`;
  } catch (thrown) {
    return `must be an AbortSignal that can be read, and reading it threw: ${describe(thrown)}`;
  }
}

/**
 * Listens to a caller's signal until it is aborted or {@link stop} is called. The constructor runs code of the user and may
 * throw, so it has to be called before anything is changed. The signal may be aborted already: see {@link aborted}.
 */
export class AbortWatch {
  /** Called when the signal is aborted: at most once, and never after {@link stop}. */
  onAbort: (() => void) | undefined;
  readonly #signal: AbortSignal;
  readonly #listener: () => void;
  #heard = false;
  #stopped = false;

  /** @throws InvalidArgumentError when the signal does not let us listen */
  constructor(signal: AbortSignal, errorOptions: ResilientStanErrorOptions = {}) {
    this.#signal = signal;
    // It is a function, because some polyfills take nothing else. Some also do not know `once`.
    this.#listener = () => this.#hear();
    expectManyListeners(signal);
    try {
      signal.addEventListener('abort', this.#listener, { once: true });
    } catch (thrown) {
      this.stop();
      const message = `option 'signal' cannot be used, because its addEventListener threw: ${describe(thrown)}`;
      throw new InvalidArgumentError('signal', message, { ...errorOptions, cause: thrown });
    }
  }

  /** Whether the signal is aborted, or has called the listener. */
  get aborted(): boolean {
    try {
      // The signal may call the listener while it is read.
      return this.#heard || this.#signal.aborted === true || this.#heard;
    } catch {
      return this.#heard;
    }
  }

  /** The signal's reason. Undefined when it has none. */
  get reason(): unknown {
    try {
      return this.#signal.reason as unknown;
    } catch {
      return undefined;
    }
  }

  /** Stops listening. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.onAbort = undefined;
    try {
      this.#signal.removeEventListener('abort', this.#listener);
    } catch {
      // The signal may call the listener again, which then does nothing.
    }
  }

  #hear(): void {
    if (this.#stopped) return;
    this.#heard = true;
    const onAbort = this.onAbort;
    this.stop();
    onAbort?.();
  }
}

/**
 * Aborts a signal of our own with a caller's, until {@link stop} is called. The reason is an {@link AbortedError} then, so that
 * `throwIfAborted()` throws it.
 */
export class FollowedSignal {
  readonly signal: AbortSignal;
  readonly #watch: AbortWatch | undefined;

  /**
   * @param message of the AbortedError
   * @throws InvalidArgumentError when the caller's signal does not let us listen
   */
  constructor(given: AbortSignal | undefined, message: string) {
    const controller = new AbortController();
    this.signal = controller.signal;
    expectManyListeners(this.signal);
    if (given === undefined) return;
    const watch = new AbortWatch(given);
    const abort = (): void => controller.abort(new AbortedError(message, { cause: watch.reason }));
    watch.onAbort = abort;
    if (watch.aborted) abort();
    this.#watch = watch;
  }

  /** Stops listening to the caller's signal. */
  stop(): void {
    this.#watch?.stop();
  }
}
