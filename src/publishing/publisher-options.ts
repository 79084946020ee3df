import type { Clock } from '../clock/clock.js';
import { OptionReader, type OptionNames } from '../option-reader.js';
import type { Ordering } from './outbox.js';

export interface PublisherOptions {
  /** ASCII, as all client IDs are. It is part of every message on the wire. */
  clientId: string;
  ordering: Ordering;
  /** The most messages in flight on one session. */
  maxInFlight: number;
  /** How long an acknowledgement may take until the session is given up, although its leader answers, in ms. */
  ackTimeout: number;
  /** The most messages that are admitted and not settled. */
  maxPending: number;
  /** The most bytes of their payloads. */
  maxPendingBytes: number;
  whenFull: 'reject' | 'wait';
  /** Returns the server's `max_payload` while no session is attached, in bytes. Default: that of the last session. */
  maxPayload?: () => number | undefined;
  /** Is told of bugs. Nothing is thrown into a session's or a timer's call. */
  onError?: (error: Error) => void;
  /** The clock of all times in publishing. */
  clock: Clock;
}

export interface PublisherStats {
  /** The number of calls of publish(). It is acknowledged + rejected + pending + waiting. */
  published: number;
  acknowledged: number;
  rejected: number;
  /** The number of sendings that were not the first one of their message. */
  resent: number;
  /** The number of messages that count for `maxPending`: queued or in flight. */
  pending: number;
  /** The bytes of their payloads. */
  pendingBytes: number;
  inFlight: number;
  /** The number of messages that wait for room (`whenFull: 'wait'`). */
  waiting: number;
}

/**
 * Options of all publishes of a client.
 * @category Publishing
 */
export interface PublishingOptions {
  /**
   * `'pipelined'`: many messages are in flight at a time, and those in flight at a fault may be stored in another order.
   * `'strict'`: one message for each channel is in flight at a time, so the order of a channel always holds.
   * Default `'pipelined'`.
   */
  ordering?: 'pipelined' | 'strict' | undefined;
  /** How many messages may be sent and not acknowledged at a time. Default 1024. */
  maxInFlight?: number | undefined;
  /**
   * How long one sending waits for its acknowledgement while the leader lives, in ms. After that the session is given up, and
   * the message is sent again on the next one. Default 30000.
   */
  ackTimeout?: number | undefined;
  /** How many messages may wait for their acknowledgement, sent or not. Default 100000. */
  maxPending?: number | undefined;
  /** How large the payloads of these messages may be together, in bytes. Default 268435456 (256 MiB). */
  maxPendingBytes?: number | undefined;
  /**
   * What `publish` does when `maxPending` or `maxPendingBytes` is reached. `'reject'`: it rejects at once with an
   * {@link OutboxFullError}. `'wait'`: it waits for room, in the order of the calls. Default `'reject'`.
   */
  whenFull?: 'reject' | 'wait' | undefined;
}

export interface ResolvedPublishingOptions {
  readonly ordering: 'pipelined' | 'strict';
  readonly maxInFlight: number;
  readonly ackTimeout: number;
  readonly maxPending: number;
  readonly maxPendingBytes: number;
  readonly whenFull: 'reject' | 'wait';
}

export const PUBLISHING_NAMES: OptionNames = {
  known: ['ordering', 'maxInFlight', 'ackTimeout', 'maxPending', 'maxPendingBytes', 'whenFull'],
  hints: {
    maxPubAcksInflight: "did you mean 'publishing.maxInFlight'?",
    timeout: "'timeout' is an option of each publish; for one sending there is 'publishing.ackTimeout'",
  },
};

/** @throws InvalidArgumentError */
export function resolvePublishing(reader: OptionReader): ResolvedPublishingOptions {
  return {
    ordering: reader.oneOf('ordering', 'pipelined', ['pipelined', 'strict']),
    maxInFlight: reader.number('maxInFlight', 1024, { min: 1, unit: 'messages' }),
    ackTimeout: reader.milliseconds('ackTimeout', 30_000),
    maxPending: reader.number('maxPending', 100_000, { min: 1, unit: 'messages' }),
    maxPendingBytes: reader.number('maxPendingBytes', 256 * 1024 * 1024, { min: 1, unit: 'bytes' }),
    whenFull: reader.oneOf('whenFull', 'reject', ['reject', 'wait']),
  };
}

/**
 * Options of {@link ResilientStan.publish}.
 * @category Publishing
 */
export interface PublishOptions {
  /**
   * Time after which the publish is given up and rejects with a {@link PublishTimeoutError}, in ms. Time in which this
   * process stood still does not count. Default: none, the message is kept and sent again until it is acknowledged.
   */
  timeout?: number | undefined;
  /** When it is aborted, the publish is given up and rejects with an {@link AbortedError}. Default: none. */
  signal?: AbortSignal | undefined;
}

export interface ResolvedPublishOptions {
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

const PUBLISH_NAMES: OptionNames = {
  insteadOf: { function: 'there is no callback here, but a promise: await publish(channel, data)' },
  known: ['timeout', 'signal'],
  hints: { ackTimeout: "'publishing.ackTimeout' is an option of connect; the limit of this publish is 'timeout'" },
};
const NO_PUBLISH_OPTIONS: ResolvedPublishOptions = Object.freeze({});
const NOT_SENT = { delivery: 'not-sent' } as const;

/** @throws InvalidArgumentError with `delivery: 'not-sent'` */
export function resolvePublishOptions(options?: unknown): ResolvedPublishOptions {
  // Most publishes have no options, and this is their hot path.
  if (options === undefined) return NO_PUBLISH_OPTIONS;
  const reader = new OptionReader(options, 'options', PUBLISH_NAMES, NOT_SENT);
  const timeout = reader.timeout('timeout');
  const signal = reader.signal();
  return { ...(timeout !== undefined && { timeout }), ...(signal && { signal }) };
}
