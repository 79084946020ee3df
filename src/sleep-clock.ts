/**
 * Time as it goes by for the servers, by which a subscription's start is found again. The monotonic clock stands still while
 * the host sleeps, and what is published meanwhile would be skipped; the wall clock goes on, but may be set. So time here is
 * monotonic, plus all that the wall clock has gained over it: a sleep, or that it was set forward. Too much of it repeats
 * what is old, too little loses what is new. That the wall clock is set back changes nothing.
 */

/** What the clock is made of; the tests have their own. */
export interface SleepClockSources {
  /** Monotonic, milliseconds. */
  monotonic(): number;
  /** Milliseconds since the epoch. */
  wall(): number;
}

/**
 * The wall clock is looked at no more often than this, ms: a busy subscription asks for the time at each message, and
 * nothing that depends on a sleep happens so soon after one.
 */
const LOOK_EVERY = 1;
/** Only if it is behind by more than this, ms, was the wall clock set back: the two are not read at the same instant. */
const SET_BACK = 100;

const REAL_SOURCES: SleepClockSources = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
};

/**
 * @param sources default: the real ones
 * @returns a function that tells the time, in milliseconds from no particular moment on. It never decreases.
 */
export function sleepClock(sources: SleepClockSources = REAL_SOURCES): () => number {
  /** How far the wall clock is ahead. It is read first: an interruption in between makes this smaller, never larger. */
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
      // Once more, in case there was an interruption. From now on it is the new setting that a sleep counts from.
      const again = ahead();
      if (highest - again > SET_BACK) highest = again;
    }
    return monotonic + slept;
  };
}
