/**
 * Waking time: the time in which this process could act. While the event loop stands still (in a long computation, on a
 * suspended machine, in a stopped process) no answer can be read, so that time does not count for any deadline.
 */
import { MAX_INT32 } from '../int32.js';
import type { ClockSources } from './sources.js';

/** A timer that is later than this shows that the event loop stood still, in ms. */
const STALL = 25;
/** A timer that is later than this does not show for how long the loop stood still before the timer was due, in ms. */
const LONG_STALL = 75;
/**
 * How much each turn counts at most when every turn of the loop takes long, in ms. A deadline then takes several turns,
 * and in each of them what has arrived can be read.
 */
const SLOW_TURN = 100;

interface Deadline {
  /** When it is due, in ms of waking time. */
  readonly at: number;
  readonly callback: () => void;
  readonly keepAlive: boolean;
  over: boolean;
}

/** Waking time and its deadlines. */
export class AwakeTime<Timer> {
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
    this.#seen = sources.monotonic();
  }

  /** The time in which this process could act, in ms. It begins at no particular value, and never decreases. */
  now(): number {
    const real = this.#sources.monotonic();
    if (real - this.#timerDue > STALL) this.#stoodUntil(real);
    this.#seen = real;
    return real - this.#stood;
  }

  /**
   * Calls back once, when `delay` ms of this time have passed and what had arrived by then has been read.
   * @param options `unref`: the deadline does not keep the process alive. Default false.
   * @returns what cancels it
   */
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
    const delay = Math.min(Math.max(0, due - this.#seen), longest);
    this.#timerDue = Math.min(due, this.#seen + longest);
    this.#timerKeepsAlive = keepAlive;
    this.#timer = this.#sources.setTimeout(this.#fired, delay, keepAlive);
  }

  readonly #fired = (): void => {
    const late = this.#standing || this.#sources.monotonic() - this.#timerDue > STALL;
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
