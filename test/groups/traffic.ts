/** Messages at a steady rate, through whatever happens, and which of them were acknowledged. */
import type { ResilientStan } from '../../src/index.js';

/** How often some are published, in ms. */
const EVERY = 10;

export class Traffic {
  readonly acknowledged = new Set<string>();
  readonly #publisher: ResilientStan;
  readonly #channel: string;
  readonly #rate: number;
  readonly #timer: NodeJS.Timeout;
  readonly #begun = performance.now();
  #published = 0;

  /** @param rate messages a second */
  constructor(publisher: ResilientStan, channel: string, rate: number) {
    this.#publisher = publisher;
    this.#channel = channel;
    this.#rate = rate;
    this.#timer = setInterval(() => this.#publish(), EVERY);
  }

  /** Resolves when all are acknowledged. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#publisher.flush({ timeout: 60_000 });
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#publisher.close({ timeout: 1000 });
  }

  #publish(): void {
    const due = Math.floor(((performance.now() - this.#begun) / 1000) * this.#rate);
    for (; this.#published < due; this.#published++) {
      const value = `${this.#published} ${performance.now()}`;
      // What fails is not acknowledged, and nobody misses it.
      this.#publisher.publish(this.#channel, value).then(
        () => this.acknowledged.add(value),
        () => undefined,
      );
    }
  }
}
