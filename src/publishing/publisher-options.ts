import type { AwakeClock } from '../awake-clock.js';
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
