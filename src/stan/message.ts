import { ReceivedMessage, type StanMessage } from '../subscribing/message.js';

/**
 * The part of a client that its messages use.
 * @category Subscribing
 */
export interface MessageClient {
  /** The options of the client. */
  readonly options: {
    /** `'binary'` when `Message.getData()` is to return a Buffer. */
    readonly stanEncoding?: string | undefined;
  };
}

/**
 * The part of a subscription that its messages use.
 * @category Subscribing
 */
export interface MessageSubscription {
  /** Whether it was closed or unsubscribed from. */
  isClosed(): boolean;
}

/**
 * A message of a channel, as node-nats-streaming hands it over.
 * @category Subscribing
 */
export class Message {
  /** The client that received the message. */
  readonly stanClient: MessageClient;
  /** The subscription that received the message. */
  readonly subscription: MessageSubscription;
  readonly #message: StanMessage;

  /** @internal */
  constructor(stanClient: MessageClient, message: StanMessage, subscription: MessageSubscription) {
    this.stanClient = stanClient;
    this.subscription = subscription;
    this.#message = message;
  }

  /** The number of the message in its channel, from 1. */
  getSequence(): number {
    return this.#message.sequence;
  }

  /** Name of the channel. */
  getSubject(): string {
    return this.#message.channel;
  }

  /** The payload as bytes. */
  getRawData(): Buffer {
    return this.#message.data;
  }

  /** The payload as text (UTF-8), or with `stanEncoding: 'binary'` as bytes. */
  getData(): string | Buffer {
    return this.stanClient.options.stanEncoding === 'binary' ? this.#message.data : this.#message.string();
  }

  /** The time when the message was stored, in nanoseconds since 1970-01-01, rounded to what a number holds. */
  getTimestampRaw(): number {
    return Number(this.#message.timestampNanos);
  }

  /** The same time exactly. node-nats-streaming does not have this method. */
  getTimestampNanos(): bigint {
    return this.#message.timestampNanos;
  }

  /** The time when the message was stored, exact to 1 ms. */
  getTimestamp(): Date {
    return this.#message.timestamp;
  }

  /** Whether the server says that it has sent this message before. */
  isRedelivered(): boolean {
    return ReceivedMessage.sentBefore(this.#message).redelivered;
  }

  /** The number of times that the server has sent the message again. */
  getRedeliveryCount(): number {
    return ReceivedMessage.sentBefore(this.#message).redeliveryCount;
  }

  /** Always 0, because no server sends a checksum. */
  getCrc32(): number {
    return 0;
  }

  /** Acknowledges the message. It does nothing when the subscription is closed. */
  ack(): void {
    if (!this.subscription.isClosed()) this.#message.ack();
  }
}
