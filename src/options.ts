/** What users may say, and what it comes to. The resolve functions in `resolve-options.ts` lead from one to the other. */
import type { ConnectionOptions } from 'node:tls';
import type { ServerAddress } from './connection/servers.js';
import type { ConnectionLostError } from './errors.js';
import type { ResolvedLogger } from './logger.js';
import type { ResilientStan } from './resilient-stan.js';
import type { StanMessage } from './subscribing/message.js';

export {
  resolveCloseOptions,
  resolveConnectOptions,
  resolveFlushOptions,
  resolveMessagesOptions,
  resolvePublishOptions,
  resolveSubscribeOptions,
} from './resolve-options.js';

/**
 * How often to try again, by p-retry's names. The delay after the n-th failed attempt is `minTimeout · factor^(n − 1)`,
 * at most `maxTimeout`. Times are milliseconds. The defaults are those of {@link ConnectOptions.initialConnect} and
 * {@link ConnectOptions.reconnect}.
 */
export interface RetryOptions {
  /** Attempts after the first one, counted on through sessions that last less than 2 s; `Infinity` for no limit. */
  retries?: number | undefined;
  /** By how much each delay is longer than the one before; 1 or more. */
  factor?: number | undefined;
  /** The delay after the first failed attempt; 1 or more, or a refused dial would be repeated in a tight loop. */
  minTimeout?: number | undefined;
  /** The longest delay. */
  maxTimeout?: number | undefined;
  /** Draw each delay at random, between half of its value and all of it, so that many clients do not dial in step. */
  randomize?: boolean | undefined;
  /**
   * No further attempt once this long has passed since the first, counted on through sessions that last less than 2 s.
   * Default `Infinity`.
   */
  maxRetryTime?: number | undefined;
}

/** STAN pings: how the client notices that no leader answers although the TCP connection lives. */
export interface PingOptions {
  /**
   * Milliseconds between two pings of an idle session. A multiple of 1000, as the protocol has whole seconds.
   * Default 1000.
   */
  interval?: number | undefined;
  /** The session is lost when this many pings in a row went unanswered. Default 3. */
  maxOut?: number | undefined;
}

/** What holds for all publishes of a client. */
export interface PublishingOptions {
  /**
   * `'pipelined'` (default): many messages are in flight at a time, and those in flight when a fault strikes may be
   * stored in another order. `'strict'`: one message in flight per channel, so the order of a channel always holds.
   */
  ordering?: 'pipelined' | 'strict' | undefined;
  /** The most messages that are sent and not acknowledged yet. Default 1024. */
  maxInFlight?: number | undefined;
  /**
   * Milliseconds to wait for the acknowledgement of one sending, while the leader is known to be alive, before the
   * session is given up and the message is sent again on the next one. Default 30000.
   */
  ackTimeout?: number | undefined;
  /** The most messages that may wait for their acknowledgement, sent or not. Default 100000. */
  maxPending?: number | undefined;
  /** The most bytes of payload that may wait for their acknowledgement. Default 268435456 (256 MiB). */
  maxPendingBytes?: number | undefined;
  /**
   * What `publish` does at `maxPending` or `maxPendingBytes`: `'reject'` (default) with an `OutboxFullError` at once,
   * or `'wait'` for room, first come, first served.
   */
  whenFull?: 'reject' | 'wait' | undefined;
}

/** How to prove who we are. The names are those of the NATS client; use one kind of proof only. */
export interface Credentials {
  /** User name; goes with `pass`. */
  user?: string | undefined;
  /** Password; goes with `user`. */
  pass?: string | undefined;
  /** Authorization token. */
  token?: string | undefined;
  /** NKey *seed* of a user (`SU…`). The public key is derived from it, and the server's nonce is signed with it. */
  nkey?: string | undefined;
  /** User JWT, when it is at hand as a string; goes with `nkey`. In a file together with its seed: `userCreds`. */
  userJWT?: string | undefined;
  /** Path of a credentials file (JWT and seed). It is read before every dial, so it may be rotated in place. */
  userCreds?: string | undefined;
}

/**
 * Called before every dial, so that each one goes out with fresh credentials. A rejection counts as the failure of
 * that dial, and is retried like any other.
 */
export type CredentialsProvider = () => Credentials | Promise<Credentials>;

/**
 * Called before every dial, so that certificates can be renewed without a restart. `true`, or the options of
 * `tls.connect`: every server is then reached over TLS, whatever its URL says. A rejection, or an answer that cannot be
 * used (`false` is one), counts as the failure of that dial, and is retried like any other.
 */
export type TlsProvider = () => boolean | ConnectionOptions | Promise<boolean | ConnectionOptions>;

