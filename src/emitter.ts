/** The emitter of this library's events. A listener that fails disturbs neither this library nor the other listeners. */
import { EventEmitter } from 'eventemitter3';
import type { CallbackError } from './errors.js';
import { checkEventName, type EventNames } from './event-names.js';
import { callUser } from './user-code.js';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what listeners of any event have in common
type Listener = (...args: any[]) => unknown;
type EventName = string | symbol;
type OnListenerThrown = (error: CallbackError, event: EventName) => void;

/** The original listener of each wrapper. */
const originals = new WeakMap<Listener, Listener>();

/**
 * An EventEmitter that wraps each listener when it is registered, and reports one that throws or whose promise rejects.
 * Users of the emitter do not see the wrappers.
 */
export class SafeEmitter<Events extends EventEmitter.ValidEventTypes> extends EventEmitter<Events> {
  /** The wrapper of each function and event. It lives as long as the function does. */
  readonly #wrappers = new WeakMap<Listener, Map<EventName, Listener>>();
  #onThrown: OnListenerThrown = () => undefined;
  #onListener: ((event: EventName) => void) | undefined;
  readonly #names: EventNames<Events> | undefined;

  /** @internal @param names the events that there are; without them every name is taken */
  constructor(names?: EventNames<Events>) {
    super();
    this.#names = names;
  }

  /** @internal Sets who is told of a listener that failed. */
  protected static reportTo<Events extends EventEmitter.ValidEventTypes>(
    emitter: SafeEmitter<Events>,
    onThrown: OnListenerThrown,
  ): void {
    emitter.#onThrown = onThrown;
  }

  /** @internal Sets who is told of each listener, right before it is added. */
  protected static noticeListeners<Events extends EventEmitter.ValidEventTypes>(
    emitter: SafeEmitter<Events>,
    onListener: (event: EventName) => void,
  ): void {
    emitter.#onListener = onListener;
  }

  /**
   * Calls `listener` at every event of this name. A listener that throws, or whose promise is rejected, is told as an
   * `error` event of the client, and the other listeners are called all the same.
   *
   * @param event name of the event
   * @param listener function that gets the object of the event
   * @param context `this` in the listener; default: the emitter
   * @returns the emitter itself
   * @throws InvalidArgumentError synchronously, when there is no such event
   * @group Events
   */
  override on<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
  ): this {
    this.#check(event);
    return super.on(event, this.#wrap(event, listener), context);
  }

  /**
   * Same as {@link on}.
   *
   * @param event name of the event
   * @param listener function that gets the object of the event
   * @param context `this` in the listener; default: the emitter
   * @returns the emitter itself
   * @throws InvalidArgumentError synchronously, when there is no such event
   * @group Events
   */
  override addListener<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
  ): this {
    return this.on(event, listener, context);
  }

  /**
   * Calls `listener` at the next event of this name only. A listener that throws is told as with {@link on}.
   *
   * @param event name of the event
   * @param listener function that gets the object of the event
   * @param context `this` in the listener; default: the emitter
   * @returns the emitter itself
   * @throws InvalidArgumentError synchronously, when there is no such event
   * @group Events
   */
  override once<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
  ): this {
    this.#check(event);
    return super.once(event, this.#wrap(event, listener), context);
  }

  /**
   * Removes a listener, or all listeners of an event. Does nothing when there is none.
   *
   * @param event name of the event
   * @param listener the listener to remove; default: all listeners of the event
   * @param context removes it only where it was registered with this context; default: with any
   * @param once `true` removes it only where it was registered by `once()`; default false
   * @returns the emitter itself
   * @throws InvalidArgumentError synchronously, when there is no such event
   * @group Events
   */
  override removeListener<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener?: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
    once?: boolean,
  ): this {
    this.#check(event);
    const wrapper = typeof listener === 'function' ? this.#wrappers.get(listener)?.get(event) : undefined;
    // After a call of a once() listener the base class removes it itself, and then names the wrapper.
    return super.removeListener(event, (wrapper as typeof listener) ?? listener, context, once);
  }

  /**
   * Same as {@link removeListener}.
   *
   * @param event name of the event
   * @param listener the listener to remove; default: all listeners of the event
   * @param context removes it only where it was registered with this context; default: with any
   * @param once `true` removes it only where it was registered by `once()`; default false
   * @returns the emitter itself
   * @throws InvalidArgumentError synchronously, when there is no such event
   * @group Events
   */
  override off<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
    listener?: EventEmitter.EventListener<Events, Event>,
    context?: unknown,
    once?: boolean,
  ): this {
    return this.removeListener(event, listener, context, once);
  }

  /**
   * Removes all listeners of an event, or of every event.
   *
   * @param event name of the event; default: every event
   * @returns the emitter itself
   * @throws InvalidArgumentError synchronously, when there is no such event
   * @group Events
   */
  override removeAllListeners(event?: EventEmitter.EventNames<Events>): this {
    if (event !== undefined) this.#check(event);
    return super.removeAllListeners(event);
  }

  /**
   * Does nothing, because the number of listeners has no limit here. It is there for code that calls it on every emitter.
   *
   * @param _count is ignored
   * @returns the emitter itself
   * @group Events
   */
  setMaxListeners(_count: number): this {
    return this;
  }

  /**
   * The number of listeners that are allowed for an event: there is no limit.
   *
   * @group Events
   */
  getMaxListeners(): number {
    return Infinity;
  }

  /**
   * The listeners of an event, in the order in which they were registered.
   *
   * @param event name of the event
   * @group Events
   */
  override listeners<Event extends EventEmitter.EventNames<Events>>(
    event: Event,
  ): EventEmitter.EventListener<Events, Event>[] {
    return super
      .listeners(event)
      .map((listener) => (originals.get(listener) ?? listener) as EventEmitter.EventListener<Events, Event>);
  }

  #check(event: unknown): void {
    if (this.#names !== undefined) checkEventName(event, this.#names);
  }

  #wrap<L>(name: EventEmitter.EventNames<Events>, given: L): L {
    const event = name;
    // The base class refuses what is not a function.
    if (typeof given !== 'function') return given;
    this.#onListener?.(event);
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
