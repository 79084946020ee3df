/** Notices that a connection that was handed in is closed. The `close()` of nats 1.4.12 tells nobody, so the call itself is watched. */
import type { NatsClient } from './options.js';

const watched = new WeakMap<NatsClient, Set<() => void>>();

/**
 * Calls back when the connection is closed: by a call of its `close()`, or by its event.
 * @returns a function that ends this
 */
export function whenClosed(nc: NatsClient, callback: () => void): () => void {
  const callbacks = watched.get(nc) ?? watch(nc);
  callbacks.add(callback);
  return () => void callbacks.delete(callback);
}

/** Watches a connection for all its clients, with one listener. */
function watch(nc: NatsClient): Set<() => void> {
  const callbacks = new Set<() => void>();
  watched.set(nc, callbacks);
  const tell = (): void => {
    for (const callback of [...callbacks]) callback();
  };
  nc.on('close', tell);
  const close = nc.close.bind(nc);
  nc.close = () => {
    close();
    tell();
  };
  return callbacks;
}
