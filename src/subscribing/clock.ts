import { sleepClock } from '../sleep-clock.js';

/** The time that subscribing works with. The tests have a clock of their own. */
export interface Clock {
  /** Returns a time in ms that never decreases. It goes on while the host sleeps, so that ages are right. */
  now(): number;
  /** Returns the waking time in ms, in which this process could act, if the clock knows it. {@link after} counts in it. */
  awake(): number;
  /** Returns the ms since the epoch. */
  wallClock(): number;
  /** Calls back once after a delay, and returns a function that cancels it. It never keeps the process alive. */
  after(milliseconds: number, callback: () => void): () => void;
  /** Calls back when the running code and its promises are done. */
  soon(callback: () => void): void;
}

export const systemClock: Clock = {
  now: sleepClock(),
  awake: () => performance.now(),
  wallClock: () => Date.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    timer.unref();
    return () => clearTimeout(timer);
  },
  soon: (callback) => void setImmediate(callback),
};
