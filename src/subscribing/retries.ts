/**
 * Decides whether a message whose handler failed is handed over again by us, and waits until then. The message keeps its place
 * among the running handlers meanwhile, so with a concurrency of 1 everything behind it waits.
 */
import { retryDelay } from '../backoff.js';
import type { Clock } from '../clock/clock.js';
import type { ReceivedMessage } from './message.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';

/** What becomes of a message whose handler failed. */
export type Outcome =
  /** Its handler gets it again after a delay in ms. */
  | { readonly next: 'again'; readonly delay: number }
  /** It is a dead letter. */
  | { readonly next: 'dead' }
  /** It stays unacknowledged, so that the server sends it again. */
  | { readonly next: 'left' };

export interface Failure {
  /** How often the handler has failed on the message in this client. */
  readonly failures: number;
  /** How often it was handed over: as often as the server has sent it, and once more for each further try. */
  readonly deliveries: number;
  /** How often the handler has failed on it since it last came, 1 or more. */
  readonly tries: number;
  /** How long ago the first of these tries began, in ms. */
  readonly elapsed: number;
  /** How long the server gives the message to nobody else, in ms. */
  readonly reserved: number;
}

/**
 * Returns what becomes of a message whose handler failed. `maxDeliveries` counts first. Without it, a message is a dead letter
 * after its last try, if there is somebody to take it. Pure.
 * @param random returns a number in [0, 1)
 */
export function afterFailure(
  { failures, deliveries, tries, elapsed, reserved }: Failure,
  { retry, maxDeliveries, deadLetter }: Pick<ResolvedSubscribeOptions, 'retry' | 'maxDeliveries' | 'deadLetter'>,
  random?: () => number,
): Outcome {
  if (maxDeliveries !== undefined && Math.max(failures, deliveries) >= maxDeliveries) return { next: 'dead' };
  if (retry === undefined) return { next: 'left' };
  const buries = maxDeliveries === undefined && deadLetter !== undefined;
  const delay = retryDelay(tries, retry, random);
  // In a group the tries may have been broken off before, so for a dead letter all of them count.
  if ((buries ? failures : tries) > retry.retries || elapsed + delay > retry.maxRetryTime) {
    return { next: buries ? 'dead' : 'left' };
  }
  return delay < reserved ? { next: 'again', delay } : { next: 'left' };
}

/** The messages that wait for their next try. */
export class Retries {
  readonly #clock: Clock;
  /** What ends the wait of each message early. */
  readonly #waits = new Map<ReceivedMessage, () => void>();
  /** Who is told when the next wait begins. */
  readonly #curious: (() => void)[] = [];
  #stopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether no message is handed over again any more. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** How many messages wait. */
  get waiting(): number {
    return this.#waits.size;
  }

  /** Resolves when the next message begins to wait. */
  begun(): Promise<void> {
    return new Promise((resolve) => this.#curious.push(resolve));
  }

  /** Resolves after the delay, or when the wait is ended. */
  wait(message: ReceivedMessage, delay: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        this.#waits.delete(message);
        resolve();
      };
      const cancel = this.#clock.after(delay, end, { unref: true });
      this.#waits.set(message, end);
      for (const tell of this.#curious.splice(0)) tell();
    });
  }

  /** Ends the wait of a message, because it is settled. */
  end(message: ReceivedMessage): void {
    if (this.#waits.size > 0) this.#waits.get(message)?.();
  }

  /** Ends all waits, because the subscription ends. */
  stop(): void {
    this.#stopped = true;
    for (const end of [...this.#waits.values()]) end();
  }
}
