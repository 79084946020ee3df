/** Calls listeners and callbacks of the program: what they throw is an uncaught exception, as it always was, and harms nothing of ours. */
import type { EventEmitter } from 'node:events';
import { REAL_SOURCES } from '../clock/sources.js';

/** In a tick of its own, where nobody can catch it but the process. */
export function throwLater(error: unknown): void {
  REAL_SOURCES.setImmediate(() => {
    throw error;
  });
}

/** Emits; an `error` that nobody listens to is an uncaught exception, in a later tick. */
export function tell(emitter: EventEmitter, event: string, ...args: unknown[]): void {
  try {
    emitter.emit(event, ...args);
  } catch (error) {
    throwLater(error);
  }
}

/** The `error` of a subscription: told there, or else on its client, or else uncaught. */
export function tellError(error: unknown, subscription: EventEmitter, client: EventEmitter): void {
  const heard = subscription.listenerCount('error') > 0 || client.listenerCount('error') === 0;
  tell(heard ? subscription : client, 'error', error);
}
