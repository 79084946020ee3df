/**
 * The time of a server in memory and of its clients. It comes from the `Date` and the `setTimeout` that are there at the moment,
 * so that fake timers (of Jest, Sinon, Vitest, `node:test`) govern it, and it can be made to pass at once.
 *
 * How long something takes, the timers say: when one fires, its delay is over. Between two timers `Date` says how far time is, and
 * it goes on no further than to the next timer. So nothing is ever late, whoever sets the `Date` or makes it jump.
 */
import type { Clock } from '../../clock/clock.js';
import { timerDelay } from '../../clock/sources.js';
import { nextTurn } from './turns.js';

/** How much later a message is than the one before at least, in ms and in ns. */
const STEP = 0.001;
const STEP_NS = 1000n;

interface Timer {
  /** When it is due, in ms of this time. */
  readonly at: number;
  readonly callback: () => void;
  readonly keepAlive: boolean;
  /** Takes it from the host. */
  cancel: () => void;
  /** Leaves it to a host that has gone. */
  leave: () => void;
}

export class MemoryTime implements Clock {
  readonly #timers = new Set<Timer>();
  /** When the next one is due. */
  #soonest = Infinity;
  /** This time, in ms. It never decreases. */
  #passed = 0;
  /** The host's `Date` when it was last read. */
  #seen = Date.now();
  /** How much of this time was made to pass, in ms. */
  #skipped = 0;
  /** The `setTimeout` of the host when it was last used. It changes when fake timers come and go. */
  #host: typeof setTimeout = globalThis.setTimeout;
  /** The time of the last message, in ns since the epoch. */
  #stamped = 0n;

  now(): number {
    this.#look();
    return this.#passed;
  }

  /** The same, because a host that sleeps is no matter of unit tests. */
  elapsed(): number {
    return this.now();
  }

  wall(): number {
    return Date.now() + this.#skipped;
  }

  after(delay: number, callback: () => void, { unref = false }: { unref?: boolean } = {}): () => void {
    const timer: Timer = {
      at: this.now() + Math.max(0, delay),
      callback,
      keepAlive: !unref,
      cancel: nothing,
      leave: nothing,
    };
    this.#timers.add(timer);
    this.#soonest = Math.min(this.#soonest, timer.at);
    this.#arm(timer);
    return () => this.#remove(timer);
  }

  soon(callback: () => void): void {
    nextTurn(callback);
  }

  #remove(timer: Timer): void {
    // The host may have gone.
    this.#look();
    timer.cancel();
    if (!this.#timers.delete(timer) || timer.at > this.#soonest) return;
    this.#soonest = Infinity;
    for (const { at } of this.#timers) this.#soonest = Math.min(this.#soonest, at);
  }

  /**
   * The time of a message: in ms of this time, and in ns since the epoch. No two have the same, and what is asked for later is
   * later, also while the time of the host stands still.
   */
  stamp(): { at: number; nanos: bigint } {
    this.#look();
    const at = this.#passed;
    this.#passed += STEP;
    const now = BigInt(Math.floor(this.wall())) * 1_000_000n;
    this.#stamped = now > this.#stamped ? now : this.#stamped + STEP_NS;
    return { at, nanos: this.#stamped };
  }

  /**
   * Makes time pass at once. Every timer that falls due on the way fires at its time.
   * @param settle is awaited after each of them: what follows from it comes first
   */
  async advance(ms: number, settle: () => Promise<void>): Promise<void> {
    const end = this.now() + ms;
    await settle();
    while (this.#soonest <= end) {
      for (const timer of this.#timers) {
        if (timer.at > this.#soonest) continue;
        this.#skip(timer.at);
        this.#fire(timer);
        break;
      }
      await settle();
    }
    this.#skip(end);
    for (const timer of this.#timers) {
      timer.cancel();
      this.#arm(timer);
    }
  }

  #skip(to: number): void {
    const ms = to - this.now();
    if (ms <= 0) return;
    this.#passed = to;
    this.#skipped += ms;
  }

  /** Lets this time follow the `Date` of the host. */
  #look(): void {
    const date = Date.now();
    const step = date - this.#seen;
    this.#seen = date;
    if (globalThis.setTimeout !== this.#host) {
      // Fake timers have come or gone, and with them another `Date`. Time goes on from where it was.
      this.#host = globalThis.setTimeout;
      for (const timer of this.#timers) {
        timer.leave();
        this.#arm(timer);
      }
    } else if (step > 0) {
      this.#passed = Math.max(this.#passed, Math.min(this.#passed + step, this.#soonest));
    }
  }

  #arm(timer: Timer): void {
    const { setTimeout, clearTimeout } = globalThis;
    let left = false;
    const fired = (): void => {
      if (left) return;
      // A timer that has fired must not be cleared: `node:test` would take another one for it.
      timer.cancel = timer.leave = nothing;
      this.#fire(timer);
    };
    const handle: unknown = setTimeout(fired, timerDelay(Math.max(0, timer.at - this.#passed)));
    // In a DOM it is a number.
    const unref = (): void => {
      if (typeof handle === 'object') (handle as Partial<NodeJS.Timeout>).unref?.();
    };
    if (!timer.keepAlive) unref();
    timer.cancel = () => clearTimeout(handle as NodeJS.Timeout);
    // It is not cleared, for the same reason.
    timer.leave = () => {
      left = true;
      unref();
    };
  }

  #fire(timer: Timer): void {
    if (!this.#timers.has(timer)) return;
    this.#remove(timer);
    this.#seen = Date.now();
    this.#passed = Math.max(this.#passed, timer.at);
    timer.callback();
  }
}

function nothing(): void {}
