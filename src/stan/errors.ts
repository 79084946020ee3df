/**
 * The errors of node-nats-streaming: its texts and codes, because programs compare with them. What this library has to say is
 * their `cause`.
 */
import {
  AuthorizationError,
  ClientIdConflictError,
  ClosedError,
  ConnectError,
  ConnectionLostError,
  InvalidArgumentError,
  PublishRejectedError,
  PublishTimeoutError,
  ResilientStanError,
  SubscribeError,
  type Delivery,
} from '../errors.js';
import {
  ACK_TIMEOUT,
  BAD_AUTHENTICATION,
  CONN_CLOSED,
  CONN_ERR,
  CONN_ERR_PREFIX,
  CONNECT_REQ_TIMEOUT,
  DUPLICATE_DURABLE,
  ID_TAKEN,
  INVALID_PUBLISH,
  INVALID_SUBJECT,
  INVALID_WINDOW,
  MAX_PINGS_EXCEEDED,
  NATS_PROTOCOL_ERR,
  REPLACED,
} from './texts.js';

interface StanErrorOptions {
  cause?: unknown;
  code?: string | undefined;
  delivery?: Delivery | undefined;
}

/**
 * An error with the text that node-nats-streaming has for it. `cause` is the error of this library.
 * @category Errors
 */
export class StanError extends Error {
  /** The code that the error of nats 1.4.12 has in this case, if it has one. */
  readonly code?: string;
  /** On a publish that failed: what is known of its message. Undefined on all other errors. */
  readonly delivery?: Delivery;

  /** @internal */
  constructor(message: string, { cause, code, delivery }: StanErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    // Errors with a code come from nats, which names them 'NatsError'.
    this.name = code === undefined ? 'Error' : 'NatsError';
    if (code !== undefined) this.code = code;
    if (delivery !== undefined) this.delivery = delivery;
  }

  /** The same as `cause`; it has this name in nats 1.4.12. */
  get chainedError(): unknown {
    return this.cause;
  }
}

/** Returns what the callback of a publish gets. */
export function publishError(error: Error): StanError {
  const delivery = deliveryOf(error);
  return new StanError(publishText(error), { cause: error, delivery });
}

function publishText(error: Error): string {
  if (error instanceof PublishTimeoutError) return ACK_TIMEOUT;
  if (error instanceof ClosedError) return error.cause === undefined ? CONN_CLOSED : endText(error.cause as Error);
  if (error instanceof InvalidArgumentError && error.argument === 'channel') return INVALID_PUBLISH;
  if (error instanceof PublishRejectedError) return error.serverText ?? error.message;
  return error.message;
}

/** Returns what `error` on a subscription gets. */
export function subscribeError(error: Error): StanError {
  return new StanError(subscribeText(error), { cause: error });
}

function subscribeText(error: Error): string {
  if (error instanceof ClosedError) return CONN_CLOSED;
  if (error instanceof InvalidArgumentError && error.argument === 'channel') return INVALID_SUBJECT;
  if (error instanceof InvalidArgumentError && error.argument === 'maxInFlight') return INVALID_WINDOW;
  if (error instanceof SubscribeError && error.serverText !== undefined) return error.serverText;
  // The client itself refuses a durable that it already uses, so there is no text of a server.
  if (error instanceof SubscribeError && error.durableInUse) return DUPLICATE_DURABLE;
  return error.message;
}

/** Returns what `error` on a subscription gets when the server has not dropped it. */
export function unsubscribeError(error: Error): StanError {
  if (error instanceof ClosedError) return new StanError(CONN_CLOSED, { cause: error });
  const text = error instanceof ResilientStanError ? error.serverText : undefined;
  return new StanError(text ?? error.message, { cause: error });
}

/** Returns what `error` gets when the first connect fails for good. */
export function connectError(error: Error): StanError {
  if (error instanceof ClientIdConflictError) return new StanError(ID_TAKEN, { cause: error });
  if (error instanceof AuthorizationError) {
    const code = NATS_PROTOCOL_ERR;
    return new StanError("'Authorization Violation'", { cause: error, code });
  }
  if (error instanceof InvalidArgumentError) {
    const isId = error.argument === 'clientId';
    const text = 'stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed';
    return new StanError(isId ? text : error.message, { cause: error });
  }
  if (!(error instanceof ConnectError)) return new StanError(error.message, { cause: error });
  if (error.serverText !== undefined) return new StanError(error.serverText, { cause: error });
  // A server was reached, but no leader of this cluster ID has answered.
  if (error.failures.some(({ reached }) => reached)) {
    return new StanError(CONNECT_REQ_TIMEOUT, { cause: error, code: CONNECT_REQ_TIMEOUT });
  }
  return new StanError(`${CONN_ERR_PREFIX}${error.message}`, { cause: error, code: CONN_ERR });
}

/** Returns what `connection_lost` gets at the end. */
export function lostError(error: Error): StanError {
  return new StanError(endText(error), { cause: error });
}

function endText(error: Error): string {
  if (error instanceof ClientIdConflictError) return REPLACED;
  if (error instanceof ConnectionLostError && error.reason === 'replaced') return REPLACED;
  return MAX_PINGS_EXCEEDED;
}

/** Returns the error for credentials in the options that exclude each other. */
export function badAuthentication(message: string): StanError {
  return new StanError(message, { code: BAD_AUTHENTICATION });
}

function deliveryOf(error: Error): Delivery | undefined {
  return error instanceof ResilientStanError ? error.delivery : undefined;
}
