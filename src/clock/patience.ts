import type { Clock } from './clock.js';

/** Length of a step of {@link patience}, in ms. */
const STEP = 200;

/**
 * Like `clock.after`, but in steps, so that a standstill that is shorter than `delay` is noticed as well. Between two steps
 * the loop turns several times and reads what has arrived. It is for waiting on an answer.
 * @returns what cancels it
 */
export function patience(clock: Clock, delay: number, callback: () => void): () => void {
  let left = delay;
  let cancel: () => void;
  // The steps are counted, and the clock is not asked: without a deadline, as between two steps, it notices no standstill.
  const wait = (): void => {
    const duration = Math.min(left, STEP);
    left -= duration;
    cancel = clock.after(duration, () => (left <= 0 ? callback() : wait()));
  };
  wait();
  return () => cancel();
}
