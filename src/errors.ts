/**
 * The errors of this library. Each is a {@link ResilientStanError} with a stable `code`, and each thing that a caller
 * would handle differently has a class of its own. A message says what failed, with what, and what to do now.
 */
import { types } from 'node:util';
import { errorToJson, type ErrorJson } from './error-json.js';

/**
 * What is known of the message of a rejected publish:
 *
 * - `'not-sent'`: no byte of it has left and none will, so it is safe to publish it again;
 * - `'rejected'`: the cluster refused it, so it is not stored;
 * - `'unknown'`: it was sent and no answer came, so it may or may not be stored.
 *
 * @category Publishing
 */
export type Delivery = 'not-sent' | 'rejected' | 'unknown';

/**
 * The stable name of a kind of error. Each class of errors has one of its own.
 * @category Errors
 */
export type ErrorCode =
  | 'ERR_STAN_INVALID_ARGUMENT'
  | 'ERR_STAN_PAYLOAD_TOO_LARGE'
  | 'ERR_STAN_CONNECT'
  | 'ERR_STAN_AUTHORIZATION'
  | 'ERR_STAN_PERMISSION'
  | 'ERR_STAN_CLIENT_ID_CONFLICT'
  | 'ERR_STAN_CONNECTION_LOST'
  | 'ERR_STAN_OUTBOX_FULL'
  | 'ERR_STAN_PUBLISH_TIMEOUT'
  | 'ERR_STAN_PUBLISH_REJECTED'
  | 'ERR_STAN_SUBSCRIBE'
  | 'ERR_STAN_TIMEOUT'
  | 'ERR_STAN_ABORTED'
  | 'ERR_STAN_CLOSED'
  | 'ERR_STAN_CALLBACK'
  | 'ERR_STAN_SERVER_BINARY'
  | 'ERR_STAN_SERVER_START'
  | 'ERR_STAN_PEER_MISSING'
  | 'ERR_STAN_MIGRATION_SOURCE'
  | 'ERR_STAN_MIGRATION_TARGET'
  | 'ERR_STAN_INTERNAL';

/**
 * What an error may carry besides its message.
 * @category Errors
 */
export interface ResilientStanErrorOptions {
  /** The error that led to this one. Default: none. */
  cause?: unknown;
  /** What is known of the message. Set on every error that rejects a publish. */
  delivery?: Delivery;
  /** The text of the server, where it has answered with an error. */
  serverText?: string;
}

/**
 * The base class of all errors of this library.
 *
 * @example
 * ```ts
 * try {
 *   await stan.publish('orders', data, { timeout: 5000 });
 * } catch (error) {
 *   if (!(error instanceof ResilientStanError)) throw error;
 *   console.warn(error.code, error.delivery); // 'ERR_STAN_PUBLISH_TIMEOUT', 'unknown'
 * }
 * ```
 * @category Errors
 */
export class ResilientStanError extends Error {
  /** The stable name of the kind of error. */
  readonly code: ErrorCode;
  /** On a rejected publish: what is known of its message. Undefined on all other errors. */
  declare readonly delivery?: Delivery;
  /** The text of the server exactly, where it has answered with an error. The message contains it as well. Else undefined. */
  declare readonly serverText?: string;

  constructor(code: ErrorCode, message: string, options: ResilientStanErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = nameOf(code);
    this.code = code;
    if (options.delivery !== undefined) this.delivery = options.delivery;
    if (options.serverText !== undefined) this.serverText = options.serverText;
  }

  /**
   * What `JSON.stringify` shows: name, message, code, the fields of the class, and the causes. The stack is left out.
   *
   * @example
   * ```ts
   * response.end(JSON.stringify(stan.health())); // its lastError says what failed
   * ```
   */
  toJSON(): ErrorJson {
    return errorToJson(this);
  }
}

/** The name of the class of a code. It is not asked of the class, because bundlers shorten the names of classes. */
function nameOf(code: ErrorCode): string {
  const words = code.slice('ERR_STAN_'.length).toLowerCase().split('_');
  return `${words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')}Error`;
}

/**
 * An argument or option can never work. The promise is rejected with it before anything is sent.
 * @category Errors
 */
export class InvalidArgumentError extends ResilientStanError {
  /** The name of the argument, or the path of the option, as in `publishing.maxInFlight`. */
  readonly argument: string;
  constructor(argument: string, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_INVALID_ARGUMENT', message, options);
    this.argument = argument;
  }
}

/**
 * The message is larger than the server's `max_payload`. It was not sent, because NATS would close the connection over it.
 * @category Errors
 */
export class PayloadTooLargeError extends ResilientStanError {
  /** Size of the message on the wire, with its protocol overhead, in bytes. */
  readonly size: number;
  /** The server's `max_payload`, in bytes. */
  readonly limit: number;
  constructor(channel: string, size: number, limit: number) {
    super(
      'ERR_STAN_PAYLOAD_TOO_LARGE',
      `the message for channel '${channel}' is ${size} bytes on the wire, and the server takes at most ${limit} ` +
        `(its max_payload, protocol overhead included): split it, or raise max_payload on every server`,
      { delivery: 'not-sent' },
    );
    this.size = size;
    this.limit = limit;
  }
}

