/** All subscriptions of a client: brings them up on each session, and ends them with the client. */
import { SessionEnded, type Session, type SubscribeRequest } from '../connection/protocol.js';
import { AbortWatch } from '../abort-signal.js';
import { ClosedError, SubscribeError } from '../errors.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';
import { systemClock, type Clock } from './clock.js';
import { abortedSubscription, Consumer, type ConsumerOwner, type Counters } from './consumer.js';
import { Departures } from './departures.js';
import { PendingUnsubscribes } from './pending-unsubscribes.js';
import { Inquiries } from './inquiries.js';
import { GroupDeliveryState, OwnDeliveryState, type DeliveryState } from './delivery-state.js';
import type { MessageHandler } from './message.js';
import { ResilientSubscription } from './subscription.js';
import { Window } from './request-window.js';

export interface SubscriptionsOptions {
  /** A listener threw, or a subscription ended that nobody asked to end. */
  onError: (error: Error) => void;
  /** A subscription was made again at the server. */
  onResubscribe?: (subscription: ResilientSubscription) => void;
  /** What is done about holes and the like. */
  log?: (message: string) => void;
  /** Monotonic, ms. */
  now?: () => number;
  /** For tests: all of time. */
  clock?: Clock;
}

export class Subscriptions {
  readonly #consumers = new Set<Consumer>();
  readonly #groups = new Map<string, GroupDeliveryState<Consumer>>();
  readonly #counters: Counters = { delivered: 0, duplicatesDropped: 0, redelivered: 0, fetched: 0 };
  readonly #owner: ConsumerOwner;
  readonly #pendingUnsubscribes: PendingUnsubscribes;
  /** What has been asked for by unsubscribe(), and is not done. */
  readonly #dropping = new Set<Promise<unknown>>();
  #session: Session | undefined;
  /** When the leader was asked last that answered that we are registered. */
  #confirmedAt = -Infinity;
  /**
   * How far our time was ahead of waking time when the session came, or when a question was answered last: since then it may
   * have grown, and is never less.
   */
  #stood: number;
  #closed: Error | undefined;
  #draining = false;

