/** A channel of a server in memory, and its messages. */

/**
 * A message that a {@link MemoryServer} has stored.
 * @category In memory
 */
export class MemoryMessage {
  /** Name of the channel. */
  readonly channel: string;
  /** Its number in the channel, from 1. */
  readonly sequence: number;
  /** Its bytes. */
  readonly data: Buffer;
  /** When the server has stored it, by the `Date` of the test. */
  readonly timestamp: Date;
  /** Client ID of the publisher. Undefined if the test itself published it, by {@link MemoryServer.publish}. */
  readonly clientId: string | undefined;
  /** @internal When it was stored, in ms of the time of the server. */
  readonly at: number;
  /** @internal In ns since the epoch. */
  readonly nanos: bigint;

  /** @internal */
  constructor(
    channel: string,
    sequence: number,
    data: Buffer,
    clientId: string | undefined,
    { at, nanos }: { at: number; nanos: bigint },
  ) {
    this.channel = channel;
    this.sequence = sequence;
    this.data = data;
    this.clientId = clientId;
    this.at = at;
    this.nanos = nanos;
    this.timestamp = new Date(Number(nanos / 1_000_000n));
  }

  /** The bytes as UTF-8 text. */
  string(): string {
    return this.data.toString();
  }

  /**
   * The text, parsed as JSON.
   * @throws SyntaxError when it is none
   */
  json<T = unknown>(): T {
    return JSON.parse(this.string()) as T;
  }
}

export class Channel {
  readonly name: string;
  /** Those that are still stored. */
  readonly messages: MemoryMessage[] = [];
  #last = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Sequence of the oldest message that is stored; of the next one if none is. */
  get first(): number {
    return this.messages[0]?.sequence ?? this.#last + 1;
  }

  /** Sequence of the newest message. 0 before the first. */
  get last(): number {
    return this.#last;
  }

  /** Stores a message, and drops the oldest ones that are more than `limit`. */
  store(data: Buffer, clientId: string | undefined, time: { at: number; nanos: bigint }, limit: number): MemoryMessage {
    const message = new MemoryMessage(this.name, ++this.#last, data, clientId, time);
    this.messages.push(message);
    if (this.messages.length > limit) this.messages.splice(0, this.messages.length - limit);
    return message;
  }

  lookup(sequence: number): MemoryMessage | undefined {
    return this.messages[sequence - this.first];
  }
}
