/**
 * A subscription of the user, from `subscribe()` to its end. It does with each message what the cursor decides: it runs the
 * handler, acknowledges the message, or makes the server subscription again.
 */
import type { AbortWatch } from '../abort-signal.js';
import { SessionEnded, type RawMessage, type Session, type SubscribeRequest } from '../connection/protocol.js';
import { AbortedError, ClosedError, ResilientStanError, toOurs } from '../errors.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';
import type { Party } from './barrier.js';
import { ChannelCheck, type ChannelCheckHost, type Restarting } from './channel-check.js';
import { Caller } from './caller.js';
import type { Clock } from '../clock/clock.js';
import type { Cursor, Gap } from './cursor.js';
import { Ending, type EndingHost, type EndingOwner } from './ending.js';
import { EventGate } from './event-gate.js';
import type { Handling } from './handling.js';
import { HoleRepair } from './holes.js';
import type { Inquiries } from './inquiries.js';
import { GroupDeliveryState, OwnDeliveryState, type DatedPlan, type DeliveryState } from './delivery-state.js';
import { LeapRepair } from './leaps.js';
import type { MessageHandler, ReceivedMessage } from './message.js';
import type { OverdueWatch } from './overdue.js';
import type { Urgency } from './pacing.js';
import { ServerSubscription, type ServerSubscriptionHost, type Remaking } from './server-subscription.js';
import { Processing, type ProcessingHost } from './processing.js';
import { Progress, type ProgressHost } from './progress.js';
import type { Questions } from './questions.js';
import { LATE, Refetch, type RefetchHost } from './refetch.js';
import { RemakePace } from './remake-pace.js';
import { beginning, EARLY_TIME, notBefore, type Beginning } from './resume.js';
import type { Follower, ResilientSubscription, SubscriptionLife } from './subscription.js';
import { StartSearch, type StartSearchHost } from './start-search.js';
import { isTrouble, type Trouble } from './troubles.js';
import { UnreadAcks, type UnreadAcksHost } from './unread-acks.js';
import type { Window } from './request-window.js';
import type { Teller } from '../tracing.js';

/** How much longer than the first request a request that starts by age may take, in ms. */
const SLOWER = 50;
/** The shortest time without activity of this process that counts as a sleep, in ms. */
const SLEEP = 1000;

/** Returns the error that a subscription ends with when its signal is aborted. */
export function abortedSubscription(channel: string, { reason }: AbortWatch): AbortedError {
  return new AbortedError(`the subscription to channel '${channel}' was aborted`, { cause: reason });
}

export interface Counters {
  delivered: number;
  duplicatesDropped: number;
  redelivered: number;
  fetched: number;
  handlerErrors: number;
  gaps: number;
  resets: number;
  deadLetters: number;
  overdue: number;
}

export interface ConsumerOwner extends EndingOwner {
  /** Whether the server has no room for another subscription of this client at this moment. */
  readonly crowded: boolean;
  readonly clock: Clock;
  /** Limits the subscribe requests that wait for an answer. */
  readonly window: Window;
  /** Asks the server about single messages and ranges. */
  readonly inquiries: Inquiries;
  /** Asks the server for callers who wait. */
  readonly questions: Questions;
  readonly counters: Counters;
  /** The watches over handlers that count steps. The client stops them at its end. */
  readonly watches: Set<OverdueWatch>;
  /** How the client is named on the channels of `node:diagnostics_channel`. */
  readonly teller: Teller;
  /** Is told of an error that a listener threw, or that ended a subscription although nobody asked for its end. */
  onError(error: Error): void;
  /** Is told of what goes wrong with messages. */
  troubled(consumer: Consumer, event: Trouble['event'], payload: object): void;
  /** Is told that the server subscription was made again. */
  remade(consumer: Consumer): void;
  /** Is told that the subscription is over. */
  ended(consumer: Consumer): void;
  log(message: string): void;
}

/** The hosts of all parts of a consumer. */
type Hosts = SubscriptionLife &
  ServerSubscriptionHost &
  ProcessingHost &
  RefetchHost &
  StartSearchHost &
  ChannelCheckHost &
  UnreadAcksHost &
  ProgressHost &
  EndingHost;

