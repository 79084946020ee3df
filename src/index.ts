/**
 * A NATS Streaming client that outlives its servers.
 *
 * @packageDocumentation
 */
export { ResilientStan, type StanHealth, type StanStats } from './resilient-stan.js';
export { ResilientSubscription, type SubscriptionEvents } from './subscribing/subscription.js';
export type { MessageHandler, StanMessage } from './subscribing/message.js';
export type { PubAck } from './publishing/publisher.js';
export type { ResilientStanEvents } from './events.js';
export type { ConnectionState } from './connection/states.js';
export type {
  CloseOptions,
  ConnectionLostHandler,
  ConnectOptions,
  Credentials,
  CredentialsProvider,
  DeadLetterHandler,
  FlushOptions,
  Logger,
  PingOptions,
  PublishingOptions,
  PublishOptions,
  RetryOptions,
  StartAt,
  SubscribeOptions,
  TlsProvider,
} from './options.js';
export {
  AbortedError,
  AuthorizationError,
  CallbackError,
  ClientIdConflictError,
  ClosedError,
  ConnectError,
  ConnectionLostError,
  InternalError,
  InvalidArgumentError,
  OutboxFullError,
  PayloadTooLargeError,
  PermissionError,
  PublishRejectedError,
  PublishTimeoutError,
  ResilientStanError,
  SubscribeError,
  TimeoutError,
  type Delivery,
  type ErrorCode,
  type LossReason,
  type ResilientStanErrorOptions,
  type ServerFailure,
} from './errors.js';
