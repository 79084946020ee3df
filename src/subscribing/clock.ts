import { sleepClock } from '../sleep-clock.js';

/** Time as subscribing sees it; the tests have one of their own. */
export interface Clock {
  /** Milliseconds. Never decreases, and goes on while the host sleeps: by it a start is found again. */
  now(): number;
  /** Milliseconds in which this process could act, where the clock knows that (the facade's does): what {@link after} counts. */
  awake(): number;
  /** Milliseconds since the epoch. */
  wallClock(): number;
  /** Calls back once, later. Returns what cancels it. Never keeps the process alive. */
  after(milliseconds: number, callback: () => void): () => void;
  /** Calls back when what runs now, promises included, is through. */
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
