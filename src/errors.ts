/**
 * Every error of this library is a {@link ResilientStanError} with a stable `code`. There is one class for each thing
 * a caller would handle differently; messages say what failed, with what, and what to do now.
 */
import { types } from 'node:util';

/** What is known of the message of a rejected publish. */
export type Delivery =
  /** No byte of it went to a server, now or later: it is safe to publish it again. */
  | 'not-sent'
  /** The cluster refused it: it is not stored. */
  | 'rejected'
  /** It was sent and no answer came: it may or may not be stored. */
  | 'unknown';

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
  | 'ERR_STAN_INTERNAL';

export interface ResilientStanErrorOptions {
  cause?: unknown;
  /** Set on every error that rejects a publish. */
  delivery?: Delivery;
  /** Set where the cluster has answered with an error. */
  serverText?: string;
}

/** The base of all errors of this library. */
export class ResilientStanError extends Error {
  readonly code: ErrorCode;
  /** On a rejected publish: what is known of its message. Undefined on all other errors. */
  readonly delivery?: Delivery;
  /** The server's own words, exactly, where it has answered with an error: what it says is a part of the message, too. */
  readonly serverText?: string;

  constructor(code: ErrorCode, message: string, options: ResilientStanErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = new.target.name;
    this.code = code;
    if (options.delivery !== undefined) this.delivery = options.delivery;
    if (options.serverText !== undefined) this.serverText = options.serverText;
  }
}

/** An argument or option that can never work. Thrown (as a rejection) before anything is sent. */
export class InvalidArgumentError extends ResilientStanError {
  /** The argument or the option's path, as in `publishing.maxInFlight`. */
  readonly argument: string;
  constructor(argument: string, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_INVALID_ARGUMENT', message, options);
    this.argument = argument;
  }
}

/** The payload does not fit the server's `max_payload`; NATS would close the connection over it. */
export class PayloadTooLargeError extends ResilientStanError {
  readonly size: number;
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

/** Why one server of the list was of no use. */
export interface ServerFailure {
  /** URL without credentials. */
  server: string;
  reason: string;
  error: Error;
}

/** Nobody could be reached, or no leader answered. `failures` has every server tried with its reason. */
export class ConnectError extends ResilientStanError {
  readonly failures: readonly ServerFailure[];
  constructor(message: string, failures: readonly ServerFailure[], options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_CONNECT', message, options);
    this.failures = failures;
  }
}

/** A server refused our credentials. */
export class AuthorizationError extends ResilientStanError {
  readonly server: string;
  constructor(server: string, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_AUTHORIZATION', message, options);
    this.server = server;
  }
}

/** The server's permissions forbid what was asked. */
export class PermissionError extends ResilientStanError {
  /** The NATS subject that was refused, when the server named one. */
  readonly subject: string | undefined;
  constructor(subject: string | undefined, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_PERMISSION', message, options);
    this.subject = subject;
  }
}

/** Another live process holds our client ID. */
export class ClientIdConflictError extends ResilientStanError {
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

/** What ended a session. */
export type LossReason =
  /** The TCP connection ended, or NATS reported an error on it. */
  | 'disconnect'
  /** `pings.maxOut` STAN pings went unanswered. */
  | 'pings'
  /** The leader answered on another path and not on ours: our server is frozen or the path is cut. */
  | 'path'
  /** The cluster does not know this session any more, or another process has taken our client ID. */
  | 'replaced'
  /** A request of the protocol (subscribe, close) got no answer in time. */
  | 'request_timeout'
  /** A publish got no ack within `publishing.ackTimeout` although the leader answers. */
  | 'ack_timeout'
  /** The server refused every publish for want of a leader, for 2.5 s, although it answered questions as the leader does. */
  | 'refused'
  /** The server forbids a subject without which the session cannot go on as it is. */
  | 'permission';

/** A session ended that nobody asked to end. The client goes on unless it is told to close. */
export class ConnectionLostError extends ResilientStanError {
  readonly reason: LossReason;
  readonly server: string;
  constructor(reason: LossReason, server: string, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_CONNECTION_LOST', message, options);
    this.reason = reason;
    this.server = server;
  }
}

/** `maxPending` or `maxPendingBytes` is reached and `whenFull` is 'reject'. */
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

/** A publish was not acknowledged within its own `timeout`. */
export class PublishTimeoutError extends ResilientStanError {
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

/** The cluster refused the message, for a reason that did not pass, or its server ended sessions over it. */
export class PublishRejectedError extends ResilientStanError {
  readonly channel: string;
  constructor(channel: string, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_PUBLISH_REJECTED', message, { delivery: 'rejected', ...options });
    this.channel = channel;
  }
}

/** The cluster refused a subscription, for a reason that will not pass, or its server ended sessions over it. */
export class SubscribeError extends ResilientStanError {
  readonly channel: string;
  constructor(channel: string, message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_SUBSCRIBE', message, options);
    this.channel = channel;
  }
}

/** `flush()` was not done within its `timeout`. */
export class TimeoutError extends ResilientStanError {
  constructor(message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_TIMEOUT', message, options);
  }
}

/** The caller's own AbortSignal ended it. `cause` is the signal's reason. */
export class AbortedError extends ResilientStanError {
  constructor(message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_ABORTED', message, options);
  }
}

/** Used after, or ended by, `close()`. */
export class ClosedError extends ResilientStanError {
  constructor(message = 'the client is closed', options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_CLOSED', message, options);
  }
}

/** A callback or listener of the user threw. */
export class CallbackError extends ResilientStanError {
  constructor(what: string, cause: unknown) {
    super('ERR_STAN_CALLBACK', `${what} threw: ${describe(cause)}`, { cause });
  }
}

/** A bug in this library. */
export class InternalError extends ResilientStanError {
  constructor(message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_INTERNAL', message, options);
  }
}

/** The message of anything that was thrown: the wrapped clients throw strings, and users whatever they like. */
export function describe(thrown: unknown): string {
  try {
    // One of another realm (a vm context, some test runners) as well.
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
 * What goes out to the user: an error of this library as it is, anything else as an {@link InternalError}.
 * @param what what failed, as in 'flush()'
 */
export function toOurs(thrown: unknown, what: string, options: ResilientStanErrorOptions = {}): ResilientStanError {
  if (isA(ResilientStanError, thrown)) return thrown;
  const message = `${what} failed for a reason that this library does not expect: ${describe(thrown)}`;
  return new InternalError(message, { ...options, cause: thrown });
}

/** `instanceof`, for what may be a proxy that throws when it is asked. */
function isA<T>(kind: abstract new (...args: never[]) => T, value: unknown): value is T {
  try {
    return value instanceof kind;
  } catch {
    return false;
  }
}
