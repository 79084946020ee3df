/** Holds all subscriptions of a client, makes them on each session, and ends them with the client. */
import { SessionEnded, type Session, type SubscribeRequest } from '../connection/protocol.js';
import { AbortWatch } from '../abort-signal.js';
import { ClosedError, SubscribeError } from '../errors.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';
import type { Clock } from '../clock/clock.js';
import { abortedSubscription, Consumer, type ConsumerOwner, type Counters } from './consumer.js';
import { Departures } from './departures.js';
import { PendingUnsubscribes } from './pending-unsubscribes.js';
import { Inquiries } from './inquiries.js';
import { Questions } from './questions.js';
import { GroupDeliveryState, OwnDeliveryState, type DeliveryState } from './delivery-state.js';
import type { MessageHandler } from './message.js';
import { ResilientSubscription } from './subscription.js';
import { Window } from './request-window.js';
import type { Teller } from '../tracing.js';
import type { Trouble } from './troubles.js';

/** Which counter counts which trouble. */
const COUNTERS = {
  handler_error: 'handlerErrors',
  gap: 'gaps',
  reset: 'resets',
  dead_letter: 'deadLetters',
  overdue: 'overdue',
} as const satisfies Record<Trouble['event'], keyof Counters>;

/**
 * How many of its subscriptions must have ended until a client that had no room for another one asks the server again. A question
 * takes two at a time: what confirms it is asked while it still listens.
 */
const SPARE = 2;

export interface SubscriptionsOptions {
  /** Is told of an error that a listener threw, or that ended a subscription although nobody asked for its end. */
  onError: (error: Error) => void;
  /** Is told that the server has made a subscription again. */
  onResubscribe?: (subscription: ResilientSubscription) => void;
  /** Is told of what goes wrong with messages, and for a dead letter whether a function of the user has taken it. */
  onTrouble?: (trouble: Trouble, buried: boolean) => void;
  /** Writes to the log what is done about missing messages. */
  log?: (message: string) => void;
  /** How the client is named on the channels of `node:diagnostics_channel`. */
  teller: Teller;
  /** The clock of the client. */
  clock: Clock;
}

