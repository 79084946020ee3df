import { EventEmitter } from 'node:events';
import { REAL_SOURCES } from '../clock/sources.js';
import { ClosedError, InternalError, InvalidArgumentError, type ResilientStanError } from '../errors.js';
import type { PingOptions } from '../connection/settings.js';
import type { ResolvedPublishOptions } from '../publishing/publisher-options.js';
import type { PublishListener } from '../publishing/settlers.js';
import { ResilientStan } from '../resilient-stan.js';
import { checkPayload } from '../validation.js';
import { connectError, lostError, publishError, StanError } from './errors.js';
import { nextGuid } from './guid.js';
import { whenClosed } from './handed-in.js';
import { NatsView } from './nats-view.js';
import {
  ACK_TIMEOUT,
  connectArguments,
  MAX_PUB_ACKS_IN_FLIGHT,
  numberOf,
  parseOptions,
  type NatsClient,
  type ParsedOptions,
  type StanOptions,
} from './options.js';
import { noteClosing, predecessors } from './predecessors.js';
import { SubscriptionOptions } from './subscription-options.js';
import { Subscription } from './subscription.js';
import { tell, throwLater } from './tell.js';
import { BAD_CLIENT_ID, BAD_CLUSTER_ID, CONN_CLOSED, MAX_FLIGHT_LIMIT_REACHED } from './texts.js';

/**
 * Called when the cluster has stored a message, or with an error. `delivery` of the error says what is known of the message:
 * `'not-sent'`, `'rejected'`, or `'unknown'`.
 *
 * @param error undefined when the message is stored
 * @param guid the identifier that `publish` returned
 * @category Publishing
 */
export type AckHandlerCallback = (error: Error | undefined, guid: string) => void;

/**
 * A client with the API of node-nats-streaming 0.3.2 that outlives its servers. It is made by {@link connect}.
 *
 * Its events are:
 *
 * - `connect`, with the client, when it is connected;
 * - `disconnect`, `reconnecting` and `reconnect` for losses that it survives;
 * - `error` when the first connect has failed for good;
 * - `connection_lost` when it has ended and nobody asked for it;
 * - `permission_error` when the server forbids a subject;
 * - `close`, which is the last one.
 * @category Client
 */
export class Stan extends EventEmitter {
  /** The cluster ID of the servers. */
  readonly clusterID: string;
  /** The client ID. */
  readonly clientID: string;
  /** The options, with their defaults. */
  readonly options: ParsedOptions;
  /** A subject for acknowledgements. Nothing is sent to it: each session has a subject of its own. */
  readonly ackSubject: string;
  /** The connection ID of this session at the cluster. Undefined before the first session. */
  connId: Buffer | undefined;
  /** What the subjects of publishes begin with. Null before the first session. */
  pubPrefix: string | null = null;
  /** The subject of subscribe requests. Null before the first session. */
  subRequests: string | null = null;
  /** The subject of unsubscribe requests. Null before the first session. */
  unsubRequests: string | null = null;
  /** The subject of requests to close a subscription. Null before the first session. */
  subCloseRequests: string | null = null;
  /** The subject of requests to close the client. Null before the first session. */
  closeRequests: string | null = null;
  /** Time between two pings, in ms. Undefined before the first session. */
  stanPingInterval: number | undefined;
  /** The number of pings without an answer after which a session is lost. Undefined before the first session. */
  stanMaxPingOut: number | undefined;
  /** The number of publishes without an answer. */
  pubAckOutstanding = 0;
  /** The open subscriptions, by their inbox. */
  subMap: Record<string, Subscription> = {};
  /** The connection that was handed in, or what stands in for one. Undefined when the client is closed. */
  nc: NatsView | NatsClient | undefined;
  /** True when no connection was handed in. */
  readonly ncOwned: boolean | undefined;
  readonly #client: ResilientStan | undefined;
  /** What stands in for the connection. Undefined when one was handed in. */
  readonly #view: NatsView | undefined;
  /** Ends the watch on the connection that was handed in. Its end is the end of this client, at once. */
  readonly #stopWatching: (() => void) | undefined;
  readonly #limits: ResolvedPublishOptions;
  /** With more publishes without an answer the next one is refused. */
  readonly #mostUnanswered: number;
  readonly #pings: PingOptions | undefined;
  /** Whether a callback of a publish is being called. */
  #calling = false;
  #subscriptions = 0;
  #closing = false;
  #everUp = false;
  /** Whether the last event told of a session or of a loss. */
  #told: 'up' | 'down' = 'down';

