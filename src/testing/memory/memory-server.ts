/** A server in memory, as a test uses it. */
import { InvalidArgumentError, PayloadTooLargeError } from '../../errors.js';
import { OptionReader } from '../../option-reader.js';
import { PubMsgSize } from '../../publishing/pubmsg-size.js';
import { checkChannel, checkClusterId, checkPayload, show } from '../../validation.js';
import { Broker } from './broker.js';
import type { MemoryMessage } from './channel.js';

/**
 * Options of a {@link MemoryServer}. All are optional, and an unknown name is refused.
 * @category In memory
 */
export interface MemoryServerOptions {
  /** The cluster ID. Default `'test-cluster'`. */
  clusterId?: string | undefined;
  /** How many messages each channel keeps. The oldest ones are dropped, and who has not had them hears of a `gap`. Default: all. */
  maxMessages?: number | undefined;
  /** The largest message, in bytes with the overhead of the protocol, as `max_payload` of a server. Default 1048576. */
  maxPayload?: number | undefined;
}

/**
 * A subscription, as the server sees it.
 * @category In memory
 */
export interface MemorySubscription {
  /** Name of the channel. */
  channel: string;
  /** Client ID of the subscriber. Undefined for the durable of a queue group that has no member now. */
  clientId: string | undefined;
  /** Its durable, if it has one. */
  durableName: string | undefined;
  /** Its queue group, if it is in one. */
  queueGroup: string | undefined;
  /** Whether a client has it now. A durable stays when its client has gone. */
  online: boolean;
  /** The highest sequence that was sent to it. */
  lastSent: number;
  /** The sequences that were sent and are not acknowledged, in ascending order. */
  pending: number[];
}

/** The size of what `publish()` is given, as from a client with the shortest name. */
const PUBLISHED = new PubMsgSize('x');

/** The longest time that may pass at once, in ms: a hundred years. */
const LONGEST = 100 * 365 * 24 * 3600 * 1000;

/**
 * A NATS Streaming server in memory, for unit tests: no process, no socket, no waiting. Clients come to it by
 * {@link MemoryStan.connect}. Channels, durables and queue groups live as long as this object, whatever clients come and go.
 *
 * It has one node, and its messages arrive within a turn of the event loop. What a cluster does in its elections, and a network
 * in its bad hours, no double shows: that is what {@link StanCluster} is for.
 *
 * @example
 * ```ts
 * const server = new MemoryServer();
 * const shop = await MemoryStan.connect(server, { clientId: 'shop' });
 * const printer = await MemoryStan.connect(server, { clientId: 'printer' });
 * await printer.subscribe('orders', (message) => print(message.json()));
 * await shop.publish('orders', '{"id":1}');
 * await server.idle(); // delivered and handled
 * ```
 * @category In memory
 */
export class MemoryServer {
  readonly #broker: Broker;

