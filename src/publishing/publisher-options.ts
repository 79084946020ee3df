import type { AwakeClock } from '../awake-clock.js';
import { OptionReader, type OptionNames } from '../option-reader.js';
import type { Ordering } from './outbox.js';

export interface PublisherOptions {
  /** ASCII, as STAN's client IDs are; it is part of every message on the wire. */
  clientId: string;
  ordering: Ordering;
  /** Messages in flight on one session, at most. */
  maxInFlight: number;
  /** Milliseconds without an acknowledgement after which the session is given up, although its leader answers. */
  ackTimeout: number;
  maxPending: number;
  /** Bytes of payload. */
  maxPendingBytes: number;
  whenFull: 'reject' | 'wait';
  /** The server's `max_payload` as last heard, while no session is attached. Default: that of the last session. */
  maxPayload?: () => number | undefined;
  /** Bugs end here; nothing is thrown into a session's or a timer's call. */
  onError?: (error: Error) => void;
  /** All times of publishing are its times. */
  clock: AwakeClock;
}

export interface PublisherStats {
  /** Calls of publish(). Always: published = acknowledged + rejected + pending + waiting. */
  published: number;
  acknowledged: number;
  rejected: number;
  /** Sendings of a message beyond its first. */
  resent: number;
  /** Messages that count against `maxPending`: queued or in flight. */
  pending: number;
  /** Bytes of their payloads. */
  pendingBytes: number;
  inFlight: number;
  /** Messages that wait for room ('whenFull: wait'). */
  waiting: number;
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
  // Most publishes have none, and this is their hot path.
  if (options === undefined) return NO_PUBLISH_OPTIONS;
  const reader = new OptionReader(options, 'options', PUBLISH_NAMES, NOT_SENT);
  const timeout = reader.timeout('timeout');
  const signal = reader.signal();
  return { ...(timeout !== undefined && { timeout }), ...(signal && { signal }) };
}
