/**
 * Calls code of the user. Such calls come from timers, sockets or the middle of our own work. There an exception would end
 * the process, and a rejected promise would be an unhandled one.
 */
import { types } from 'node:util';
import { CallbackError, toError } from './errors.js';

/** Gets the error that the user's code threw or rejected with. It must not throw itself. */
export type OnThrown = (error: CallbackError) => void;

/**
 * Calls code whose answer is not needed, as a listener or a logger. What it throws or rejects with is reported as a
 * {@link CallbackError}.
 *
 * @param what name of what is called, for the error: "a listener of 'close'"
 */
export function callUser(what: string, call: () => unknown, onThrown: OnThrown): void {
  const failed = (thrown: unknown): void => onThrown(new CallbackError(what, thrown));
  let result: unknown;
  try {
    result = call();
  } catch (thrown) {
    failed(thrown);
    return;
  }
  if (mayBePromise(result)) whenSettled(result, () => undefined, failed);
}

/**
 * Calls code whose answer is needed, and resolves to it.
 * @throws (as a rejection) what it threw or rejected with; an Error, whatever that was
 */
export async function askUser<Answer>(call: () => Answer | PromiseLike<Answer>): Promise<Answer> {
  try {
    return await call();
  } catch (thrown) {
    throw toError(thrown);
  }
}

/** Whether a value may be a promise. It reads no property of it, because that may throw. */
export function mayBePromise(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/**
 * Calls one of the two functions when the answer of a user's function is settled. It calls once, and never synchronously. The
 * answer may be no promise, and a `then` of its own may throw, even when it is only read, or call back twice.
 */
export function whenSettled(result: object, done: (value: unknown) => void, failed: (thrown: unknown) => void): void {
  // Nearly every asynchronous function returns a native promise, and this way makes no further promise.
  const plain = types.isPromise(result) && Object.getPrototypeOf(result) === Promise.prototype;
  if (plain && !Object.hasOwn(result, 'then') && !Object.hasOwn(result, 'constructor')) {
    void Promise.prototype.then.call(result, done, failed);
  } else {
    new Promise((resolve) => resolve(result)).then(done, failed);
  }
}
