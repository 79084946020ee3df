/** What a careless, an unlucky or a hostile caller may pass. */
import { EventEmitter } from 'node:events';

/**
 * A signal of a polyfill, as they were in use before Node had its own: it takes only functions for listeners, knows nothing
 * of `once`, and has a reason only if it is given one.
 */
export class PolyfillSignal {
  aborted = false;
  reason: unknown = undefined;
  readonly emitter = new EventEmitter();

  addEventListener(name: string, listener: (event: unknown) => void): void {
    this.emitter.on(name, listener);
  }

  removeEventListener(name: string, listener: (event: unknown) => void): void {
    this.emitter.off(name, listener);
  }

  abort(reason?: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.emitter.emit('abort', { type: 'abort', target: this });
  }

  get listeners(): number {
    return this.emitter.listenerCount('abort');
  }

  /** As the types of the library want to see it. */
  get asSignal(): AbortSignal {
    return this as unknown as AbortSignal;
  }
}

export const thrower =
  (what = 'thrown by the caller') =>
  (): never => {
    throw new Error(what);
  };

/** An object of options one of whose getters throws. */
export function throwing<T = never>(name: string, rest: object = {}): T {
  return Object.defineProperty({ ...rest }, name, { enumerable: true, get: thrower() }) as T;
}

/** Throws whatever is done with it. */
export function hostileProxy<T = never>(target: object = {}): T {
  const traps = ['get', 'has', 'ownKeys', 'getPrototypeOf', 'getOwnPropertyDescriptor', 'set', 'apply'];
  return new Proxy(target, Object.fromEntries(traps.map((trap) => [trap, thrower()]))) as T;
}

export function revokedProxy<T = never>(target: object = {}): T {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy as T;
}

/** Bytes whose buffer has gone to somebody else. */
export function detached(size = 8): Uint8Array {
  const bytes = new Uint8Array(size);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

/** Rejections that nobody handled while something ran, and until the microtasks after it are done. */
export async function unhandled(run: () => unknown): Promise<unknown[]> {
  const reasons: unknown[] = [];
  const note = (reason: unknown): void => void reasons.push(reason);
  process.on('unhandledRejection', note);
  try {
    await run();
    // They are told when the microtasks are done.
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    process.off('unhandledRejection', note);
  }
  return reasons;
}