/**
 * What a NATS server says of itself that has no NATS Streaming.
 * @category Errors
 */
export interface PlainServer {
  /** The version of the NATS server, as `'2.10.7'`. */
  version: string;
  /** Whether it has JetStream, which is another protocol, for other clients. */
  jetStream: boolean;
}

/**
 * Why one server could not be used.
 * @category Errors
 */
export interface ServerFailure {
  /** URL of the server, without credentials. */
  server: string;
  /** What failed, in words. */
  reason: string;
  /** The error behind it. */
  error: Error;
  /** Whether the server was connected to, so that only an answer of the leader is missing. Undefined means false. */
  reached?: boolean;
  /**
   * Is set if the server is a plain NATS server, and no server of NATS Streaming with the cluster ID is connected to it. Undefined
   * means that this is not so, or not known.
   */
  plain?: PlainServer;
}

/**
 * No server could be reached, or no leader answered.
 * @category Errors
 */
export class ConnectError extends ResilientStanError {
  /** Every server that was tried, with its reason. */
  declare readonly failures: readonly ServerFailure[];
  constructor(message: string, failures: readonly ServerFailure[], options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_CONNECT', message, options);
    // Node prints the enumerable fields of an uncaught error. The message says what they say, and their errors fill pages.
    Object.defineProperty(this, 'failures', { value: failures, enumerable: false });
    listInStack(this);
  }
}

/** How a failure stands in a message. Other failures stand behind it after a semicolon. */
export const failureText = ({ server, reason }: ServerFailure): string => `${server} (${reason})`;

/** Gives each server a line of its own where Node prints an error. The message is one line, for logs. */
function listInStack(error: ConnectError): void {
  const { message, failures, stack } = error;
  const end = stack?.indexOf(message) ?? -1;
  // Not every runtime has the message in the stack.
  if (stack === undefined || end < 0 || failures.length < 2) return;
  let listed = message;
  for (const failure of failures) {
    const text = failureText(failure);
    listed = listed.replace(text, () => `\n  ${text}`);
  }
  const frames = stack.slice(end + message.length);
  error.stack = `${error.name}: ${listed.replace(/;? \n/g, '\n')}${frames}`;
}

/**
 * A server refused the credentials.
 * @category Errors
 */
export class AuthorizationError extends ResilientStanError {
  /** URL of the server, without credentials. */
  readonly server: string;
  constructor(server: string, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_AUTHORIZATION', message, options);
    this.server = server;
  }
}

/**
 * The permissions of this client at the server do not allow what it asked for.
 * @category Errors
 */
export class PermissionError extends ResilientStanError {
  /** The NATS subject that was refused. Undefined if the server named none. */
  readonly subject: string | undefined;
  constructor(subject: string | undefined, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_PERMISSION', message, options);
    this.subject = subject;
  }
}

/**
 * Another live client has the same client ID.
 * @category Errors
 */
export class ClientIdConflictError extends ResilientStanError {
  /** The client ID that both want. */
  readonly clientId: string;
  constructor(clientId: string, options: ResilientStanErrorOptions = {}) {
    super(
      'ERR_STAN_CLIENT_ID_CONFLICT',
      `client ID '${clientId}' is held by another live client of this cluster: give each process a client ID of its own, ` +
        `or stop the other one`,
      options,
    );
    this.clientId = clientId;
  }
}

/**
 * What ended a session:
 *
 * - `'disconnect'`: the TCP connection ended, or NATS reported an error on it;
 * - `'pings'`: `pings.maxOut` STAN pings in a row were not answered;
 * - `'path'`: the leader answered on another path and not on ours, so our server is frozen or the path is cut;
 * - `'replaced'`: the cluster does not know this session any more, or another process has taken the client ID;
 * - `'request_timeout'`: a request of the protocol (subscribe, close) was not answered in time;
 * - `'ack_timeout'`: a publish was not acknowledged within `publishing.ackTimeout`, although the leader answers;
 * - `'refused'`: for 2.5 s the server refused every publish for want of a leader, although it answered questions as a leader does;
 * - `'permission'`: the server forbids a subject that the session needs.
 *
 * @category Client
 */
export type LossReason =
  'disconnect' | 'pings' | 'path' | 'replaced' | 'request_timeout' | 'ack_timeout' | 'refused' | 'permission';

/**
 * A session has ended, and nobody asked for it. The client reconnects unless it is told to close.
 * @category Errors
 */
export class ConnectionLostError extends ResilientStanError {
  /** What ended the session. */
  readonly reason: LossReason;
  /** URL of the server of that session, without credentials. */
  readonly server: string;
  constructor(reason: LossReason, server: string, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_CONNECTION_LOST', message, options);
    this.reason = reason;
    this.server = server;
  }
}

