import type { AwakeClock } from '../awake-clock.js';

/** One timer for everything that falls due at some time. It does not keep the process alive. */
export class Alarm {
  readonly #ring: () => void;
  readonly #clock: AwakeClock;
  #cancel: (() => void) | undefined;
  #at = Infinity;

  /**
   * @param ring is called at the earliest time set since the last call, once what had arrived by then was taken in; it must
   *   not throw
   */
  constructor(ring: () => void, clock: AwakeClock) {
    this.#ring = ring;
    this.#clock = clock;
  }

  /** Not later than at this time. */
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

  /** At this time and not before; at Infinity, not at all. */
  set(at: number): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#at = Infinity;
    if (at < Infinity) this.setBy(at);
  }
}
