import { Tracing } from '../tracing.js';
import type { PubAck } from './settlers.js';

/**
 * What a listener of `tracingChannel('resilient-stan:publish')` gets: one object for each publish, the same from `start` to
 * `asyncEnd`. It tells every publish with valid arguments, also one that is refused at once: as many as `stats().published` counts,
 * and those whose payload a listener has replaced by what can be none.
 *
 * `start` and `end` come within the call of `publish()`; `error` if it is rejected; then `asyncStart` and `asyncEnd`, when it is
 * settled and before the caller hears of it. `asyncEnd` is always the last.
 *
 * @example
 * ```ts
 * import { tracingChannel } from 'node:diagnostics_channel';
 * import type { PublishTrace } from 'resilient-stan';
 *
 * tracingChannel<unknown, PublishTrace>('resilient-stan:publish').asyncEnd.subscribe((message) => {
 *   const { channel, result, error } = message as PublishTrace;
 *   console.log(channel, error ?? `stored after ${result?.attempts} attempts`);
 * });
 * ```
 * @category Monitoring
 */
export interface PublishTrace {
  /** The client ID of the client that publishes. */
  readonly clientId: string;
  /** The cluster ID of that client. */
  readonly clusterId: string;
  /** Name of the channel. */
  readonly channel: string;
  /**
   * The payload as it was given to `publish()`. A listener of `start` may put another one in its place, which is published
   * instead; so a trace can be handed on in a field of it. What cannot be a payload rejects the publish with an
   * InvalidArgumentError.
   */
  data: string | Uint8Array;
  /** What `publish()` resolves to. It is set before `asyncStart`, unless the publish failed. */
  result?: PubAck;
  /** What `publish()` rejects with. It is set before `error`. */
  error?: unknown;
}

export const publishTracing = new Tracing<PublishTrace>('resilient-stan:publish');
