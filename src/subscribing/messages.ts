/** A subscription as an async iterator. */
import { toOurs } from '../errors.js';
import { unprocessed } from './processing.js';
import type { MessageHandler, StanMessage } from './message.js';
import { Ring } from './ring.js';
import { ResilientSubscription, type Follower } from './subscription.js';

/** @param begun gets the subscription at once, before it is made */
type Subscribe = (
  handler: MessageHandler,
  begun: (subscription: ResilientSubscription) => void,
) => Promise<ResilientSubscription>;

/** A message and what its handler waits for. */
interface Handed {
  message: StanMessage;
  processed: () => void;
  abandoned: () => void;
}

/**
 * A message counts as processed, and is acknowledged, when the next one is asked for. Leaving the loop closes the
 * subscription; the last message, which no next one was asked for after, is not acknowledged.
 *
 * It subscribes at once; if that fails, the first `next()` rejects. An end that its client was asked for, by `close()`, is
 * `done`; one that has a reason is told, once.
 */
export function messages(subscribe: Subscribe): AsyncIterableIterator<StanMessage> {
  return new Messages(subscribe);
}

class Messages implements AsyncIterableIterator<StanMessage>, Follower {
  /** Handed over, and nobody has asked yet. */
  readonly #waiting = new Ring<Handed>();
  /** Asked, and nothing is there yet. */
  readonly #asking = new Ring<{ resolve: (r: IteratorResult<StanMessage>) => void; reject: (e: Error) => void }>();
  #current: Handed | undefined;
  /** From when it is asked for on. */
  #begun: ResilientSubscription | undefined;
  #over = false;
  #error: Error | undefined;

  constructor(subscribe: Subscribe) {
    const subscribing = (async () => {
      await subscribe(
        (message) => this.#handle(message),
        (begun) => {
          this.#begun = begun;
          ResilientSubscription.follow(begun, this);
        },
      );
    })();
    // Once it has begun, it has told us of its end before.
    subscribing.catch((error: unknown) => this.stopping(toOurs(error, 'messages()')));
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<StanMessage>> {
    this.#current?.processed();
    this.#current = undefined;
    const handed = this.#waiting.shift();
    if (handed !== undefined) {
      this.#current = handed;
      return Promise.resolve({ done: false, value: handed.message });
    }
    if (this.#over) return this.#last();
    return new Promise((resolve, reject) => this.#asking.push({ resolve, reject }));
  }

  /** Waits for nobody: neither the subscription nor its end need the caller any more. */
  return(): Promise<IteratorResult<StanMessage>> {
    this.#error = undefined;
    this.stopping(undefined);
    this.over();
    void this.#begun?.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  async throw(error?: unknown): Promise<IteratorResult<StanMessage>> {
    await this.return();
    throw error;
  }

  #handle(message: StanMessage): Promise<void> {
    return new Promise((resolve, reject) => {
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- it is told from an error of a user
      const handed = { message, processed: resolve, abandoned: () => reject(unprocessed) };
      const asking = this.#asking.shift();
      if (asking !== undefined) {
        // The next one may have been asked for already.
        if (this.#asking.length > 0) resolve();
        else this.#current = handed;
        asking.resolve({ done: false, value: message });
      } else if (this.#over) handed.abandoned();
      else this.#waiting.push(handed);
    });
  }

  get busy(): boolean {
    return this.#current !== undefined;
  }

  /** Nothing comes any more. What the loop has in hand counts as processed if it asks for the next one before it is over. */
  stopping(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    // What nobody has asked for yet need not be waited for.
    this.#abandonWaiting();
    for (let asking = this.#asking.shift(); asking !== undefined; asking = this.#asking.shift()) {
      this.#last().then(asking.resolve, asking.reject);
    }
  }

  over(): void {
    this.#current?.abandoned();
    this.#current = undefined;
  }

  #abandonWaiting(): void {
    for (let handed = this.#waiting.shift(); handed !== undefined; handed = this.#waiting.shift()) handed.abandoned();
  }

  /** What is left to say: once the error, if there is one, and then that it is done. */
  #last(): Promise<IteratorResult<StanMessage>> {
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) return Promise.reject(error);
    return Promise.resolve({ done: true, value: undefined });
  }
}
