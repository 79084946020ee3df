import { AsyncResource } from 'node:async_hooks';
import type { EventEmitter } from 'eventemitter3';
import type { ResilientSubscription, SubscriptionEvents } from './subscription.js';

/**
 * Emits the events of a subscription in the async context of its `subscribe()`, as handlers are called. It keeps early events
 * until listeners can be there, and emits none after `closed`.
 */
export class EventGate {
  readonly #target: () => ResilientSubscription;
  readonly #also: (event: keyof SubscriptionEvents, payload: object) => void;
  #early: (() => void)[] | undefined = [];
  /** The async context of the call of `subscribe()`, in which this object is made. Events come in that of `connect()` or any other. */
  readonly #context = new AsyncResource('STANSUBSCRIPTION');
  #over = false;

  /**
   * @param target returns the object that emits the events; it is first called with the first event
   * @param also is told of each event at once, also of those that come early or after `closed`
   */
  constructor(target: () => ResilientSubscription, also: (event: keyof SubscriptionEvents, payload: object) => void) {
    this.#target = target;
    this.#also = also;
  }

  emit<E extends keyof SubscriptionEvents>(event: E, payload: Parameters<SubscriptionEvents[E]>[0]): void {
    this.#emit(event, payload);
    this.#also(event, payload);
  }

  #emit(event: keyof SubscriptionEvents, payload: object): void {
    // A handler may fail long after its subscription has ended.
    if (this.#over) return;
    if (event === 'closed') this.#over = true;
    // The types of eventemitter3 cannot follow a generic event name.
    const target = (): EventEmitter<string> => this.#target() as EventEmitter<string>;
    const emit = (): void => this.#context.runInAsyncScope(() => void target().emit(event, payload));
    if (this.#early === undefined) emit();
    else this.#early.push(emit);
  }

  /** Emits the kept events, because listeners have had the time to be attached. */
  open(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const emit of early) emit();
  }
}
