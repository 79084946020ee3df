/** Calls listeners and callbacks of the program. What they throw becomes an uncaught exception and harms nothing here. */
import type { EventEmitter } from 'node:events';
import { REAL_SOURCES } from '../clock/sources.js';

/** Throws in a later turn, where only the process can catch it. */
export function throwLater(error: unknown): void {
  REAL_SOURCES.setImmediate(() => {
    throw error;
  });
}

/** Emits an event. An `error` that nobody listens to becomes an uncaught exception in a later turn. */
export function tell(emitter: EventEmitter, event: string, ...args: unknown[]): void {
  try {
    emitter.emit(event, ...args);
  } catch (error) {
    throwLater(error);
  }
}

/** Tells the `error` of a subscription there, or else on its client. If nobody listens, it becomes an uncaught exception. */
export function tellError(error: unknown, subscription: EventEmitter, client: EventEmitter): void {
  const heard = subscription.listenerCount('error') > 0 || client.listenerCount('error') === 0;
  tell(heard ? subscription : client, 'error', error);
}
