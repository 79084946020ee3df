/**
 * Time in which this process could act. While its own event loop stands still (a long computation, a suspended machine, a
 * stopped process) no answer can be heard and nothing can be sent, so that time is held against nobody.
 */
import { MAX_INT32 } from './int32.js';

/** A clock and its deadlines. */
export interface AwakeClock {
  /** Milliseconds in which this process could act, from no particular moment on. Never decreases. */
  now(): number;
  /**
   * Calls back once, when `delay` ms of waking time have passed and what had arrived by then has been taken in.
   * @param options `unref`: it does not keep the process alive. Default false.
   * @returns what cancels it
   */
  after(delay: number, callback: () => void, options?: { unref?: boolean }): () => void;
}

/** What the clock is made of; the tests have their own. */
export interface ClockSources<Timer = unknown> {
  /** Monotonic, milliseconds. */
  now(): number;
  /** `keepAlive`: as long as it is set, the process does not end by itself. */
  setTimeout(callback: () => void, delay: number, keepAlive: boolean): Timer;
  clearTimeout(timer: Timer): void;
  setImmediate(callback: () => void): void;
}

/** A timer that is this much late, in ms, says that our own event loop stood still. */
const STALL = 25;
/** From this lateness on, in ms, it is unknown for how long the loop had stood before the timer was due. */
const LONG_STALL = 75;
/**
 * So much counts for each turn of a loop that is late for long every time, in ms. A deadline then takes a number of turns, in
 * which what arrives can be taken in, however long each of them is.
 */
const SLOW_TURN = 100;
const REAL_SOURCES: ClockSources<NodeJS.Timeout> = {
  now: () => performance.now(),
  setTimeout: (callback, delay, keepAlive) => {
    const timer = setTimeout(callback, delay);
    if (!keepAlive) timer.unref();
    return timer;
  },
  clearTimeout: (timer) => clearTimeout(timer),
  setImmediate: (callback) => void setImmediate(callback),
};

/** @param sources default: the real ones */
export function awakeClock<Timer = NodeJS.Timeout>(sources?: ClockSources<Timer>): AwakeClock {
  return sources === undefined ? new Clock(REAL_SOURCES) : new Clock(sources);
}

/** Steps in which {@link patience} waits, in ms. */
const STEP = 200;

/**
 * As `clock.after`, for the answer of somebody else: in steps, so that a standstill shorter than `delay` is noticed as well. Between
 * two steps the loop turns several times and takes in what has arrived.
 * @returns what cancels it
 */
export function patience(clock: AwakeClock, delay: number, callback: () => void): () => void {
  let left = delay;
  let cancel: () => void;
  // Not by the clock: without a deadline it sees no standstill, as between the end of one step and the beginning of the next.
  const wait = (): void => {
    const duration = Math.min(left, STEP);
    left -= duration;
    cancel = clock.after(duration, () => (left <= 0 ? callback() : wait()));
  };
  wait();
  return () => cancel();
}

interface Deadline {
  /** In waking time. */
  readonly at: number;
  readonly callback: () => void;
  readonly keepAlive: boolean;
  over: boolean;
}

class Clock<Timer> implements AwakeClock {
  readonly #sources: ClockSources<Timer>;
  /** The soonest first. */
  readonly #deadlines: Deadline[] = [];
  #keptAlive = 0;
  /** The one timer, for the soonest deadline. */
  #timer: Timer | undefined;
  /** In real time; Infinity: no timer is set. */
  #timerDue = Infinity;
  #timerKeepsAlive = false;
  /** Real time that does not count. */
  #stood = 0;
  /** When the loop was last known to be awake, in real time. */
  #seen: number;
  /** The timer is overdue, so time stands still until it fires. */
  #standing = false;
  /** The timer before this one was late for long, too. */
  #lateBefore = false;

  constructor(sources: ClockSources<Timer>) {
    this.#sources = sources;
    this.#seen = sources.now();
  }