/**
 * As many messages wait for their acknowledgement as `maxPending` or `maxPendingBytes` allows, and `whenFull` is `'reject'`.
 * @category Errors
 */
export class OutboxFullError extends ResilientStanError {
  constructor(pending: number, pendingBytes: number, limit: string) {
    super(
      'ERR_STAN_OUTBOX_FULL',
      `${pending} messages (${pendingBytes} bytes) wait for their acknowledgement, which is the limit (${limit}): ` +
        `slow down, raise the limit, or set publishing.whenFull to 'wait'`,
      { delivery: 'not-sent' },
    );
  }
}

/**
 * A publish was not acknowledged within its own `timeout`.
 * @category Errors
 */
export class PublishTimeoutError extends ResilientStanError {
  /** Name of the channel. */
  readonly channel: string;
  constructor(channel: string, timeout: number, delivery: Delivery) {
    super(
      'ERR_STAN_PUBLISH_TIMEOUT',
      `no acknowledgement from the cluster within ${timeout} ms for a message on channel '${channel}': ` +
        (delivery === 'not-sent'
          ? 'it was never sent, and never will be'
          : 'it was sent, so it may or may not be stored'),
      { delivery },
    );
    this.channel = channel;
  }
}

/**
 * The cluster refused the message, and still did when it was sent again; or sessions ended each time it was sent.
 * @category Errors
 */
export class PublishRejectedError extends ResilientStanError {
  /** Name of the channel. */
  readonly channel: string;
  constructor(channel: string, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_PUBLISH_REJECTED', message, { delivery: 'rejected', ...options });
    this.channel = channel;
  }
}

/**
 * The cluster refused the subscription for good; or sessions ended each time it was asked for.
 * @category Errors
 */
export class SubscribeError extends ResilientStanError {
  /** Name of the channel. */
  readonly channel: string;
  /** Whether a subscription of this client ID already uses the durable. */
  readonly durableInUse: boolean;
  constructor(channel: string, message: string, options: ResilientStanErrorOptions & { durableInUse?: boolean } = {}) {
    super('ERR_STAN_SUBSCRIBE', message, options);
    this.channel = channel;
    this.durableInUse = options.durableInUse === true;
  }
}

/**
 * Something was not done within its `timeout`, as a `flush()`.
 * @category Errors
 */
export class TimeoutError extends ResilientStanError {
  constructor(message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_TIMEOUT', message, options);
  }
}

/**
 * The AbortSignal that the caller gave was aborted. `cause` is the signal's reason.
 * @category Errors
 */
export class AbortedError extends ResilientStanError {
  constructor(message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_ABORTED', message, options);
  }
}

/**
 * The client or the subscription is closed: it was closed before the call, or while the call waited.
 * @category Errors
 */
export class ClosedError extends ResilientStanError {
  constructor(message = 'the client is closed', options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_CLOSED', message, options);
  }
}

/**
 * A callback or listener of the user has thrown, or its promise was rejected. `cause` is what it threw.
 * @category Errors
 */
export class CallbackError extends ResilientStanError {
  constructor(what: string, cause: unknown) {
    super('ERR_STAN_CALLBACK', `${what} threw: ${describe(cause)}`, { cause });
  }
}

/**
 * Something that this library does not expect: a bug in it. `cause` is what was thrown.
 * @category Errors
 */
export class InternalError extends ResilientStanError {
  constructor(message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_INTERNAL', message, options);
  }
}

/** The message of anything that was thrown. The wrapped clients throw strings, and users may throw anything. */
export function describe(thrown: unknown): string {
  try {
    // An error of another realm (a vm context, some test runners) counts as well.
    if (types.isNativeError(thrown) || thrown instanceof Error) return String(thrown.message || thrown.name);
    return typeof thrown === 'string' ? thrown : String(thrown);
  } catch {
    return 'something that cannot be shown';
  }
}

/** An Error for anything that was thrown. */
export function toError(thrown: unknown): Error {
  return isA(Error, thrown) ? thrown : new Error(describe(thrown), { cause: thrown });
}

/**
 * The error that the user gets: one of this library as it is, anything else inside an {@link InternalError}.
 * @param what what failed, as in 'flush()'
 */
export function toOurs(thrown: unknown, what: string, options: ResilientStanErrorOptions = {}): ResilientStanError {
  if (isA(ResilientStanError, thrown)) return thrown;
  const message = `${what} failed for a reason that this library does not expect: ${describe(thrown)}`;
  return new InternalError(message, { ...options, cause: thrown });
}

/** `instanceof`, for a value that may be a proxy and throw at the question. */
function isA<T>(kind: abstract new (...args: never[]) => T, value: unknown): value is T {
  try {
    return value instanceof kind;
  } catch {
    return false;
  }
}
