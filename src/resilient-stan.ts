/** The facade. It connects the layers with each other and emits the public events. */
import type { EventEmitter } from 'eventemitter3';
import { AbortWatch } from './abort-signal.js';
import { makeClock, type Clock } from './clock/clock.js';
import type { MakeGateway } from './connection/gateway.js';
import { NatsGateway } from './connection/nats-gateway.js';
import { Participants } from './connection/participants.js';
import type { ConnectionState } from './connection/states.js';
import { Supervisor, type SupervisorEvents } from './connection/supervisor.js';
import { lossChannel, reconnectChannel, suspicionChannel } from './diagnostics.js';
import './dispose.js';
import { SafeEmitter } from './emitter.js';
import { DatedError } from './error-json.js';
import {
  AbortedError,
  CallbackError,
  ClientIdConflictError,
  ClosedError,
  ConnectError,
  describe,
  ResilientStanError,
  TimeoutError,
  toOurs,
  type ConnectionLostError,
} from './errors.js';
import { CLIENT_EVENTS, type ResilientStanEvents } from './events.js';
import { inMicrotask } from './microtask.js';
import {
  resolveCloseOptions,
  resolveConnectOptions,
  resolveFlushOptions,
  type CloseOptions,
  type BaseConnectOptions,
  type FlushOptions,
  type ResolvedConnectOptions,
} from './options.js';
import {
  resolvePublishOptions,
  type PublishOptions,
  type ResolvedPublishOptions,
} from './publishing/publisher-options.js';
import { publishTracing } from './publishing/publish-trace.js';
import { Publisher, type PubAck } from './publishing/publisher.js';
import type { PublishListener } from './publishing/settlers.js';
import { GRACE } from './subscribing/handling.js';
import type { MessageHandler } from './subscribing/message.js';
import { Caller } from './subscribing/caller.js';
import { messages, type MessagesIterator } from './subscribing/messages.js';
import { ChannelReader, type ReaderOwner, type ReaderRequest } from './subscribing/reader.js';
import {
  resolveQuestionOptions,
  resolveRange,
  type QuestionOptions,
  type ReadRange,
} from './subscribing/read-options.js';
import {
  resolveMessagesOptions,
  resolveSubscribeOptions,
  type SubscribeContext,
  type SubscribeOptions,
} from './subscribing/subscribe-options.js';
import type { ResilientSubscription } from './subscribing/subscription.js';
import { Subscriptions } from './subscribing/subscriptions.js';
import { troubleLine, type Trouble } from './subscribing/troubles.js';
import type { Teller } from './tracing.js';
import { askUser } from './user-code.js';
import { checkChannel, checkPayload } from './validation.js';

/**
 * Options of {@link ResilientStan.connect}. All are optional, times are milliseconds, and an unknown name is refused with
 * an {@link InvalidArgumentError}.
 *
 * @example
 * ```ts
 * const stan = await ResilientStan.connect('nats://a:4222,nats://b:4222', {
 *   clusterId: 'test-cluster',
 *   clientId: 'orders-1',
 *   publishing: { ordering: 'strict' },
 *   initialConnect: { retries: Infinity }, // wait for a cluster that is not up yet
 * });
 * ```
 * @category Client
 */
export interface ConnectOptions extends BaseConnectOptions {
  /** Asked at each loss whether to reconnect. Default: the client always reconnects. */
  connectionLostHandler?: ConnectionLostHandler | undefined;
}

/**
 * Called once for each loss of a session. It answers `'close'` to close the client, and `'reconnect'` or nothing to
 * reconnect. The client waits for the answer. If the handler throws or its promise is rejected, the client reconnects,
 * and emits `error`.
 *
 * @param error says what ended the session
 * @param stan the client
 * @example
 * ```ts
 * const connectionLostHandler: ConnectionLostHandler = (error) => (error.reason === 'replaced' ? 'close' : 'reconnect');
 * ```
 * @category Client
 */
export type ConnectionLostHandler = (
  error: ConnectionLostError,
  stan: ResilientStan,
) => void | 'reconnect' | 'close' | Promise<void | 'reconnect' | 'close'>;

/**
 * Numbers of a client. Counters count since `connect()`, and gauges are of this moment.
 * @category Monitoring
 */
export interface StanStats {
  /** Counter: calls of `publish()` with valid arguments. It always is `acknowledged + rejected + pending`. */
  published: number;
  /** Counter: publishes that the cluster has acknowledged. */
  acknowledged: number;
  /** Counter: publishes whose promise was rejected, also because the outbox was full. */
  rejected: number;
  /** Counter: how often a message was sent again. */
  resent: number;
  /** Gauge: publishes that are not settled, including those that wait for room (`whenFull: 'wait'`). */
  pending: number;
  /** Gauge: size of their payloads, without those that wait for room, in bytes. */
  pendingBytes: number;
  /** Gauge: publishes that were sent on the live session and are not acknowledged. */
  inFlight: number;
  /** Counter: messages that were handed to handlers. */
  delivered: number;
  /** Counter: messages that came again after they were processed. They were acknowledged and not handed over. */
  duplicatesDropped: number;
  /** Counter: messages that came with the server's redelivery flag, also those that were not handed over. */
  redelivered: number;
  /**
   * Counter: messages that the client fetched by their numbers, because the server did not send them by itself to a durable
   * or a queue group, or did not send an unacknowledged one again.
   */
  fetched: number;
  /** Counter: how often a handler or a `deadLetter` function has failed (`handler_error`). */
  handlerErrors: number;
  /** Counter: how often messages were gone before they were processed (`gap`). */
  gaps: number;
  /** Counter: how often a channel has begun again (`reset`). */
  resets: number;
  /** Counter: messages that were given up (`dead_letter`). */
  deadLetters: number;
  /** Counter: how often the promise of a handler was pending, and its message not acknowledged, for longer than `ackWait`. */
  overdue: number;
  /** Counter: how often an answer of the leader was overdue, and the client asked whether it lives. Mostly it did. */
  suspicions: number;
  /** Counter: sessions that were lost. */
  losses: number;
  /** Counter: sessions that were up again after a loss. */
  reconnects: number;
  /** Gauge: open subscriptions. */
  subscriptions: number;
}

