/**
 * The one place that touches an AbortSignal of a caller. It may be one of a polyfill, or not much of a signal at all: what
 * it throws goes no further than this.
 */
import { getMaxListeners, setMaxListeners } from 'node:events';
import { describe, InvalidArgumentError, type ResilientStanErrorOptions } from './errors.js';
import { show } from './validation.js';

const MANY = 10_000;

/**
 * One signal may end a hundred subscriptions, or the dials to a dozen servers. Node takes more than ten listeners for a
 * leak, and says so on the user's stderr.
 */
export function expectManyListeners(signal: AbortSignal): void {
  try {
    const limit = getMaxListeners(signal);
    if (limit !== 0 && limit < MANY) setMaxListeners(MANY, signal);
  } catch {
    // Not one of Node's own: then Node does not count, either.
  }
}

/**
 * Why a value cannot be used as an AbortSignal; it goes on after the name of the option. Undefined if it can. Judged by its
 * shape, because a signal of another realm or of a polyfill does as well.
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
 * Listens to a caller's signal until it is aborted or {@link stop} is called. Make it before anything is changed: making it
 * runs code of the user, and may throw. Then look at {@link aborted}, for the signal may have been aborted already.
 */
export class AbortWatch {
  /** Called when the signal is aborted; at most once, and never after {@link stop}. */
  onAbort: (() => void) | undefined;
  readonly #signal: AbortSignal;
  readonly #listener: () => void;
  #heard = false;
  #stopped = false;

  /** @throws InvalidArgumentError when the signal does not let us listen */
  constructor(signal: AbortSignal, errorOptions: ResilientStanErrorOptions = {}) {
    this.#signal = signal;
    // A function, because some polyfills take nothing else. Some also know nothing of `once`.
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

  /** Whether the signal is aborted, or has said so once. */
  get aborted(): boolean {
    try {
      // It may call us while it is asked.
      return this.#heard || this.#signal.aborted === true || this.#heard;
    } catch {
      return this.#heard;
    }
  }

  /** The signal's reason; undefined when it has none. */
  get reason(): unknown {
    try {
      return this.#signal.reason as unknown;
    } catch {
      return undefined;
    }
  }

  /** No more listening. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.onAbort = undefined;
    try {
      this.#signal.removeEventListener('abort', this.#listener);
    } catch {
      // It may call us again, and is not heard.
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
