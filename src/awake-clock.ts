/**
 * A clock of the time in which this process could act. While the event loop stands still (in a long computation, on a
 * suspended machine, in a stopped process) no answer can be read, so that time does not count for any deadline.
 */
import { MAX_INT32 } from './int32.js';

/** A clock and its deadlines. */
export interface AwakeClock {
  /** The time in which this process could act, in ms. It begins at no particular value, and never decreases. */
  now(): number;
  /**
   * Calls back once, when `delay` ms of this time have passed and what had arrived by then has been read.
   * @param options `unref`: the deadline does not keep the process alive. Default false.
   * @returns what cancels it
   */
  after(delay: number, callback: () => void, options?: { unref?: boolean }): () => void;
}

/** The sources of the clock. Tests have sources of their own. */
export interface ClockSources<Timer = unknown> {
  /** Monotonic time, in ms. */
  now(): number;
  /** With `keepAlive` the process does not end by itself while the timer is set. */
  setTimeout(callback: () => void, delay: number, keepAlive: boolean): Timer;
  clearTimeout(timer: Timer): void;
  setImmediate(callback: () => void): void;
}

/** A timer that is later than this shows that the event loop stood still, in ms. */
const STALL = 25;
/** A timer that is later than this does not show for how long the loop stood still before the timer was due, in ms. */
const LONG_STALL = 75;
/**
 * How much each turn counts at most when every turn of the loop takes long, in ms. A deadline then takes several turns,
 * and in each of them what has arrived can be read.
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

/** Makes a clock. @param sources default: the real ones */
export function awakeClock<Timer = NodeJS.Timeout>(sources?: ClockSources<Timer>): AwakeClock {
  return sources === undefined ? new Clock(REAL_SOURCES) : new Clock(sources);
}

/** Length of a step of {@link patience}, in ms. */
const STEP = 200;

/**
 * Like `clock.after`, but in steps, so that a standstill that is shorter than `delay` is noticed as well. Between two steps
 * the loop turns several times and reads what has arrived. It is for waiting on an answer.
 * @returns what cancels it
 */
export function patience(clock: AwakeClock, delay: number, callback: () => void): () => void {
  let left = delay;
  let cancel: () => void;
  // The steps are counted, and the clock is not asked: without a deadline, as between two steps, it notices no standstill.
  const wait = (): void => {
    const duration = Math.min(left, STEP);
    left -= duration;
    cancel = clock.after(duration, () => (left <= 0 ? callback() : wait()));
  };
  wait();
  return () => cancel();
}

interface Deadline {
  /** When it is due, by this clock, in ms. */
  readonly at: number;
  readonly callback: () => void;
  readonly keepAlive: boolean;
  over: boolean;
}

class Clock<Timer> implements AwakeClock {
  readonly #sources: ClockSources<Timer>;
  /** Sorted: the soonest comes first. */
  readonly #deadlines: Deadline[] = [];
  #keptAlive = 0;
  /** The only timer. It is set for the soonest deadline. */
  #timer: Timer | undefined;
  /** When the timer is due, in real time. Infinity: none is set. */
  #timerDue = Infinity;
  #timerKeepsAlive = false;
  /** How much real time has not counted so far, in ms. */
  #stood = 0;
  /** When the loop was last seen awake, in real time. */
  #seen: number;
  /** Whether the timer is overdue. Time stands still until it fires. */
  #standing = false;
  /** Whether the timer before this one was very late as well. */
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
    // A deadline that is about to be called back is not in the list any more.
    if (index < 0) return;
    this.now();
    this.#deadlines.splice(index, 1);
    if (deadline.keepAlive) this.#keptAlive -= 1;
    this.#arm();
  }

  /** The timer is overdue: takes the time in which the loop stood still out of the count. */
  #stoodUntil(real: number): void {
    let from = this.#seen;
    if (!this.#standing) {
      // If the timer is a little late, the loop stood still since it was due. If it is very late, it may have stood still since
      // it was last seen. But where every turn is very late, that would put a deadline off for ever: then the timer was set
      // for at most a SLOW_TURN, and that much counts.
      const long = real - this.#timerDue > LONG_STALL;
      if (!long || this.#lateBefore) from = Math.max(from, this.#timerDue);
      this.#lateBefore = long;
      this.#standing = true;
    }
    this.#stood += real - from;
  }

  /** Sets the timer for the soonest deadline. An overdue timer is left to fire, because only that shows that the loop goes on. */
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
    // The event loop first reads what has already arrived, so that nothing is called missing that is there.
    if (due.length > 0) this.#sources.setImmediate(() => this.#sources.setImmediate(() => this.#call(due)));
  };

  #call(due: readonly Deadline[]): void {
    for (const [index, deadline] of due.entries()) {
      if (deadline.over) continue;
      deadline.over = true;
      try {
        deadline.callback();
      } catch (error) {
        // The error goes to the process, as that of any timer does, and the other deadlines are called all the same.
        const rest = due.slice(index + 1);
        if (rest.length > 0) this.#sources.setImmediate(() => this.#call(rest));
        throw error;
      }
    }
  }

  /** The place in the list for a deadline of this time, after all that are not later. */
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
