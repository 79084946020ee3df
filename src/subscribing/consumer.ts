/**
 * The long life of a subscription, over all its lives at the server: does with each message what the cursor says, runs the
 * handler, acknowledges, and has it made again where that is needed.
 */
import type { AbortWatch } from '../abort-signal.js';
import { SessionEnded, type RawMessage, type Session, type SubscribeRequest } from '../connection/protocol.js';
import { AbortedError, type ResilientStanError } from '../errors.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';
import type { Party } from './barrier.js';
import { ChannelCheck, type ChannelCheckHost, type Restarting } from './channel-check.js';
import type { Clock } from './clock.js';
import type { Cursor, Gap } from './cursor.js';
import { Ending, type EndingHost, type EndingOwner } from './ending.js';
import { EventGate } from './event-gate.js';
import type { Handling } from './handling.js';
import { HoleRepair } from './holes.js';
import type { Inquiries } from './inquiries.js';
import { GroupDeliveryState, OwnDeliveryState, type DatedPlan, type DeliveryState } from './delivery-state.js';
import { LeapRepair } from './leaps.js';
import type { MessageHandler, ReceivedMessage } from './message.js';
import type { Urgency } from './pacing.js';
import { ServerSubscription, type ServerSubscriptionHost, type Remaking } from './server-subscription.js';
import { Processing, type ProcessingHost } from './processing.js';
import { LATE, Refetch, type RefetchHost } from './refetch.js';
import { RemakePace } from './remake-pace.js';
import { beginning, EARLY_TIME, notBefore, type Beginning } from './resume.js';
import type { Follower, ResilientSubscription, SubscriptionLife } from './subscription.js';
import { StartSearch, type StartSearchHost } from './start-search.js';
import { UnreadAcks, type UnreadAcksHost } from './unread-acks.js';
import type { Window } from './request-window.js';

/** By so much longer than the first one a request may take, if it asks by age, ms. */
const SLOWER = 50;
/** From this long on, ms, time in which we could not act is a sleep. */
const SLEEP = 1000;

/** What a subscription ends with at its signal. */
export function abortedSubscription(channel: string, { reason }: AbortWatch): AbortedError {
  return new AbortedError(`the subscription to channel '${channel}' was aborted`, { cause: reason });
}

export interface Counters {
  delivered: number;
  duplicatesDropped: number;
  redelivered: number;
  fetched: number;
}

export interface ConsumerOwner extends EndingOwner {
  /** There is room for no more subscriptions than there are. */
  crowded: boolean;
  readonly clock: Clock;
  /** For the requests by which they are made. */
  readonly window: Window;
  /** For what is asked beside them. */
  readonly inquiries: Inquiries;
  readonly counters: Counters;
  /** A listener threw, or a subscription ended that nobody asked to end. */
  onError(error: Error): void;
  /** It was made again. */
  remade(consumer: Consumer): void;
  /** It is over. */
  ended(consumer: Consumer): void;
  log(message: string): void;
}

/** What its rooms see of it. */
type Hosts = SubscriptionLife &
  ServerSubscriptionHost &
  ProcessingHost &
  RefetchHost &
  StartSearchHost &
  ChannelCheckHost &
  UnreadAcksHost &
  EndingHost;

export class Consumer implements Hosts, Restarting {
  readonly channel: string;
  readonly options: ResolvedSubscribeOptions;
  /** Resolves when the server has it for the first time; rejects when that can never be. */
  readonly ready: Promise<void>;
  /** What the user has in hand. Set right after construction. */
  subscription!: ResilientSubscription;
  /** Set right after construction, if at all. */
  follower: Follower | undefined;
  readonly #owner: ConsumerOwner;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly events = new EventGate(() => this.subscription);
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
  /** Of a plain one or a durable; undefined: it is a member of a queue group. */
  readonly #holes: HoleRepair | undefined;
  /** Of a member of a queue group. */
  readonly #leaps: LeapRepair | undefined;
  readonly #settleReady: { resolve: () => void; reject: (error: Error) => void };
  /** How it was asked for. */
  begun: Beginning;
  /** What is stored before this is not wanted, ns. */
  readonly #notBefore: number;
  /** When the last request went out, and when that was in waking time. */
  #requestedAt = 0;
  #requestedAwake = 0;
  /** How long the first one took, ms. */
  #usual: number | undefined;
  /** {@link ready} has resolved: the first one that was not made in vain is there. */
  #isReady = false;
  readonly #abort: AbortWatch | undefined;

