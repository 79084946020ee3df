/** Where all time comes from. Only this file reads the clocks of the host and sets its timers. */
export interface ClockSources<Timer = unknown> {
  /** Monotonic time, in ms. It stands still while the host sleeps. */
  monotonic(): number;
  /** Wall clock: time since 1970, in ms. It goes on while the host sleeps, and may be set. */
  wall(): number;
  /**
   * Calls back when the delay is over, and not earlier.
   * @param delay in ms, at least 0; it may have a fraction
   * @param keepAlive the process does not end by itself while the timer is set
   */
  setTimeout(callback: () => void, delay: number, keepAlive: boolean): Timer;
  clearTimeout(timer: Timer): void;
  setImmediate(callback: () => void): void;
}

/** Returns the delay for a timer of the host. It has whole ms, at least 1, and would cut off a fraction and be too early. */
export function timerDelay(delay: number): number {
  return Math.max(1, Math.ceil(delay));
}

export const REAL_SOURCES: ClockSources<NodeJS.Timeout> = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  setTimeout: (callback, delay, keepAlive) => {
    const timer = setTimeout(callback, timerDelay(delay));
    if (!keepAlive) timer.unref();
    return timer;
  },
  clearTimeout: (timer) => clearTimeout(timer),
  setImmediate: (callback) => void setImmediate(callback),
};
