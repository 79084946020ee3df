/**
 * The API of node-nats-streaming 0.3.2, call by call, on a client that outlives its servers: existing programs change one import.
 *
 * @module resilient-stan/stan
 * @category API
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

/**
 * The version of this API. It is above 0.3.2 of node-nats-streaming, and satisfies `^0.3.2`.
 * @category Client
 */
export const version = '0.3.100';

/**
 * Makes a client at once, and connects in the background. The client emits `connect`, or `error` when connecting has failed for
 * good.
 *
 * @param clusterID the cluster ID of the servers
 * @param clientID the client ID, which no other live client may have
 * @param opts a URL, a port at localhost, or options; default `nats://localhost:4222`
 * @throws Error when an ID is missing, a URL cannot be read, credentials exclude each other, or `encoding` is not `'binary'`
 * @example
 * ```ts
 * const stan = connect('test-cluster', 'orders-1', { servers: ['nats://a:4222', 'nats://b:4222'] });
 * stan.on('connect', () => stan.publish('orders', 'hello'));
 * ```
 * @category Client
 */
export function connect(clusterID: string, clientID: string, opts?: StanOptions | string | number): Stan {
  return new Stan(clusterID, clientID, opts);
}

/**
 * Returns new options of a subscription, with their defaults.
 * @category Subscribing
 */
export function NewSubscriptionOptions(): SubscriptionOptions {
  return new SubscriptionOptions();
}
