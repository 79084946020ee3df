/** The client as an interface. */
import type { EventEmitter } from 'eventemitter3';
import type { ResilientStanEvents } from './events.js';
import type { ResilientStan } from './resilient-stan.js';

type Listener<Event extends keyof ResilientStanEvents> = EventEmitter.EventListener<ResilientStanEvents, Event>;
type Own = Pick<ResilientStan, Exclude<keyof ResilientStan, keyof EventEmitter>>;

/**
 * What a client can do, as an interface: {@link ResilientStan} has it, and so has `MemoryStan` of `resilient-stan/testing`. Code that
 * takes it can also be handed an object of its own making, which a class does not allow.
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
  /** Adds a listener of an event. */
  on<Event extends keyof ResilientStanEvents>(event: Event, listener: Listener<Event>): this;
  /** Adds a listener of an event that is called once. */
  once<Event extends keyof ResilientStanEvents>(event: Event, listener: Listener<Event>): this;
  /** Removes a listener of an event. */
  off<Event extends keyof ResilientStanEvents>(event: Event, listener: Listener<Event>): this;
}
