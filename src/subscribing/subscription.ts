import { SafeEmitter } from '../emitter.js';
import type { CallbackError } from '../errors.js';
import type { Consumer } from './consumer.js';
import type { StanMessage } from './message.js';

/** The events of a subscription. Each carries one object. */
export interface SubscriptionEvents {
  /** The server has it: the first time, and every time it was made again. */
  ready: (event: { subscription: ResilientSubscription }) => void;
  /** The handler threw or rejected; the message is not acknowledged and will come again. */
  handler_error: (event: { error: unknown; message: StanMessage }) => void;
  /** The server no longer has these, both ends included (limits of the channel); reading goes on above them. */
  gap: (event: { from: number; to: number }) => void;
  /**
   * The channel was deleted and started over: `got` came where `expected` should have been. Reading goes on from the
   * first message of the new one.
   */
  reset: (event: { expected: number; got: number }) => void;
  /** A message was delivered `maxDeliveries` times in vain; it is given up and acknowledged. */
  dead_letter: (event: { message: StanMessage; error: unknown }) => void;
  /** It is over; with the reason if nobody asked for it. */
  closed: (event: { error?: Error }) => void;
}

/**
 * A subscription that outlives sessions: it is made again on each new one, where it left off. Got from
 * `ResilientStan.subscribe()`.
 */
export class ResilientSubscription extends SafeEmitter<SubscriptionEvents> {
  readonly #consumer: Consumer;

  private constructor(consumer: Consumer) {
    super();
    this.#consumer = consumer;
  }

  /** @internal */
  static of(consumer: Consumer, onListenerThrown: (error: CallbackError) => void): ResilientSubscription {
    const subscription = new ResilientSubscription(consumer);
    SafeEmitter.reportTo(subscription, onListenerThrown);
    return subscription;
  }

  /** @internal */
  static onStop(subscription: ResilientSubscription, callback: () => void): void {
    subscription.#consumer.onStop = callback;
  }

  get channel(): string {
    return this.#consumer.channel;
  }

  /** The highest sequence below which everything is processed; 0 before the first message. */
  get lastSequence(): number {
    return this.#consumer.lastSequence;
  }

  /**
   * Ends it, and makes the server forget a durable. Like {@link close} otherwise. During an outage the durable is
   * dropped on the next session, and only then this resolves.
   * @throws (as a rejection) ClosedError if the client is closed before a durable could be dropped; PermissionError if the
   *   server forbids that; SubscribeError if it is in use again
   */
  unsubscribe(): Promise<void> {
    return this.#consumer.unsubscribe();
  }

  /**
   * Ends it, and keeps a durable. Nothing is delivered from now on; running handlers finish and are acknowledged, and
   * what was waiting for one is not. Resolves when that is done and the server has been told; during an outage, as soon as no
   * handler runs. It waits for handlers no longer than `ackWait`: so do not await it within a handler, which would wait
   * for itself. Idempotent; never rejects.
   */
  close(): Promise<void> {
    return this.#consumer.close();
  }

  /** Same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