  /**
   * @param options default: a server that keeps everything
   * @throws InvalidArgumentError when an option is wrong
   */
  constructor(options?: MemoryServerOptions) {
    const reader = new OptionReader(options, 'options', { known: ['clusterId', 'maxMessages', 'maxPayload'] });
    const clusterId = reader.values.clusterId ?? 'test-cluster';
    checkClusterId(clusterId);
    this.#broker = new Broker({
      clusterId,
      maxMessages: reader.number('maxMessages', Infinity, { min: 1, unit: 'messages', infinity: true }),
      maxPayload: reader.number('maxPayload', 1_048_576, { min: 1, unit: 'bytes' }),
    });
  }

  /** @internal */
  static brokerOf(server: MemoryServer): Broker {
    return server.#broker;
  }

  /** The cluster ID. */
  get clusterId(): string {
    return this.#broker.clusterId;
  }

  /** Whether it runs. It does not between {@link outage} and {@link restore}. */
  get running(): boolean {
    return this.#broker.up;
  }

  /** The client IDs that are connected now. */
  get clients(): string[] {
    return [...this.#broker.registrations.values()].filter(({ alive }) => alive).map(({ clientId }) => clientId);
  }

  /** The names of the channels, in the order in which they were first used. */
  get channels(): string[] {
    return [...this.#broker.channels.keys()];
  }

  /**
   * The messages that are stored, oldest first.
   * @param channel default: those of all channels, in the order in which they were published
   * @example
   * ```ts
   * assert.deepEqual(server.published('orders').map((message) => message.json()), [{ id: 1 }]);
   * ```
   */
  published(channel?: string): MemoryMessage[] {
    const { channels } = this.#broker;
    if (channel !== undefined) return [...(channels.get(channel)?.messages ?? [])];
    return [...channels.values()].flatMap(({ messages }) => messages).sort((a, b) => (a.nanos < b.nanos ? -1 : 1));
  }

  /**
   * The subscriptions that the server has, and the durables that wait for their clients.
   * @param channel default: those of all channels
   */
  subscriptions(channel?: string): MemorySubscription[] {
    return this.#broker.deliveries.shown
      .filter(({ request }) => channel === undefined || request.channel === channel)
      .map(({ clientId, request, place }) => ({
        channel: request.channel,
        clientId,
        durableName: request.durableName,
        queueGroup: request.queueGroup,
        online: place.online,
        lastSent: place.lastSent,
        pending: [...place.pending.keys()].sort((a, b) => a - b),
      }));
  }

  /**
   * Publishes a message at once, as a client that the test does not need would do.
   * @param channel name of the channel
   * @param data a string is stored as UTF-8
   * @returns the message that is stored
   * @throws InvalidArgumentError when an argument is wrong, or while the server is down
   * @throws PayloadTooLargeError when the message is larger than `maxPayload`
   */
  publish(channel: string, data: string | Uint8Array): MemoryMessage {
    checkChannel(channel);
    checkPayload(data);
    if (!this.#broker.up) throw new InvalidArgumentError('channel', 'the memory server is down: call restore() first');
    const bytes = Buffer.from(data as string);
    const { maxPayload } = this.#broker;
    if (PUBLISHED.exceeds(maxPayload, channel, bytes.length)) {
      throw new PayloadTooLargeError(channel, PUBLISHED.of(channel, bytes.length), maxPayload);
    }
    return this.#broker.store(channel, bytes, undefined);
  }

  /**
   * Stops the server. Its clients lose their connections (`connection_lost`, reason `'disconnect'`), keep what they publish, and
   * try to come back. Nothing that is stored is lost.
   */
  outage(): void {
    this.#broker.down();
  }

  /**
   * Ends an {@link outage}. The clients come back at once (`reconnect`), and what they have kept is published. Await
   * {@link idle} after it.
   */
  restore(): void {
    this.#broker.comeUp();
  }

  /**
   * Cuts connections, while the server goes on: `connection_lost`, and at once `reconnect`.
   * @param clientId default: those of all clients
   */
  disconnect(clientId?: string): void {
    this.#broker.disconnect(clientId, 'disconnect() was called');
  }

  /**
   * Forgets everything, as a server whose disk was replaced: messages, durables, clients. Connections are lost. Subscriptions that
   * had received something hear of a `reset` when their channel begins again.
   */
  wipe(): void {
    this.#broker.wipe();
  }

  /**
   * Resolves when nothing is left to do: every client is connected, what is published is stored, what is stored has been delivered
   * to whom it is due, and every handler is through.
   *
   * It does not wait for what only time brings, as a redelivery after `ackWait` or the next try of `retry` (see {@link advance}),
   * nor for what an {@link outage} holds up. The body of a `for await` loop over `messages()` is waited for as long as something happens in this
   * server: the test itself may be in it. A handler that waits for the test is waited for without end.
   *
   * @example
   * ```ts
   * await service.placeOrder({ id: 1 });
   * await server.idle();
   * assert.equal(mails.length, 1);
   * ```
   */
  idle(): Promise<void> {
    return this.#broker.idle();
  }

  /**
   * Makes time pass at once for this server and its clients: redeliveries after `ackWait`, timeouts and pauses that fall due on the
   * way happen, each at its time. Other timers of the test are not touched. With the fake timers of a test framework it is not
   * needed: they govern this time as well.
   *
   * @param ms how much time passes, in ms
   * @throws InvalidArgumentError when that is no time
   * @example
   * ```ts
   * await server.advance(30_000); // what a handler failed on comes again
   * await server.idle();
   * ```
   */
  async advance(ms: number): Promise<void> {
    if (typeof ms !== 'number' || !(ms >= 0 && ms <= LONGEST)) {
      throw new InvalidArgumentError(
        'ms',
        `the time that passes must be a number of milliseconds, 0 or more, not ${show(ms)}`,
      );
    }
    await this.#broker.advance(ms);
  }
}