/**
 * The health of a client. `healthy` is the answer for a readiness probe, and the rest says why.
 *
 * @example
 * ```ts
 * const { healthy, state, lastError } = stan.health();
 * response.statusCode = healthy ? 200 : 503;
 * response.end(JSON.stringify({ state, lastError })); // an error shows its name, message, code and causes
 * ```
 * @category Monitoring
 */
export interface StanHealth {
  /** The client is connected, no answer of the leader is overdue, and every channel is acknowledged. */
  healthy: boolean;
  /** The state of the client. */
  state: ConnectionState;
  /** When it came into this state. */
  since: Date;
  /** URL of the live session, without credentials. Undefined while there is none. */
  server: string | undefined;
  /** An answer of the leader is overdue, and the client asks whether it lives. */
  suspect: boolean;
  /**
   * Channels whose publishes are not acknowledged although the leader answers, because the server that has them is down or
   * very slow. The other channels go on.
   */
  unacknowledgedChannels: string[];
  /** Publishes that are not settled. */
  pending: number;
  /** Sessions lost so far. */
  losses: number;
  /** The last loss, failed attempt or error. Undefined before the first. In JSON it has what the error says, without its stack. */
  lastError:
    | {
        /** What it was. */
        error: Error;
        /** When it was. */
        at: Date;
      }
    | undefined;
  /**
   * What last went wrong with messages of a subscription. It does not make the client unhealthy. Undefined before the first
   * time.
   */
  lastTrouble:
    | {
        /** Name of the event, or `'overdue'`: a handler ran for longer than `ackWait`. */
        event: 'handler_error' | 'gap' | 'reset' | 'dead_letter' | 'overdue';
        /** Name of the channel. */
        channel: string;
        /** What happened, as in the log. */
        text: string;
        /** When it was. */
        at: Date;
      }
    | undefined;
}

/** @internal What a client stands on, if that is not the clock of the host and servers that are dialled. */
export interface Footing {
  clock: Clock;
  makeGateway: MakeGateway;
}

/** @internal Makes the object of a client. */
export type MakeStan<Stan extends ResilientStan> = (
  options: ResolvedConnectOptions<ResilientStan>,
  abort: AbortWatch | undefined,
) => Stan;

/** How long `close()` waits for the server's answer to the close request, in ms. */
const CLOSE_REQUEST_TIMEOUT = 2000;
/** How long it waits at least, also when its time is over, in ms. So a living server can free the client ID. */
const CLOSE_REQUEST_LEAST = 250;
/** How many valid channel names are kept. Looking a name up is cheaper than checking it again. */
const MAX_KNOWN_CHANNELS = 1024;

/**
 * A NATS Streaming client that outlives its servers. It is made by {@link ResilientStan.connect} or, to have it before it
 * is connected, by {@link ResilientStan.create}.
 *
 * Its events are `connecting`, `session`, `connect`, `connection_lost`, `reconnecting`, `reconnect`, `resubscribe`, `permission_error`,
 * `client_id_conflict`, `state`, `handler_error`, `gap`, `reset`, `dead_letter`, `error` and `close`: see {@link ResilientStanEvents} for what each of them carries.
 * Nothing but {@link ResilientStan.create} throws synchronously, and the methods that take the name of an event, when there
 * is no such event: whatever else is wrong comes as a rejected promise.
 *
 * @example
 * ```ts
 * const stan = await ResilientStan.connect(['nats://a:4222', 'nats://b:4222', 'nats://c:4222'], { clientId: 'orders-1' });
 * await stan.subscribe('orders', async (message) => console.log(message.sequence, message.string()), { startAt: 'first' });
 * await stan.publish('orders', 'hello');
 * await stan.close();
 * ```
 * @category Client
 */
