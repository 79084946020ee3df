import '../dispose.js';
import { SafeEmitter } from '../emitter.js';
import type { CallbackError } from '../errors.js';
import type { StanMessage } from './message.js';

/** The events of a subscription. Each carries one object. */
export interface SubscriptionEvents {
  /** The server has it: the first time, and every time it was made again. */
  ready: (event: { subscription: ResilientSubscription }) => void;
  /** The handler threw or rejected; the message is not acknowledged and will come again. */
  handler_error: (event: { error: unknown; message: StanMessage }) => void;
  /**
   * The server no longer has these, both ends included (limits of the channel), and they were not processed; reading goes on
   * above them. Of a message that is in hand it is told when `ackWait` has passed without its acknowledgement.
   */
  gap: (event: { from: number; to: number }) => void;
  /**
   * The channel was deleted and started over: `got` came where `expected` should have been. Reading goes on from the
   * first message of the new one.
   */
  reset: (event: { expected: number; got: number }) => void;
  /** A message was delivered `maxDeliveries` times in vain; it is given up and acknowledged. */
  dead_letter: (event: { message: StanMessage; error: unknown }) => void;
  /** It is over; with the reason if nobody asked for it. */
  closed: (event: { error?: Error }) => void;
}

/** An iterator, which takes its messages one after the other. Its loop body is the handler. */
export interface Follower {
  /** The body of its loop has a message in hand. */
  readonly busy: boolean;
  /** No message is handed over any more; with the reason if nobody asked for it. */
  stopping(reason: Error | undefined): void;
  /** It is over: what is not processed will not be. */
  over(): void;
}

/** What a subscription is told to do, and asked: its life over all sessions. */
export interface SubscriptionLife {
  readonly channel: string;
  readonly lastSequence: number;
  follower: Follower | undefined;
  unsubscribe(): Promise<void>;
  close(): Promise<void>;
}

/**
 * A subscription that outlives sessions: it is made again on each new one, where it left off. Got from
 * `ResilientStan.subscribe()`.
 */
export class ResilientSubscription extends SafeEmitter<SubscriptionEvents> {
  readonly #life: SubscriptionLife;

  private constructor(life: SubscriptionLife) {
    super();
    this.#life = life;
  }

  /** @internal */
  static of(life: SubscriptionLife, onListenerThrown: (error: CallbackError) => void): ResilientSubscription {
    const subscription = new ResilientSubscription(life);
    SafeEmitter.reportTo(subscription, onListenerThrown);
    return subscription;
  }

  /** @internal */
  static follow(subscription: ResilientSubscription, follower: Follower): void {
    subscription.#life.follower = follower;
  }

  get channel(): string {
    return this.#life.channel;
  }

  /** The highest sequence below which everything is processed; 0 before the first message. */
  get lastSequence(): number {
    return this.#life.lastSequence;
  }

  /**
   * Ends it, and makes the server forget a durable: resolves when it has. Like {@link close} otherwise. Also after `close()`:
   * then it drops the durable, and there is nothing to drop of what is not durable. During an outage the durable is dropped on the
   * next session, and only then this resolves. An answer of the server that it was not done, for want of a leader, say, is
   * followed by another try. May be called again when it has rejected.
   * @throws (as a rejection) ClosedError if the client is closed, or is before the durable could be dropped; PermissionError if
   *   the server forbids that; SubscribeError if it is in use again, or if the server refuses it for some seconds. Each time the
   *   server still keeps the durable.
   */
  unsubscribe(): Promise<void> {
    return this.#life.unsubscribe();
  }

  /**
   * Ends it, and keeps a durable. Nothing is delivered from now on; running handlers finish and are acknowledged, and
   * what was waiting for one is not. Resolves when that is done and the server has been told; during an outage, as soon as no
   * handler runs. It waits for handlers no longer than `ackWait`, and for the server no longer than a second. A handler may
   * await it before it has awaited anything else; later it would wait for itself, for `ackWait`. Idempotent; never rejects.
   */
  close(): Promise<void> {
    return this.#life.close();
  }

  /** Same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
