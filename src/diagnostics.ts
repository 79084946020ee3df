/** The plain channels of `node:diagnostics_channel` on which a client tells of its losses. The traces are in `tracing.ts`. */
import { channel } from 'node:diagnostics_channel';
import type { ConnectionLostError, LossReason } from './errors.js';

/**
 * What a listener of the channel `resilient-stan:loss` gets, once for each loss, before the event `connection_lost`.
 *
 * @example
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel';
 * import type { LossNotice } from 'resilient-stan';
 *
 * subscribe('resilient-stan:loss', (message) => {
 *   const { clientId, reason } = message as LossNotice;
 *   console.warn(`${clientId} has lost its session: ${reason}`);
 * });
 * ```
 * @category Monitoring
 */
export interface LossNotice {
  /** The client ID of the client. */
  clientId: string;
  /** The cluster ID of the client. */
  clusterId: string;
  /** What ended the session; `error.server` is its URL without credentials. */
  error: ConnectionLostError;
  /** The reason in one word. */
  reason: LossReason;
}

/**
 * What a listener of the channel `resilient-stan:reconnect` gets when a new session is up, before the event `reconnect`.
 * @category Monitoring
 */
export interface ReconnectNotice {
  /** The client ID of the client. */
  clientId: string;
  /** The cluster ID of the client. */
  clusterId: string;
  /** URL of the new session, without credentials. */
  server: string;
  /** The time since the loss, in ms. */
  downtime: number;
  /** How many attempts it took. */
  attempts: number;
}

/**
 * What a listener of the channel `resilient-stan:suspicion` gets when an answer of the leader is overdue, and the client begins to
 * ask whether it lives. Mostly it does. If not, a loss follows.
 * @category Monitoring
 */
export interface SuspicionNotice {
  /** The client ID of the client. */
  clientId: string;
  /** The cluster ID of the client. */
  clusterId: string;
  /** URL of the live session, without credentials. */
  server: string;
  /** For how long the leader has shown no sign of life, in ms. */
  silence: number;
}

/** What this library does with a channel. Node's own type has a parameter in newer versions of `@types/node` only. */
export interface NoticeChannel<Notice> {
  readonly hasSubscribers: boolean;
  publish(notice: Notice): void;
}

export const lossChannel: NoticeChannel<LossNotice> = channel('resilient-stan:loss');
export const reconnectChannel: NoticeChannel<ReconnectNotice> = channel('resilient-stan:reconnect');
export const suspicionChannel: NoticeChannel<SuspicionNotice> = channel('resilient-stan:suspicion');
