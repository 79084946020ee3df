/** A client of JetStream for the checker, in the meaning that NATS Streaming gives to publish and subscribe. */
import { randomBytes } from 'node:crypto';
import type { Consumer, ConsumerConfig, ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import '../../dispose.js';
import { ClosedError, InvalidArgumentError } from '../../errors.js';
import { findConsumer } from '../../migrate/hand-over.js';
import { consumerName, streamName } from '../../migrate/names.js';
import { MIGRATE_OPTIONS, readMigrateOptions } from '../../migrate/options.js';
import { Target } from '../../migrate/target.js';
import { OptionReader } from '../../option-reader.js';
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import type { CheckedClient, CheckedMessage } from '../continuity/checked-client.js';
import type { ServerConnectOptions } from '../security.js';
import { sleep } from '../wait.js';

/**
 * Options of {@link JetStreamSide.connect}.
 * @category Continuity
 */
export interface JetStreamSideOptions extends ServerConnectOptions {
  /** The client ID that the client had in STAN: with it the consumers of its durables are found. */
  clientId: string;
  /** Is not used. With it the `connectOptions` of a {@link StanCluster} fit, too. */
  clusterId?: string;
}

/** How long one attempt to publish may take, in ms. */
const ATTEMPT = 2000;
/** The pause before an attempt is repeated, in ms. */
const PAUSE = 50;
/** For how long a cluster has to say that there is no consumer, until that is believed, in ms. */
const NOT_FOUND = 2000;
/** How long a consumer of a group without a durable outlives its members, in ns. */
const GROUP_OUTLIVES = 30 * 1e9;
/** How long a consumer of a plain subscription outlives it, in ns. */
const PLAIN_OUTLIVES = 10 * 1e9;
/** How many messages a plain subscription asks for at a time. */
const AHEAD = 64;
/** How long one question for messages lasts, in ms. */
const QUESTION = 1000;
/** How long the server may take to confirm an acknowledgement, in ms. Without it the message comes again. */
const CONFIRMATION = 2000;

type Handler = (message: CheckedMessage) => void | Promise<void>;

/** Finds or makes a consumer that goes on behind the highest sequence that was handled. 0: none was. */
type Opener = (highest: number) => Promise<Consumer>;

interface ReadingSettings {
  readonly concurrency: number;
  /** In ms. */
  readonly ackWait: number;
  /** Whether the server waits for acknowledgements. */
  readonly acknowledges: boolean;
  /** No message up to here is wanted. */
  readonly behind: number;
}

/**
 * A client of JetStream that a {@link ContinuityChecker} can use, for the time after a move from STAN: a channel is the stream
 * that the migration has made of it, and a durable is the consumer that it has made of that.
 *
 * A publish is tried again until it is stored, under an ID by which JetStream stores it once. A handler that fails gets its message
 * again after `ackWait`.
 *
 * It needs the official client: `npm install @nats-io/transport-node @nats-io/jetstream`.
 *
 * @example
 * ```ts
 * await using side = await JetStreamSide.connect(jetstream.urls, { clientId: 'app', ...jetstream.connectOptions });
 * await checker.subscribe('reader', side, { startAt: 'first' });
 * checker.publish('writer', side);
 * ```
 * @category Continuity
 */
export class JetStreamSide implements CheckedClient {
  readonly #target: Target;
  readonly #clientId: string;
  readonly #subscriptions = new Set<JetStreamSubscription>();
  #closed = false;

  private constructor(target: Target, clientId: string) {
    this.#target = target;
    this.#clientId = clientId;
  }

  /**
   * Connects.
   * @param urls URLs of the servers with JetStream
   * @param options the client ID, and what the servers want
   * @throws PeerMissingError when the official client is not installed
   * @throws MigrationTargetError when there is no connection, or no JetStream
   */
  static async connect(urls: readonly string[], options: JetStreamSideOptions): Promise<JetStreamSide> {
    const { clientId, clusterId: _, ...source } = options;
    const read = new OptionReader({ from: urls, source }, 'options', { known: MIGRATE_OPTIONS });
    return new JetStreamSide(await Target.open(readMigrateOptions(read).target), clientId);
  }

  /**
   * Publishes a message. Resolves when it is stored. Those that are published before an earlier one is stored may be stored before it.
   * @throws ClosedError when the client is closed before
   */
  async publish(channel: string, data: string): Promise<void> {
    const msgID = randomBytes(12).toString('hex');
    while (!this.#closed) {
      try {
        await this.#target.jetstream.publish(channel, data, { msgID, timeout: ATTEMPT });
        return;
      } catch {
        // A leader is being elected, the stream is fenced still, or the answer was lost: the ID tells a second copy.
        await sleep(PAUSE);
      }
    }
    throw new ClosedError('the client was closed before the message was stored');
  }

  /**
   * Subscribes as `ResilientStan.subscribe` does, with its options `durableName`, `queueGroup`, `startAt`, `ackWait`, `maxInFlight`
   * and `concurrency`. A durable that has no consumer gets one.
   * @returns an object with `close()`, which keeps the consumer of a durable
   * @throws InvalidArgumentError when `startAt` is a time
   */
  async subscribe(
    channel: string,
    handler: (message: CheckedMessage) => void | Promise<void>,
    options: SubscribeOptions = {},
  ): Promise<{
    /** Ends it. The consumer of a durable is kept. */
    close(): Promise<void>;
  }> {
    const { durableName, queueGroup, concurrency = 1, ackWait = 30_000 } = options;
    const isPlain = durableName === undefined && queueGroup === undefined;
    const opener = isPlain ? this.#plain(channel, options) : await this.#shared(channel, options);
    const behind =
      typeof options.startAt === 'object' && 'sequence' in options.startAt ? options.startAt.sequence - 1 : 0;
    const settings = { concurrency, ackWait, acknowledges: !isPlain, behind: isPlain ? behind : 0 };
    const subscription = new JetStreamSubscription(opener, handler, settings);
    this.#subscriptions.add(subscription);
    await subscription.opened;
    return subscription;
  }

  /** A consumer of its own, which begins where the last one was left. */
  #plain(channel: string, { startAt }: SubscribeOptions): Opener {
    const { jetstream, client, manager } = this.#target;
    const stream = streamName(channel);
    const { AckPolicy, DeliverPolicy } = client.jetstream;
    const start = this.#startOf(startAt);
    return async (highest) => {
      const { name } = await manager.consumers.add(stream, {
        ack_policy: AckPolicy.None,
        inactive_threshold: PLAIN_OUTLIVES,
        mem_storage: true,
        num_replicas: 1,
        ...(highest === 0 ? start : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: highest + 1 }),
      });
      return jetstream.consumers.get(stream, name);
    };
  }

  /** A consumer that the server keeps: of a durable, or of a group. */
  async #shared(channel: string, options: SubscribeOptions): Promise<Opener> {
    const { durableName, queueGroup, ackWait = 30_000, maxInFlight = 1024, startAt } = options;
    const { jetstream, client } = this.#target;
    const stream = streamName(channel);
    const name =
      durableName === undefined
        ? `members+of+group+${streamName(queueGroup!)}` // no durable has a name of four parts
        : consumerName(
            queueGroup === undefined
              ? { clientId: this.#clientId, durable: durableName }
              : { group: queueGroup, durable: durableName },
          );
    await this.#makeUnlessThere(stream, {
      durable_name: name,
      ack_policy: client.jetstream.AckPolicy.Explicit,
      ack_wait: ackWait * 1e6,
      max_ack_pending: maxInFlight,
      ...(durableName === undefined && { inactive_threshold: GROUP_OUTLIVES }),
      ...this.#startOf(startAt),
    });
    return () => jetstream.consumers.get(stream, name);
  }

  /** Ends the subscriptions, and closes the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
    await this.#target.close();
  }

  /** Closes the client as {@link close} does, at the end of a scope with `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #makeUnlessThere(stream: string, config: Partial<ConsumerConfig>): Promise<void> {
    const name = config.durable_name!;
    const deadline = performance.now() + (this.#target.isClustered ? NOT_FOUND : 0);
    for (;;) {
      if ((await findConsumer(this.#target, stream, name)) !== undefined) return;
      // A server of a cluster that was just started, or elected, may not know it yet. One that is made once more begins anew.
      if (performance.now() >= deadline) break;
      await sleep(PAUSE);
    }
    await this.#target.manager.consumers.add(stream, config);
  }

  #startOf(startAt: SubscribeOptions['startAt']): Pick<Partial<ConsumerConfig>, 'deliver_policy' | 'opt_start_seq'> {
    const { DeliverPolicy } = this.#target.client.jetstream;
    if (startAt === 'first') return { deliver_policy: DeliverPolicy.All };
    if (startAt === 'last') return { deliver_policy: DeliverPolicy.Last };
    if (startAt === undefined || startAt === 'new') return { deliver_policy: DeliverPolicy.New };
    if (typeof startAt === 'object' && 'sequence' in startAt) {
      return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: startAt.sequence };
    }
    throw new InvalidArgumentError('startAt', 'a time is not supported here: the messages of a copy have other times');
  }
}

/** Reads a consumer and calls the handler, until it is closed. When the reading breaks off, it begins again. */
class JetStreamSubscription {
  /** Resolves when the consumer is there. */
  readonly opened: Promise<void>;
  readonly #open: Opener;
  readonly #handler: Handler;
  readonly #settings: ReadingSettings;
  /** What was handled: a message that comes again because its acknowledgement was lost is acknowledged once more. */
  readonly #handled = new Set<number>();
  readonly #running = new Set<Promise<void>>();
  readonly #over: Promise<void>;
  #consumer: Consumer | undefined;
  #question: ConsumerMessages | undefined;
  /** The highest sequence that was handled. */
  #highest: number;
  /** How many messages the consumer of a plain subscription has sent. */
  #delivered = 0;
  #closed = false;

