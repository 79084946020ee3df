/**
 * A NATS Streaming client that outlives its servers. Begin with {@link ResilientStan.connect}.
 *
 * ```ts
 * import { ResilientStan } from 'resilient-stan';
 * ```
 *
 * @module resilient-stan
 * @category API
 */
export {
  ResilientStan,
  type ConnectionLostHandler,
  type ConnectOptions,
  type StanHealth,
  type StanStats,
} from './resilient-stan.js';
export type { StanClient } from './stan-client.js';
export { ResilientSubscription, type HandlerFailure, type SubscriptionEvents } from './subscribing/subscription.js';
export type { MessagesIterator } from './subscribing/messages.js';
export { ChannelReader, type ReaderEvents } from './subscribing/reader.js';
export type { QuestionOptions, ReadRange } from './subscribing/read-options.js';
export type { MessageHandler, StanMessage } from './subscribing/message.js';
export type { PubAck } from './publishing/publisher.js';
export type { ResilientStanEvents } from './events.js';
export type { LossNotice, ReconnectNotice, SuspicionNotice } from './diagnostics.js';
export type { PublishTrace } from './publishing/publish-trace.js';
export type { ProcessTrace } from './subscribing/process-trace.js';
export type { ConnectionState } from './connection/states.js';
export type { Credentials, CredentialsProvider, NonceSigner } from './connection/credentials.js';
export type { RetryOptions } from './retry-options.js';
export type { PingOptions } from './connection/settings.js';
export type { TlsProvider } from './connection/tls-options.js';
export type { Logger } from './logger.js';
export type { CloseOptions, FlushOptions } from './options.js';
export type { PublishingOptions, PublishOptions } from './publishing/publisher-options.js';
export type { DeadLetterHandler, StartAt, SubscribeOptions } from './subscribing/subscribe-options.js';
export type { ErrorJson } from './error-json.js';
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
  type PlainServer,
  type ResilientStanErrorOptions,
  type ServerFailure,
} from './errors.js';
