/** The one clock of a client. All its code takes time from it. */
import { AwakeTime } from './awake-time.js';
import { sleepTime } from './sleep-time.js';
import { REAL_SOURCES, type ClockSources } from './sources.js';

export interface Clock {
  /** Returns the waking time in ms, in which this process could act, for every deadline. It never decreases. */
  now(): number;
  /** Returns a time in ms that goes on while the host sleeps, for every age. It never decreases. */
  elapsed(): number;
  /** Returns the ms since the epoch, by the wall clock. It decreases when that clock is set back. */
  wall(): number;
  /**
   * Calls back once, when `delay` ms of waking time have passed and what had arrived by then has been read.
   * @param options `unref`: the deadline does not keep the process alive. Default false.
   * @returns what cancels it
   */
  after(delay: number, callback: () => void, options?: { unref?: boolean }): () => void;
  /** Calls back when the running code and its promises are done. */
  soon(callback: () => void): void;
}

/** Makes a clock. A client makes one. @param sources default: those of the host */
export function makeClock<Timer = NodeJS.Timeout>(sources?: ClockSources<Timer>): Clock {
  return sources === undefined ? new SourcedClock(REAL_SOURCES) : new SourcedClock(sources);
}

class SourcedClock<Timer> implements Clock {
  readonly #sources: ClockSources<Timer>;
  readonly #awake: AwakeTime<Timer>;
  readonly elapsed: () => number;

  constructor(sources: ClockSources<Timer>) {
    this.#sources = sources;
    this.#awake = new AwakeTime(sources);
    this.elapsed = sleepTime(sources);
  }

  now(): number {
    return this.#awake.now();
  }

  wall(): number {
    return this.#sources.wall();
  }

  after(delay: number, callback: () => void, options?: { unref?: boolean }): () => void {
    return this.#awake.after(delay, callback, options);
  }

  soon(callback: () => void): void {
    this.#sources.setImmediate(callback);
  }
}
