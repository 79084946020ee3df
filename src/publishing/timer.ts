import type { Clock } from '../clock/clock.js';

/** One timer for everything that falls due. It does not keep the process alive. */
export class Timer {
  readonly #onDue: () => void;
  readonly #clock: Clock;
  #cancel: (() => void) | undefined;
  #at = Infinity;

  /**
   * @param onDue is called at the earliest time that was set since its last call, after what had arrived by then was taken in;
   *   it must not throw
   */
  constructor(onDue: () => void, clock: Clock) {
    this.#onDue = onDue;
    this.#clock = clock;
  }

  /** Calls back at this time or earlier. */
  setBy(at: number): void {
    if (at >= this.#at) return;
    this.#cancel?.();
    this.#at = at;
    this.#cancel = this.#clock.after(
      at - this.#clock.now(),
      () => {
        this.#cancel = undefined;
        this.#at = Infinity;
        this.#onDue();
      },
      { unref: true },
    );
  }

  /** Calls back at this time and not earlier; Infinity means never. */
  set(at: number): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#at = Infinity;
    if (at < Infinity) this.setBy(at);
  }
}
