/** The client as an interface. */
import type { EventEmitter } from 'eventemitter3';
import type { ConnectionState } from './connection/states.js';
import type { SafeEmitter } from './emitter.js';
import type { ResilientStanEvents } from './events.js';
import type { ResilientStan } from './resilient-stan.js';

type Listener<Event extends keyof ResilientStanEvents> = EventEmitter.EventListener<ResilientStanEvents, Event>;
/** What has its docstring below, because a type that is derived loses those of getters. */
type Getters = 'clusterId' | 'clientId' | 'state' | 'server';
type Own = Pick<ResilientStan, Exclude<keyof ResilientStan, keyof SafeEmitter<ResilientStanEvents> | Getters>>;

/**
 * What a client can do, as an interface: {@link ResilientStan} has it, and so has `MemoryStan` of `resilient-stan/testing`. Code that
 * takes it can also be handed an object of another making, as one that wraps a client, which a class does not allow.
 *
 * @example
 * ```ts
 * class OrderService {
 *   constructor(private readonly stan: StanClient) {}
 * }
 * new OrderService(await ResilientStan.connect()); // in production
 * new OrderService(await MemoryStan.connect()); // in a unit test
 * ```
 * @category Client
 */
export interface StanClient extends Own {
  /** The cluster ID of the servers. */
  readonly clusterId: string;
  /** The client ID under which the cluster knows this client. */
  readonly clientId: string;
  /** The state of the client. */
  readonly state: ConnectionState;
  /** URL of the live session, without credentials. Undefined while there is none. */
  readonly server: string | undefined;
  /** Adds a listener of an event. */
  on<Event extends keyof ResilientStanEvents>(event: Event, listener: Listener<Event>): this;
  /** Adds a listener of an event that is called once. */
  once<Event extends keyof ResilientStanEvents>(event: Event, listener: Listener<Event>): this;
  /** Removes a listener of an event. */
  off<Event extends keyof ResilientStanEvents>(event: Event, listener: Listener<Event>): this;
}