  constructor(open: Opener, handler: Handler, settings: ReadingSettings) {
    this.#open = open;
    this.#handler = handler;
    this.#settings = settings;
    this.#highest = settings.behind;
    this.opened = open(settings.behind).then((consumer) => void (this.#consumer = consumer));
    this.#over = this.opened.then(() => this.#read());
    this.#over.catch(() => {}); // `opened` tells it
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#question?.stop();
    await this.#over.catch(() => {});
  }

  async #read(): Promise<void> {
    while (!this.#closed) {
      try {
        if (this.#consumer === undefined) {
          this.#consumer = await this.#open(this.#highest);
          this.#delivered = 0;
        }
        await this.#ask(this.#consumer);
      } catch {
        // The servers are away, the consumer has no leader for the moment, or a message was lost on the way.
        this.#consumer = undefined;
        if (!this.#closed) await sleep(PAUSE);
      }
    }
    await Promise.all(this.#running);
  }

  async #ask(consumer: Consumer): Promise<void> {
    const { concurrency, acknowledges } = this.#settings;
    // What waits here for its handler is on its ackWait all the same, and no other member gets it meanwhile.
    const room = acknowledges ? concurrency - this.#running.size : AHEAD;
    this.#question = await consumer.fetch({ max_messages: room, expires: QUESTION });
    for await (const message of this.#question) {
      if (this.#closed) return;
      // Nobody sends a message of a plain subscription again, so a lost one has to be noticed here.
      if (!acknowledges && message.info.deliverySequence !== ++this.#delivered) throw new Error('a message is missing');
      const running = this.#handle(message).finally(() => this.#running.delete(running));
      this.#running.add(running);
      if (this.#running.size >= concurrency) await Promise.race(this.#running);
    }
    // A plain consumer may be gone: it is in the memory of one server. Its info says so by an error.
    if (!acknowledges && this.#question.getProcessed() === 0) await consumer.info();
  }

  async #handle(message: JsMsg): Promise<void> {
    const sequence = message.seq;
    const { acknowledges, ackWait } = this.#settings;
    // Below 2.11 a server that is asked to start behind the last message starts at the last one.
    if (!acknowledges && sequence <= this.#highest) return;
    if (!this.#handled.has(sequence)) {
      try {
        await this.#handler({ sequence, data: message.data });
      } catch {
        if (acknowledges) message.nak(ackWait);
        return;
      }
      this.#highest = Math.max(this.#highest, sequence);
    }
    if (!acknowledges) return;
    this.#handled.add(sequence);
    await message.ackAck({ timeout: CONFIRMATION }).catch(() => false);
  }
}
