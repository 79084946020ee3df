/** The events of a client. Each carries one object. */
import type { ConnectionState } from './connection/states.js';
import type { ClientIdConflictError, ConnectionLostError, LossReason, PermissionError } from './errors.js';
import type { EventNames } from './event-names.js';
import type { StanMessage } from './subscribing/message.js';
import type { HandlerFailure, ResilientSubscription } from './subscribing/subscription.js';

/**
 * The events of a client, by name. Each listener gets one object. An event that node-nats-streaming has as well has the
 * same name here. Times are milliseconds, and URLs are without credentials.
 *
 * @example
 * ```ts
 * stan.on('connection_lost', ({ error, reason }) => console.warn(reason, error.message));
 * stan.on('reconnect', ({ server, downtime }) => console.warn(`back at ${server} after ${Math.round(downtime)} ms`));
 * stan.on('error', ({ error }) => console.error(error));
 * ```
 * @category Client
 */
export interface ResilientStanEvents {
  /** An attempt of the first connect has failed with `error`. The attempt with number `attempt` begins in `delay` ms. */
  connecting: (event: { attempt: number; delay: number; error: Error }) => void;
  /**
   * A session is registered at the cluster, and its subscriptions are made next, so no message of it has been handed over yet.
   * The first session has this event, too. A session that ends before its subscriptions are made has no `connection_lost`,
   * and another one follows.
   */
  session: (event: { server: string }) => void;
  /** The first session is up. `attempt` is the number of the attempt that made it, from 1. */
  connect: (event: { server: string; attempt: number }) => void;
  /** A session has ended, and nobody asked for it. Emitted once for each loss. */
  connection_lost: (event: { error: ConnectionLostError; reason: LossReason }) => void;
  /** The next attempt to reconnect begins in `delay` ms. `error` is why it is needed, and `attempt` counts from 1. */
  reconnecting: (event: { attempt: number; delay: number; error: Error }) => void;
  /** A new session is up, and its subscriptions are made. `downtime` is the time since the loss, in ms. */
  reconnect: (event: { server: string; downtime: number; attempts: number }) => void;
  /** A subscription was made at the server again. */
  resubscribe: (event: { subscription: ResilientSubscription }) => void;
  /** The server does not allow a subject that was used. */
  permission_error: (event: { error: PermissionError }) => void;
  /** Another live client has the same client ID. With `clientIdConflict: 'retry'` this client goes on trying. */
  client_id_conflict: (event: { error: ClientIdConflictError }) => void;
  /** {@link ResilientStan.state} has changed. */
  state: (event: { from: ConnectionState; to: ConnectionState }) => void;
  /** The event of the same name of one of the subscriptions. */
  handler_error: (event: HandlerFailure & { subscription: ResilientSubscription }) => void;
  /** The event of the same name of one of the subscriptions. */
  gap: (event: { subscription: ResilientSubscription; from: number; to: number }) => void;
  /** The event of the same name of one of the subscriptions. */
  reset: (event: { subscription: ResilientSubscription; expected: number; got: number }) => void;
  /** The event of the same name of one of the subscriptions. */
  dead_letter: (event: { subscription: ResilientSubscription; message: StanMessage; error: unknown }) => void;
  /** Something went wrong that a person should look at, and that is not retried. Without a listener nothing happens. */
  error: (event: { error: Error }) => void;
  /** The client is closed, and this is its last event. `error` is the reason, if nobody asked for it. */
  close: (event: { error?: Error }) => void;
}

export const CLIENT_EVENTS: EventNames<ResilientStanEvents> = {
  of: 'a client',
  known: {
    connecting: true,
    session: true,
    connect: true,
    connection_lost: true,
    reconnecting: true,
    reconnect: true,
    resubscribe: true,
    permission_error: true,
    client_id_conflict: true,
    state: true,
    handler_error: true,
    gap: true,
    reset: true,
    dead_letter: true,
    error: true,
    close: true,
  },
  hints: {
    ready: "it is an event of a subscription, and the client has 'connect' and 'reconnect'",
    caught_up: 'it is an event of a subscription',
    closed: "it is an event of a subscription, and the client has 'close'",
    disconnect: "did you mean 'connection_lost'?",
    message: 'messages come to the handler of subscribe(), or through messages()',
  },
};
