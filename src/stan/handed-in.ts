/** Notices that a connection that was handed in is closed. The `close()` of nats 1.4.12 tells nobody, so the call itself is watched. */
import type { NatsClient } from './options.js';

interface Watch {
  readonly callbacks: Set<() => void>;
  readonly end: () => void;
}

const watched = new WeakMap<NatsClient, Watch>();

/**
 * Calls back when the connection is closed: by a call of its `close()`, or by its event.
 * @returns a function that ends this
 */
export function whenClosed(nc: NatsClient, callback: () => void): () => void {
  const { callbacks, end } = watched.get(nc) ?? watch(nc);
  callbacks.add(callback);
  return () => {
    if (callbacks.delete(callback) && callbacks.size === 0) end();
  };
}

/** Watches a connection for all its clients, with one listener, until the last of them has ended. */
function watch(nc: NatsClient): Watch {
  const callbacks = new Set<() => void>();
  const tell = (): void => {
    for (const callback of [...callbacks]) callback();
  };
  nc.on('close', tell);
  const original = Object.getOwnPropertyDescriptor(nc, 'close');
  const close = nc.close.bind(nc);
  const closeAndTell = (): void => {
    close();
    tell();
  };
  nc.close = closeAndTell;
  const end = (): void => {
    nc.off('close', tell);
    watched.delete(nc);
    // The program may have put a function of its own over it.
    if (nc.close !== closeAndTell) return;
    if (original) Object.defineProperty(nc, 'close', original);
    else Reflect.deleteProperty(nc, 'close');
  };
  const made = { callbacks, end };
  watched.set(nc, made);
  return made;
}
