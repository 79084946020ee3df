import type { RawMessage } from '../connection/protocol.js';
import { describe, InvalidArgumentError } from '../errors.js';
import { printable } from '../printable.js';

/** A message of a channel, as a handler gets it. */
export interface StanMessage {
  /** Its number in the channel, from 1. Exact up to 2^53. */
  readonly sequence: number;
  readonly channel: string;
  /** The payload. Decoded when first asked for, and then always the same buffer. Empty payloads are legal. */
  readonly data: Buffer;
  /** When the server stored it, by the clock of the leader of that moment, in milliseconds. */
  readonly timestamp: Date;
  /** The same, exactly as the server says it: nanoseconds since the epoch. */
  readonly timestampNanos: bigint;
  /** The server says it sent this message before. */
  readonly redelivered: boolean;
  /** How many times the server sent it again; a change of leader starts the count over. */
  readonly redeliveryCount: number;
  /** The payload as UTF-8 text. */
  string(): string;
  /**
   * The payload as JSON.
   * @throws InvalidArgumentError naming channel and sequence, when it is none; at once, as `JSON.parse` does
   */
  json<T = unknown>(): T;
  /**
   * Says that the message is processed: the server need not send it again. The only way to do so with `manualAck`;
   * without it, early. Idempotent, never throws; if the session that brought the message is gone, the acknowledgement
   * goes out when the server sends the message again.
   */
  ack(): void;
}

/**
 * Processes one message. It counts as processed, and is acknowledged, when the returned promise resolves (with
 * `manualAck`: at `ack()`). If it throws or rejects, the message is not acknowledged, the subscription emits
 * `handler_error`, and the message is handed over again after `ackWait`: the server sends it, or it is fetched by its number.
 * If the server does not have it any more, the subscription emits `gap`.
 */
export type MessageHandler = (message: StanMessage) => void | Promise<void>;

/** Who is told of `ack()`. */
export interface Acknowledger {
  readonly channel: string;
  acknowledge(message: ReceivedMessage): void;
}

/** A message on its way through the handler. Everything but what dedupe needs is read when it is asked for. */
export class ReceivedMessage implements StanMessage {
  readonly sequence: number;
  readonly redelivered: boolean;
  /** The leader's timestamp, nanoseconds since the epoch. */
  readonly time: number;
  /** Which channel of that name: a channel that started over numbers from 1 again. */
  readonly epoch: number;
  /** Our clock when it was received, ms. */
  readonly receivedAt: number;
  /** In which session, counted up. */
  readonly session: number;
  /** It was asked for by its number: the server does not wait for its acknowledgement. */
  fetched = false;
  /** It counts as processed. */
  settled = false;
  /** Our monotonic clock when it was handed to the handler (`manualAck` only). */
  handedAt = 0;
  /** It was handed over too often: a dead letter, and why. */
  exhausted: Error | undefined;
  readonly #owner: Acknowledger;
  readonly #raw: RawMessage;
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
    this.redelivered = redelivered;
    this.epoch = epoch;
  }

  get channel(): string {
    return this.#owner.channel;
  }

  /** Whether this subscription got it. */
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

  get redeliveryCount(): number {
    return this.#raw.getRedeliveryCount();
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

  /** @internal What node-nats-streaming has in this place. @throws InvalidArgumentError that says what there is here */
  getData(): never {
    throw new InvalidArgumentError(
      'message',
      'there is no message.getData() here: message.string() is the text, message.json() the value, message.data the bytes',
    );
  }

  /** For `console.log`: what it is, not what it hangs on. */
  [Symbol.for('nodejs.util.inspect.custom')](): object {
    return this.toJSON();
  }

  /** The same for `JSON.stringify`. */
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