  /** @internal */
  constructor(clusterID: string, clientID: string, opts?: StanOptions | string | number) {
    super();
    if (typeof clusterID !== 'string' || clusterID === '') throw new StanError(BAD_CLUSTER_ID);
    if (typeof clientID !== 'string' || clientID === '') throw new StanError(BAD_CLIENT_ID);
    this.clusterID = clusterID;
    this.clientID = clientID;
    this.ackSubject = `_STAN.acks.${nextGuid()}`;
    this.options = parseOptions(opts);
    this.#limits = { timeout: Math.max(1, numberOf(this.options.ackTimeout, ACK_TIMEOUT)) };
    this.#mostUnanswered = numberOf(this.options.maxPubAcksInflight, MAX_PUB_ACKS_IN_FLIGHT);
    // With `test_opts`, a test gets the options of a client that never connects.
    if (typeof opts === 'object' && (opts as { test_opts?: unknown } | null)?.test_opts) return;
    const { servers, options } = connectArguments(clusterID, clientID, this.options, opts);
    let wrong: Error | undefined;
    try {
      this.#client = ResilientStan.createAfter(predecessors(clusterID, clientID), servers, options);
    } catch (error) {
      // Unreadable servers throw, as in node-nats-streaming. The server refuses every other wrong argument there, so `error`
      // tells it here.
      if (error instanceof InvalidArgumentError && error.argument === 'servers') throw error;
      wrong = error as Error;
    }
    const { nc } = this.options;
    if (typeof nc === 'object') {
      this.nc = nc;
      this.#stopWatching = whenClosed(nc, () => this.#close(0));
    } else {
      const owner = { flush: () => this.#flush(), close: () => this.close() };
      this.ncOwned = true;
      this.nc = this.#view = new NatsView(owner, this.options, servers);
    }
    if (wrong !== undefined) process.nextTick(() => this.#over(wrong));
    if (this.#client === undefined) return;
    this.#pings = options.pings;
    this.#listen(this.#client);
  }

  /** Whether the client is closed. */
  isClosed(): boolean {
    return this.nc === undefined;
  }

  /** Returns new options of a subscription, with their defaults. */
  subscriptionOptions(): SubscriptionOptions {
    return new SubscriptionOptions();
  }

  /**
   * Publishes a message. A callback gets its answer within `ackTimeout`. Without a callback, the message is kept until it is
   * stored. During an outage, and before the first session, a message is kept and sent later.
   *
   * @param subject name of the channel
   * @param data text, bytes, or nothing
   * @param ackHandler default: nobody is called
   * @returns the identifier that the callback gets; undefined, although the type does not say so, when the callback was called
   *   with an error at once
   * @throws Error when there is no callback, and the client is closed or more than `maxPubAcksInflight` messages have no answer
   * @throws Error when the data are of another kind
   */
  publish(subject: string, data?: string | Uint8Array | null, ackHandler?: AckHandlerCallback): string {
    if (this.nc === undefined || this.#client === undefined) return this.#refuse(CONN_CLOSED, ackHandler);
    if (this.pubAckOutstanding > this.#mostUnanswered) {
      return this.#refuse(MAX_FLIGHT_LIMIT_REACHED, ackHandler);
    }
    const payload = data ?? '';
    checkPayload(payload);
    const guid = nextGuid();
    this.pubAckOutstanding++;
    if (typeof ackHandler === 'function') {
      const answer = new Answer(this.#answers, ackHandler, guid);
      ResilientStan.publishFor(this.#client, answer, subject, payload, this.#limits);
    } else {
      ResilientStan.publishFor(this.#client, this.#unanswered, subject, payload, undefined);
    }
    return guid;
  }

  /**
   * Subscribes to a channel. During an outage, and before the first session, the subscription waits.
   * @param subject name of the channel
   * @param options default: those of {@link subscriptionOptions}
   */
  subscribe(subject: string, options?: SubscriptionOptions): Subscription;
  /**
   * Subscribes as a member of a queue group. During an outage, and before the first session, the subscription waits.
   * @param subject name of the channel
   * @param qGroup name of the queue group
   * @param options default: those of {@link subscriptionOptions}
   */
  subscribe(subject: string, qGroup: string, options?: SubscriptionOptions): Subscription;
  subscribe(subject: string, qGroup?: string | SubscriptionOptions, options?: SubscriptionOptions): Subscription {
    const group = typeof qGroup === 'string' ? qGroup : undefined;
    const first = typeof qGroup === 'object' && qGroup !== null ? qGroup : undefined;
    const given = typeof options === 'object' && options !== null ? options : first;
    const subscription = new Subscription(this, subject, group, given ?? new SubscriptionOptions());
    Subscription.begin(subscription, this.isClosed() ? undefined : this.#client, ++this.#subscriptions);
    return subscription;
  }

  /**
   * Closes the client: running handlers finish and what is pending is sent, for up to 10 s. Then `close` is emitted. Durables
   * keep their position. A second call does nothing.
   */
  close(): void {
    if (!this.#closing) this.#close(undefined);
  }

  #close(timeout: number | undefined): void {
    const client = this.#client;
    if (this.isClosed() || client === undefined) return;
    this.#closing = true;
    noteClosing(this.clusterID, this.clientID, client.closed());
    void client.close(timeout === undefined ? {} : { timeout });
  }

  #listen(client: ResilientStan): void {
    client.on('session', ({ server }) => this.#up(client, server));
    client.on('connection_lost', () => this.#down());
    client.on('connecting', () => this.#tried(true));
    client.on('reconnecting', () => this.#tried());
    client.on('permission_error', ({ error }) => {
      this.#tellView('permission_error', error);
      tell(this, 'permission_error', error);
    });
    // Errors that are retried are not told. The end of a subscription is told on the subscription.
    client.on('error', ({ error }) => {
      if (error instanceof InternalError && this.listenerCount('error') > 0) tell(this, 'error', error);
    });
    // The answers of what was pending come first, in the turn before.
    client.on('close', ({ error }) => REAL_SOURCES.setImmediate(() => this.#over(error)));
  }

  #up(client: ResilientStan, server: string): void {
    const { clusterID } = this;
    const first = !this.#everUp;
    this.#everUp = true;
    this.#told = 'up';
    this.connId = Buffer.from(ResilientStan.connectionIdOf(client) ?? []);
    this.pubPrefix = `_STAN.pub.${clusterID}`;
    this.subRequests = `_STAN.sub.${clusterID}`;
    this.unsubRequests = `_STAN.unsub.${clusterID}`;
    this.subCloseRequests = `_STAN.subclose.${clusterID}`;
    this.closeRequests = `_STAN.close.${clusterID}`;
    this.stanPingInterval = this.#pings?.interval;
    this.stanMaxPingOut = this.#pings?.maxOut;
    this.#view?.attached(server);
    this.#tellView(first ? 'connect' : 'reconnect', this.nc);
    tell(this, first ? 'connect' : 'reconnect', this);
  }

  #down(): void {
    if (this.#told === 'down') return;
    this.#told = 'down';
    this.#view?.detached();
    this.#tellView('disconnect');
    tell(this, 'disconnect');
  }

  /** An attempt begins. @param first whether no session was up yet; such attempts are told only with `waitOnFirstConnect` */
  #tried(first = false): void {
    // The core tells no loss of a session that ended before its subscriptions were made, but the program has heard of that session.
    this.#down();
    if (first && !this.#everUp && !this.options.waitOnFirstConnect) return;
    this.#tellView('reconnecting');
    tell(this, 'reconnecting');
  }

  #over(error: Error | undefined): void {
    const asked = error === undefined || this.#closing;
    this.#closing = true;
    if (!asked && this.#everUp) {
      this.#down();
      tell(this, 'connection_lost', lostError(error));
    } else if (!asked) {
      tell(this, 'error', connectError(error));
    }
    this.#stopWatching?.();
    this.nc = undefined;
    this.#view?.ended();
    this.#tellView('close');
    if (asked) tell(this, 'close', null);
    else tell(this, 'close');
  }

  async #flush(): Promise<void> {
    await this.#client?.flush();
  }

  #tellView(event: string, ...args: unknown[]): void {
    const view = this.#view;
    if (view !== undefined && view.listenerCount(event) > 0) tell(view, event, ...args);
  }

  #refuse(text: string, ackHandler: AckHandlerCallback | undefined): string {
    const error = new StanError(text, { delivery: 'not-sent' });
    if (typeof ackHandler !== 'function') throw error;
    // The original gives no identifier here, although its types say so.
    const refused = (): void => (ackHandler as (error: Error) => void)(error);
    if (this.#calling) {
      // A callback that publishes again would call itself without end.
      REAL_SOURCES.setImmediate(() => this.#call(refused, undefined, ''));
    } else {
      this.#calling = true;
      try {
        refused();
      } finally {
        this.#calling = false;
      }
    }
    return undefined as unknown as string;
  }

  #call(ackHandler: AckHandlerCallback, error: StanError | undefined, guid: string): void {
    this.#calling = true;
    try {
      ackHandler(error, guid);
    } catch (thrown) {
      throwLater(thrown);
    }
    this.#calling = false;
  }

  /** What the callbacks of publishes are called through. */
  readonly #answers: Answers = {
    stored: (handler, guid) => {
      this.pubAckOutstanding--;
      this.#call(handler, undefined, guid);
    },
    failed: (handler, guid, error) => {
      const answer = (): void => {
        this.pubAckOutstanding--;
        this.#call(handler, publishError(error), guid);
      };
      // At the end of a client the answer comes in a later turn of the event loop: a callback that publishes again would
      // otherwise keep the client from ending.
      if (error instanceof ClosedError) REAL_SOURCES.setImmediate(answer);
      else answer();
    },
  };

  /** Waits for all messages without a callback. */
  readonly #unanswered: PublishListener = {
    stored: () => {
      this.pubAckOutstanding--;
    },
    // The message was refused for good, and only a listener of `error` hears of it.
    failed: (error) => {
      this.pubAckOutstanding--;
      // The end of the client is told once, and not for each message.
      if (error instanceof ClosedError || this.listenerCount('error') === 0) return;
      tell(this, 'error', publishError(error));
    },
  };
}

/** Where the answers to publishes go. */
interface Answers {
  stored(handler: AckHandlerCallback, guid: string): void;
  failed(handler: AckHandlerCallback, guid: string, error: ResilientStanError): void;
}

/** Waits for one message that has a callback. */
class Answer implements PublishListener {
  readonly #answers: Answers;
  readonly #handler: AckHandlerCallback;
  readonly #guid: string;

  constructor(answers: Answers, handler: AckHandlerCallback, guid: string) {
    this.#answers = answers;
    this.#handler = handler;
    this.#guid = guid;
  }

  stored(): void {
    this.#answers.stored(this.#handler, this.#guid);
  }

  failed(error: ResilientStanError): void {
    this.#answers.failed(this.#handler, this.#guid, error);
  }
}
