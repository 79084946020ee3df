import type { AwakeClock } from '../awake-clock.js';

/** One timer for everything that falls due. It does not keep the process alive. */
export class Alarm {
  readonly #ring: () => void;
  readonly #clock: AwakeClock;
  #cancel: (() => void) | undefined;
  #at = Infinity;

  /**
   * @param ring is called at the earliest time that was set since its last call, after what had arrived by then was taken in;
   *   it must not throw
   */
  constructor(ring: () => void, clock: AwakeClock) {
    this.#ring = ring;
    this.#clock = clock;
  }

  /** Rings at this time or earlier. */
  setBy(at: number): void {
    if (at >= this.#at) return;
    this.#cancel?.();
    this.#at = at;
    this.#cancel = this.#clock.after(
      at - this.#clock.now(),
      () => {
        this.#cancel = undefined;
        this.#at = Infinity;
        this.#ring();
      },
      { unref: true },
    );
  }

  /** Rings at this time and not earlier; Infinity means that it does not ring. */
  set(at: number): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#at = Infinity;
    if (at < Infinity) this.setBy(at);
  }
}
