/** Offers a subscription as an async iterator. */
import { toOurs } from '../errors.js';
import { unprocessed } from './processing.js';
import type { MessageHandler, StanMessage } from './message.js';
import { Ring } from './ring.js';
import { ResilientSubscription, type Follower } from './subscription.js';

/** @param begun is called with the subscription at once, before the server has made it */
type Subscribe = (
  handler: MessageHandler,
  begun: (subscription: ResilientSubscription) => void,
) => Promise<ResilientSubscription>;

/**
 * The messages of a subscription as an async iterator. It is made by {@link ResilientStan.messages}.
 *
 * @example
 * ```ts
 * const messages = stan.messages('orders', { durableName: 'saver' });
 * const subscription = await messages.subscription;
 * subscription.on('gap', ({ from, to }) => console.warn(`messages ${from} to ${to} are gone`));
 * for await (const message of messages) await save(message.json());
 * ```
 * @category Subscribing
 */
export interface MessagesIterator extends AsyncIterableIterator<StanMessage> {
  /**
   * The subscription behind the loop: its events, {@link ResilientSubscription.lag}, and `unsubscribe()`. It resolves when the
   * server has the subscription, whether or not a message was asked for, and rejects with the errors of
   * {@link ResilientStan.subscribe}, which the loop throws as well.
   */
  readonly subscription: Promise<ResilientSubscription>;
}

/** A message and the functions that end the wait of its handler. */
interface Handed {
  message: StanMessage;
  processed: () => void;
  abandoned: () => void;
}

/**
 * Returns the messages of a subscription as an async iterator. It subscribes at once; if that fails, the first `next()`
 * rejects.
 *
 * A message counts as processed and is acknowledged when the next one is requested. When the loop is left, the subscription is
 * closed, and the last message is not acknowledged.
 *
 * If the client or its user closes the subscription, the iterator is done. If the subscription ends for another reason, one
 * call of `next()` rejects with that reason.
 */
export function messages(subscribe: Subscribe): MessagesIterator {
  return new Messages(subscribe);
}

class Messages implements MessagesIterator, Follower {
  readonly subscription: Promise<ResilientSubscription>;
  /** The messages that nobody has requested yet. */
  readonly #waiting = new Ring<Handed>();
  /** The requests that no message has come for yet. */
  readonly #asking = new Ring<{ resolve: (r: IteratorResult<StanMessage>) => void; reject: (e: Error) => void }>();
  #current: Handed | undefined;
  /** The subscription. It is set as soon as there is one. */
  #begun: ResilientSubscription | undefined;
  #over = false;
  #error: Error | undefined;

  constructor(subscribe: Subscribe) {
    const subscribing = (async () =>
      subscribe(
        (message) => this.#handle(message),
        (begun) => {
          this.#begun = begun;
          ResilientSubscription.follow(begun, this);
        },
      ))();
    this.subscription = subscribing.catch((thrown: unknown) => {
      const error = toOurs(thrown, 'messages()');
      // If the subscription had begun, the iterator has heard of its end before.
      this.stopping(error);
      throw error;
    });
    // Nobody has to ask for the subscription.
    this.subscription.catch(() => undefined);
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

  /** Closes the subscription without waiting for it, because the caller needs neither the subscription nor its end. */
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
        // The next message may have been requested already.
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

  /**
   * Ends the iterator. The message that the loop has in hand counts as processed if the loop requests the next one before the
   * subscription is over.
   */
  stopping(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    // Nothing has to wait for messages that nobody has requested.
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

  /** Returns the last results: the error once, if there is one, and then that the iterator is done. */
  #last(): Promise<IteratorResult<StanMessage>> {
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) return Promise.reject(error);
    return Promise.resolve({ done: true, value: undefined });
  }
}
