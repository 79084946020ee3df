/**
 * The facade: wires connection, publishing and subscribing together and owns the public events.
 */
import type { EventEmitter } from 'eventemitter3';
import { AbortWatch } from './abort-signal.js';
import { awakeClock } from './awake-clock.js';
import type { ConnectionState } from './connection/states.js';
import { Supervisor, type Cargo, type SupervisorEvents } from './connection/supervisor.js';
import { SafeEmitter } from './emitter.js';
import {
  AbortedError,
  CallbackError,
  ClosedError,
  ConnectError,
  describe,
  ResilientStanError,
  TimeoutError,
  toOurs,
  type ConnectionLostError,
} from './errors.js';
import type { ResilientStanEvents } from './events.js';
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
import { Publisher, type PubAck } from './publishing/publisher.js';
import { systemClock } from './subscribing/clock.js';
import { GRACE } from './subscribing/handling.js';
import type { MessageHandler, StanMessage } from './subscribing/message.js';
import { messages } from './subscribing/messages.js';
import {
  resolveMessagesOptions,
  resolveSubscribeOptions,
  type SubscribeOptions,
} from './subscribing/subscribe-options.js';
import type { ResilientSubscription } from './subscribing/subscription.js';
import { Subscriptions } from './subscribing/subscriptions.js';
import { askUser } from './user-code.js';
import { checkChannel, checkPayload } from './validation.js';

/** Options of `ResilientStan.connect`. Times are milliseconds. Unknown names are refused. */
export interface ConnectOptions extends BaseConnectOptions {
  /** Asked at every loss whether to go on. Default: always. */
  connectionLostHandler?: ConnectionLostHandler | undefined;
}

/**
 * Called once per loss of a session. Return (or resolve to) `'close'` to close the client, `'reconnect'` or nothing to
 * go on. The client reconnects only when the answer is there; one that throws or rejects counts as `'reconnect'`.
 */
export type ConnectionLostHandler = (
  error: ConnectionLostError,
  stan: ResilientStan,
) => void | 'reconnect' | 'close' | Promise<void | 'reconnect' | 'close'>;

/** Counters since `connect()` and gauges of this moment. */
export interface StanStats {
  /** Calls of `publish()` with arguments that can work: always acknowledged + rejected + pending. */
  published: number;
  /** Publishes the cluster has acknowledged. */
  acknowledged: number;
  /** Those of them whose promise was rejected, for want of room as well. */
  rejected: number;
  /** Sendings after the first one of a message. */
  resent: number;
  /** Gauge: publishes that are not settled, those that wait for room (`whenFull: 'wait'`) included. */
  pending: number;
  /** Gauge: bytes of their payloads, those that wait for room not included. */
  pendingBytes: number;
  /** Gauge: publishes that were sent on this session and are not acknowledged. */
  inFlight: number;
  /** Messages handed to handlers. */
  delivered: number;
  /** Messages that came again although they were processed: acknowledged, and not handed over. */
  duplicatesDropped: number;
  /** Messages that came with the server's redelivery flag, those included that were not handed over because they are processed or in hand. */
  redelivered: number;
  /**
   * Messages that were read past the server's memory of a durable, a queue group or an unacknowledged message, because it did
   * not bring them by itself.
   */
  fetched: number;
  /** How often the leader was overdue with an answer and was asked; most of these come to nothing. */
  suspicions: number;
  /** Sessions lost. */
  losses: number;
  /** Sessions that were up after a loss. */
  reconnects: number;
  /** Gauge: open subscriptions. */
  subscriptions: number;
}

/** For health checks: `healthy` is what a readiness probe asks, the rest says why. */
export interface StanHealth {
  /** Connected, the leader is not overdue with anything, and no channel goes unacknowledged. */
  healthy: boolean;
  state: ConnectionState;
  /** Since when it is in this state. */
  since: Date;
  /** URL of the live session, without credentials. */
  server: string | undefined;
  /** The leader is overdue with an answer and is being asked. */
  suspect: boolean;
  /**
   * Channels whose publishes are not acknowledged although the leader answers: the server that has them is down, or very slow.
   * The others go on.
   */
  unacknowledgedChannels: string[];
  /** Publishes that are not settled. */
  pending: number;
  /** Sessions lost so far. */
  losses: number;
  /** The last loss, failed attempt or error, and when it was. */
  lastError: { error: Error; at: Date } | undefined;
}

/** For the server's answer to the close request at the end of close(), in ms. */
const CLOSE_REQUEST_TIMEOUT = 2000;
/** The same, when there is no time left: a living server has a chance to free the client ID. */
const CLOSE_REQUEST_LEAST = 250;
/** Channel names known to be valid: validating one costs more than looking it up. */
const MAX_KNOWN_CHANNELS = 1024;