export class ResilientStan extends SafeEmitter<ResilientStanEvents> {
  readonly #options: ResolvedConnectOptions<ResilientStan>;
  /** The one clock of all layers. */
  readonly #clock: Clock;
  /** How this client is named on the channels of `node:diagnostics_channel`. */
  readonly #teller: Teller;
  readonly #publisher: Publisher;
  readonly #subscriptions: Subscriptions;
  readonly #supervisor: Supervisor;
  readonly #readerOwner: ReaderOwner;
  readonly #knownChannels = new Set<string>();
  #connected: Promise<void> = Promise.resolve();
  readonly #closed: Promise<Error | undefined>;
  #resolveClosed!: (reason: Error | undefined) => void;
  /** Resolves when a drain is to stop waiting, because its time is over or no session will come back. */
  readonly #gaveUp: Promise<void>;
  #resolveGaveUp!: () => void;
  /** When the drain stops waiting at the latest, by the clock of this client. */
  #closeBy = Infinity;
  #cancelPatience: (() => void) | undefined;
  /** These are called when the client begins to close. */
  readonly #onClosing = new Set<() => void>();
  #closing: Promise<void> | undefined;
  #ended = false;
  /** `close` was emitted, and no other event may follow it. */
  #over = false;
  #suspicions = 0;
  #losses = 0;
  #reconnects = 0;
  #since: Date;
  #lastError: DatedError | undefined;
  #lastTrouble: StanHealth['lastTrouble'];
  readonly #abort: AbortWatch | undefined;

  static readonly #plain: MakeStan<ResilientStan> = (options, abort) => new ResilientStan(options, abort);

