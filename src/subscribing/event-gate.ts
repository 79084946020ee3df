import type { EventEmitter } from 'eventemitter3';
import type { ResilientSubscription, SubscriptionEvents } from './subscription.js';

/** Emits the events of a subscription: the early ones when somebody has had the time to listen, none after the last one. */
export class EventGate {
  readonly #target: () => ResilientSubscription;
  #early: (() => void)[] | undefined = [];
  #over = false;

  /** @param target who emits them; asked for with the first event */
  constructor(target: () => ResilientSubscription) {
    this.#target = target;
  }

  emit<E extends keyof SubscriptionEvents>(event: E, payload: Parameters<SubscriptionEvents[E]>[0]): void {
    // A handler may fail long after its subscription has ended.
    if (this.#over) return;
    if (event === 'closed') this.#over = true;
    // eventemitter3's types cannot follow a generic event name.
    const emit = (): void => void (this.#target() as EventEmitter<string>).emit(event, payload);
    if (this.#early === undefined) emit();
    else this.#early.push(emit);
  }

  /** Somebody has had the time to listen. */
  open(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const emit of early) emit();
  }
}
