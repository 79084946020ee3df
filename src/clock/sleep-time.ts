/**
 * Time that goes on while the host sleeps. By it the start of a subscription is found again. The monotonic clock stands
 * still during a sleep, so messages of that time would be skipped. The wall clock goes on, but may be set. So this time is
 * the monotonic one plus all that the wall clock has gained on it, by a sleep or by being set forward. Too much time only
 * repeats old messages, and too little would lose new ones. Setting the wall clock back changes nothing.
 */

import type { ClockSources } from './sources.js';

/**
 * How long the wall clock is not read again, in ms. A busy subscription asks for the time at each message, and nothing that
 * depends on a sleep happens so soon after it.
 */
const LOOK_EVERY = 1;
/** By how much the wall clock has to fall behind to count as set back, in ms. The two clocks are not read at the same instant. */
const SET_BACK = 100;

/** Returns a function that tells this time, in ms. It begins at no particular value, and never decreases. */
export function sleepTime(sources: Pick<ClockSources, 'monotonic' | 'wall'>): () => number {
  /** How far the wall clock is ahead, in ms. It is read first, so that an interruption makes this smaller and not larger. */
  const ahead = (): number => {
    const wall = sources.wall();
    return wall - sources.monotonic();
  };
  let lookedAt = sources.monotonic();
  let highest = ahead();
  let slept = 0;

  return () => {
    const monotonic = sources.monotonic();
    if (monotonic >= lookedAt && monotonic - lookedAt < LOOK_EVERY) return monotonic + slept;
    lookedAt = monotonic;
    const now = ahead();
    if (now > highest) {
      slept += now - highest;
      highest = now;
    } else if (highest - now > SET_BACK) {
      // It is read once more, in case of an interruption. A later sleep counts from this new setting.
      const again = ahead();
      if (highest - again > SET_BACK) highest = again;
    }
    return monotonic + slept;
  };
}
