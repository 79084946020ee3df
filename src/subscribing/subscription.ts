import '../dispose.js';
import { SafeEmitter } from '../emitter.js';
import { toOurs, type CallbackError } from '../errors.js';
import type { EventNames } from '../event-names.js';
import type { StanMessage } from './message.js';
import { resolveQuestionOptions, type QuestionOptions } from './read-options.js';

/**
 * What the event `handler_error` carries.
 * @category Subscribing
 */
export interface HandlerFailure {
  /** What was thrown, or what the promise was rejected with. */
  error: unknown;
  /** The message. It is not acknowledged, and comes again. */
  message: StanMessage;
  /** Which of the two functions failed. A `deadLetter` that fails gets the message again when that comes again. */
  source: 'handler' | 'deadLetter';
  /** With {@link SubscribeOptions.retry}, how soon the handler gets the message again, in ms. Undefined after the last try. */
  delay?: number;
}

/**
 * The events of a subscription, by name. Each listener gets one object.
 *
 * @example
 * ```ts
 * subscription.on('handler_error', ({ error, message }) => console.error(message.sequence, error));
 * subscription.on('gap', ({ from, to }) => console.warn(`messages ${from} to ${to} are gone`));
 * ```
 * @category Subscribing
 */
export interface SubscriptionEvents {
  /** The server has the subscription. Emitted the first time, and each time it was made again. */
  ready: (event: { subscription: ResilientSubscription }) => void;
  /**
   * Everything is handled that was in the channel when the subscription began, or when the first listener of this event was
   * added later than that. Emitted once, whatever happens to the sessions meanwhile; in an empty channel and with
   * `startAt: 'new'` soon after `ready`. It is found out for who listens only. See {@link ResilientSubscription.caughtUp}.
   */
  caught_up: (event: { subscription: ResilientSubscription }) => void;
  /** The handler has thrown, or its promise was rejected. The message is not acknowledged and comes again. */
  handler_error: (event: HandlerFailure) => void;
  /**
   * The server no longer has the messages `from` to `to`, because of the limits of the channel, and they were not processed.
   * Reading goes on above them. For a message in a handler this is told when it is not acknowledged after `ackWait`.
   */
  gap: (event: { from: number; to: number }) => void;
  /**
   * The channel was deleted and has begun again: sequence `got` came where `expected` should have come. Reading goes on from
   * the first message of the new channel.
   */
  reset: (event: { expected: number; got: number }) => void;
  /** The handler failed for a message `maxDeliveries` times, or for the last time. The message is given up and acknowledged. */
  dead_letter: (event: { message: StanMessage; error: unknown }) => void;
  /** The subscription has ended. `error` is the reason, if nobody asked for it. */
  closed: (event: { error?: Error }) => void;
}

const SUBSCRIPTION_EVENTS: EventNames<SubscriptionEvents> = {
  of: 'a subscription',
  known: { ready: true, caught_up: true, handler_error: true, gap: true, reset: true, dead_letter: true, closed: true },
  hints: {
    close: "did you mean 'closed'?",
    message: 'messages come to the handler of subscribe(), or through messages()',
    unsubscribed: "did you mean 'closed'?",
  },
};

/** An iterator that takes the messages one after the other. The body of its loop is the handler. */
export interface Follower {
  /** Whether the body of the loop has a message in hand. */
  readonly busy: boolean;
  /** Ends the iterator, because no more messages come. `reason` is set if nobody asked for the end. */
  stopping(reason: Error | undefined): void;
  /** Hears that the subscription is over. Messages that are not processed stay unprocessed. */
  over(): void;
}

/** The subscription behind the object of the user, over all sessions. */
export interface SubscriptionLife {
  readonly channel: string;
  readonly lastSequence: number;
  follower: Follower | undefined;
  lag(signal: AbortSignal | undefined): Promise<number>;
  caughtUp(): Promise<void>;
  unsubscribe(): Promise<void>;
  close(): Promise<void>;
}

/**
 * A subscription that outlives sessions. On each new session it is made again at the place it had reached. It is made by
 * {@link ResilientStan.subscribe}.
 *
 * Its events are `ready`, `caught_up`, `handler_error`, `gap`, `reset`, `dead_letter` and `closed`: see {@link SubscriptionEvents} for
 * what each of them carries.
 * @category Subscribing
 */
export class ResilientSubscription extends SafeEmitter<SubscriptionEvents> {
  readonly #life: SubscriptionLife;

