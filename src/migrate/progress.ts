/** How a step tells the caller how far it is. */
import type { Clock } from '../clock/clock.js';
import type { CallbackError } from '../errors.js';
import type { OptionReader } from '../option-reader.js';
import { callUser } from '../user-code.js';

/** About how often it is told, in ms. */
export const PROGRESS = 250;

/**
 * Reads the option `onProgress`. What the callback throws, or what its promise is rejected with, ends the step: it is thrown at this
 * call or at the next one.
 * @returns what calls it. @throws (that function) CallbackError
 */
export function readProgress<Progress>(read: OptionReader): (progress: Progress) => void {
  const callback = read.callback<(progress: Progress) => unknown>('onProgress', '(progress) => …');
  if (callback === undefined) return () => undefined;
  let failure: CallbackError | undefined;
  return (progress) => {
    if (failure === undefined) {
      callUser(
        "'onProgress'",
        () => callback(progress),
        (error) => (failure ??= error),
      );
    }
    if (failure !== undefined) throw failure;
  };
}

/** Tells not more often than every {@link PROGRESS} ms. */
export function throttled<Progress>(clock: Clock, tell: (progress: Progress) => void): (make: () => Progress) => void {
  let told = clock.now();
  return (make) => {
    const now = clock.now();
    if (now - told < PROGRESS) return;
    told = now;
    tell(make());
  };
}