  /**
   * Connects to the cluster. The promise resolves when the first session is up.
   *
   * @param servers one URL, several URLs separated by commas, or an array, as `nats://host:port` or `tls://host:port`;
   *   default `nats://localhost:4222`
   * @param options all optional
   * @throws InvalidArgumentError before anything is dialled
   * @throws ConnectError with every server and its reason, when all attempts of {@link ConnectOptions.initialConnect} failed
   * @throws AuthorizationError at once, when the credentials are refused
   * @throws ClientIdConflictError when another live client has the client ID, and still has it after 60 s; at once with
   *   `clientIdConflict: 'close'`
   * @throws AbortedError when the signal is aborted
   * @example
   * ```ts
   * await using stan = await ResilientStan.connect('nats://localhost:4222', { clientId: 'orders-1' });
   * ```
   */
  static connect(servers?: string | readonly string[], options?: ConnectOptions): Promise<ResilientStan> {
    return ResilientStan.connectAs(ResilientStan.#plain, servers, options);
  }

  /** @internal Does what {@link connect} does, with a client that is made elsewhere. */
  static async connectAs<Stan extends ResilientStan>(
    make: MakeStan<Stan>,
    servers?: string | readonly string[],
    options?: ConnectOptions,
  ): Promise<Stan> {
    try {
      const resolved = resolveConnectOptions(servers, options);
      const { signal } = resolved;
      const abort = signal === undefined ? undefined : new AbortWatch(signal);
      if (abort?.aborted) {
        abort.stop();
        throw new AbortedError('connect() was aborted before it began', { cause: abort.reason });
      }
      const stan = make(resolved, abort);
      await stan.#connectAfter('connect()');
      return stan;
    } catch (error) {
      throw toOurs(error, 'connect()');
    }
  }

  /**
   * Makes a client at once, in state `connecting`, and connects in the background. It tries for ever, unless
   * {@link ConnectOptions.initialConnect} says otherwise. Until the first session is up, `publish()`, `subscribe()` and
   * `messages()` wait for it as they do in an outage.
   *
   * {@link connected} and the event `connect` tell when it is up. If it can never be, {@link connected} rejects, and the client
   * emits `close`.
   *
   * @param servers as for {@link ResilientStan.connect}
   * @param options as for {@link ResilientStan.connect}, but `initialConnect.retries` is `Infinity` by default
   * @throws InvalidArgumentError at once, synchronously
   * @example
   * ```ts
   * const stan = ResilientStan.create('nats://localhost:4222', { clientId: 'orders-1' });
   * void stan.publish('orders', 'hello'); // sent when there is a cluster
   * await stan.connected();
   * ```
   */
  static create(servers?: string | readonly string[], options?: ConnectOptions): ResilientStan {
    return ResilientStan.createAfter(undefined, servers, options);
  }

  /** @internal Does what {@link create} does, and dials nothing before `start` has resolved, which must not reject. */
  static createAfter(
    start: Promise<unknown> | undefined,
    servers?: string | readonly string[],
    options?: ConnectOptions,
  ): ResilientStan {
    return ResilientStan.createAs(ResilientStan.#plain, start, servers, options);
  }

  /** @internal Does what {@link createAfter} does, with a client that is made elsewhere. */
  static createAs<Stan extends ResilientStan>(
    make: MakeStan<Stan>,
    start?: Promise<unknown>,
    servers?: string | readonly string[],
    options?: ConnectOptions,
  ): Stan {
    try {
      const resolved = resolveConnectOptions(servers, options, Infinity);
      const abort = resolved.signal === undefined ? undefined : new AbortWatch(resolved.signal);
      const stan = make(resolved, abort);
      // It begins in a later turn, so that the caller can add listeners.
      const connected = stan.#connectAfter('create()', Promise.resolve(start));
      // A caller who listens to the events need not ask, and a rejection must not be an unhandled one.
      connected.catch(() => undefined);
      return stan;
    } catch (error) {
      throw toOurs(error, 'create()');
    }
  }

  /** @internal The connection ID of the live session, which is up or being brought up. */
  static connectionIdOf(stan: ResilientStan): Uint8Array | undefined {
    return stan.#supervisor.session?.registration.connectionId;
  }

  /** @internal The subscriptions of a client, to wait for their handlers. */
  static subscriptionsOf(stan: ResilientStan): Subscriptions {
    return stan.#subscriptions;
  }

  private constructor(
    options: ResolvedConnectOptions<ResilientStan>,
    abort: AbortWatch | undefined,
    footing?: Footing,
  ) {
    super(CLIENT_EVENTS);
    this.#clock = footing?.clock ?? makeClock();
    this.#since = this.#date();
    SafeEmitter.reportTo(this, (error, event) => {
      // A listener of 'error' that throws would be told of its own failure without end.
      if (event === 'error' && !this.#over) options.logger.error(error.message, { error });
      else this.#error(error);
    });
    this.#options = options;
    this.#abort = abort;
    this.#teller = { clientId: options.clientId, clusterId: options.clusterId };
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#gaveUp = new Promise((resolve) => {
      this.#resolveGaveUp = resolve;
    });
    const onError = (error: Error): void => this.#error(error);
    this.#publisher = new Publisher({
      clientId: options.clientId,
      ...options.publishing,
      clock: this.#clock,
      onError,
    });
    this.#subscriptions = new Subscriptions({
      clock: this.#clock,
      teller: this.#teller,
      onError,
      onResubscribe: (subscription) => this.#emit('resubscribe', { subscription }),
      onTrouble: (trouble, buried) => this.#troubled(trouble, buried),
      ...(options.logger.debug !== undefined && { log: options.logger.debug }),
    });
    this.#readerOwner = {
      clock: this.#clock,
      questions: this.#subscriptions.questions,
      onGap: (channel, { from, to }) =>
        options.logger.warn(`read(): messages ${from} to ${to} of channel '${channel}' are no longer stored`),
      onListenerThrown: onError,
    };
    const participants = new Participants(this.#subscriptions, this.#publisher);
    const events = this.#supervisorEvents();
    const makeGateway: MakeGateway = footing?.makeGateway ?? ((parts) => new NatsGateway(parts));
    this.#supervisor = new Supervisor(options, participants, events, this.#clock, makeGateway);
  }

  /** The cluster ID of the servers. */
  get clusterId(): string {
    return this.#options.clusterId;
  }

  /** The client ID under which the cluster knows this client. */
  get clientId(): string {
    return this.#options.clientId;
  }

  /** The state of the client. */
  get state(): ConnectionState {
    return this.#supervisor.state;
  }

  /** URL of the live session, without credentials. Undefined while there is none. */
  get server(): string | undefined {
    return this.#supervisor.session?.server;
  }

  /**
   * Resolves when the first session is up and its subscriptions are made. If that was so before, it resolves at once.
   *
   * @throws the errors that {@link ResilientStan.connect} rejects with
   * @throws ClosedError when the client was closed before
   */
  connected(): Promise<void> {
    return this.#connected;
  }

  /**
   * Publishes a message. The promise resolves when the cluster has stored it. During an outage the message is kept, and
   * sent in its order on the next session. A message may be stored twice, because the server knows no duplicates.
   *
   * Every error says in `delivery` what is known of the message.
   *
   * @param channel name of the channel, without wildcards
   * @param data a string is sent as UTF-8; bytes are copied, so the caller may use the buffer again
   * @param options default: no limit of time
   * @throws InvalidArgumentError when an argument can never work
   * @throws PayloadTooLargeError when the message is larger than the server takes
   * @throws OutboxFullError when `publishing.maxPending` or `maxPendingBytes` is reached
   * @throws PublishTimeoutError when its `timeout` is over
   * @throws PublishRejectedError when the cluster refuses it
   * @throws PermissionError when this client must not publish there
   * @throws AbortedError when its signal is aborted
   * @throws ClosedError when the client is closed
   * @example
   * ```ts
   * const { guid } = await stan.publish('orders', JSON.stringify({ id: 1 }), { timeout: 10_000 });
   * ```
   */
  publish(channel: string, data: string | Uint8Array, options?: PublishOptions): Promise<PubAck> {
    try {
      this.#checkPublish(channel, data);
      const resolved = resolvePublishOptions(options);
      if (publishTracing.wanted) return this.#publishTraced(channel, data, resolved);
      return this.#publisher.publish(channel, data, resolved);
    } catch (error) {
      return Promise.reject(toOurs(error, 'publish()', NOT_SENT));
    }
  }

  /**
   * @internal Publishes for a listener, with options that were checked before. The promise and the check would cost more than all
   * else that the facade of src/stan does.
   */
  static publishFor(
    stan: ResilientStan,
    listener: PublishListener,
    channel: string,
    data: string | Uint8Array,
    options: ResolvedPublishOptions | undefined,
  ): void {
    try {
      stan.#checkPublish(channel, data);
      if (publishTracing.wanted) {
        stan.#publishTraced(channel, data, options).then(
          () => listener.stored(),
          (error: ResilientStanError) => listener.failed(error),
        );
        return;
      }
    } catch (error) {
      inMicrotask(() => listener.failed(toOurs(error, 'publish()', NOT_SENT)));
      return;
    }
    stan.#publisher.take(channel, data, options, listener);
  }

  /**
   * Subscribes to a channel. The promise resolves when the server has the subscription. During an outage it waits for the
   * next session.
   *
   * @param channel name of the channel, without wildcards
   * @param handler called for each message; the message is acknowledged when its promise has resolved
   * @param options default: a plain subscription to what is published from now on
   * @throws InvalidArgumentError when an argument can never work
   * @throws SubscribeError when the cluster refuses it for good
   * @throws PermissionError when this client must not subscribe there
   * @throws AbortedError when its signal is aborted
   * @throws ClosedError when the client is closed
   * @example
   * ```ts
   * const subscription = await stan.subscribe('orders', async (message) => save(message.json()), {
   *   durableName: 'saver',
   *   startAt: 'first',
   * });
   * subscription.on('gap', ({ from, to }) => console.warn(`messages ${from} to ${to} are gone`));
   * ```
   */
  async subscribe(
    channel: string,
    handler: MessageHandler,
    options?: SubscribeOptions,
  ): Promise<ResilientSubscription> {
    try {
      const resolved = resolveSubscribeOptions(channel, handler, options, this.#subscribeContext());
      this.#assertOpen('subscribe');
      return await this.#subscriptions.subscribe(channel, handler, resolved);
    } catch (error) {
      throw toOurs(error, 'subscribe()');
    }
  }

  /**
   * Subscribes to a channel, and gives its messages as an async iterator. A message is acknowledged when the next one is
   * asked for. When the loop is left, the subscription is closed and a durable is kept; nothing is waited for.
   * {@link close} ends the loop, also that of a client that was never connected, because a subscription has no other end. If the
   * subscription ends for another reason, the loop throws that reason once. A loop that ends without an error has given everything
   * that there was to give; this holds for {@link read} as well.
   *
   * The loop throws the errors of {@link subscribe}.
   *
   * @param channel name of the channel, without wildcards
   * @param options as those of {@link subscribe}, but `manualAck` and a `concurrency` above 1 are refused
   * @example
   * ```ts
   * for await (const message of stan.messages('orders', { durableName: 'saver' })) {
   *   await save(message.json());
   * }
   * ```
   */
  messages(channel: string, options?: SubscribeOptions): MessagesIterator {
    return messages((handler, begun) => {
      const resolved = resolveMessagesOptions(channel, options, this.#subscribeContext());
      this.#assertOpen('messages');
      return this.#subscriptions.subscribe(channel, handler, resolved, begun);
    });
  }

  /**
   * Reads what is stored in a channel at the moment of the call, as an async iterator that ends. It acknowledges nothing, and
   * leaves nothing behind at the server: the messages come in pages, each through a subscription of its own that is closed at
   * once. So the loop may take any time, and at most about two pages are in memory (1000 messages or 4 MiB each, one message at
   * least).
   *
   * During an outage the loop waits for the next session, and goes on behind the last message: none is left out, and none
   * comes twice. Messages of the range that the server no longer has are told by the event `gap`, see {@link ChannelReader}; a
   * read without `from` begins with the oldest stored message, and misses nothing before it. If the channel is deleted
   * meanwhile, the rest is a gap, and the read is over.
   *
   * The loop throws: InvalidArgumentError when an argument can never work; SubscribeError when the cluster refuses the
   * subscriptions for good; PermissionError when this client must not subscribe there; AbortedError when the signal is aborted;
   * ClosedError when the client closes before the end, so that a part is not taken for the whole; TimeoutError when the server does not send what it has stored.
   *
   * The server makes a channel that it does not know yet.
   *
   * @param channel name of the channel, without wildcards
   * @param range `{ from, to }` by numbers, the `{ last }` so many, or `{ since }` a time; default: all
   * @param options default: nothing ends it early
   * @example
   * ```ts
   * for await (const message of stan.read('orders', { last: 10 })) console.log(message.sequence, message.string());
   * ```
   */
  read(channel: string, range?: ReadRange, options?: QuestionOptions): ChannelReader {
    return ChannelReader.of(this.#readerOwner, this.#readRequest(channel, range, options));
  }

  #readRequest(channel: string, range: unknown, options: unknown): ReaderRequest | Error {
    try {
      const resolved = resolveRange(channel, range);
      const { signal } = resolveQuestionOptions(options);
      this.#assertOpen('read');
      return { channel, range: resolved, caller: new Caller(signal, `the read of channel '${channel}'`) };
    } catch (error) {
      return toOurs(error, 'read()');
    }
  }

  /**
   * The number of the newest message that is stored in a channel; 0 if there is none. Publishes of this client that were
   * acknowledged before the call are included. During an outage it waits for the next session.
   *
   * The server makes a channel that it does not know yet.
   *
   * @param channel name of the channel, without wildcards
   * @param options default: nothing ends it early
   * @throws InvalidArgumentError when an argument can never work
   * @throws SubscribeError when the cluster refuses the subscription that this takes for a moment
   * @throws PermissionError when this client must not subscribe there
   * @throws AbortedError when its signal is aborted
   * @throws ClosedError when the client is closed
   * @example
   * ```ts
   * const last = await stan.lastSequence('orders');
   * ```
   */
  async lastSequence(channel: string, options?: QuestionOptions): Promise<number> {
    try {
      checkChannel(channel);
      const { signal } = resolveQuestionOptions(options);
      this.#assertOpen('lastSequence');
      const caller = new Caller(signal, `lastSequence('${channel}')`);
      const newest = await this.#subscriptions.questions.newest(channel, caller);
      return newest?.sequence ?? 0;
    } catch (error) {
      throw toOurs(error, 'lastSequence()');
    }
  }

  /** Counters and gauges of this client. */
  stats(): StanStats {
    const { published, acknowledged, rejected, resent, pendingBytes, inFlight } = this.#publisher.stats;
    const { subscriptions, ...counters } = this.#subscriptions.stats;
    return {
      published,
      acknowledged,
      rejected,
      resent,
      pending: this.#pending,
      pendingBytes,
      inFlight,
      ...counters,
      suspicions: this.#suspicions,
      losses: this.#losses,
      reconnects: this.#reconnects,
      subscriptions,
    };
  }

  /** The health of this client: whether it is up, since when, what is pending, and what failed last. */
  health(): StanHealth {
    const suspect = this.#supervisor.session?.suspect ?? false;
    const unacknowledgedChannels = this.#publisher.unacknowledged.map(({ channel }) => channel);
    return {
      healthy: this.state === 'connected' && !suspect && unacknowledgedChannels.length === 0,
      state: this.state,
      since: this.#since,
      server: this.server,
      suspect,
      unacknowledgedChannels,
      pending: this.#pending,
      losses: this.#losses,
      lastError: this.#lastError,
      lastTrouble: this.#lastTrouble,
    };
  }

  /**
   * Resolves when every publish of before this call is settled, that is, acknowledged or rejected.
   *
   * @param options default: no limit of time
   * @throws InvalidArgumentError when an option is wrong
   * @throws TimeoutError when its `timeout` is over; the messages are still kept and sent
   */
  async flush(options?: FlushOptions): Promise<void> {
    try {
      const { timeout } = resolveFlushOptions(options);
      if (await this.#within(timeout, (done) => this.#publisher.whenFlushed(done))) return;
      const pending = this.#pending;
      throw new TimeoutError(
        `after ${timeout} ms ${pending === 1 ? '1 message is' : `${pending} messages are`} still not acknowledged; ` +
          `nothing is given up, what is pending is sent as soon as possible`,
      );
    } catch (error) {
      throw toOurs(error, 'flush()');
    }
  }

  /**
   * Drains the client, then closes it:
   *
   * 1. No message is handed to a handler any more. Running handlers finish, may still publish, and their messages are acknowledged.
   * 2. When no handler runs, `publish()` rejects. What is pending is sent, and durables that are to be dropped are dropped.
   * 3. The client ID is given free at the server. Durables keep their position.
   *
   * What is not done within the timeout is given up, and its publishes reject with a {@link ClosedError}.
   *
   * A handler must not await this promise after it has awaited something else, because then each waits for the other until
   * the timeout is over. The body of a `for await` loop, and a handler that calls this first, may await it: when all else is
   * done they have 500 ms, again from each publish of theirs, and are then not waited for any more.
   *
   * Several calls share one end, and the earliest end counts. So `close({ timeout: 0 })` hurries a `close()` that is under way.
   *
   * @param options default: a drain of at most 10000 ms
   * @throws InvalidArgumentError when an option is wrong; then nothing is closed
   * @example
   * ```ts
   * process.once('SIGTERM', () => void stan.close({ timeout: 5000 }));
   * ```
   */
  close(options?: CloseOptions): Promise<void> {
    let timeout: number | undefined;
    try {
      ({ timeout } = resolveCloseOptions(options));
    } catch (error) {
      return Promise.reject(toOurs(error, 'close()'));
    }
    return this.#closeOnce(timeout, undefined);
  }

  /** Resolves when the client is closed: to undefined after `close()`, else to the reason. Never rejects. */
  closed(): Promise<Error | undefined> {
    return this.#closed;
  }

  /** Closes the client with the default timeout, at the end of a scope with `await using stan = …`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Connects, at once or when `start` has resolved.
   * @param called what the user has called, for the error
   */
  #connectAfter(called: string, start?: Promise<unknown>): Promise<void> {
    this.#connected = start === undefined ? this.#connect(called) : start.then(() => this.#connect(called));
    return this.#connected;
  }

  async #connect(called: string): Promise<void> {
    const abort = this.#abort;
    let aborted: AbortedError | undefined;
    const wasAborted = `${called} was aborted`;
    if (abort) {
      // An abort ends everything at once, without a drain.
      abort.onAbort = () => {
        const what = this.state === 'connecting' ? wasAborted : 'the client was closed by its signal';
        aborted = new AbortedError(what, { cause: abort.reason });
        // A close() that is under way stops waiting as well.
        this.#resolveGaveUp();
        void this.#closeOnce(0, aborted);
      };
    }
    try {
      if (abort?.aborted) throw abort.reason;
      await this.#supervisor.connect();
    } catch (error) {
      const reason = abort?.aborted
        ? (aborted ?? new AbortedError(wasAborted, { cause: abort.reason }))
        : connectFailure(error);
      await this.#closeOnce(0, reason);
      throw reason;
    }
  }

  #closeOnce(timeout: number | undefined, reason: Error | undefined): Promise<void> {
    if (this.#closing) {
      this.#hurry(timeout);
      return this.#closing;
    }
    let follow!: (end: Promise<void>) => void;
    // It is set first, because a listener of 'state' may call close() as well.
    this.#closing = new Promise<void>((resolve) => {
      follow = resolve;
    });
    // Some callers do not wait for it, and a rejection must not be an unhandled one.
    this.#closing.catch(() => undefined);
    for (const call of this.#onClosing) call();
    this.#onClosing.clear();
    this.#hurry(timeout);
    follow(
      this.#close(reason).catch((error: unknown) => {
        throw toOurs(error, 'close()');
      }),
    );
    return this.#closing;
  }

  /** Ends the drain in `timeout` ms from now, unless it ends earlier. */
  #hurry(timeout = Infinity): void {
    const by = this.#clock.now() + timeout;
    if (this.#over || by >= this.#closeBy) return;
    this.#closeBy = by;
    this.#cancelPatience?.();
    if (timeout > 0) this.#cancelPatience = this.#clock.after(timeout, this.#resolveGaveUp);
    else this.#resolveGaveUp();
    this.#supervisor.hurry(Math.max(timeout, CLOSE_REQUEST_LEAST));
  }

  async #close(reason: Error | undefined): Promise<void> {
    const atOnce = this.#closeBy <= this.#clock.now();
    this.#supervisor.closing();
    if (!atOnce) await Promise.race([this.#drain(), this.#gaveUp]);
    this.#ended = true;
    this.#abort?.stop();
    const closedError = (): ClosedError =>
      new ClosedError('the client was closed before the message was acknowledged', { cause: reason });
    this.#publisher.rejectAll(closedError);
    // The rest of the time is for the close request. A living server always gets enough of it to free the client ID.
    const left = Math.max(this.#closeBy - this.#clock.now(), CLOSE_REQUEST_LEAST);
    await this.#supervisor.close(atOnce && reason !== undefined ? 0 : Math.min(CLOSE_REQUEST_TIMEOUT, left));
    this.#cancelPatience?.();
    this.#subscriptions.close(reason);
    // A subscription that was made a moment ago emits its own end first.
    await new Promise<void>((resolve) => this.#clock.soon(resolve));
    const close = reason ? { error: reason } : {};
    this.#over = true;
    (this as EventEmitter<string>).emit('close', close);
    this.#resolveClosed(reason);
  }

  /** Takes in no more messages, lets handlers finish, takes no more publishes, and waits until what is pending is settled. */
  async #drain(): Promise<void> {
    const subscriptions = this.#subscriptions;
    const publisher = this.#publisher;
    const drained = subscriptions.drain();
    if (!subscriptions.busy) publisher.stopIntake();
    await drained;
    // A handler that still runs may be waiting for close(). One that publishes is not.
    while (subscriptions.busy && !this.#ended) {
      const { published } = publisher.stats;
      await publisher.flush();
      const idle = (done: () => void): (() => void) => {
        void subscriptions.idle().then(done);
        return () => {};
      };
      // This wait may go on after the time for close() is over, and must not keep the process alive.
      await this.#within(GRACE, idle, true);
      if (publisher.stats.published === published) break;
    }
    publisher.stopIntake();
    await Promise.all([publisher.flush(), subscriptions.dropped()]);
  }

  #supervisorEvents(): SupervisorEvents {
    const { logger } = this.#options;
    return {
      state: (from, to) => {
        this.#since = this.#date();
        this.#emit('state', { from, to });
      },
      connecting: (attempt, delay, error) => {
        this.#note(error);
        // The first failure is told, because a client that is not connected yet has nothing else to be noticed by.
        if (attempt === 2 && !(error instanceof ClientIdConflictError)) {
          logger.warn(`not connected yet, trying again: ${error.message}`);
        }
        this.#emit('connecting', { attempt, delay, error });
      },
      connected: (server, attempt) => {
        logger.info(`connected to ${server} as '${this.clientId}'`, { server });
        // connect() resolves first, so that the caller can add a listener.
        this.#clock.soon(() => this.#emit('connect', { server, attempt }));
      },
      session: (server) => this.#emit('session', { server }),
      suspected: (server, silence) => {
        this.#suspicions += 1;
        if (suspicionChannel.hasSubscribers) suspicionChannel.publish({ ...this.#teller, server, silence });
      },
      lost: (error) => this.#lost(error),
      reconnecting: (attempt, delay, error) => {
        // The error of the first attempt is the loss, which is noted already.
        if (attempt > 1) this.#note(error);
        this.#emit('reconnecting', { attempt, delay, error });
      },
      reconnected: (server, downtime, attempts) => {
        this.#reconnects += 1;
        if (reconnectChannel.hasSubscribers) {
          reconnectChannel.publish({ ...this.#teller, server, downtime, attempts });
        }
        logger.info(`reconnected to ${server} after ${Math.round(downtime)} ms`, { server, downtime, attempts });
        this.#emit('reconnect', { server, downtime, attempts });
      },
      conflict: (error, first) => {
        this.#note(error);
        // Each attempt finds it held, until it is free or the patience is over. The attempts are in the log for 'debug'.
        if (first) logger.warn(error.message);
        this.#emit('client_id_conflict', { error });
      },
      permission: (error) => {
        const channel = channelOfSubject(error.subject, this.clusterId);
        if (channel !== undefined) this.#publisher.denyChannel(channel, error);
        this.#emit('permission_error', { error });
      },
      error: (error) => this.#error(error),
      gaveUp: (error) => {
        this.#note(error);
        this.#resolveGaveUp();
        void this.#closeOnce(0, error);
      },
    };
  }

  /** Asks the ConnectionLostHandler once for each loss. A handler that fails counts as `'reconnect'`. */
  async #lost(error: ConnectionLostError): Promise<'reconnect' | 'close'> {
    this.#losses += 1;
    this.#note(error);
    const { reason, server } = error;
    this.#options.logger.warn(`connection lost (${reason}): ${error.message}`, { reason, server });
    if (lossChannel.hasSubscribers) lossChannel.publish({ ...this.#teller, error, reason });
    this.#emit('connection_lost', { error, reason });
    const handler = this.#options.connectionLostHandler;
    if (!handler) return 'reconnect';
    const asked = this.#ask(handler, error);
    return await new Promise((resolve) => {
      // Once the client closes, it does not wait for the handler: the drain needs a session, and the handler may wait for close().
      const goOn = (): void => {
        resolve('reconnect');
        void asked.then((late) => late === 'close' && this.#resolveGaveUp());
      };
      if (this.#closing) return goOn();
      this.#onClosing.add(goOn);
      void asked.then((answer) => {
        this.#onClosing.delete(goOn);
        resolve(answer);
      });
    });
  }

  async #ask(
    handler: NonNullable<ResolvedConnectOptions<ResilientStan>['connectionLostHandler']>,
    error: ConnectionLostError,
  ): Promise<'reconnect' | 'close'> {
    try {
      return (await askUser(() => handler(error, this))) === 'close' ? 'close' : 'reconnect';
    } catch (thrown) {
      this.#error(new CallbackError('the ConnectionLostHandler', thrown));
      return 'reconnect';
    }
  }

  #error(error: Error): void {
    if (this.#over) {
      // A listener has thrown at 'close', or its promise was rejected after that.
      this.#options.logger.debug?.(`after the client was closed: ${error.message}`);
      return;
    }
    this.#note(error);
    this.#options.logger.error(error.message, { error });
    this.#emit('error', { error });
  }

  /** Nothing that goes wrong with messages is silent, also where nobody listens to the subscription. */
  #troubled(trouble: Trouble, buried: boolean): void {
    const { event, payload } = trouble;
    const { level, text, details } = troubleLine(trouble, buried);
    this.#options.logger[level](text, details);
    if (!this.#over) this.#lastTrouble = { event, channel: payload.subscription.channel, text, at: this.#date() };
    // An overdue handler has no event, because nothing has come of it yet.
    if (event !== 'overdue') this.#emit(event, payload);
  }

  #date(): Date {
    return new Date(this.#clock.wall());
  }

  #note(error: Error): void {
    if (!this.#over) this.#lastError = new DatedError(error, this.#date());
  }

  #emit<E extends keyof ResilientStanEvents>(event: E, payload: Parameters<ResilientStanEvents[E]>[0]): void {
    if (this.#over) return;
    // eventemitter3's types cannot follow a generic event name.
    (this as EventEmitter<string>).emit(event, payload);
  }

  /**
   * Resolves to whether something was done in time. The time is that in which this process could act.
   * @param timeout in ms; without one it is always in time
   * @param begin calls back when it is done, and returns a function that cancels the callback
   * @param unref the wait alone does not keep the process alive
   */
  #within(timeout: number | undefined, begin: (done: () => void) => () => void, unref = false): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel =
        timeout === undefined || timeout === Infinity
          ? undefined
          : this.#clock.after(
              timeout,
              () => {
                forget();
                resolve(false);
              },
              { unref },
            );
      const forget = begin(() => {
        cancel?.();
        resolve(true);
      });
    });
  }

  /** Publishes that are not settled, including those that wait for room. */
  get #pending(): number {
    const { pending, waiting } = this.#publisher.stats;
    return pending + waiting;
  }

  /** Publishes, and tells of it. A listener may have put another payload in the place of this one. */
  #publishTraced(
    channel: string,
    data: string | Uint8Array,
    options: ResolvedPublishOptions | undefined,
  ): Promise<PubAck> {
    // Written out, because an object that is spread and added to costs two microseconds.
    const { clientId, clusterId } = this.#teller;
    const context = { clientId, clusterId, channel, data };
    return publishTracing.run(context, () => {
      if (context.data !== data) checkPayload(context.data, NOT_SENT);
      return this.#publisher.publish(channel, context.data, options);
    });
  }

  #checkPublish(channel: string, data: string | Uint8Array): void {
    if (!this.#knownChannels.has(channel)) this.#checkChannel(channel);
    checkPayload(data, NOT_SENT);
  }

  #checkChannel(channel: string): void {
    checkChannel(channel, NOT_SENT);
    if (this.#knownChannels.size < MAX_KNOWN_CHANNELS) this.#knownChannels.add(channel);
  }

  #assertOpen(what: string): void {
    if (this.#closing) throw new ClosedError(`${what}(): the client is ${this.#ended ? 'closed' : 'closing'}`);
  }

  #subscribeContext(): SubscribeContext {
    return { clientIdGenerated: this.#options.clientIdGenerated, now: this.#clock.wall() };
  }
}

const NOT_SENT = { delivery: 'not-sent' } as const;

/** The error with which `connect()` rejects. Errors of a connection name their server themselves. */
function connectFailure(error: unknown): ResilientStanError {
  if (error instanceof ResilientStanError) return error;
  return new ConnectError(`no session could be made: ${describe(error)}`, [], { cause: error });
}

/** The channel of a publish subject, `_STAN.pub.<cluster ID>.<channel>`. */
function channelOfSubject(subject: string | undefined, clusterId: string): string | undefined {
  const prefix = `_STAN.pub.${clusterId}.`;
  return subject?.startsWith(prefix) ? subject.slice(prefix.length) : undefined;
}
