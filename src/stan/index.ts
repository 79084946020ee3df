/**
 * The API of node-nats-streaming 0.3.2, call by call, on a client that outlives its servers: existing programs change one import.
 *
 * @packageDocumentation
 */
import { Message } from './message.js';
import type { StanOptions } from './options.js';
import { Stan } from './stan.js';
import { StartPosition } from './start-position.js';
import { SubscriptionOptions } from './subscription-options.js';
import { Subscription } from './subscription.js';

export { Message, Stan, StartPosition, Subscription, SubscriptionOptions };
export { StanError } from './errors.js';
export { NatsView, type NatsServer } from './nats-view.js';
export type { MessageClient, MessageSubscription } from './message.js';
export type { ClientOpts, NatsClient, ParsedOptions, StanOptions } from './options.js';
export type { AckHandlerCallback } from './stan.js';
export type { SubscriptionClient } from './subscription.js';

/** Of the API: above that of node-nats-streaming 0.3.2, and satisfying `^0.3.2`. */
export const version = '0.3.100';

/**
 * Makes a client, at once, and connects in the background: it emits `connect`, or `error` when that has failed for good.
 *
 * @param opts a URL, a port at localhost, or options
 * @throws Error for a missing ID, a URL that is none, credentials that exclude each other, and an encoding that is not `'binary'`
 */
export function connect(clusterID: string, clientID: string, opts?: StanOptions | string | number): Stan {
  return new Stan(clusterID, clientID, opts);
}

/** New options of a subscription, with their defaults. */
export function NewSubscriptionOptions(): SubscriptionOptions {
  return new SubscriptionOptions();
}
