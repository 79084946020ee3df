import type { RawMessage } from '../connection/protocol.js';
import { describe, InvalidArgumentError } from '../errors.js';
import { printable } from '../printable.js';

/**
 * A message of a channel, as a handler gets it.
 * @category Subscribing
 */
export interface StanMessage {
  /** The number of the message in its channel, from 1. It is exact up to 2^53. */
  readonly sequence: number;
  /** Name of the channel. */
  readonly channel: string;
  /** The payload, which may be empty. Each read gives the same buffer. */
  readonly data: Buffer;
  /** The time when the message was stored, by the clock of the server that led then. It is exact to 1 ms. */
  readonly timestamp: Date;
  /** The same time exactly as the server says it, in nanoseconds since 1970-01-01. */
  readonly timestampNanos: bigint;
  /** Whether the server says that it has sent this message before, or this client has handed it over before. */
  readonly redelivered: boolean;
  /**
   * How often the message came before: as often as the server has sent it again, or this client has handed it over before,
   * whichever is more, and once for each further try with {@link SubscribeOptions.retry}. A new leader counts from 0; what this
   * client knows of messages that are not processed yet stays.
   */
  readonly redeliveryCount: number;
  /** The payload as UTF-8 text. */
  string(): string;
  /**
   * The payload as JSON. This is the one method of this library that throws at once.
   * @typeParam T type of the value; it is not checked
   * @throws InvalidArgumentError when the payload is not JSON; it names channel and sequence
   */
  json<T = unknown>(): T;
  /**
   * Acknowledges the message, so that the server does not send it again. With `manualAck` this is the only way, and without
   * it the message is acknowledged earlier than at the end of its handler. It never throws, and may be called again. If the
   * session that brought the message is gone, the acknowledgement is sent when the server sends the message again.
   */
  ack(): void;
}

/**
 * Processes one message. The message is acknowledged when the returned promise resolves, or with `manualAck` at
 * {@link StanMessage.ack}. If the handler throws or its promise is rejected, the message is not acknowledged, and the
 * subscription emits `handler_error`. After `ackWait` the message is handed over again, or the subscription emits `gap` if the
 * server no longer has it. With {@link SubscribeOptions.retry} this client hands it over again, and earlier.
 *
 * The handler runs in the async context of the call of `subscribe()`, so an `AsyncLocalStorage` has the value that it had there.
 * @category Subscribing
 */
export type MessageHandler = (message: StanMessage) => void | Promise<void>;

/** What this client knows of earlier times that a message was handed over. */
export interface Earlier {
  /** How often it had been handed over before it came this time. */
  readonly before: number;
  /** How often this client has handed it over again since it came this time. */
  tries: number;
  /** When it was handed over the first time since it came, in ms of waking time. It is set with the first failure. */
  since: number;
}

/** Hears the calls of `ack()`. */
export interface Acknowledger {
  readonly channel: string;
  acknowledge(message: ReceivedMessage): void;
}

/**
 * A message from its receipt to the end of its handler. Fields that are not needed to find duplicates are read only when they
 * are used.
 */
export class ReceivedMessage implements StanMessage {
  readonly sequence: number;
  /** The timestamp by the clock of the leader, in ns since the epoch. */
  readonly time: number;
  /** The number of times that the channel had started over. A channel that starts over numbers its messages from 1 again. */
  readonly epoch: number;
  /** When the message was received, in ms of the clock. */
  readonly receivedAt: number;
  /** The number of the session that brought the message. */
  readonly session: number;
  /** Whether the message was fetched by its number, so that the server does not wait for its acknowledgement. */
  fetched = false;
  /** Whether the message counts as processed. */
  settled = false;
  /** When the message was last handed to the handler, in ms of the clock. It is set only with `manualAck` or `retry`. */
  handedAt = 0;
  /** Undefined unless the message was handed over before, or with `retry` its handler has failed. */
  earlier: Earlier | undefined;
  /** Where the {@link OverdueWatch} has the message; -1 if it has not. */
  place = -1;
  /** The reason why the message is a dead letter, if it was handed over too often. */
  exhausted: Error | undefined;
  readonly #owner: Acknowledger;
  readonly #raw: RawMessage;
  readonly #flagged: boolean;
  #data: Buffer | undefined;

  constructor(
    owner: Acknowledger,
    raw: RawMessage,
    sequence: number,
    time: number,
    redelivered: boolean,
    epoch: number,
    receivedAt: number,
    session: number,
  ) {
    this.receivedAt = receivedAt;
    this.session = session;
    this.#owner = owner;
    this.#raw = raw;
    this.sequence = sequence;
    this.time = time;
    this.#flagged = redelivered;
    this.epoch = epoch;
  }

  get channel(): string {
    return this.#owner.channel;
  }

  /** Whether the message belongs to this subscription. */
  isOf(owner: Acknowledger): boolean {
    return this.#owner === owner;
  }

  get data(): Buffer {
    return (this.#data ??= this.#raw.getRawData());
  }

  get timestamp(): Date {
    return new Date(this.time / 1e6);
  }

  get timestampNanos(): bigint {
    return this.#raw.getTimestampNanos();
  }

  get redelivered(): boolean {
    const { earlier } = this;
    return this.#flagged || (earlier !== undefined && earlier.before + earlier.tries > 0);
  }

  get redeliveryCount(): number {
    const sent = this.#raw.getRedeliveryCount();
    return this.earlier === undefined ? sent : Math.max(sent, this.earlier.before) + this.earlier.tries;
  }

  /** What the server itself says of earlier deliveries of a message. */
  static sentBefore(message: StanMessage): { redelivered: boolean; redeliveryCount: number } {
    if (!(message instanceof ReceivedMessage)) return message;
    return { redelivered: message.#flagged, redeliveryCount: message.#raw.getRedeliveryCount() };
  }

  string(): string {
    return this.data.toString('utf8');
  }

  json<T = unknown>(): T {
    const text = this.string();
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      throw new InvalidArgumentError(
        'data',
        `message ${this.sequence} of channel '${this.channel}' (${this.data.length} bytes) is not JSON: ${printable(describe(error))}`,
        { cause: error },
      );
    }
  }

  ack(): void {
    if (!this.settled) this.#owner.acknowledge(this);
  }

  /** Limits the output of `console.log` to the fields of the message. */
  [Symbol.for('nodejs.util.inspect.custom')](): object {
    return this.toJSON();
  }

  /** Limits the output of `JSON.stringify` in the same way. */
  toJSON(): object {
    return {
      channel: this.channel,
      sequence: this.sequence,
      timestamp: this.timestamp,
      redelivered: this.redelivered,
      bytes: this.data.length,
    };
  }
}

/** What is here instead of the methods of a message of node-nats-streaming. */
const INSTEAD = {
  getData: 'message.string() is the text, message.json() the value, message.data the bytes',
  getRawData: 'message.data are the bytes',
  getSequence: 'message.sequence is the number',
  getSubject: 'message.channel is the name',
  getTimestamp: 'message.timestamp is the date',
  getTimestampRaw: 'message.timestampNanos is the time in ns since the epoch, a bigint',
  isRedelivered: 'message.redelivered is the flag',
  getRedeliveryCount: 'message.redeliveryCount is the number',
  getCrc32: 'the client checks each message, and nothing is left to do',
} as const;

for (const [method, instead] of Object.entries(INSTEAD)) {
  Object.defineProperty(ReceivedMessage.prototype, method, {
    value(): never {
      throw new InvalidArgumentError('message', `there is no message.${method}() here: ${instead}`);
    },
  });
}
