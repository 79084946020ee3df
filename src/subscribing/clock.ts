/** Time as subscribing sees it; the tests have one of their own. */
export interface Clock {
  /** Monotonic, milliseconds. */
  now(): number;
  /** Milliseconds since the epoch. */
  wallClock(): number;
  /** Calls back once, later. Returns what cancels it. Never keeps the process alive. */
  after(milliseconds: number, callback: () => void): () => void;
  /** Calls back when what runs now, promises included, is through. */
  soon(callback: () => void): void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wallClock: () => Date.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    timer.unref();
    return () => clearTimeout(timer);
  },
  soon: (callback) => void setImmediate(callback),
};
