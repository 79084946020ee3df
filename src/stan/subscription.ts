import { EventEmitter } from 'node:events';
import { ClosedError, toError } from '../errors.js';
import type { ResilientStan } from '../resilient-stan.js';
import type { StanMessage } from '../subscribing/message.js';
import type { ResilientSubscription } from '../subscribing/subscription.js';
import { StanError, subscribeError, unsubscribeError } from './errors.js';
import { nextGuid } from './guid.js';
import { Message, type MessageClient } from './message.js';
import { subscribeOptionsOf, type SubscriptionOptions } from './subscription-options.js';
import { tell, tellError } from './tell.js';
import { BAD_SUBJECT, BAD_SUBSCRIPTION, CONN_CLOSED } from './texts.js';

/** Thrown for a message that came after its subscription was closed, so that it is not acknowledged. */
class NotHandled extends Error {}

type End = 'close' | 'unsubscribe';

/**
 * The part of a client that its subscriptions use.
 * @category Subscribing
 */
export interface SubscriptionClient extends EventEmitter, MessageClient {
  /** The open subscriptions, by their inbox. */
  readonly subMap: Record<string, unknown>;
  /** Whether the client is closed. */
  isClosed(): boolean;
}

/**
 * A subscription. Its events are `ready`, which comes once, `message`, `error`, `unsubscribed` and `closed`. It also has `gap`
 * and `reset` of this library, which node-nats-streaming does not have. It lives through outages, and never emits `timeout`.
 * @category Subscribing
 */
export class Subscription extends EventEmitter {
  /** Its client. Undefined after it was closed or unsubscribed from. */
  stanConnection: SubscriptionClient | undefined;
  /** Name of the channel. */
  readonly subject: string;
  /** Name of the queue group, if it is a member of one. */
  readonly qGroup: string | undefined;
  /** The options that it was made with. */
  readonly opts: SubscriptionOptions;
  /** Its name in `Stan.subMap`. */
  readonly inbox: string;
  /** A name for the subject of acknowledgements. Undefined until `ready`. */
  ackInbox: string | undefined;
  /** The number of the subscription in its client. Undefined when it was refused at once. */
  inboxSub: number | undefined;
  readonly #stan: SubscriptionClient;
  readonly #stop = new AbortController();
  #made: ResilientSubscription | undefined;
  #making: Promise<void> | undefined;
  #isClientOpen = (): boolean => false;

  /** @internal */
  constructor(stan: SubscriptionClient, subject: string, qGroup: string | undefined, opts: SubscriptionOptions) {
    super();
    this.#stan = stan;
    this.stanConnection = stan;
    this.subject = subject;
    this.qGroup = qGroup;
    this.opts = opts;
    this.inbox = `_INBOX.${nextGuid()}`;
  }

  /** @internal Makes it at the server, now or when there is one. @param number the number of the subscription in its client */
  static begin(subscription: Subscription, client: ResilientStan | undefined, number: number): void {
    subscription.#begin(client, number);
  }

  /** Whether it was closed or unsubscribed from. */
  isClosed(): boolean {
    return this.stanConnection === undefined;
  }

  /** Ends the subscription, and makes the server forget a durable. It emits `unsubscribed`. */
  unsubscribe(): void {
    this.#end('unsubscribe');
  }

  /** Ends the subscription. The server keeps a durable. It emits `closed`. */
  close(): void {
    this.#end('close');
  }

  #begin(client: ResilientStan | undefined, number: number): void {
    const { subject } = this;
    if (typeof subject !== 'string' || subject === '') return this.#refuse(new StanError(BAD_SUBJECT));
    if (client === undefined) return this.#refuse(new StanError(CONN_CLOSED));
    this.#stan.subMap[this.inbox] = this;
    this.inboxSub = number;
    this.#isClientOpen = () => client.state !== 'closing' && client.state !== 'closed';
    let options;
    try {
      options = { ...subscribeOptionsOf(this.opts, this.qGroup), signal: this.#stop.signal };
    } catch (error) {
      return this.#failed(toError(error));
    }
    const handle = this.opts.ackOnResolve
      ? (message: StanMessage) => this.#handleAsync(message)
      : (message: StanMessage) => this.#handle(message);
    this.#making = client.subscribe(subject, handle, options).then(
      (made) => this.#isMade(made),
      (error: Error) => this.#failed(error),
    );
  }

  /** Tells of a subscription that was refused at once. It does so in a later tick, so that the caller can add listeners. */
  #refuse(error: Error): void {
    process.nextTick(() => tellError(error, this, this.#stan));
  }

  #failed(error: Error): void {
    delete this.#stan.subMap[this.inbox];
    // Nothing is told if the subscription was closed, or its client, which tells its own end.
    if (this.isClosed() || !this.#isClientOpen()) return;
    process.nextTick(() => {
      tellError(subscribeError(error), this, this.#stan);
      tell(this, 'unsubscribed');
    });
  }

  #isMade(made: ResilientSubscription): void {
    this.#made = made;
    made.on('gap', (gap) => tell(this, 'gap', gap));
    made.on('reset', (reset) => tell(this, 'reset', reset));
    made.on('closed', ({ error }) => {
      if (error !== undefined) this.#failed(error);
    });
    this.#isReady();
  }

  /** Tells `ready` once. The first message may come before the promise of `subscribe` resolves. */
  #isReady(): void {
    if (this.ackInbox !== undefined) return;
    this.ackInbox = `_INBOX.${nextGuid()}`;
    if (!this.isClosed()) tell(this, 'ready');
  }

  #handle(received: StanMessage): void {
    const message = this.#message(received);
    try {
      this.emit('message', message);
    } catch (error) {
      tellError(error, this, this.#stan);
      throw error;
    }
  }

  async #handleAsync(received: StanMessage): Promise<void> {
    const message = this.#message(received);
    try {
      const answers = await Promise.allSettled(
        this.rawListeners('message').map(async (listener) => {
          await (Reflect.apply(listener, this, [message]) as unknown);
        }),
      );
      for (const answer of answers) if (answer.status === 'rejected') throw answer.reason;
    } catch (error) {
      tellError(error, this, this.#stan);
      throw error;
    }
  }

  #message(received: StanMessage): Message {
    this.#isReady();
    // A message that is not handled is not acknowledged, so the next subscription gets it.
    if (this.isClosed()) throw new NotHandled();
    return new Message(this.#stan, received, this);
  }

  #end(how: End): void {
    const stan = this.stanConnection;
    if (stan === undefined) {
      this.emit('error', new StanError(BAD_SUBSCRIPTION));
      return;
    }
    this.stanConnection = undefined;
    delete stan.subMap[this.inbox];
    if (stan.isClosed()) {
      this.emit('error', new StanError(CONN_CLOSED));
      return;
    }
    void this.#endAtServer(how);
  }

  async #endAtServer(how: End): Promise<void> {
    const durable = this.opts.durableName !== undefined && this.opts.durableName !== '';
    // A durable must be made first, because only a client that has it can drop it.
    if (how === 'close' || !durable) this.#stop.abort();
    try {
      await this.#making;
      if (how === 'close') await this.#made?.close();
      else await this.#made?.unsubscribe();
      tell(this, how === 'close' ? 'closed' : 'unsubscribed');
    } catch (error) {
      const told = unsubscribeError(toError(error));
      // If the client has ended first, only a listener of the subscription hears of it.
      if (error instanceof ClosedError && this.listenerCount('error') === 0) return;
      tellError(told, this, this.#stan);
    }
  }
}
