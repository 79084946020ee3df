/** The time of all tests that do not wait for the real one. The clock is the real one, and only its sources are fakes. */
import { makeClock, type Clock } from '../../src/clock/clock.js';
import { timerDelay, type ClockSources } from '../../src/clock/sources.js';

/** The wall clock at the time 0, in ms. */
export const EPOCH = 1_700_000_000_000;

/** How many turns of the loop the clock leaves to what arrives before it calls back. */
const TURNS = 2;

interface Timer {
  readonly at: number;
  readonly callback: () => void;
}

/** A host on which time stands still until told to go on, and on which nothing takes any time. */
export class VirtualTime {
  #now: number;
  #slept = 0;
  /** In the order in which they were set. */
  readonly #timers = new Set<Timer>();
  #immediates: (() => void)[] = [];
  /** So many immediates in a row run at once. */
  #turns = 0;
  readonly #delay: (delay: number) => number;
  readonly clock: Clock;

  /**
   * @param options `start`: in ms. `exact`: timers may have fractions of a ms, and fire at once with a delay of 0; they
   *   have whole ms, at least 1, if not
   */
  constructor({ start = 1000, exact = false } = {}) {
    this.#now = start;
    this.#delay = exact ? (delay) => delay : timerDelay;
    // Last, because it reads the time at once.
    this.clock = makeClock(this.sources);
  }

  /** Monotonic time, in ms. Unless told to stall, it is the waking time. */
  readonly now = (): number => this.#now;

  readonly sources: ClockSources<Timer> = {
    monotonic: this.now,
    wall: () => Math.floor(EPOCH + this.#now + this.#slept),
    setTimeout: (callback, delay) => {
      const timer = { at: this.#now + this.#delay(delay), callback };
      this.#timers.add(timer);
      return timer;
    },
    clearTimeout: (timer) => {
      this.#timers.delete(timer);
    },
    setImmediate: (callback) => {
      if (this.#turns === 0) {
        this.#immediates.push(callback);
        return;
      }
      // Nothing is ever on its way in, so a timer leads to its callbacks at once.
      this.#turns -= 1;
      callback();
    },
  };

  /** Timers that are set. The clock has one for all its deadlines. */
  get armed(): number {
    return this.#timers.size;
  }

  /** When the next one is due; Infinity: none is set. */
  get nextAt(): number {
    return this.#next()?.at ?? Infinity;
  }

  /** Runs every timer that falls due on the way, at its time. No promise reacts in between. */
  advance(ms: number): void {
    const end = this.#now + ms;
    while (this.#runImmediates() || this.#fire(end));
    this.#now = end;
  }

  /** The same, and everything that follows from it runs before time goes on. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    do await reactions();
    while (this.#runImmediates() || this.#fire(end));
    this.#now = end;
  }

  /** Everything that runs without time passing. */
  async settle(): Promise<void> {
    await this.pass(0);
  }

  /** The event loop stands still: time passes, and no timer fires. */
  stall(ms: number): void {
    this.#now += ms;
  }

  /** The host sleeps: only its wall clock goes on. */
  sleep(ms: number): void {
    this.#slept += ms;
  }

  #runImmediates(): boolean {
    const immediates = this.#immediates;
    this.#immediates = [];
    for (const callback of immediates) callback();
    return immediates.length > 0;
  }

  /** Goes on to the next time at which timers are due, unless it is after `end`, and fires them. */
  #fire(end: number): boolean {
    const { nextAt } = this;
    if (nextAt > end) return false;
    this.#now = Math.max(this.#now, nextAt);
    for (let timer = this.#next(); timer !== undefined && timer.at <= this.#now; timer = this.#next()) {
      this.#timers.delete(timer);
      this.#turns = TURNS;
      timer.callback();
      this.#turns = 0;
    }
    return true;
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) if (next === undefined || timer.at < next.at) next = timer;
    return next;
  }
}

/** All reactions of promises run. */
function reactions(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
