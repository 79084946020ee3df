/** The events of a client. Each carries one object. */
import type { ConnectionState } from './connection/states.js';
import type { ClientIdConflictError, ConnectionLostError, LossReason, PermissionError } from './errors.js';
import type { ResilientSubscription } from './subscribing/subscription.js';

/** Names of node-nats-streaming where the event is the same. Times are milliseconds. */
export interface ResilientStanEvents {
  /** An attempt of the first connect has failed with `error`; number `attempt` begins in `delay` ms. */
  connecting: (event: { attempt: number; delay: number; error: Error }) => void;
  /**
   * A session is registered at the cluster, and its subscriptions are made next: no message of it has been handed over yet.
   * Told for the first one, too. If it ends before they are made, there is no `connection_lost`, and another one follows.
   */
  session: (event: { server: string }) => void;
  /** The first session is up. `attempt` counts from 1. */
  connect: (event: { server: string; attempt: number }) => void;
  /** A session ended that nobody asked to end: once per loss. */
  connection_lost: (event: { error: ConnectionLostError; reason: LossReason }) => void;
  /** An attempt to come back begins in `delay` ms; `error` is why it is needed. */
  reconnecting: (event: { attempt: number; delay: number; error: Error }) => void;
  /** A new session is up, subscriptions included. `downtime`: ms since the loss. */
  reconnect: (event: { server: string; downtime: number; attempts: number }) => void;
  /** A subscription was made again at the server. */
  resubscribe: (event: { subscription: ResilientSubscription }) => void;
  /** The server forbids a subject. */
  permission_error: (event: { error: PermissionError }) => void;
  /** Another live process has our client ID; with `clientIdConflict: 'retry'` the client goes on trying. */
  client_id_conflict: (event: { error: ClientIdConflictError }) => void;
  /** A change of {@link ResilientStan.state}. */
  state: (event: { from: ConnectionState; to: ConnectionState }) => void;
  /** Something that needs a person; nothing that is retried. Nobody has to listen. */
  error: (event: { error: Error }) => void;
  /** It is over; with the reason if nobody asked for it. */
  close: (event: { error?: Error }) => void;
}