  /** The channel started over, and what the server holds of us is still of the wrong beginning. */
  #resetting = false;
  #cancelPeek: (() => void) | undefined;
  #cancelRemake: (() => void) | undefined;

  /** @param abort listens to the signal of the options, which is not aborted */
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
    this.channel = channel;
    this.options = options;
    this.#state = state;
    this.#cursor = state.cursor;
    state.members.add(this);
    this.#notBefore = notBefore(options);
    const early = this.#notBefore === -Infinity ? 0 : EARLY_TIME;
    this.begun = beginning(options.startAt, this.clock.now(), this.clock.wallClock(), early);
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

  /** It is over, or about to be. */
  get ended(): boolean {
    return this.#ending.ended;
  }

  /** It has ended, or takes no more messages. */
  get stopped(): boolean {
    return this.#ending.stopped;
  }

  // ── its lives at the server ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * Makes it on a new session. Resolves when that is done, or can never be (then it has ended).
   * @throws SessionEnded
   */
  async attach(session: Session): Promise<void> {
    if (this.stopped) {
      // What still runs is to be acknowledged; what is dropped need not be.
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

  /** A new session has begun. */
  announce(session: Session): void {
    this.#state.noteSession(session, session.continued);
  }

  /** @param confirmedAt when the leader was asked that answered last that we are registered */
  detach(confirmedAt: number): void {
    this.#holes?.end();
    this.#cancelTimers();
    this.#state.noteLost(this.clock.now(), confirmedAt);
    this.#server.detach();
  }

  /** Some of what was on its way to us may be lost: it is made again, so that the server sends that at once. */
  remake(): void {
    if (this.stopped) return;
    this.#state.noteLoss(this.clock.now());
    this.makeAgain();
  }

  get #remaking(): Remaking {
    return this.options.durableName === undefined && !this.#owner.crowded ? 'make-first' : 'close-first';
  }

  /** A remake that one of its own messages called for. While they change nothing, they come slower and slower. */
  remakeBecause(reason: string): void {
    if (this.stopped || this.#cancelRemake !== undefined) return;
    const delay = this.#pace.next(this.#cursor.highest?.sequence ?? 0);
    this.#owner.log(`channel '${this.channel}': ${reason}; subscribing again at the cursor in ${delay} ms`);
    if (delay === 0) {
      this.makeAgain();
      return;
    }
    this.#cancelRemake = this.clock.after(delay, () => {
      this.#cancelRemake = undefined;
      this.makeAgain();
    });
  }