  constructor({ onError, onResubscribe, log, now, clock }: SubscriptionsOptions) {
    const time = clock ?? (now === undefined ? systemClock : { ...systemClock, now });
    this.#owner = {
      crowded: false,
      clock: time,
      window: new Window(time),
      inquiries: new Inquiries(time),
      counters: this.#counters,
      onError,
      remade: (consumer) => onResubscribe?.(consumer.subscription),
      ended: (consumer) => this.#ended(consumer),
      departures: new Departures(),
      inUse: ({ channel, options }) => this.#inUse(channel, options),
      drop: (request) => this.#drop(request),
      dropping: (outcome) => this.#waitFor(outcome),
      log: log ?? (() => undefined),
    };
    this.#pendingUnsubscribes = new PendingUnsubscribes(this.#owner.clock, this.#owner.departures);
    this.#stood = this.#standing();
  }

  get stats(): Counters & { subscriptions: number } {
    // One that has ended may still wait for its handlers, or for the server's word.
    const subscriptions = [...this.#consumers].filter(({ ended }) => !ended).length;
    return { ...this.#counters, subscriptions };
  }

  /**
   * Resolves when the server has it; without a session, on the next one.
   * @param begun gets it at once, so that it can be closed before
   * @throws SubscribeError or PermissionError when it can never be; AbortedError; ClosedError
   */
  async subscribe(
    channel: string,
    handler: MessageHandler,
    options: ResolvedSubscribeOptions,
    begun?: (subscription: ResilientSubscription) => void,
  ): Promise<ResilientSubscription> {
    const { signal } = options;
    // Runs code of the user, which may do anything: first of all.
    const abort = signal === undefined ? undefined : new AbortWatch(signal);
    try {
      if (this.#closed !== undefined || this.#draining) throw this.#closed ?? new ClosedError('the client is closing');
      if (abort?.aborted) throw abortedSubscription(channel, abort);
      this.#refuseDuplicate(channel, options);
    } catch (error) {
      abort?.stop();
      throw error;
    }
    const consumer = new Consumer(this.#owner, channel, handler, options, this.#state(channel, options), abort);
    consumer.subscription = ResilientSubscription.of(consumer, (error) => this.#owner.onError(error));
    this.#consumers.add(consumer);
    begun?.(consumer.subscription);
    const session = this.#session;
    // If the session ends first, the next one brings it up.
    if (session?.alive) consumer.attach(session).catch(() => undefined);
    await consumer.ready;
    return consumer.subscription;
  }

  /**
   * Makes all subscriptions on a new session, as many at a time as the {@link Window} lets through. Resolves when each is
   * made or has failed for good.
   * @param careful one at a time: a server ends sessions over one of them
   * @throws SessionEnded
   */
  async attach(session: Session, careful = false): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#session = session;
    this.#stood = this.#standing();
    // At once: this session may end before any of them is made on it.
    for (const consumer of this.#consumers) consumer.announce(session);
    this.#owner.window.renew();
    this.#owner.inquiries.attach(session);
    // First, or a new durable of the same name would be refused.
    await this.#pendingUnsubscribes.settle(session);
    if (this.#session !== session || !session.alive) throw new SessionEnded('the session has ended');
    if (careful) for (const consumer of [...this.#consumers]) await consumer.attach(session);
    await Promise.all([...this.#consumers].map((consumer) => consumer.attach(session)));
    if (!session.alive) throw new SessionEnded('the session has ended');
  }

  /** The session is gone. */
  detach(): void {
    this.#session = undefined;
    this.#owner.inquiries.detach();
    for (const consumer of this.#consumers) consumer.detach(this.#confirmedAt);
    this.#confirmedAt = -Infinity;
  }

  /** The server has room for no more subscriptions than there are: none is made for a look, or before another one is closed. */
  crowd(): void {
    this.#owner.crowded = this.#owner.inquiries.crowded = true;
  }

  /** The leader has answered a question that was asked then, in waking time. */
  leaderAnswered(askedAt: number): void {
    // Rather too early than too late: what came later than the question is not proven by its answer.
    const asked = askedAt + this.#stood;
    this.#stood = this.#standing();
    this.#confirmedAt = Math.max(this.#confirmedAt, asked);
    for (const group of this.#groups.values()) group.noteAnswer(asked);
  }

  /** An answer to a question that is asked later than this, in waking time, would tell something. */
  get wantsAnswerSince(): number | undefined {
    let earliest: number | undefined;
    for (const { wantsAnswerSince: since } of this.#groups.values()) {
      if (since !== undefined && (earliest === undefined || since < earliest)) earliest = since;
    }
    return earliest === undefined ? undefined : earliest - this.#standing();
  }

  /** How far our time is ahead of waking time. */
  #standing(): number {
    const { clock } = this.#owner;
    return clock.now() - clock.awake();
  }

  /** The leader was silent and has answered. `missed`: what was on its way to us may be lost, so it is fetched again. */
  resume(missed: boolean): void {
    if (!missed) return;
    for (const consumer of [...this.#consumers]) consumer.remake();
  }

  /**
   * No message is handed over any more. Resolves when the running handlers are done, and acknowledged. Those are not waited
   * for that may be waiting for the caller: see {@link busy}.
   */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#owner.inquiries.detach();
    await Promise.all([...this.#consumers].map((consumer) => consumer.drain()));
  }

  /** Resolves when everything that was to be dropped is, or cannot be. */
  async dropped(): Promise<void> {
    await Promise.allSettled(this.#dropping);
  }

  /** A handler runs, or the body of a loop. */
  get busy(): boolean {
    for (const consumer of this.#consumers) if (consumer.busy) return true;
    return false;
  }

  /** Resolves when none does. */
  async idle(): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.idle()));
  }

  /** Everything ends, here; nothing is sent. */
  close(error?: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = new ClosedError('the client is closed', error === undefined ? {} : { cause: error });
    this.#session = undefined;
    this.#owner.inquiries.detach();
    this.#pendingUnsubscribes.close(
      new ClosedError('the client was closed before the durable could be dropped: the server still keeps it', {
        cause: error,
      }),
    );
    for (const consumer of [...this.#consumers]) consumer.abandon(error);
  }

  #ended(consumer: Consumer): void {
    this.#consumers.delete(consumer);
    const { queueGroup } = consumer.options;
    if (queueGroup === undefined) return;
    const key = groupKey(consumer.channel, consumer.options);
    if (this.#groups.get(key)?.members.size === 0) this.#groups.delete(key);
  }

  async #drop(request: SubscribeRequest): Promise<void> {
    if (this.#closed !== undefined) {
      const { durableName, channel } = request;
      throw new ClosedError(
        `the durable '${durableName}' on channel '${channel}' was not dropped, for the client is closed: the server still ` +
          `keeps it. Subscribe to it with a new client, and unsubscribe`,
      );
    }
    await this.#pendingUnsubscribes.add(request, this.#session);
  }

  #waitFor(outcome: Promise<unknown>): void {
    this.#dropping.add(outcome);
    const done = (): void => void this.#dropping.delete(outcome);
    outcome.then(done, done);
  }

  #state(channel: string, options: ResolvedSubscribeOptions): DeliveryState<Consumer> {
    if (options.queueGroup === undefined) return new OwnDeliveryState(options);
    const key = groupKey(channel, options);
    let state = this.#groups.get(key);
    // Those who are leaving leave the server without the group.
    if (state === undefined || [...state.members].every(({ ended }) => ended)) {
      state = new GroupDeliveryState();
      this.#groups.set(key, state);
    }
    state.join(options);
    return state;
  }

  /** Whether a subscription of this client has the durable. Several may have that of a queue group. */
  #inUse(channel: string, { durableName, queueGroup }: ResolvedSubscribeOptions): boolean {
    if (durableName === undefined || queueGroup !== undefined) return false;
    for (const { channel: other, options, ended } of this.#consumers) {
      if (ended || other !== channel || options.queueGroup !== undefined || options.durableName !== durableName)
        continue;
      return true;
    }
    return false;
  }

  #refuseDuplicate(channel: string, options: ResolvedSubscribeOptions): void {
    if (!this.#inUse(channel, options)) return;
    throw new SubscribeError(
      channel,
      `this client is already subscribed to channel '${channel}' with the durable '${options.durableName}': ` +
        `close that subscription first, or take another durableName`,
    );
  }
}

function groupKey(channel: string, { durableName, queueGroup }: ResolvedSubscribeOptions): string {
  return JSON.stringify([channel, queueGroup, durableName ?? null]);
}
