import { awakeClock, type AwakeClock } from '../../src/awake-clock.js';

/**
 * Virtual time for code that uses the global timers. (`node:test`'s mock timers of Node 20 loop for ever when a timer
 * that has fired is cleared.)
 */
interface FakeTimer {
  at: number;
  order: number;
  every: number | undefined;
  run: () => void;
}

export class FakeTimers {
  #now: number;
  #order = 0;
  readonly #timers = new Set<FakeTimer>();
  readonly #real = { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate };

  constructor(now = 0) {
    this.#now = now;
    const add = (run: (...args: unknown[]) => void, ms: number, args: unknown[], every?: number): FakeTimer => {
      const timer = { at: this.#now + Math.max(0, ms), order: this.#order++, every, run: () => run(...args) };
      this.#timers.add(timer);
      return timer;
    };
    const remove = (timer: unknown): void => void this.#timers.delete(timer as FakeTimer);
    Object.assign(globalThis, {
      setTimeout: (run: () => void, ms = 0, ...args: unknown[]) => add(run, Math.max(1, ms), args),
      setInterval: (run: () => void, ms = 0, ...args: unknown[]) => add(run, Math.max(1, ms), args, Math.max(1, ms)),
      setImmediate: (run: () => void, ...args: unknown[]) => add(run, 0, args),
      clearTimeout: remove,
      clearInterval: remove,
    });
  }

  get now(): number {
    return this.#now;
  }

  /** A clock that lives in this time. */
  clock(): AwakeClock {
    return awakeClock<unknown>({
      now: () => this.#now,
      setTimeout: (callback, delay) => setTimeout(callback, delay),
      clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
      setImmediate: (callback) => void setImmediate(callback),
    });
  }

  /** How many are armed. */
  get armed(): number {
    return this.#timers.size;
  }

  /** When the next one is due; Infinity: none is armed. */
  get nextAt(): number {
    return Math.min(...[...this.#timers].map(({ at }) => at));
  }

  /** Lets time pass without a timer firing: the event loop stands still. */
  stall(ms: number): void {
    this.#now += ms;
  }

  /** Lets time pass, millisecond by millisecond; promises react in between. */
  async pass(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      this.#now += 1;
      for (let due = this.#next(); due; due = this.#next()) {
        if (due.every === undefined) this.#timers.delete(due);
        else due.at = this.#now + due.every;
        due.run();
        for (let turn = 0; turn < 4; turn++) await Promise.resolve();
      }
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    }
  }

  #next(): FakeTimer | undefined {
    let next: FakeTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.at > this.#now) continue;
      if (!next || timer.at < next.at || (timer.at === next.at && timer.order < next.order)) next = timer;
    }
    return next;
  }

  restore(): void {
    Object.assign(globalThis, this.#real);
  }
}