  now(): number {
    const real = this.#sources.now();
    if (real - this.#timerDue > STALL) this.#stoodUntil(real);
    this.#seen = real;
    return real - this.#stood;
  }

  after(delay: number, callback: () => void, options: { unref?: boolean } = {}): () => void {
    const deadline: Deadline = {
      at: this.now() + Math.max(0, delay),
      callback,
      keepAlive: options.unref !== true,
      over: false,
    };
    const place = this.#placeAfter(deadline.at);
    this.#deadlines.splice(place, 0, deadline);
    if (deadline.keepAlive) this.#keptAlive += 1;
    this.#arm();
    return () => this.#cancel(deadline);
  }

  #cancel(deadline: Deadline): void {
    if (deadline.over) return;
    deadline.over = true;
    const index = this.#deadlines.indexOf(deadline);
    // It may be called back in a moment, once what has arrived is taken in; then it is in the list no more.
    if (index < 0) return;
    this.now();
    this.#deadlines.splice(index, 1);
    if (deadline.keepAlive) this.#keptAlive -= 1;
    this.#arm();
  }

  /** Our timer is overdue: it stands still, and has stood for a while. */
  #stoodUntil(real: number): void {
    let from = this.#seen;
    if (!this.#standing) {
      // A short lateness counts from when the timer was due. Of a long one it is unknown for how long we had stood before. But
      // a loop that is late every time must not put a deadline off for ever: then the timer was set for a SLOW_TURN at most.
      const long = real - this.#timerDue > LONG_STALL;
      if (!long || this.#lateBefore) from = Math.max(from, this.#timerDue);
      this.#lateBefore = long;
      this.#standing = true;
    }
    this.#stood += real - from;
  }

  /** Sets the timer for what is due first. One that is overdue is left to fire: only that shows that the loop goes on. */
  #arm(): void {
    const next = this.#deadlines[0];
    if (this.#standing && next !== undefined) return;
    const due = next === undefined ? Infinity : next.at + this.#stood;
    const keepAlive = this.#keptAlive > 0;
    if (this.#timer !== undefined) {
      const set = this.#lateBefore ? Math.min(due, this.#timerDue) : due;
      if (set === this.#timerDue && keepAlive === this.#timerKeepsAlive) return;
      this.#sources.clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    this.#standing = false;
    this.#timerDue = Infinity;
    if (next === undefined) return;
    const longest = this.#lateBefore ? SLOW_TURN : MAX_INT32;
    const delay = Math.min(Math.max(1, Math.ceil(due - this.#seen)), longest);
    this.#timerDue = Math.min(due, this.#seen + longest);
    this.#timerKeepsAlive = keepAlive;
    this.#timer = this.#sources.setTimeout(this.#fired, delay, keepAlive);
  }

  readonly #fired = (): void => {
    const late = this.#standing || this.#sources.now() - this.#timerDue > STALL;
    const now = this.now();
    if (!late) this.#lateBefore = false;
    this.#standing = false;
    this.#timer = undefined;
    this.#timerDue = Infinity;
    const due = this.#deadlines.splice(0, this.#placeAfter(now));
    for (const deadline of due) if (deadline.keepAlive) this.#keptAlive -= 1;
    this.#arm();
    // Lets the event loop take in what has already arrived before anything is judged by its absence.
    if (due.length > 0) this.#sources.setImmediate(() => this.#sources.setImmediate(() => this.#call(due)));
  };

  #call(due: readonly Deadline[]): void {
    for (const [index, deadline] of due.entries()) {
      if (deadline.over) continue;
      deadline.over = true;
      try {
        deadline.callback();
      } catch (error) {
        // As a timer's: it goes to the process, and the others are called all the same.
        const rest = due.slice(index + 1);
        if (rest.length > 0) this.#sources.setImmediate(() => this.#call(rest));
        throw error;
      }
    }
  }

  /** Where in the list a deadline of this time belongs: after all that are not later. */
  #placeAfter(at: number): number {
    let low = 0;
    let high = this.#deadlines.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#deadlines[middle] as Deadline).at <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
