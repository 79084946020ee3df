export interface Timers {
  set(callback: () => void, delay: number): unknown;
  clear(timer: unknown): void;
}

const REAL_TIMERS: Timers = {
  set: (callback, delay) => setTimeout(callback, delay).unref(),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

const LONGEST = 2 ** 31 - 1;

/** One timer for everything that falls due at some time. It does not keep the process alive. */
export class Alarm {
  readonly #ring: () => void;
  readonly #now: () => number;
  readonly #timers: Timers;
  #timer: unknown;
  #at = Infinity;

  /** @param ring is called at the earliest time set since the last call, or a little later; it must not throw */
  constructor(ring: () => void, now: () => number, timers: Timers = REAL_TIMERS) {
    this.#ring = ring;
    this.#now = now;
    this.#timers = timers;
  }

  /** Not later than at this time. */
  setBy(at: number): void {
    if (at >= this.#at) return;
    if (this.#timer !== undefined) this.#timers.clear(this.#timer);
    this.#at = at;
    // Rounded up: a timer that comes too early only has to be set again.
    const delay = Math.min(Math.max(Math.ceil(at - this.#now()), 0), LONGEST);
    this.#timer = this.#timers.set(() => {
      this.#timer = undefined;
      this.#at = Infinity;
      this.#ring();
    }, delay);
  }

  /** At this time and not before; at Infinity, not at all. */
  set(at: number): void {
    if (this.#timer !== undefined) this.#timers.clear(this.#timer);
    this.#timer = undefined;
    this.#at = Infinity;
    if (at < Infinity) this.setBy(at);
  }
}