  private constructor(life: SubscriptionLife) {
    super(SUBSCRIPTION_EVENTS);
    this.#life = life;
  }

  /** @internal */
  static of(life: SubscriptionLife, onListenerThrown: (error: CallbackError) => void): ResilientSubscription {
    const subscription = new ResilientSubscription(life);
    SafeEmitter.reportTo(subscription, onListenerThrown);
    SafeEmitter.noticeListeners(subscription, (event) => {
      if (event === 'caught_up') void life.caughtUp().catch(() => undefined);
    });
    return subscription;
  }

  /** @internal */
  static follow(subscription: ResilientSubscription, follower: Follower): void {
    subscription.#life.follower = follower;
  }

  /** Name of the channel. */
  get channel(): string {
    return this.#life.channel;
  }

  /**
   * The highest sequence up to which every message is processed. 0 before the first message. In a queue group a message that failed does
   * not count, because another member may get it.
   */
  get lastSequence(): number {
    return this.#life.lastSequence;
  }

  /**
   * The number of messages that are stored in the channel and not processed yet: those that this subscription has not received,
   * and those that it has in hand. 0 at the end of the channel. During an outage it waits for the next session.
   *
   * In a queue group these are the messages above the highest one that this client has received, some of which other members may
   * have or get, and those that this client has in hand. What other members have in hand is not counted.
   *
   * The server is asked with one or two short subscriptions, and does not tell the position of a durable or a group. So for
   * these, and before the first message, the answer waits until a message comes, or for about 300 ms while none does. While a
   * durable has as many messages from an earlier process in hand as `maxInFlight` allows, it may be too high.
   *
   * @param options default: nothing ends it early
   * @throws InvalidArgumentError when an option is wrong
   * @throws SubscribeError when the cluster refuses the subscription that this takes for a moment
   * @throws AbortedError when its signal, or that of the subscription, is aborted
   * @throws ClosedError when the subscription or the client is closed
   * @example
   * ```ts
   * const lag = await subscription.lag();
   * ```
   */
  async lag(options?: QuestionOptions): Promise<number> {
    try {
      return await this.#life.lag(resolveQuestionOptions(options).signal);
    } catch (error) {
      throw toOurs(error, 'lag()');
    }
  }

  /**
   * Resolves when everything is handled that was in the channel at the first call, or at the first listener of `caught_up`. A
   * message whose handler fails is not handled until it has succeeded, or is given up. In a queue group it is what this client
   * gets of these messages. An outage does not start it anew, and costs the server no question more.
   *
   * @throws SubscribeError when the cluster refuses the subscription that this takes for a moment
   * @throws AbortedError when the signal of the subscription is aborted
   * @throws ClosedError when the subscription or the client is closed before
   * @example
   * ```ts
   * const subscription = await stan.subscribe('prices', (message) => cache.add(message.json()), { startAt: 'first' });
   * await subscription.caughtUp(); // the cache is filled
   * ```
   */
  async caughtUp(): Promise<void> {
    try {
      await this.#life.caughtUp();
    } catch (error) {
      throw toOurs(error, 'caughtUp()');
    }
  }

  /**
   * Ends the subscription like {@link close}, and makes the server forget a durable. The promise resolves when the server has
   * forgotten it.
   *
   * During an outage the durable is dropped on the next session. If the server could not drop it, for instance for want of a
   * leader, the client asks again. After `close()` this drops the durable that was kept. After a rejection it may be called again.
   *
   * With each error the server still keeps the durable.
   *
   * @throws ClosedError when the client is closed before the durable is dropped
   * @throws PermissionError when the server does not allow it
   * @throws SubscribeError when the durable is in use again, or the server refuses for some seconds
   */
  unsubscribe(): Promise<void> {
    return this.#life.unsubscribe();
  }

  /**
   * Ends the subscription, and keeps a durable. No message is delivered any more. Running handlers finish, and their messages
   * are acknowledged. Messages that wait for a handler are not handed over.
   *
   * The promise resolves when the handlers have finished and the server was told. It waits at most `ackWait` for handlers and
   * 1000 ms for the server, and during an outage not for the server at all. It never rejects, and may be called again.
   *
   * A handler may await this if it has awaited nothing else before. Later it would wait for itself until `ackWait` is over.
   */
  close(): Promise<void> {
    return this.#life.close();
  }

  /** Closes the subscription as {@link close} does, at the end of a scope with `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