  /** For the server subscription: what to ask the server for. */
  request(): { request: SubscribeRequest; plan: DatedPlan } {
    const now = this.clock.now();
    const plan = this.#state.plan(this.begun, now);
    this.#requestedAt = now;
    this.#requestedAwake = this.clock.awake();
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

  /** For the server subscription: the server has it. */
  made(plan: DatedPlan, again: boolean): boolean | 'again' {
    // The channel started over since this was asked for: another request follows, for the new one.
    if (plan.epoch !== this.#state.epoch || this.#resetting) return false;
    this.#cancelRemake?.();
    this.#cancelRemake = undefined;
    this.#unreadAcks.begin();
    this.#holes?.begin();
    this.#startSearch.begin();
    const now = this.clock.now();
    const took = now - this.#requestedAt;
    const tookAwake = this.clock.awake() - this.#requestedAwake;
    // A sleep is not the way's; a loop that is slow each time is.
    const way = took - tookAwake > SLEEP ? tookAwake : took;
    const usual = (this.#usual ??= way);
    if (plan.tight && this.#isReady && took > Math.max(usual + SLOWER, this.begun.transit)) {
      // What was stored in between was ours already. Half as much again, for one that takes longer than this one.
      this.begun = { ...this.begun, transit: Math.max(this.begun.transit, 1.5 * way) };
      // Of a durable the server knows.
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
      // Whoever waits for subscribe() shall have attached listeners before the first message.
      this.clock.soon(() => this.#openUp());
    }
    return true;
  }

  #openUp(): void {
    this.events.open();
    this.#handling.open();
  }

  /** For the server subscription: when the durable is free. */
  passed(session: Session): Promise<void> | undefined {
    return this.#ending.passed(session);
  }

  /** For the server subscription: the server has one of ours that nobody listens to. In a group it keeps messages from the others. */
  deaf(session: Session, error: unknown): void {
    this.#ending.loseOver(session, error);
  }

  /** For the server subscription: the server sends messages to the one before as well. */
  crossing(until: Promise<void>): void {
    this.#state.crossing(until);
  }

  /** For the server subscription: what is made from now on starts afresh. */
  left(): void {
    this.#resetting = false;
  }

  /** For the server subscription: the server still remembers it, and must not. Dropped on the next session, before it is made. */
  undropped(): void {
    if (!this.ended) this.#owner.drop(this.request().request).catch(() => undefined);
  }

  /** For the server subscription: it cannot be made. */
  impossible(error: ResilientStanError): void {
    if (this.ended) return;
    const unasked = this.#isReady;
    this.abandon(error);
    // Otherwise subscribe() rejects with it.
    if (unasked) this.#owner.onError(error);
  }

  // ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** For the server subscription: a message of the current server-side subscription. */
  received(raw: RawMessage): void {
    if (raw.isRedelivered()) this.counters.redelivered++;
    this.#unreadAcks.came();
    if (this.#startSearch.catches(raw) || this.#holes?.withhold(raw) === true) return;
    this.receive(raw, false);
  }

  /** @param fetched it does not come from that subscription, but was asked for by its number */
  receive(raw: RawMessage, fetched: boolean): void {
    const now = this.clock.now();
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

  /** For the processing: the server is told that it is processed. */
  ack(sequence: number): void {
    this.#server.ack(sequence);
  }

  /** For the processing: it is not processed, or not acknowledged. */
  leave(message: ReceivedMessage, handed: ReceivedMessage | undefined): void {
    this.#refetch.leave(message, handed);
  }

  // ── for those who repair it ─────────────────────────────────────────────────────────────────────────────────────

  /** For what takes its time: whether it is of no use any more, on another session, or of another channel. */
  staleness(session: Session | undefined): () => boolean {
    const { epoch } = this.#state;
    return () => this.stopped || this.#server.session !== session || this.#state.epoch !== epoch;
  }

  /** Neither the server nor other members decide what it gets. */
  get seesAll(): boolean {
    return this.options.durableName === undefined && this.options.queueGroup === undefined;
  }

  startedOver(session: Session, urgency: Urgency): Promise<boolean> {
    return this.#channelCheck.startedOver(session, urgency);
  }

  /** The channel is a new one. */
  startOver(got: number): void {
    this.#channelCheck.startOver(got);
  }

  /** Its channel has started over, and all that share what is known of it begin again together. */
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

  /** For those who check the channel: how many messages the current server-side subscription has brought. */
  get brought(): number {
    return this.#unreadAcks.received;
  }

  /** For those who watch for unread acknowledgements: something that has come is not processed. */
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
    this.#cancelPeek = this.clock.after(milliseconds, () => {
      this.#cancelPeek = undefined;
      peek();
    });
  }

  wakeMembers(): void {
    for (const member of this.#state.members) member.#refetch.later();
  }

  log(message: string): void {
    this.#owner.log(message);
  }

  // ── its end ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends it and keeps a durable. Never rejects. Within its own handler it waits for the others only. */
  close(error?: Error): Promise<void> {
    return this.#ending.close(error);
  }

  /**
   * Ends it and drops a durable. Once it has ended, only drops the durable.
   * @throws ClosedError, PermissionError, SubscribeError: the server keeps the durable
   */
  unsubscribe(): Promise<void> {
    return this.#ending.unsubscribe();
  }

  /**
   * Intake stops. Resolves when no handler runs, but for those that may be waiting for whoever calls this: the one that has
   * called it, if one has, and the body of a loop, of which that cannot be told.
   */
  async drain(): Promise<void> {
    const { calling } = this.#handling;
    this.#ending.drain();
    if (this.follower === undefined) await this.#handling.idle(calling);
  }

  /** A handler runs, or the body of a loop. */
  get busy(): boolean {
    return this.follower?.busy ?? this.#handling.running > 0;
  }

  /** Resolves when none does. */
  idle(): Promise<void> {
    return this.#handling.idle();
  }

  /** It is over at once, here; the server is not told. */
  abandon(error: Error | undefined): void {
    this.#ending.abandon(error);
  }

  /** For its end: nothing is taken any more. What is queued will not run: another member of the group may have it. */
  stopping(reason: Error | undefined): void {
    this.#holes?.end();
    this.#cancelTimers();
    this.follower?.stopping(reason);
    for (const message of this.#handling.stop()) this.#processing.letGo(message);
  }

  /** For its end: whoever waits for it waits in vain. */
  ending(error: Error): void {
    this.#abort?.stop();
    this.#settleReady.reject(error);
  }

  /** For its end: another member may have what this one has left unacknowledged. */
  giveBack(): void {
    this.#refetch.giveBack();
  }

  /** For its end: it is over. */
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
