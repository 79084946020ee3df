import { awakeClock, type AwakeClock } from '../../src/awake-clock.js';

/** A clock and timers that stand still until told to advance. */
export class VirtualTime {
  #now: number;
  #next = 1;
  readonly #timers = new Map<number, { at: number; callback: () => void }>();

  constructor(start = 1000.25) {
    this.#now = start;
  }

  readonly now = (): number => this.#now;

  readonly timers = {
    set: (callback: () => void, delay: number): unknown => {
      const id = this.#next++;
      this.#timers.set(id, { at: this.#now + Math.max(1, delay), callback });
      return id;
    },
    clear: (timer: unknown): void => {
      this.#timers.delete(timer as number);
    },
  };

  /** As if the event loop never stood still, and nothing were ever on its way in. */
  readonly clock: AwakeClock = awakeClock<unknown>({
    now: this.now,
    setTimeout: this.timers.set,
    clearTimeout: this.timers.clear,
    setImmediate: (callback) => callback(),
  });

  /** Timers that are set. */
  get armed(): number {
    return this.#timers.size;
  }

  /** Runs every timer that falls due on the way, at its time. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      let first: number | undefined;
      for (const [id, timer] of this.#timers) {
        if (timer.at <= end && (first === undefined || timer.at < (this.#timers.get(first)?.at ?? Infinity)))
          first = id;
      }
      if (first === undefined) break;
      const timer = this.#timers.get(first);
      this.#timers.delete(first);
      if (timer === undefined) break;
      this.#now = Math.max(this.#now, timer.at);
      timer.callback();
    }
    this.#now = end;
  }
}
