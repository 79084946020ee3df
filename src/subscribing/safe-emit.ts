import type { EventEmitter } from 'eventemitter3';
import { CallbackError } from '../errors.js';

/** Emits, and survives listeners that throw: the call comes from a socket or a timer, where a throw ends the process. */
export function safeEmit(
  emitter: EventEmitter<string>,
  event: string,
  payload: unknown,
  onError: (error: Error) => void,
): void {
  try {
    emitter.emit(event, payload);
  } catch (thrown) {
    onError(new CallbackError(`a listener of '${event}'`, thrown));
  }
}
