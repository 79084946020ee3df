import type { StanMessage } from '../subscribing/message.js';

/** What a message asks of its client. */
export interface MessageClient {
  readonly options: { readonly stanEncoding?: string | undefined };
}

/** What a message asks of its subscription. */
export interface MessageSubscription {
  isClosed(): boolean;
}

/** A message of a channel, as node-nats-streaming hands it over. */
export class Message {
  readonly stanClient: MessageClient;
  readonly subscription: MessageSubscription;
  readonly #message: StanMessage;

  /** @internal */
  constructor(stanClient: MessageClient, message: StanMessage, subscription: MessageSubscription) {
    this.stanClient = stanClient;
    this.subscription = subscription;
    this.#message = message;
  }

  /** Its number in the channel. */
  getSequence(): number {
    return this.#message.sequence;
  }

  /** The channel. */
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

  /** When the server stored it: nanoseconds since the epoch, rounded to what a number holds. */
  getTimestampRaw(): number {
    return Number(this.#message.timestampNanos);
  }

  /** The same, exactly. Not in node-nats-streaming. */
  getTimestampNanos(): bigint {
    return this.#message.timestampNanos;
  }

  /** When the server stored it. */
  getTimestamp(): Date {
    return this.#message.timestamp;
  }

  /** The server says it sent this message before. */
  isRedelivered(): boolean {
    return this.#message.redelivered;
  }

  /** How many times the server sent it again. */
  getRedeliveryCount(): number {
    return this.#message.redeliveryCount;
  }

  /** Always 0: no server sends one. */
  getCrc32(): number {
    return 0;
  }

  /** Says that it is processed. Does nothing once its subscription is closed. */
  ack(): void {
    if (!this.subscription.isClosed()) this.#message.ack();
  }
}