/** Where the library says what it does. Every function is optional; none may be a place where the process dies. */
export interface Logger {
  /** Every dial, suspicion and probe. */
  debug?(message: string, details?: Record<string, unknown>): void;
  /** Connected, subscriptions made again. */
  info?(message: string, details?: Record<string, unknown>): void;
  /** Losses, and what was done about them. */
  warn?(message: string, details?: Record<string, unknown>): void;
  /** What needs a person. */
  error?(message: string, details?: Record<string, unknown>): void;
}

/**
 * Called once per loss of a session. Return (or resolve to) `'close'` to close the client, `'reconnect'` or nothing to
 * go on. The client reconnects only when the answer is there; one that throws or rejects counts as `'reconnect'`.
 */
export type ConnectionLostHandler = (
  error: ConnectionLostError,
  stan: ResilientStan,
) => void | 'reconnect' | 'close' | Promise<void | 'reconnect' | 'close'>;

/** Options of `ResilientStan.connect`. Times are milliseconds. Unknown names are refused. */
export interface ConnectOptions extends Credentials {
  /** Cluster ID as the servers are configured. Default `'test-cluster'`. A wrong one is answered by silence only. */
  clusterId?: string | undefined;
  /**
   * Letters, digits, `-` and `_`; must be different for every process. Default: generated, and another one in every
   * process, which is why plain durables need one that is set.
   */
  clientId?: string | undefined;
  /** STAN pings. Default every 1000 ms, lost after 3. */
  pings?: PingOptions | undefined;
  /**
   * Limit of each step: TCP and NATS greeting of one server; the first answer of a leader; the STAN handshake.
   * Default 2000.
   */
  connectTimeout?: number | undefined;
  /**
   * Retries of the first connect. Default
   * `{ retries: 3, factor: 2, minTimeout: 100, maxTimeout: 1000, randomize: true, maxRetryTime: Infinity }`.
   */
  initialConnect?: RetryOptions | undefined;
  /**
   * Retries after a loss; `false` to close instead. Default
   * `{ retries: Infinity, factor: 1.5, minTimeout: 50, maxTimeout: 500, randomize: true, maxRetryTime: Infinity }`.
   */
  reconnect?: RetryOptions | false | undefined;
  /** Asked at every loss whether to go on. Default: always. */
  connectionLostHandler?: ConnectionLostHandler | undefined;
  /** When another live process holds or took our client ID: go on trying (`'retry'`, default), or `'close'`. */
  clientIdConflict?: 'retry' | 'close' | undefined;
  /** What holds for all publishes. */
  publishing?: PublishingOptions | undefined;
  /** Shuffle the server list, so that many clients spread over the servers. Default true. */
  randomize?: boolean | undefined;
  /**
   * Dial the servers that the cluster announces, after the listed ones. They get the same credentials, under the same TLS
   * rules. `false` for clients that cannot reach them, as from outside of a NAT. Default true.
   */
  discover?: boolean | undefined;
  /**
   * `true`, or the options of `tls.connect` (`ca`, `cert`, `key`, `servername` …, as contents, not as paths), or a function
   * that is asked for them before every dial: then every server is reached over TLS. Left out, only those with a `tls://`
   * URL are, and a list that mixes `tls://` and `nats://` is refused. The certificate is checked against the host of the URL.
   */
  tls?: boolean | ConnectionOptions | TlsProvider | undefined;
  /** Asked before every dial; instead of static credentials. */
  credentials?: CredentialsProvider | undefined;
  /** Name of the NATS connections in the server's monitoring. Default: the client ID. */
  name?: string | undefined;
  /** Aborts the connect, or closes the client when it is connected already. */
  signal?: AbortSignal | undefined;
  /** Where to log. Default: nowhere. `console` will do. */
  logger?: Logger | undefined;
}

/** Options of `publish`. */
export interface PublishOptions {
  /**
   * Milliseconds after which the publish is given up and rejects with a `PublishTimeoutError`. Default: never, the
   * message is kept and sent again until it is acknowledged. Time in which this process stood still does not count.
   */
  timeout?: number | undefined;
  /** Gives the publish up. */
  signal?: AbortSignal | undefined;
}

/** Where a subscription starts that the server does not know yet. */
export type StartAt =
  /** With what is published from when the server has the subscription. */
  | 'new'
  /** With the newest stored message. */
  | 'last'
  /** With the oldest stored message. */
  | 'first'
  /**
   * With this sequence, or the oldest stored one above it: what is missing below that is a `gap`. If there is none yet, with what is
   * published next, of any number. Of a durable the server does not say whether it is new, so messages in such a `gap` may have been
   * handled before.
   */
  | { sequence: number }
  /**
   * With the first message stored at or after this time, by the server's clock. It may be yet to come; then what is stored before is
   * acknowledged and not handed over. Not for a durable or a queue group: there a time more than a minute ahead is refused
   * with an `InvalidArgumentError`, and a nearer one is `'new'`.
   */
  | { time: Date }
  /** With the first message stored at most this many milliseconds ago. More than 292 years is `'first'`. */
  | { ago: number };