/**
 * A NATS Streaming client that outlives its servers. Make one with {@link ResilientStan.connect} or, to have it before it is
 * connected, with {@link ResilientStan.create}.
 */
export class ResilientStan extends SafeEmitter<ResilientStanEvents> {
  readonly #options: ResolvedConnectOptions<ResilientStan>;
  readonly #clock = awakeClock();
  readonly #publisher: Publisher;
  readonly #subscriptions: Subscriptions;
  readonly #supervisor: Supervisor;
  readonly #knownChannels = new Set<string>();
  #connected: Promise<void> = Promise.resolve();
  readonly #closed: Promise<Error | undefined>;
  #resolveClosed!: (reason: Error | undefined) => void;
  /** Resolves when a drain need not wait any longer: its time is over, or the supervisor will not come back. */
  readonly #gaveUp: Promise<void>;
  #resolveGaveUp!: () => void;
  /** When that will be, at the latest. */
  #closeBy = Infinity;
  #cancelPatience: (() => void) | undefined;
  /** Called when it begins to close. */
  readonly #onClosing = new Set<() => void>();
  #closing: Promise<void> | undefined;
  #ended = false;
  /** 'close' was emitted: nothing else is. */
  #over = false;
  #suspicions = 0;
  #losses = 0;
  #reconnects = 0;
  #since = new Date();
  #lastError: { error: Error; at: Date } | undefined;
  readonly #abort: AbortWatch | undefined;

  /**
   * Connects to the cluster.
   *
   * @param servers one URL or a list, as `nats://host:port` or `tls://host:port`; default `nats://localhost:4222`
   * @throws InvalidArgumentError before anything is dialled; ConnectError with every server and its reason when nobody
   *   could be reached or no leader answered within {@link ConnectOptions.initialConnect}; AuthorizationError at once;
   *   ClientIdConflictError; AbortedError at the signal
   */
  static async connect(servers?: string | readonly string[], options?: ConnectOptions): Promise<ResilientStan> {
    try {
      const resolved = resolveConnectOptions(servers, options);
      const { signal } = resolved;
      const abort = signal === undefined ? undefined : new AbortWatch(signal);
      if (abort?.aborted) {
        abort.stop();
        throw new AbortedError('connect() was aborted before it began', { cause: abort.reason });
      }
      const stan = new ResilientStan(resolved, abort);
      stan.#connected = stan.#connect();
      await stan.#connected;
      return stan;
    } catch (error) {
      throw toOurs(error, 'connect()');
    }
  }

  /**
   * Makes a client at once, in state `connecting`, and connects in the background: for ever, unless
   * {@link ConnectOptions.initialConnect} says otherwise. Meanwhile `publish()`, `subscribe()` and `messages()` wait for the first
   * session, as they do in an outage. Whether it is up is told by {@link connected} and by the event `connect`; that it
   * can never be, by the rejection of {@link connected} and the event `close`.
   *
   * @param servers as for {@link ResilientStan.connect}
   * @throws InvalidArgumentError at once
   */
  static create(servers?: string | readonly string[], options?: ConnectOptions): ResilientStan {
    return ResilientStan.createAfter(undefined, servers, options);
  }

  /** @internal The same; nothing is dialled before `start` has resolved. It must not reject. */
  static createAfter(
    start: Promise<unknown> | undefined,
    servers?: string | readonly string[],
    options?: ConnectOptions,
  ): ResilientStan {
    try {
      const resolved = resolveConnectOptions<ResilientStan>(servers, options, Infinity);
      const abort = resolved.signal === undefined ? undefined : new AbortWatch(resolved.signal);
      const stan = new ResilientStan(resolved, abort);
      // Not before the caller has its listeners.
      stan.#connected = Promise.resolve(start).then(() => stan.#connect());
      // Who is told of it by events need not ask.
      stan.#connected.catch(() => undefined);
      return stan;
    } catch (error) {
      throw toOurs(error, 'create()');
    }
  }

  /** @internal By what the cluster knows the live session, or the one that is being brought up. */
  static connectionIdOf(stan: ResilientStan): Uint8Array | undefined {
    return stan.#supervisor.session?.registration.connectionId;
  }

