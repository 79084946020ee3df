/**
 * How many requests of the subscriptions wait for their answer at a time. The server works through requests one by one, so
 * more of them would not be answered sooner; but whatever another client asks would wait behind all of them.
 */
import type { Clock } from './clock.js';

/** Enough for the server always to have one in hand on a short way. */
const LEAST = 32;
const MOST = 1024;
/** So long, ms, an answer may wait behind others of ours: what another client asks would wait as long. */
const WAIT = 20;

export class Window {
  readonly #clock: Clock;
  #size = LEAST;
  #asked = 0;
  /** How long the quickest answer took, ms. */
  #quickest = Infinity;
  readonly #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A new session begins, on another way. */
  renew(): void {
    this.#size = LEAST;
    this.#quickest = Infinity;
  }

  /**
   * Sends it as soon as there is room, in the order of the calls; at once if there is some.
   * @param request undefined: nothing need be asked any more
   */
  async pass<T>(request: () => Promise<T> | undefined): Promise<T | undefined> {
    if (this.#asked < this.#size && this.#waiting.length === 0) this.#asked++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const sentAt = this.#clock.now();
    try {
      const asked = request();
      if (asked === undefined) return undefined;
      const answer = await asked;
      this.#answered(this.#clock.now() - sentAt);
      return answer;
    } finally {
      this.#asked--;
      // By halves, so that many leave in one piece: otherwise each answer wakes up everybody on the way for one request.
      if (this.#asked <= this.#size / 2) this.#refill();
    }
  }

  #refill(): void {
    while (this.#asked < this.#size && this.#waiting.length > 0) {
      this.#asked++;
      this.#waiting.shift()!();
    }
  }

  /**
   * On a long way most of the time is spent there, and not behind our other requests: then it takes more of them to keep
   * the server at work.
   */
  #answered(took: number): void {
    this.#quickest = Math.min(this.#quickest, took);
    if (took > 2 * this.#quickest + WAIT) this.#size = Math.max(LEAST, this.#size - 1);
    else this.#size = Math.min(MOST, this.#size + 1);
  }
}