export class Consumer implements Hosts, Restarting {
  readonly channel: string;
  readonly options: ResolvedSubscribeOptions;
  /** Resolves when the server has made the subscription for the first time. It rejects when that can never be. */
  readonly ready: Promise<void>;
  /** The object that the user holds. It is set right after construction. */
  subscription!: ResilientSubscription;
  /** The loop over the messages, if there is one. It is set right after construction. */
  follower: Follower | undefined;
  readonly #owner: ConsumerOwner;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly watches: Set<OverdueWatch>;
  readonly teller: Teller;
  readonly events = new EventGate(
    () => this.subscription,
    (event, payload) => {
      if (isTrouble(event)) this.#owner.troubled(this, event, payload);
    },
  );
  readonly #state: DeliveryState<Consumer>;
  readonly #cursor: Cursor;
  readonly #processing: Processing;
  readonly #handling: Handling;
  readonly #server: ServerSubscription;
  readonly #ending: Ending;
  readonly #unreadAcks: UnreadAcks;
  readonly #channelCheck: ChannelCheck;
  readonly #pace = new RemakePace();
  readonly #refetch: Refetch;
  readonly #startSearch: StartSearch;
  /** Repairs holes. It is undefined for a member of a queue group. */
  readonly #holes: HoleRepair | undefined;
  /** Repairs leaps. It is undefined unless the subscription is a member of a queue group. */
  readonly #leaps: LeapRepair | undefined;
  readonly #settleReady: { resolve: () => void; reject: (error: Error) => void };
  /** The start that the user asked for. */
  begun: Beginning;
  /** The timestamp from which on messages are wanted, in ns since the epoch. */
  readonly #notBefore: number;
  /** When the last subscribe request was sent, by the clock and by the waking time, in ms. */
  #requestedAt = 0;
  #requestedAwake = 0;
  /** How long the first subscribe request took, in ms. */
  #usual: number | undefined;
  /** Whether {@link ready} has resolved. */
  #isReady = false;
  readonly #abort: AbortWatch | undefined;
  /** Is called when a message has come or was processed, while somebody waits for that. */
  onProgress: (() => void) | undefined;
  #progress: Progress | undefined;
  #caughtUp: Promise<void> | undefined;
  /** Those who ask how far this subscription has come. They wait until it ends. */
  readonly #asking = new Caller();

  /** Whether the channel started over and the server still holds the old position of this subscription. */
  #resetting = false;
  #cancelPeek: (() => void) | undefined;
  #cancelRemake: (() => void) | undefined;

  /** @param abort watches the signal of the options, which is not aborted yet */
  constructor(
    owner: ConsumerOwner,
    channel: string,
    handler: MessageHandler,
    options: ResolvedSubscribeOptions,
    state: DeliveryState<Consumer>,
    abort?: AbortWatch,
  ) {
    this.#owner = owner;
    this.clock = owner.clock;
    this.counters = owner.counters;
    this.watches = owner.watches;
    this.teller = owner.teller;
    this.channel = channel;
    this.options = options;
    this.#state = state;
    this.#cursor = state.cursor;
    state.members.add(this);
    this.#notBefore = notBefore(options);
    const early = this.#notBefore === -Infinity ? 0 : EARLY_TIME;
    this.begun = beginning(options.startAt, this.clock.elapsed(), this.clock.wall(), early);
    this.#processing = new Processing(this, state, handler);
    this.#handling = this.#processing.handling;
    this.#server = new ServerSubscription(this, this.clock, owner.window);
    this.#ending = new Ending(this, owner, this.#handling, this.#server);
    this.#unreadAcks = new UnreadAcks(this);
    this.#channelCheck = new ChannelCheck(this, state);
    this.#refetch = new Refetch(this, state, this.#processing);
    this.#startSearch = new StartSearch(this, state);
    this.#holes = state instanceof OwnDeliveryState ? new HoleRepair(this, state) : undefined;
    this.#leaps = state instanceof GroupDeliveryState ? new LeapRepair(this, state, this.#refetch) : undefined;
    let settle!: { resolve: () => void; reject: (error: Error) => void };
    this.ready = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.#settleReady = settle;
    this.ready.catch(() => undefined);
    this.#abort = abort;
    if (abort !== undefined) {
      abort.onAbort = () => void this.close(abortedSubscription(channel, abort));
    }
  }