/** Takes a message that was delivered `maxDeliveries` times in vain. It is acknowledged when the promise resolves. */
export type DeadLetterHandler = (message: StanMessage, error: unknown) => void | Promise<void>;

/** Options of `subscribe` and `messages`. */
export interface SubscribeOptions {
  /**
   * Makes it durable: the server keeps its position under this name, per client ID (or per queue group). It needs a
   * `clientId` that is set, unless there is a `queueGroup`.
   */
  durableName?: string | undefined;
  /** Members of one group share the messages of the channel. */
  queueGroup?: string | undefined;
  /** Where to start. Default `'new'`. Without effect on a durable or a queue group that the server knows already. */
  startAt?: StartAt | undefined;
  /** The most messages the server sends ahead of our acknowledgements. Default 1024. */
  maxInFlight?: number | undefined;
  /**
   * Milliseconds after which the server sends an unacknowledged message again; 1000 or more, and rounded up to whole
   * seconds, as the protocol has no others. Default 30000.
   */
  ackWait?: number | undefined;
  /**
   * `false` (default): a message is acknowledged when its handler's promise resolves. `true`: only by `message.ack()`.
   */
  manualAck?: boolean | undefined;
  /** How many handlers may run at a time; 1 (default) handles in order. At most `maxInFlight`. */
  concurrency?: number | undefined;
  /** After this many deliveries in vain a message is a dead letter: handed to `deadLetter`, acknowledged, told. */
  maxDeliveries?: number | undefined;
  /** Takes dead letters; needs `maxDeliveries`. */
  deadLetter?: DeadLetterHandler | undefined;
  /** Closes the subscription, keeping a durable. */
  signal?: AbortSignal | undefined;
}

/** Options of `flush`. */
export interface FlushOptions {
  /** Milliseconds after which it rejects with a `TimeoutError`. Default: never. */
  timeout?: number | undefined;
}

/** Options of `close`. */
export interface CloseOptions {
  /**
   * Milliseconds for the drain: running handlers, pending publishes, durables that are to be dropped. Then it closes all the
   * same. Default 10000; 0: at once. It also hurries a `close()` that is under way.
   */
  timeout?: number | undefined;
}

export interface ResolvedRetryOptions {
  readonly retries: number;
  readonly factor: number;
  readonly minTimeout: number;
  readonly maxTimeout: number;
  readonly randomize: boolean;
  readonly maxRetryTime: number;
}

export interface ResolvedPublishingOptions {
  readonly ordering: 'pipelined' | 'strict';
  readonly maxInFlight: number;
  readonly ackTimeout: number;
  readonly maxPending: number;
  readonly maxPendingBytes: number;
  readonly whenFull: 'reject' | 'wait';
}

/** Credentials that were checked: one complete kind of proof, or none. */
export type ResolvedCredentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly user: string; readonly pass: string }
  | { readonly kind: 'token'; readonly token: string }
  /** `nkey` is the seed. */
  | { readonly kind: 'nkey'; readonly nkey: string; readonly userJWT?: string }
  | { readonly kind: 'file'; readonly userCreds: string };

export interface ResolvedConnectOptions {
  readonly servers: readonly ServerAddress[];
  readonly clusterId: string;
  readonly clientId: string;
  readonly clientIdGenerated: boolean;
  readonly pings: { readonly interval: number; readonly maxOut: number };
  readonly connectTimeout: number;
  readonly initialConnect: ResolvedRetryOptions;
  readonly reconnect: ResolvedRetryOptions | false;
  readonly connectionLostHandler?: ConnectionLostHandler;
  readonly clientIdConflict: 'retry' | 'close';
  readonly publishing: ResolvedPublishingOptions;
  readonly randomize: boolean;
  /** Static credentials; a URL's own go before them, and `credentials` before both. */
  readonly staticCredentials: ResolvedCredentials;
  readonly credentials?: CredentialsProvider;
  /** Dial what the cluster announces, too. */
  readonly discover: boolean;
  /** What is not false holds for every server. A function is asked before each dial, and its answer is still unchecked. */
  readonly tls: boolean | ConnectionOptions | TlsProvider;
  readonly name: string;
  readonly signal?: AbortSignal;
  /** Every function is there, and none of them throws. */
  readonly logger: ResolvedLogger;
}

export interface ResolvedPublishOptions {
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

export interface ResolvedSubscribeOptions {
  readonly durableName?: string;
  readonly queueGroup?: string;
  readonly startAt: StartAt;
  readonly maxInFlight: number;
  /** A multiple of 1000. */
  readonly ackWait: number;
  readonly manualAck: boolean;
  readonly concurrency: number;
  readonly maxDeliveries?: number;
  readonly deadLetter?: DeadLetterHandler;
  readonly signal?: AbortSignal;
}
