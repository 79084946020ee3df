/**
 * The pulse of a publisher: a client of its own in the same process, which publishes a small message now and then to a channel
 * of its own. A publisher may have a backlog, so its next message waits for the earlier ones; the pulse tells when the cluster
 * acknowledges again.
 */
import { machineClock } from './protocol.js';

/** Time between two messages, in ms. */
const INTERVAL = 100;
/** How many messages may be unacknowledged. In a longer outage there are no more of them. */
const WINDOW = 30;

export class Pulse {
  readonly #publish: () => Promise<unknown>;
  readonly #acknowledged: (took: number) => void;
  #inFlight = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param acknowledged called at each acknowledgement with the time it took, in ms */
  constructor(publish: () => Promise<unknown>, acknowledged: (took: number) => void) {
    this.#publish = publish;
    this.#acknowledged = acknowledged;
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      if (this.#inFlight < WINDOW) void this.#beat();
    }, INTERVAL);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #beat(): Promise<void> {
    const at = machineClock();
    this.#inFlight++;
    try {
      await this.#publish();
      this.#acknowledged(machineClock() - at);
    } catch {
      // It only measures. The publisher itself tells what fails.
    } finally {
      this.#inFlight--;
    }
  }
}
