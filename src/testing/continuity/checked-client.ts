/** What the checker needs of a client. */
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';

/**
 * What the checker has to know of a message.
 * @category Continuity
 */
export interface CheckedMessage {
  /** The number of the message in its channel. */
  readonly sequence: number;
  /** The payload. */
  readonly data: Uint8Array;
  /**
   * Which life of the subscription it came to, where the client itself ends a subscription and makes it again, as a {@link Seam}
   * does. Default 0.
   */
  readonly life?: number;
}

/**
 * A client that can be checked. `ResilientStan` is one, and any other client needs an adapter of a few lines.
 * @category Continuity
 */
export interface CheckedClient {
  /** Publishes a message. Resolves when the cluster has acknowledged it. The error may say in `delivery` what is known of it. */
  publish(channel: string, data: string): Promise<unknown>;
  /**
   * Subscribes. Resolves when the server has the subscription. The answer may be an emitter of the event `gap` with
   * `{ from, to }`, which tells which messages the server no longer has. A message has to be acknowledged when its handler's
   * promise resolves.
   */
  subscribe(
    channel: string,
    handler: (message: CheckedMessage) => void | Promise<void>,
    options?: SubscribeOptions,
  ): Promise<unknown>;
}
