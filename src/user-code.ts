/**
 * Every call into code of the user goes through here: it comes from a timer, a socket or the middle of our own work, where
 * what is thrown would end the process, and what is rejected later would be a rejection that nobody handles.
 */
import { types } from 'node:util';
import { CallbackError, toError } from './errors.js';

/** Is told what the user's code threw, or rejected with. Must not throw. */
export type OnThrown = (error: CallbackError) => void;

/**
 * Calls code whose answer is nobody's business: a listener, a logger. What it throws, and what the promise that it returns
 * rejects with, is reported as a {@link CallbackError}.
 *
 * @param what what is called, as it stands in the error: "a listener of 'close'"
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

/** Whether it may be something that can be waited for. Reads nothing of it: a property may be a getter that throws. */
export function mayBePromise(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/**
 * Calls one of the two, once and never at once, when what a user's function returned is settled, whatever that is: it may
 * be no promise at all, and a `then` of its own may throw, also when it is only read, and call back twice.
 */
export function whenSettled(result: object, done: () => void, failed: (thrown: unknown) => void): void {
  // What nearly every asynchronous function returns; it costs no promise more.
  const plain = types.isPromise(result) && Object.getPrototypeOf(result) === Promise.prototype;
  if (plain && !Object.hasOwn(result, 'then') && !Object.hasOwn(result, 'constructor')) {
    void Promise.prototype.then.call(result, done, failed);
  } else {
    new Promise((resolve) => resolve(result)).then(done, failed);
  }
}