  private constructor(options: ResolvedConnectOptions<ResilientStan>, abort: AbortWatch | undefined) {
    super();
    SafeEmitter.reportTo(this, (error, event) => {
      // One of 'error' would be told of its own failure, for ever.
      if (event === 'error' && !this.#over) options.logger.error(error.message, { error });
      else this.#error(error);
    });
    this.#options = options;
    this.#abort = abort;
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
      // Where a subscription resumes follows real time; what is waited for, time in which something can come.
      clock: {
        ...systemClock,
        awake: () => this.#clock.now(),
        after: (delay, callback) => this.#clock.after(delay, callback, { unref: true }),
      },
      onError,
      onResubscribe: (subscription) => this.#emit('resubscribe', { subscription }),
      log: (message) => options.logger.debug(message),
    });
    this.#supervisor = new Supervisor(options, this.#cargo(), this.#supervisorEvents(), this.#clock);
  }

  /** The cluster ID this client talks to. */
  get clusterId(): string {
    return this.#options.clusterId;
  }

  /** The client ID the cluster knows this client by. */
  get clientId(): string {
    return this.#options.clientId;
  }

  /** Where it is in its life. */
  get state(): ConnectionState {
    return this.#supervisor.state;
  }

  /** URL of the live session, without credentials. */
  get server(): string | undefined {
    return this.#supervisor.session?.server;
  }

  /**
   * Resolves when the first session is up, subscriptions included; at once when it was up before.
   * @throws (as a rejection) what {@link ResilientStan.connect} rejects with; ClosedError when it was closed before
   */
  connected(): Promise<void> {
    return this.#connected;
  }

  /**
   * Publishes a message; resolves when the cluster has stored it. During an outage it is kept and sent, in order, on
   * the next session. At least once: the server does not know duplicates.
   *
   * @param data a string goes out as UTF-8; bytes are copied, so the caller may use the buffer again
   * @throws (as a rejection) InvalidArgumentError, PayloadTooLargeError, OutboxFullError, PublishTimeoutError,
   *   PublishRejectedError, PermissionError, AbortedError, ClosedError: each says in `delivery` what is known of the message
   */
  publish(channel: string, data: string | Uint8Array, options?: PublishOptions): Promise<PubAck> {
    try {
      this.#checkPublish(channel, data);
      return this.#publisher.publish(channel, data, resolvePublishOptions(options));
    } catch (error) {
      return Promise.reject(toOurs(error, 'publish()', NOT_SENT));
    }
  }

  /** @internal The same, with options that were checked before: that costs more than all else that a facade does. */
  static publishResolved(
    stan: ResilientStan,
    channel: string,
    data: string | Uint8Array,
    options: ResolvedPublishOptions,
  ): Promise<PubAck> {
    try {
      stan.#checkPublish(channel, data);
      return stan.#publisher.publish(channel, data, options);
    } catch (error) {
      return Promise.reject(toOurs(error, 'publish()', NOT_SENT));
    }
  }

  /**
   * Subscribes; resolves when the server has the subscription. During an outage it waits for the next session.
   *
   * @param handler may be asynchronous: a message is acknowledged when its promise has resolved
   * @throws (as a rejection) InvalidArgumentError, SubscribeError when the cluster refuses it for good, PermissionError,
   *   AbortedError at its signal, ClosedError
   */
  async subscribe(
    channel: string,
    handler: MessageHandler,
    options?: SubscribeOptions,
  ): Promise<ResilientSubscription> {
    try {
      const resolved = resolveSubscribeOptions(channel, handler, options, this.#subscribeContext());
      this.#assertOpen('subscribe');
      return await this.#subscriptions.subscribe(channel, handler, resolved, this.#supervisor.session);
    } catch (error) {
      throw toOurs(error, 'subscribe()');
    }
  }

  /**
   * The messages of a channel as an async iterator; each is acknowledged when the next one is asked for. Leaving the
   * loop closes the subscription, keeps a durable, and waits for nobody. {@link close} ends the loop; an end that has a reason
   * is thrown in it, once.
   */
  messages(channel: string, options?: SubscribeOptions): AsyncIterableIterator<StanMessage> {
    return messages((handler, begun) => {
      const resolved = resolveMessagesOptions(channel, options, this.#subscribeContext());
      this.#assertOpen('messages');
      return this.#subscriptions.subscribe(channel, handler, resolved, this.#supervisor.session, begun);
    });
  }

  /** Counters and gauges. */
  stats(): StanStats {
    const { published, acknowledged, rejected, resent, pendingBytes, inFlight } = this.#publisher.stats;
    const { delivered, duplicatesDropped, redelivered, fetched, subscriptions } = this.#subscriptions.stats;
    return {
      published,
      acknowledged,
      rejected,
      resent,
      pending: this.#pending,
      pendingBytes,
      inFlight,
      delivered,
      duplicatesDropped,
      redelivered,
      fetched,
      suspicions: this.#suspicions,
      losses: this.#losses,
      reconnects: this.#reconnects,
      subscriptions,
    };
  }

  /** Is it up, since when, what is pending, what went wrong last. */
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
    };
  }

  /**
   * Resolves when every publish so far is settled, one way or the other.
   * @throws (as a rejection) TimeoutError; nothing is given up by it
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
   * Drains, then closes. No message is handed to a handler any more; running handlers finish, with `publish()` and `flush()`
   * open to them, and are acknowledged; what is pending is sent, and durables that are to be dropped are. Once no handler runs,
   * `publish()` rejects. Durables keep their position, and the client ID is free afterwards. What is not done within the timeout is
   * given up: publishes reject with a ClosedError.
   *
   * The body of a `for await` loop is a handler that may be waiting for this very promise, which cannot be told. So when all
   * else is done it has 500 ms to ask for the next message, counted anew from each publish of its own. The same holds for
   * a handler that calls this before it has awaited anything. A handler that awaits this later waits for itself, until the
   * timeout.
   *
   * Calls share one end: of several timeouts the one counts that is over first, so `close({ timeout: 0 })` hurries a `close()`
   * that is under way.
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

  /** Resolves when it is over, with the reason if nobody asked for it. Never rejects. */
  closed(): Promise<Error | undefined> {
    return this.#closed;
  }

  /** `await using stan = …` closes it with the default timeout. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #connect(): Promise<void> {
    const abort = this.#abort;
    if (abort) {
      // Everything is cancelled at once: who aborts does not want to wait for a drain.
      abort.onAbort = () => {
        const error = new AbortedError('the client was closed by its signal', { cause: abort.reason });
        // Nor does who has called close() before.
        this.#resolveGaveUp();
        void this.#closeOnce(0, error);
      };
    }
    try {
      if (abort?.aborted) throw abort.reason;
      await this.#supervisor.connect();
    } catch (error) {
      const reason = abort?.aborted
        ? new AbortedError('connect() was aborted', { cause: abort.reason })
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
    // Set before anything is done: a listener of 'state' may call close(), too.
    this.#closing = new Promise<void>((resolve) => {
      follow = resolve;
    });
    // Many a caller of ours does not wait for it.
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

  /** It takes no longer than this, in ms, from now on. */
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
    // The rest of the time, but never so little that a living server has no chance to free the client ID.
    const left = Math.max(this.#closeBy - this.#clock.now(), CLOSE_REQUEST_LEAST);
    await this.#supervisor.close(atOnce && reason !== undefined ? 0 : Math.min(CLOSE_REQUEST_TIMEOUT, left));
    this.#cancelPatience?.();
    this.#subscriptions.close(reason);
    // A subscription that was made a moment ago has still to tell of its end.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const close = reason ? { error: reason } : {};
    this.#over = true;
    (this as EventEmitter<string>).emit('close', close);
    this.#resolveClosed(reason);
  }

  /** Intake of messages stops, handlers finish, publishing stops, what is pending is sent. */
  async #drain(): Promise<void> {
    const subscriptions = this.#subscriptions;
    const publisher = this.#publisher;
    const drained = subscriptions.drain();
    if (!subscriptions.busy) publisher.stopIntake();
    await drained;
    // Who runs now may be waiting for us. Who publishes is not.
    while (subscriptions.busy && !this.#ended) {
      const { published } = publisher.stats;
      await publisher.flush();
      const idle = (done: () => void): (() => void) => {
        void subscriptions.idle().then(done);
        return () => {};
      };
      // It may go on after the time for close() is over, and must not keep the process alive then.
      await this.#within(GRACE, idle, true);
      if (publisher.stats.published === published) break;
    }
    publisher.stopIntake();
    await Promise.all([publisher.flush(), subscriptions.dropped()]);
  }

  #cargo(): Cargo {
    const publisher = this.#publisher;
    const subscriptions = this.#subscriptions;
    /** How far real time, which is that of the subscriptions, is ahead of waking time. */
    const stood = (): number => systemClock.now() - this.#clock.now();
    /** That, when the session came up or a question was answered last: since then it may have grown, and is never less. */
    let stoodBefore = stood();
    return {
      bringUp: (session, careful) => {
        this.#emit('session', { server: session.server });
        return subscriptions.attach(session, careful);
      },
      up: (session, careful) => {
        stoodBefore = stood();
        publisher.attach(session, careful);
      },
      inHand: () => publisher.inHand(),
      relax: () => publisher.relax(),
      crowded: () => subscriptions.crowd(),
      down: () => {
        publisher.detach();
        subscriptions.detach();
      },
      oldestInFlight: () => publisher.oldestInFlight,
      oldestEnd: () => publisher.oldestEnd,
      leaderAnswered: (askedAt) => {
        publisher.leaderAnswered(askedAt);
        // Rather too early than too late: what came later than the question is not proven by its answer.
        subscriptions.leaderAnswered(askedAt + stoodBefore);
        stoodBefore = stood();
      },
      wantsAnswerSince: () => {
        const { wantsAnswerSince: publisherWants } = publisher;
        const { wantsAnswerSince: groupsWant } = subscriptions;
        if (groupsWant === undefined) return publisherWants;
        return Math.min(groupsWant - stood(), publisherWants ?? Infinity);
      },
      review: (threshold) => publisher.review(threshold),
      surprise: () => {
        const at = subscriptions.surprise();
        return at === undefined ? undefined : at - stood();
      },
      pause: () => {
        this.#suspicions += 1;
        publisher.pause();
      },
      resume: (missed) => {
        publisher.resume(missed);
        if (missed) subscriptions.remake();
      },
    };
  }

  #supervisorEvents(): SupervisorEvents {
    const { logger } = this.#options;
    return {
      state: (from, to) => {
        this.#since = new Date();
        this.#emit('state', { from, to });
      },
      connecting: (attempt, delay, error) => {
        this.#note(error);
        this.#emit('connecting', { attempt, delay, error });
      },
      connected: (server, attempt) => {
        logger.info(`connected to ${server} as '${this.clientId}'`);
        // connect() resolves first, so that there can be a listener.
        setImmediate(() => this.#emit('connect', { server, attempt }));
      },
      lost: (error) => this.#lost(error),
      reconnecting: (attempt, delay, error) => {
        // The first one is for the loss, which was noted, and may have been followed by another error.
        if (attempt > 1) this.#note(error);
        this.#emit('reconnecting', { attempt, delay, error });
      },
      reconnected: (server, downtime, attempts) => {
        this.#reconnects += 1;
        logger.info(`reconnected to ${server} after ${Math.round(downtime)} ms`);
        this.#emit('reconnect', { server, downtime, attempts });
      },
      conflict: (error) => {
        this.#note(error);
        logger.warn(error.message);
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

  /** Asks the ConnectionLostHandler, once per loss; a broken handler does not cost the connection. */
  async #lost(error: ConnectionLostError): Promise<'reconnect' | 'close'> {
    this.#losses += 1;
    this.#note(error);
    this.#options.logger.warn(`connection lost (${error.reason}): ${error.message}`);
    this.#emit('connection_lost', { error, reason: error.reason });
    const handler = this.#options.connectionLostHandler;
    if (!handler) return 'reconnect';
    const asked = this.#ask(handler, error);
    return await new Promise((resolve) => {
      // A handler that calls close() and waits for it would wait for itself: what is to be drained needs a session.
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
      // A listener of 'close' has thrown, or an asynchronous one has rejected long afterwards.
      this.#options.logger.debug(`after the client was closed: ${error.message}`);
      return;
    }
    this.#note(error);
    this.#options.logger.error(error.message, { error });
    this.#emit('error', { error });
  }

  #note(error: Error): void {
    if (!this.#over) this.#lastError = { error, at: new Date() };
  }

  #emit<E extends keyof ResilientStanEvents>(event: E, payload: Parameters<ResilientStanEvents[E]>[0]): void {
    if (this.#over) return;
    // eventemitter3's types cannot follow a generic event name.
    (this as EventEmitter<string>).emit(event, payload);
  }

  /**
   * Whether it was done in time, in ms in which we could act; without a timeout it always is.
   * @param unref the wait alone does not keep the process alive
   * @param begin calls back when it is done; returns what takes the callback away
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

  /** Not settled, those that wait for room included. */
  get #pending(): number {
    const { pending, waiting } = this.#publisher.stats;
    return pending + waiting;
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

  #subscribeContext(): { clientIdGenerated: boolean } {
    return { clientIdGenerated: this.#options.clientIdGenerated };
  }
}

const NOT_SENT = { delivery: 'not-sent' } as const;

/** What connect() rejects with. The connection's errors say which server they are about. */
function connectFailure(error: unknown): ResilientStanError {
  if (error instanceof ResilientStanError) return error;
  return new ConnectError(`no session could be made: ${describe(error)}`, [], { cause: error });
}

/** The channel of a publish subject, `_STAN.pub.<cluster ID>.<channel>`. */
function channelOfSubject(subject: string | undefined, clusterId: string): string | undefined {
  const prefix = `_STAN.pub.${clusterId}.`;
  return subject?.startsWith(prefix) ? subject.slice(prefix.length) : undefined;
}