  get lastSequence(): number {
    return this.#cursor.lastSequence;
  }

  /** Whether the subscription is over, or about to be. */
  get ended(): boolean {
    return this.#ending.ended;
  }

  /** Whether the subscription takes no more messages. */
  get stopped(): boolean {
    return this.#ending.stopped;
  }

  // ── the server subscription ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * Makes the server subscription on a new session. Resolves when it is made, or when it can never be made and the subscription
   * has ended.
   * @throws SessionEnded
   */
  async attach(session: Session): Promise<void> {
    if (this.stopped) {
      // The acknowledgements of running handlers still have to be sent, unless the durable is dropped.
      if (this.#ending.dropped) return;
      if (this.#handling.running > 0 || this.#server.hasUnsent) await this.#server.linger(session);
      return;
    }
    if (this.#server.session === session) return this.#server.settled;
    this.#cancelTimers();
    this.#unreadAcks.beginSession();
    this.#resetting = false;
    this.#refetch.begin();
    this.announce(session);
    try {
      await this.#server.attach(session);
    } catch (error) {
      if (error instanceof SessionEnded) throw error;
      if (this.#server.session === session) this.impossible(error as ResilientStanError);
      return;
    }
    if (this.#state.claimPeek()) this.#channelCheck.resumed(session);
  }

  /** Notes that a new session has begun. */
  announce(session: Session): void {
    this.#state.noteSession(session, session.continued);
  }

  /**
   * Notes that the session has ended.
   * @param confirmedAt when the last answered question was asked whether this client is registered
   */
  detach(confirmedAt: number): void {
    this.#holes?.end();
    this.#cancelTimers();
    this.#state.noteLost(this.clock.elapsed(), confirmedAt);
    this.#server.detach();
  }

  /** Makes the server subscription again after messages may have been lost, so that the server sends them at once. */
  remake(): void {
    if (this.stopped) return;
    this.#state.noteLoss(this.clock.elapsed());
    this.makeAgain();
  }

  get #remaking(): Remaking {
    return this.options.durableName === undefined && !this.#owner.crowded ? 'make-first' : 'close-first';
  }

  /**
   * Makes the server subscription again at the cursor, for a reason that is logged. The delays grow while that brings nothing
   * new.
   */
  remakeBecause(reason: string): void {
    if (this.stopped || this.#cancelRemake !== undefined) return;
    const delay = this.#pace.next(this.#cursor.highest?.sequence ?? 0);
    this.#owner.log(`channel '${this.channel}': ${reason}; subscribing again at the cursor in ${delay} ms`);
    if (delay === 0) {
      this.makeAgain();
      return;
    }
    this.#cancelRemake = this.clock.after(
      delay,
      () => {
        this.#cancelRemake = undefined;
        this.makeAgain();
      },
      { unref: true },
    );
  }

  /** Returns the subscribe request of this moment. The server subscription calls it. */
  request(): { request: SubscribeRequest; plan: DatedPlan } {
    const now = this.clock.elapsed();
    const plan = this.#state.plan(this.begun, now);
    this.#requestedAt = now;
    this.#requestedAwake = this.clock.now();
    if (this.begun.requestedAt === undefined) this.begun = { ...this.begun, requestedAt: now };
    const { durableName, queueGroup, maxInFlight, ackWait } = this.options;
    const request: SubscribeRequest = {
      channel: this.channel,
      ...(durableName !== undefined && { durableName }),
      ...(queueGroup !== undefined && { queueGroup }),
      maxInFlight,
      ackWait,
      start: plan.start,
    };
    return { request, plan };
  }

  /**
   * Starts to work with a new server subscription, which calls it. Returns false if the new one is of no use, and 'again' if it
   * has to be requested once more.
   */
  made(plan: DatedPlan, again: boolean): boolean | 'again' {
    // The channel has started over since the request. The next request is for the new channel.
    if (plan.epoch !== this.#state.epoch || this.#resetting) return false;
    this.#cancelRemake?.();
    this.#cancelRemake = undefined;
    this.#unreadAcks.begin();
    this.#holes?.begin();
    this.#startSearch.begin();
    const now = this.clock.elapsed();
    const took = now - this.#requestedAt;
    const tookAwake = this.clock.now() - this.#requestedAwake;
    // The time of a sleep does not count. The time of a slow event loop counts, because it comes back each time.
    const way = took - tookAwake > SLEEP ? tookAwake : took;
    const usual = (this.#usual ??= way);
    if (plan.tight && this.#isReady && took > Math.max(usual + SLOWER, this.begun.transit)) {
      // The request took so long that its age may have left out messages of ours. The next request allows for one and a half
      // times that delay.
      this.begun = { ...this.begun, transit: Math.max(this.begun.transit, 1.5 * way) };
      // The server knows the position of a durable.
      if (this.options.durableName === undefined) return 'again';
    }
    if (this.#state.overtaken(plan)) return 'again';
    const unsure = this.#state.mustPeekBack(this.begun, plan, now);
    this.#state.noteMade(plan, now, took);
    this.#cursor.begin(plan.at);
    this.#refetch.resumed(now);
    this.#leaps?.resumed();
    this.events.emit('ready', { subscription: this.subscription });
    if (again) this.#owner.remade(this);
    if (unsure) void this.#startSearch.find();
    if (!this.#isReady) void this.#startSearch.seeWhetherItIsThere();
    this.#startSearch.resumed();
    if (!this.#isReady) {
      this.#isReady = true;
      this.#settleReady.resolve();
      // The caller of subscribe() has time to attach listeners before the first message comes.
      this.clock.soon(() => this.#openUp());
    }
    return true;
  }

  #openUp(): void {
    this.events.open();
    this.#handling.open();
    this.onProgress?.();
  }

  /** Resolves when the durable is free on this session. The server subscription calls it. */
  passed(session: Session): Promise<void> | undefined {
    return this.#ending.passed(session);
  }

  /**
   * Hears that the server refuses to end the old server subscription. In a queue group it would keep messages from other
   * members.
   */
  deaf(session: Session, error: unknown): void {
    this.#ending.loseOver(session, error);
  }

  /** Hears that the server sends messages to the old server subscription as well until the promise resolves. */
  crossing(until: Promise<void>): void {
    this.#state.crossing(until);
  }

  /** Hears that the server has forgotten the old position, so that the next server subscription starts anew. */
  left(): void {
    this.#resetting = false;
  }

  /**
   * Hears that the server could not be made to forget the durable. The durable is dropped on the next session before it is
   * made.
   */
  undropped(): void {
    if (!this.ended) this.#owner.drop(this.request().request).catch(() => undefined);
  }

  /** Hears that the server subscription can never be made. */
  impossible(error: ResilientStanError): void {
    if (this.ended) return;
    const unasked = this.#isReady;
    this.abandon(error);
    // Before that, subscribe() rejects with the error.
    if (unasked) this.#owner.onError(error);
  }

  // ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes a message of the current server subscription, which calls it. */
  received(raw: RawMessage): void {
    if (raw.isRedelivered()) this.counters.redelivered++;
    this.#unreadAcks.came();
    if (this.#startSearch.catches(raw) || this.#holes?.withhold(raw) === true) return;
    this.receive(raw, false);
    if (this.onProgress !== undefined) this.onProgress();
  }

  /**
   * Does with a message what the cursor decides.
   * @param fetched whether the message was fetched by its number
   */
  receive(raw: RawMessage, fetched: boolean): void {
    const now = this.clock.elapsed();
    const sequence = raw.getSequence();
    const time = raw.getTimestampRaw();
    const redelivered = raw.isRedelivered();
    switch (this.#cursor.receive(sequence, time, redelivered)) {
      case 'deliver':
        break;
      case 'gap':
        for (const gap of this.#cursor.takeGaps()) {
          this.#state.noteGone(gap);
          const missed = time < this.#notBefore ? undefined : this.#state.missed(gap);
          if (missed !== undefined) this.tellGap(missed);
        }
        break;
      case 'leap':
        void this.#leaps?.fillIn(now);
        break;
      case 'held':
        this.#state.noteHeld(sequence, now + this.options.ackWait + LATE);
        if (!this.#processing.handOverAgain(raw, sequence, time, redelivered, now)) return;
        break;
      case 'done':
        this.counters.duplicatesDropped++;
        this.#state.noteReceived(sequence, now);
        this.#server.ack(sequence);
        if (redelivered) this.#unreadAcks.cameAgain(sequence);
        return;
      case 'anchor':
        this.#state.verified = true;
        this.#server.ack(sequence);
        if (redelivered) this.#unreadAcks.cameAgain(sequence);
        return;
      case 'hole':
        this.#state.noteHole(sequence);
        void this.#holes?.bridge(raw);
        return;
      case 'doubt':
        this.#server.mute();
        void this.#channelCheck.resolveDoubt(sequence, time);
        return;
      case 'reset':
        this.startOver(sequence);
        return;
    }
    if (!redelivered && !fetched) this.#state.noteNew();
    this.#state.noteReceived(sequence, now);
    this.#startSearch.came(sequence);
    if (time < this.#notBefore) {
      this.#cursor.finish(sequence, time);
      this.#server.ack(sequence);
      return;
    }
    this.#processing.take(raw, sequence, time, redelivered, now, fetched);
  }

  /** Acknowledges a message at the server after it was processed. */
  ack(sequence: number): void {
    this.#server.ack(sequence);
    if (this.onProgress !== undefined) this.onProgress();
  }

  /** Hears of a handler that runs for longer than `ackWait`. */
  overdue(message: ReceivedMessage): void {
    this.#owner.troubled(this, 'overdue', { message, ackWait: this.options.ackWait });
  }

  /** Leaves a message that was not processed or not acknowledged to the refetch. */
  leave(message: ReceivedMessage, handed: ReceivedMessage | undefined): void {
    this.#refetch.leave(message, handed);
  }

  // ── how far it has come ─────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Returns the number of messages that are not processed.
   * @throws SubscribeError; PermissionError; ClosedError; AbortedError
   */
  async lag(signal: AbortSignal | undefined): Promise<number> {
    const caller = new Caller(signal, `lag() of channel '${this.channel}'`);
    const cancel = this.#asking.onEnd((error) => caller.end(error));
    try {
      return await this.#knownProgress.lag(caller);
    } finally {
      cancel();
    }
  }

  /**
   * Resolves when everything is processed that was there at the first call, right after the event that tells it.
   * @throws SubscribeError; PermissionError; ClosedError; AbortedError
   */
  caughtUp(): Promise<void> {
    if (this.#caughtUp === undefined) {
      const caughtUp = this.#knownProgress
        .caughtUp(this.#asking)
        .then(() => this.events.emit('caught_up', { subscription: this.subscription }));
      this.#caughtUp = caughtUp;
      // A listener of the event has no promise, and after a refusal it may be asked again.
      caughtUp.catch((error: unknown) => {
        this.#caughtUp = undefined;
        const ended = error instanceof ClosedError || error instanceof AbortedError;
        if (!ended && this.subscription.listenerCount('caught_up') > 0) this.#owner.onError(toOurs(error, 'caught_up'));
      });
    }
    return this.#caughtUp;
  }

  get #knownProgress(): Progress {
    return (this.#progress ??= new Progress(this, this.#state));
  }

  get questions(): Questions {
    return this.#owner.questions;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  // ── the repairs ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Returns a function that tells whether work is out of date: the subscription has stopped, or the session or the channel is
   * another one now.
   */
  staleness(session: Session | undefined): () => boolean {
    const { epoch } = this.#state;
    return () => this.stopped || this.#server.session !== session || this.#state.epoch !== epoch;
  }

  /**
   * Whether this subscription gets every message, so that neither the position of a durable nor other members of a group
   * matter.
   */
  get seesAll(): boolean {
    return this.options.durableName === undefined && this.options.queueGroup === undefined;
  }

  startedOver(session: Session, urgency: Urgency): Promise<boolean> {
    return this.#channelCheck.startedOver(session, urgency);
  }

  /** Starts over, because the channel is a new one of the same name. */
  startOver(got: number): void {
    this.#channelCheck.startOver(got);
  }

  /** Starts over together with all subscriptions that share the delivery state. */
  startOverWith(expected: number, got: number, party: Party): void {
    this.#server.mute();
    this.#cancelTimers();
    this.#startSearch.startOver();
    this.#pace.reset();
    const { durableName, queueGroup } = this.options;
    if (this.stopped) party.arrive();
    else if (durableName === undefined && queueGroup === undefined) this.#server.remake('make-first', party);
    else {
      this.#resetting = true;
      this.#server.remake(durableName === undefined ? 'close-first' : 'drop-first', party);
    }
    this.events.emit('reset', { expected, got });
  }

  get inquiries(): Inquiries {
    return this.#owner.inquiries;
  }

  get session(): Session | undefined {
    return this.#server.session;
  }

  get live(): boolean {
    return this.#server.live;
  }

  /** The number of messages that the current server subscription has brought. */
  get brought(): number {
    return this.#unreadAcks.received;
  }

  /** Whether a received message is not processed yet. */
  get unfinished(): boolean {
    return this.#cursor.outstanding > 0 || this.#state.unfinished.size > 0;
  }

  mute(): void {
    this.#server.mute();
  }

  makeAgain(): void {
    this.#server.remake(this.#remaking);
  }

  countFetched(): void {
    this.counters.fetched++;
  }

  tellGap(gap: Gap): void {
    this.events.emit('gap', gap);
  }

  peekAfter(milliseconds: number, peek: () => void): void {
    this.#cancelPeek?.();
    this.#cancelPeek = this.clock.after(
      milliseconds,
      () => {
        this.#cancelPeek = undefined;
        peek();
      },
      { unref: true },
    );
  }

  wakeMembers(): void {
    for (const member of this.#state.members) member.#refetch.later();
  }

  log(message: string): void {
    this.#owner.log(message);
  }

  // ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Ends the subscription and keeps a durable. It never rejects. Within a handler of the subscription it waits for the other
   * handlers only.
   */
  close(error?: Error): Promise<void> {
    return this.#ending.close(error);
  }

  /**
   * Ends the subscription and drops a durable. If the subscription has ended already, it only drops the durable.
   * @throws ClosedError, PermissionError, SubscribeError: the server keeps the durable
   */
  unsubscribe(): Promise<void> {
    return this.#ending.unsubscribe();
  }

  /**
   * Stops the intake. Resolves when no handler runs. It does not wait for the handler that calls it, nor for the body of a
   * loop, which may be the caller.
   */
  async drain(): Promise<void> {
    const { calling } = this.#handling;
    this.#ending.drain();
    if (this.follower === undefined) await this.#handling.idle(calling);
  }

  /** Whether a handler or the body of a loop runs. */
  get busy(): boolean {
    return this.follower?.busy ?? this.#handling.running > 0;
  }

  /** Resolves when no handler runs. */
  idle(): Promise<void> {
    return this.#handling.idle();
  }

  /** Whether a handler runs. A message that waits for its next try does not count. */
  get handling(): boolean {
    return this.#processing.busy;
  }

  /** Resolves when no handler runs, or only messages are left that wait for their next try. */
  handled(): Promise<void> {
    return this.#processing.quiet();
  }

  /** Ends the subscription at once without telling the server. */
  abandon(error: Error | undefined): void {
    this.#ending.abandon(error);
  }

  /**
   * Stops the intake at the end of the subscription. Messages that are queued or wait for their next try are not handled, and
   * another member of the group may get them.
   */
  stopping(reason: Error | undefined): void {
    this.#holes?.end();
    this.#cancelTimers();
    this.#asking.end(
      reason instanceof ResilientStanError
        ? reason
        : new ClosedError(`the subscription to channel '${this.channel}' is closed`, { cause: reason }),
    );
    this.follower?.stopping(reason);
    this.#processing.stopRetries();
    for (const message of this.#handling.stop()) this.#processing.letGo(message);
  }

  /** Rejects {@link ready} at the end of the subscription, unless it has resolved. */
  ending(error: Error): void {
    this.#abort?.stop();
    this.#settleReady.reject(error);
  }

  /** Leaves unacknowledged messages to other members at the end of the subscription. */
  giveBack(): void {
    this.#refetch.giveBack();
  }

  /** Tells everybody that the subscription is over. */
  over(error: Error | undefined): void {
    this.follower?.over();
    this.#state.members.delete(this);
    this.#refetch.giveBack();
    this.wakeMembers();
    this.#owner.ended(this);
    this.events.emit('closed', error === undefined ? {} : { error });
  }

  #cancelTimers(): void {
    this.#unreadAcks.cancel();
    this.#cancelPeek?.();
    this.#cancelRemake?.();
    this.#refetch.cancel();
    this.#cancelPeek = this.#cancelRemake = undefined;
  }
}
