/**
 * The time of a server in memory and of its clients. It comes from the `Date` and the `setTimeout` that are there at the moment,
 * so that fake timers (of Jest, Sinon, Vitest, `node:test`) govern it, and it can be made to pass at once.
 */
import { AwakeTime } from '../../clock/awake-time.js';
import type { Clock } from '../../clock/clock.js';
import { timerDelay, type ClockSources } from '../../clock/sources.js';
import { nextTurn } from './turns.js';

/** How many turns a clock leaves for what arrives before it calls back. Nothing arrives from outside, so they are no turns here. */
const TURNS = 2;
/** How much later each message is than the one before at least, in ms and in ns. */
const STEP = 0.001;
const STEP_NS = 1000n;

interface Timer {
  /** When it is due, in ms of this time. */
  readonly at: number;
  readonly callback: () => void;
  readonly keepAlive: boolean;
  /** Takes it from the host. */
  cancel: () => void;
}

export class MemoryTime implements ClockSources<Timer> {
  readonly #timers = new Set<Timer>();
  /** This time. It never decreases. */
  #passed = 0;
  /** The host's `Date` when it was last read. */
  #seen = Date.now();
  /** How far this time is ahead of that `Date`, in ms. */
  #lead = 0;
  /** How much of it was made to pass, in ms. */
  #skipped = 0;
  /** The `setTimeout` of the host when it was last used. It changes when fake timers come and go. */
  #host: typeof setTimeout = globalThis.setTimeout;
  #stamped = 0n;
  /** How many turns in a row are none. */
  #turns = 0;

  readonly monotonic = (): number => {
    this.#look();
    return this.#passed;
  };

  readonly wall = (): number => {
    this.#look();
    return this.#seen + this.#skipped + this.#lead;
  };

  setTimeout(callback: () => void, delay: number, keepAlive: boolean): Timer {
    this.#look();
    const timer: Timer = { at: this.#passed + delay, callback, keepAlive, cancel: () => undefined };
    this.#timers.add(timer);
    this.#arm(timer);
    return timer;
  }

  clearTimeout(timer: Timer): void {
    timer.cancel();
    this.#timers.delete(timer);
  }

  setImmediate(callback: () => void): void {
    if (this.#turns > 0) {
      this.#turns -= 1;
      callback();
    } else nextTurn(callback);
  }

  /** Returns a clock of this time, for a client or a server. */
  clock(): Clock {
    const awake = new AwakeTime(this);
    return {
      now: () => awake.now(),
      // A host that sleeps is no matter of unit tests, and one that sets its `Date` has not slept.
      elapsed: this.monotonic,
      wall: this.wall,
      after: (delay, callback, options) => awake.after(delay, callback, options),
      soon: nextTurn,
    };
  }

  /**
   * The time of a message: in ms of this time, and in ns since the epoch. No two have the same, and what is asked for later is
   * later, also while the time of the host stands still.
   */
  stamp(): { at: number; nanos: bigint } {
    this.#look();
    const now = BigInt(this.#seen + this.#skipped) * 1_000_000n + BigInt(Math.round(this.#lead * 1e6));
    this.#stamped = now > this.#stamped ? now : this.#stamped + STEP_NS;
    const at = this.#passed;
    this.#leap(STEP);
    return { at, nanos: this.#stamped };
  }

  /**
   * Makes time pass at once. Every timer that falls due on the way fires at its time.
   * @param settle is awaited after each of them: what follows from it comes first
   */
  async advance(ms: number, settle: () => Promise<void>): Promise<void> {
    const end = this.monotonic() + ms;
    await settle();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#skip(next.at);
      this.#fire(next);
      await settle();
    }
    this.#skip(end);
    this.#rearm();
  }

  /** The timer that is due next, if that is not after `end`. */
  #next(end: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.at <= end && (next === undefined || timer.at < next.at)) next = timer;
    }
    return next;
  }

  #skip(to: number): void {
    const ms = to - this.monotonic();
    if (ms <= 0) return;
    this.#passed += ms;
    this.#skipped += Math.floor(ms);
    this.#lead += ms - Math.floor(ms);
  }

  #leap(ms: number): void {
    this.#passed += ms;
    this.#lead += ms;
  }

  /** Lets this time follow the `Date` of the host, which may also be set. */
  #look(): void {
    const date = Date.now();
    if (globalThis.setTimeout !== this.#host) {
      // Fake timers have come or gone, and with them another `Date`. Time goes on from where it was.
      this.#host = globalThis.setTimeout;
      this.#seen = date;
      this.#rearm();
      return;
    }
    const step = date - this.#seen;
    this.#seen = date;
    if (step <= 0) return;
    const lead = Math.max(0, this.#lead - step);
    this.#passed += step + lead - this.#lead;
    this.#lead = lead;
  }

  #rearm(): void {
    for (const timer of this.#timers) {
      timer.cancel();
      this.#arm(timer);
    }
  }

  #arm(timer: Timer): void {
    const { setTimeout, clearTimeout } = globalThis;
    const handle: unknown = setTimeout(() => this.#fire(timer), timerDelay(Math.max(0, timer.at - this.#passed)));
    // In a DOM it is a number.
    if (!timer.keepAlive && typeof handle === 'object') (handle as Partial<NodeJS.Timeout>).unref?.();
    timer.cancel = () => clearTimeout(handle as NodeJS.Timeout);
  }

  #fire(timer: Timer): void {
    if (!this.#timers.delete(timer)) return;
    timer.cancel();
    this.#look();
    // The host says that its delay is over, also if its `Date` stands still.
    if (timer.at > this.#passed) this.#leap(timer.at - this.#passed);
    this.#turns = TURNS;
    try {
      timer.callback();
    } finally {
      this.#turns = 0;
    }
  }
}
