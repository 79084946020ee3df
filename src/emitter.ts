/** The events of this library: nothing that a listener does comes back to us, or keeps the next one from being called. */
import { EventEmitter } from 'eventemitter3';
import type { CallbackError } from './errors.js';
import { callUser } from './user-code.js';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what listeners of any event have in common
type Listener = (...args: any[]) => unknown;
type EventName = string | symbol;
type OnListenerThrown = (error: CallbackError, event: EventName) => void;

/** For each listener that was wrapped: the original. */
const originals = new WeakMap<Listener, Listener>();

/**
 * An EventEmitter whose listeners are wrapped when they are registered: one that throws, or whose promise rejects, is
 * reported. To the outside it looks as if there were no wrapper.
 */
export class SafeEmitter<Events extends EventEmitter.ValidEventTypes> extends EventEmitter<Events> {
  /** One wrapper for each function and event, which lives as long as the function does. */
  readonly #wrappers = new WeakMap<Listener, Map<EventName, Listener>>();
  #onThrown: OnListenerThrown = () => undefined;

  /** @internal Who is told of a listener that failed. */
  protected static reportTo<Events extends EventEmitter.ValidEventTypes>(
    emitter: SafeEmitter<Events>,
    onThrown: OnListenerThrown,
  ): void {
    emitter.#onThrown = onThrown;
  }

  override on<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
  ): this {
    return super.on(event, this.#wrap(event, listener), context);
  }

  override addListener<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
  ): this {
    return this.on(event, listener, context);
  }

  override once<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
  ): this {
    return super.once(event, this.#wrap(event, listener), context);
  }

  override removeListener<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener?: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
    once?: boolean,
  ): this {
    const wrapper = typeof listener === 'function' ? this.#wrappers.get(listener)?.get(event) : undefined;
    // The emitter itself comes with the wrapper, when it has called what was to be called once.
    return super.removeListener(event, (wrapper as typeof listener) ?? listener, context, once);
  }

  override off<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener?: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
    once?: boolean,
  ): this {
    return this.removeListener(event, listener, context, once);
  }

  override listeners<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
  ): EventEmitter.EventListener<Events, Event>[] {
    return super
      .listeners(event)
      .map((listener) => (originals.get(listener) ?? listener) as EventEmitter.EventListener<Events, Event>);
  }

  #wrap<L>(name: EventEmitter.EventNames<Events>, given: L): L {
    const event = name;
    // The emitter itself refuses what is no function.
    if (typeof given !== 'function') return given;
    const listener = given as unknown as Listener;
    let wrappers = this.#wrappers.get(listener);
    if (wrappers === undefined) this.#wrappers.set(listener, (wrappers = new Map<EventName, Listener>()));
    let wrapper = wrappers.get(event);
    if (wrapper === undefined) {
      const what = `a listener of '${String(event)}'`;
      const onThrown = (error: CallbackError): void => this.#onThrown(error, event);
      wrapper = function (this: unknown, ...args: unknown[]): void {
        callUser(what, () => Reflect.apply(listener, this, args) as unknown, onThrown);
      };
      originals.set(wrapper, listener);
      wrappers.set(event, wrapper);
    }
    return wrapper as L;
  }
}
