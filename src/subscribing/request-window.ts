/**
 * Limits how many requests of the subscriptions wait for their answer at a time. The server works on one request at a time, so
 * more of them would not be answered sooner, while the requests of other clients would wait behind all of them.
 */
import type { Clock } from '../clock/clock.js';

/** The fewest and the most requests at a time. The fewest keep a server busy over a short distance. */
const LEAST = 32;
const MOST = 1024;
/** Longest wait of an answer behind other requests of this client, in ms. A request of another client waits as long. */
const WAIT = 20;

export class Window {
  readonly #clock: Clock;
  #size = LEAST;
  #asked = 0;
  /** The shortest time of an answer, in ms. */
  #quickest = Infinity;
  readonly #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Forgets the measured times, because a new session takes another path. */
  renew(): void {
    this.#size = LEAST;
    this.#quickest = Infinity;
  }

  /**
   * Sends a request as soon as there is room, in the order of the calls.
   * @param request returns undefined if nothing has to be asked any more
   */
  async pass<T>(request: () => Promise<T> | undefined): Promise<T | undefined> {
    if (this.#asked < this.#size && this.#waiting.length === 0) this.#asked++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const sentAt = this.#clock.elapsed();
    try {
      const asked = request();
      if (asked === undefined) return undefined;
      const answer = await asked;
      this.#answered(this.#clock.elapsed() - sentAt);
      return answer;
    } finally {
      this.#asked--;
      // The window is refilled when it is half empty, so that many requests leave in one piece. Otherwise each answer would
      // cause one small packet.
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
   * Adjusts the number of requests. Over a long distance, an answer spends most of its time on the way and not behind other
   * requests, so more requests are needed to keep the server busy.
   */
  #answered(took: number): void {
    this.#quickest = Math.min(this.#quickest, took);
    if (took > 2 * this.#quickest + WAIT) this.#size = Math.max(LEAST, this.#size - 1);
    else this.#size = Math.min(MOST, this.#size + 1);
  }
}