export class Subscriptions {
  /** Asks the server for callers who wait. */
  readonly questions: Questions;
  readonly #consumers = new Set<Consumer>();
  readonly #groups = new Map<string, GroupDeliveryState<Consumer>>();
  readonly #counters: Counters = {
    delivered: 0,
    duplicatesDropped: 0,
    redelivered: 0,
    fetched: 0,
    handlerErrors: 0,
    gaps: 0,
    resets: 0,
    deadLetters: 0,
    overdue: 0,
  };
  readonly #owner: ConsumerOwner;
  readonly #pendingUnsubscribes: PendingUnsubscribes;
  /** The calls of unsubscribe() that are not done. */
  readonly #dropping = new Set<Promise<unknown>>();
  #session: Session | undefined;
  /** When the last question was asked that the leader has answered on this session, in ms of the clock. */
  #confirmedAt = -Infinity;
  /**
   * The lead of the elapsed time over the waking time, in ms, when the session began or the last question was answered. It never
   * decreases.
   */
  #stood: number;
  #closed: ClosedError | undefined;
  #draining = false;
  /** With so many subscriptions of the user the server still has room for others. */
  #roomFor = Infinity;

  constructor({ onError, onResubscribe, onTrouble, log, teller, clock }: SubscriptionsOptions) {
    const isCrowded = (): boolean => this.#isCrowded;
    const inquiries = new Inquiries(clock, isCrowded);
    this.questions = new Questions(clock, inquiries);
    this.#owner = {
      get crowded() {
        return isCrowded();
      },
      clock,
      window: new Window(clock),
      inquiries,
      questions: this.questions,
      counters: this.#counters,
      watches: new Set(),
      teller,
      onError,
      troubled: ({ subscription, options }, event, payload) => {
        this.#counters[COUNTERS[event]]++;
        // The types cannot follow a generic event name.
        onTrouble?.({ event, payload: { subscription, ...payload } } as Trouble, options.deadLetter !== undefined);
      },
      remade: (consumer) => onResubscribe?.(consumer.subscription),
      ended: (consumer) => this.#ended(consumer),
      departures: new Departures(),
      inUse: ({ channel, options }) => this.#inUse(channel, options),
      drop: (request) => this.#drop(request),
      dropping: (outcome) => this.#waitFor(outcome),
      log: log ?? (() => undefined),
    };
    this.#pendingUnsubscribes = new PendingUnsubscribes(clock, this.#owner.departures);
    this.#stood = this.#standing();
  }

  get stats(): Counters & { subscriptions: number } {
    let subscriptions = 0;
    // A subscription that has ended may still wait for its handlers or for the server's answer.
    for (const { ended } of this.#consumers) if (!ended) subscriptions++;
    return { ...this.#counters, subscriptions };
  }

  /**
   * Adds a subscription. Resolves when the server has made it, if there is no session on the next one.
   * @param begun is called with the subscription at once, so that it can be closed before it is made
   * @throws SubscribeError or PermissionError when it can never be made; AbortedError; ClosedError
   */
  async subscribe(
    channel: string,
    handler: MessageHandler,
    options: ResolvedSubscribeOptions,
    begun?: (subscription: ResilientSubscription) => void,
  ): Promise<ResilientSubscription> {
    const { signal } = options;
    // This runs code of the user, which may do anything, so it comes first.
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
    // If the session ends first, the next one makes the subscription.
    if (session?.alive) consumer.attach(session).catch(() => undefined);
    await consumer.ready;
    return consumer.subscription;
  }

  /**
   * Makes all subscriptions on a new session, as many at a time as the {@link Window} allows. Resolves when each is made or has
   * failed for good.
   * @param careful makes one at a time, because a server ends sessions over one of them
   * @throws SessionEnded
   */
  async attach(session: Session, careful = false): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#session = session;
    this.#stood = this.#standing();
    // All hear of the session at once, because it may end before their server subscriptions are made.
    for (const consumer of this.#consumers) consumer.announce(session);
    this.#owner.window.renew();
    this.#owner.inquiries.attach(session);
    // The drops come first, because the server would refuse a new durable of the same name.
    await this.#pendingUnsubscribes.settle(session);
    if (this.#session !== session || !session.alive) throw new SessionEnded('the session has ended');
    if (careful) for (const consumer of [...this.#consumers]) await consumer.attach(session);
    await Promise.all([...this.#consumers].map((consumer) => consumer.attach(session)));
    if (!session.alive) throw new SessionEnded('the session has ended');
    if (!this.#draining) this.questions.attach(session);
  }

  /** Notes that the session has ended. */
  detach(): void {
    this.#session = undefined;
    this.questions.detach();
    this.#owner.inquiries.detach();
    for (const consumer of this.#consumers) consumer.detach(this.#confirmedAt);
    this.#confirmedAt = -Infinity;
  }

  /**
   * Notes that the server has no room for another subscription beside those of the user. While there are as many of them or more,
   * none is made for a peek, and an old one is closed before a new one is made.
   */
  crowd(): void {
    this.#roomFor = Math.min(this.#roomFor, this.#consumers.size - SPARE);
  }

  get #isCrowded(): boolean {
    return this.#consumers.size > this.#roomFor;
  }

  /**
   * Notes that the leader has answered a question.
   * @param askedAt when it was asked, in waking time
   */
  leaderAnswered(askedAt: number): void {
    // The time is rather too early than too late, because the answer proves nothing about messages after the question.
    const asked = askedAt + this.#stood;
    this.#stood = this.#standing();
    this.#confirmedAt = Math.max(this.#confirmedAt, asked);
    for (const group of this.#groups.values()) group.noteAnswer(asked);
  }

  /** The waking time from which on a question to the leader would tell something. It is undefined if none would. */
  get wantsAnswerSince(): number | undefined {
    let earliest: number | undefined;
    for (const { wantsAnswerSince: since } of this.#groups.values()) {
      if (since !== undefined && (earliest === undefined || since < earliest)) earliest = since;
    }
    return earliest === undefined ? undefined : earliest - this.#standing();
  }

  /** The lead of the elapsed time over the waking time, in ms. */
  #standing(): number {
    const { clock } = this.#owner;
    return clock.elapsed() - clock.now();
  }

  /**
   * Notes that the leader was silent and has answered.
   * @param missed whether messages may be lost, so that they are sent again
   */
  resume(missed: boolean): void {
    if (!missed) return;
    for (const consumer of [...this.#consumers]) consumer.remake();
  }

  /**
   * Stops the intake. Resolves when the running handlers are done and their messages acknowledged. It does not wait for
   * handlers that may be waiting for the caller, see {@link busy}.
   */
  async drain(): Promise<void> {
    this.#draining = true;
    this.questions.end(new ClosedError('the client is closing'));
    this.#owner.inquiries.detach();
    await Promise.all([...this.#consumers].map((consumer) => consumer.drain()));
  }

  /** Resolves when every durable that was to be dropped is dropped or cannot be. */
  async dropped(): Promise<void> {
    await Promise.allSettled(this.#dropping);
  }

  /** Whether a handler or the body of a loop runs. */
  get busy(): boolean {
    for (const consumer of this.#consumers) if (consumer.busy) return true;
    return false;
  }

  /** Resolves when no handler and no body of a loop runs. */
  async idle(): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.idle()));
  }

  /**
   * Whether a handler runs. A message that waits for its next try does not count, and the bodies of loops do not, because who asks
   * may be in one.
   */
  get handling(): boolean {
    for (const consumer of this.#consumers) if (consumer.follower === undefined && consumer.handling) return true;
    return false;
  }

  /** Resolves when {@link handling} is false. */
  async handled(): Promise<void> {
    const handlers = [...this.#consumers].filter(({ follower }) => follower === undefined);
    await Promise.all(handlers.map((consumer) => consumer.handled()));
  }

  /** Ends all subscriptions in this client. The server is not told. */
  close(error?: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = new ClosedError('the client is closed', error === undefined ? {} : { cause: error });
    this.#session = undefined;
    this.questions.end(this.#closed);
    this.#owner.inquiries.detach();
    this.#pendingUnsubscribes.close(
      new ClosedError('the client was closed before the durable could be dropped: the server still keeps it', {
        cause: error,
      }),
    );
    for (const consumer of [...this.#consumers]) consumer.abandon(error);
    // Handlers may still run, also those of subscriptions that have ended before.
    for (const watch of [...this.#owner.watches]) watch.stop();
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
    // When all members of a group are leaving, the server forgets the group.
    if (state === undefined || [...state.members].every(({ ended }) => ended)) {
      state = new GroupDeliveryState();
      this.#groups.set(key, state);
    }
    state.join(options);
    return state;
  }

  /** Whether a subscription of this client has the durable. Several subscriptions may have the durable of a queue group. */
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
      { durableInUse: true },
    );
  }
}

function groupKey(channel: string, { durableName, queueGroup }: ResolvedSubscribeOptions): string {
  return JSON.stringify([channel, queueGroup, durableName ?? null]);
}
