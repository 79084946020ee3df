/**
 * The long life of a subscription, over all its lives at the server: does with each message what the cursor says, runs the
 * handler, acknowledges, and has it made again where that is needed.
 */
import type { EventEmitter } from 'eventemitter3';
import type { AbortWatch } from '../abort-signal.js';
import {
  EndRefused,
  SessionEnded,
  type RawMessage,
  type Session,
  type SubscribeRequest,
} from '../connection/protocol.js';
import { endRefusal } from '../connection/server-texts.js';
import {
  AbortedError,
  ClosedError,
  describe,
  PermissionError,
  ResilientStanError,
  SubscribeError,
  toOurs,
} from '../errors.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';
import { askUser } from '../user-code.js';
import { Barrier, type Party } from './barrier.js';
import type { Clock } from './clock.js';
import type { Cursor, Gap } from './cursor.js';
import type { Departures } from './departures.js';
import { GRACE, Handling } from './handling.js';
import { HoleRepair } from './holes.js';
import type { Inquiries } from './inquiries.js';
import { GroupsKnowledge, OwnKnowledge, type DatedPlan, type Knowledge } from './knowledge.js';
import { LeapRepair } from './leaps.js';
import { ReceivedMessage, type MessageHandler } from './message.js';
import type { Urgency } from './pacing.js';
import { Placement, type Remaking } from './placement.js';
import { LATE, Refetch, type RefetchHost } from './refetch.js';
import { beginning, EARLY_TIME, notBefore, type Beginning } from './resume.js';
import type { Follower, ResilientSubscription, SubscriptionEvents, SubscriptionLife } from './subscription.js';
import { StartSearch, type StartSearchHost } from './start-search.js';
import type { Window } from './window.js';

/** Thrown by a handler of our own (the iterator's): the message is not processed, and nobody need be told. */
export const unprocessed = Symbol('unprocessed');

/** A silence at the start of a session that makes us look whether the channel is still the same, ms. */
const LOOK_AFTER = 1000;
/** How long a full window may stand still, with everything acknowledged, ms. */
const STALL_AFTER = 1000;
/** Between two remakes that changed nothing, ms. */
const SHORTEST_DELAY = 100;
const LONGEST_DELAY = 5000;
/** By so much longer than the first one a request may take, if it asks by age, ms. */
const SLOWER = 50;
/** From this long on, ms, time in which we could not act is a sleep. */
const SLEEP = 1000;
/** By so much the server, and the way to us, may shorten ackWait, ms. */
const EARLY = 100;
/** How long the end of a subscription waits for the server's word that it has it no more, ms. */
const ANSWER_PATIENCE = 1000;
/** How many sequences are watched for acknowledgements that nobody reads. */
const UNREAD_LIMIT = 1000;

/** What a subscription ends with at its signal. */
export function abortedSubscription(channel: string, { reason }: AbortWatch): AbortedError {
  return new AbortedError(`the subscription to channel '${channel}' was aborted`, { cause: reason });
}

/** Passes on what a promise of the user's rejects with. */
function outOf(what: string): (thrown: unknown) => never {
  return (thrown) => {
    throw toOurs(thrown, what);
  };
}

export interface Counters {
  delivered: number;
  duplicatesDropped: number;
  redelivered: number;
  fetched: number;
}

export interface ConsumerOwner {
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
  /** Durables on their way out. */
  readonly departures: Departures;
  /** Another subscription of this client has its durable. */
  inUse(consumer: Consumer): boolean;
  /** Drops a durable that is not online. Resolves when the server has. */
  drop(request: SubscribeRequest): Promise<void>;
  /** It wants its durable dropped: to be waited for before the client closes. */
  dropping(outcome: Promise<void>): void;
  log(message: string): void;
}

export class Consumer implements SubscriptionLife, RefetchHost, StartSearchHost {
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
  readonly #counters: Counters;
  readonly #knowledge: Knowledge<Consumer>;
  readonly #cursor: Cursor;
  readonly #handling: Handling;
  readonly #placement: Placement;
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
  #everMade = false;
  /** Handlers run and events are emitted only when somebody has had the time to listen. */
  #open = false;
  #early: (() => void)[] = [];
  #ended = false;
  #draining = false;
  /** Its end, here. Never rejects. */
  #left: Promise<void> | undefined;
  /** What has come of that at the server: whether it has confirmed it; rejects when the server keeps it. */
  #given: Promise<boolean> | undefined;
  #unsubscribing: Promise<void> | undefined;
  readonly #abort: AbortWatch | undefined;

  /** The channel started over, and what the server holds of us is still of the wrong beginning. */
  #resetting = false;
  /** Messages on the current server-side subscription. */
  #received = 0;
  #stallSeen = false;
  #cancelStall: (() => void) | undefined;
  #cancelLook: (() => void) | undefined;
  #cancelRemake: (() => void) | undefined;
  /** Remakes in a row that brought nothing new. */
  #futile = 0;
  #remadeAt = -1;
  /** Processed messages that came flagged on the current server-side subscription. */
  #unread: Set<number> | undefined;

  /** @param abort listens to the signal of the options, which is not aborted */
  constructor(
    owner: ConsumerOwner,
    channel: string,
    handler: MessageHandler,
    options: ResolvedSubscribeOptions,
    knowledge: Knowledge<Consumer>,
    abort?: AbortWatch,
  ) {
    this.#owner = owner;
    this.clock = owner.clock;
    this.#counters = owner.counters;
    this.channel = channel;
    this.options = options;
    this.#knowledge = knowledge;
    this.#cursor = knowledge.cursor;
    knowledge.members.add(this);
    this.#notBefore = notBefore(options);
    const early = this.#notBefore === -Infinity ? 0 : EARLY_TIME;
    this.begun = beginning(options.startAt, this.clock.now(), this.clock.wallClock(), early);
    this.#handling = new Handling(
      this,
      options.manualAck ? (m) => this.#handle(m, handler) : handler,
      options.concurrency,
    );
    this.#placement = new Placement(this, this.clock, owner.window);
    this.#refetch = new Refetch(this, knowledge);
    this.#startSearch = new StartSearch(this, knowledge);
    this.#holes = knowledge instanceof OwnKnowledge ? new HoleRepair(this, knowledge) : undefined;
    this.#leaps = knowledge instanceof GroupsKnowledge ? new LeapRepair(this, knowledge, this.#refetch) : undefined;
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
    return this.#ended;
  }

  // ── its lives at the server ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * Makes it on a new session. Resolves when that is done, or can never be (then it has ended).
   * @throws SessionEnded
   */
  async attach(session: Session): Promise<void> {
    if (this.stopped) {
      // What still runs is to be acknowledged; what is dropped need not be.
      if (this.#leftForGood) return;
      if (this.#handling.running > 0 || this.#placement.hasUnsent) await this.#placement.linger(session);
      return;
    }
    if (this.#placement.session === session) return this.#placement.settled;
    this.#cancelTimers();
    this.#stallSeen = false;
    this.#resetting = false;
    this.#refetch.begin();
    this.announce(session);
    try {
      await this.#placement.attach(session);
    } catch (error) {
      if (error instanceof SessionEnded) throw error;
      if (this.#placement.session === session) this.impossible(error as ResilientStanError);
      return;
    }
    if (this.#knowledge.claimLook()) this.#lookLater(session);
  }

  /** A new session has begun. */
  announce(session: Session): void {
    this.#knowledge.noteSession(session, session.continued);
  }

  /** @param confirmedAt when the leader was asked that answered last that we are registered */
  detach(confirmedAt: number): void {
    this.#holes?.end();
    this.#cancelTimers();
    this.#knowledge.noteLost(this.clock.now(), confirmedAt);
    this.#placement.detach();
  }

  /** Some of what was on its way to us may be lost: it is made again, so that the server sends that at once. */
  remake(): void {
    if (this.stopped) return;
    this.#knowledge.noteLoss(this.clock.now());
    this.makeAgain();
  }

  get #remaking(): Remaking {
    return this.options.durableName === undefined && !this.#owner.crowded ? 'make-first' : 'close-first';
  }

  /** A remake that one of its own messages called for. While they change nothing, they come slower and slower. */
  remakeBecause(reason: string): void {
    if (this.stopped || this.#cancelRemake !== undefined) return;
    const highest = this.#cursor.highest?.sequence ?? 0;
    this.#futile = highest === this.#remadeAt ? this.#futile + 1 : 0;
    this.#remadeAt = highest;
    // The first repetition is free: it tells what was lost on its way from what the server does not have.
    const delay = this.#futile < 2 ? 0 : Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** (this.#futile - 2));
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

  /** For the placement: what to ask the server for. */
  request(): { request: SubscribeRequest; plan: DatedPlan } {
    const now = this.clock.now();
    const plan = this.#knowledge.plan(this.begun, now);
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

  /** For the placement: the server has it. */
  made(plan: DatedPlan, again: boolean): boolean | 'again' {
    // The channel started over since this was asked for: another request follows, for the new one.
    if (plan.epoch !== this.#knowledge.epoch || this.#resetting) return false;
    this.#cancelRemake?.();
    this.#cancelRemake = undefined;
    this.#received = 0;
    this.#holes?.begin();
    this.#startSearch.begin();
    this.#unread = undefined;
    const now = this.clock.now();
    const took = now - this.#requestedAt;
    const tookAwake = this.clock.awake() - this.#requestedAwake;
    // A sleep is not the way's; a loop that is slow each time is.
    const way = took - tookAwake > SLEEP ? tookAwake : took;
    const usual = (this.#usual ??= way);
    if (plan.tight && this.#everMade && took > Math.max(usual + SLOWER, this.begun.transit)) {
      // What was stored in between was ours already. Half as much again, for one that takes longer than this one.
      this.begun = { ...this.begun, transit: Math.max(this.begun.transit, 1.5 * way) };
      // Of a durable the server knows.
      if (this.options.durableName === undefined) return 'again';
    }
    if (this.#knowledge.overtaken(plan)) return 'again';
    const unsure = this.#knowledge.mustLookBack(this.begun, plan, now);
    this.#knowledge.noteMade(plan, now, took);
    this.#cursor.begin(plan.at);
    this.#refetch.resumed(now);
    this.#leaps?.resumed();
    this.#emit('ready', { subscription: this.subscription });
    if (again) this.#owner.remade(this);
    if (unsure) void this.#startSearch.find();
    if (!this.#everMade) void this.#startSearch.seeWhetherItIsThere();
    this.#startSearch.resumed();
    if (!this.#everMade) {
      this.#everMade = true;
      this.#settleReady.resolve();
      // Whoever waits for subscribe() shall have attached listeners before the first message.
      this.clock.soon(() => this.#openUp());
    }
    return true;
  }

  #openUp(): void {
    this.#open = true;
    const early = this.#early;
    this.#early = [];
    for (const emit of early) emit();
    this.#handling.open();
  }

  /** For the placement: when the durable is free. */
  passed(session: Session): Promise<void> | undefined {
    return this.#owner.departures.passed(session, this.#durable);
  }

  /** For the placement: the server has one of ours that nobody listens to. In a group it keeps messages from the others. */
  deaf(session: Session, error: unknown): void {
    if (this.options.queueGroup !== undefined) this.#loseOver(session, error);
  }

  /** For the placement: the server sends messages to the one before as well. */
  crossing(until: Promise<void>): void {
    this.#knowledge.crossing(until);
  }

  /** For the placement: what is made from now on starts afresh. */
  left(): void {
    this.#resetting = false;
  }

  /** For the placement: the server still remembers it, and must not. Dropped on the next session, before it is made. */
  undropped(): void {
    if (!this.#ended) this.#owner.drop(this.request().request).catch(() => undefined);
  }

  /** For the placement: it cannot be made. */
  impossible(error: ResilientStanError): void {
    if (this.#ended) return;
    const unasked = this.#everMade;
    this.abandon(error);
    // Otherwise subscribe() rejects with it.
    if (unasked) this.#owner.onError(error);
  }

  // ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** For the placement: a message of the current server-side subscription. */
  received(raw: RawMessage): void {
    if (raw.isRedelivered()) this.#counters.redelivered++;
    if (++this.#received === this.options.maxInFlight && !this.#stallSeen) this.#watchForStall();
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
          this.#knowledge.noteGone(gap);
          const missed = time < this.#notBefore ? undefined : this.#knowledge.missed(gap);
          if (missed !== undefined) this.tellGap(missed);
        }
        break;
      case 'leap':
        void this.#leaps?.fillIn(now);
        break;
      case 'held':
        this.#knowledge.noteHeld(sequence, now + this.options.ackWait + LATE);
        if (!this.handOverAgain(raw, sequence, time, redelivered, now)) return;
        break;
      case 'done':
        this.#counters.duplicatesDropped++;
        this.#knowledge.noteReceived(sequence, now);
        this.#placement.ack(sequence);
        if (redelivered) this.#noteUnread(sequence);
        return;
      case 'anchor':
        this.#knowledge.verified = true;
        this.#placement.ack(sequence);
        if (redelivered) this.#noteUnread(sequence);
        return;
      case 'hole':
        this.#knowledge.noteHole(sequence);
        void this.#holes?.bridge(raw);
        return;
      case 'doubt':
        this.#placement.mute();
        void this.#resolveDoubt(sequence, time);
        return;
      case 'reset':
        this.startOver(sequence);
        return;
    }
    if (!redelivered && !fetched) this.#knowledge.noteNew();
    this.#knowledge.noteReceived(sequence, now);
    this.#startSearch.came(sequence);
    if (time < this.#notBefore) {
      this.#cursor.finish(sequence, time);
      this.#placement.ack(sequence);
      return;
    }
    this.take(raw, sequence, time, redelivered, now, fetched);
  }

  /** Hands a message over. */
  take(raw: RawMessage, sequence: number, time: number, redelivered: boolean, now: number, fetched: boolean): void {
    const { epoch, sessions, unfinished } = this.#knowledge;
    if (unfinished.size > 0) unfinished.delete(sequence);
    const message = new ReceivedMessage(this, raw, sequence, time, redelivered, epoch, now, sessions);
    message.fetched = fetched;
    this.#handling.push(message);
  }

  /**
   * With `manualAck`, a message that the handler left unacknowledged is handed over again when the server sends it
   * again, as with the raw client; but not if it only comes because we subscribed again.
   */
  handOverAgain(raw: RawMessage, sequence: number, time: number, redelivered: boolean, now: number): boolean {
    const knowledge = this.#knowledge;
    const unfinished = knowledge.unfinished.get(sequence);
    if (unfinished?.handed === undefined) return false;
    if (now < unfinished.reservedUntil - EARLY) return false;
    knowledge.unfinished.delete(sequence);
    const count = knowledge.noteFailure(sequence, now);
    const { maxDeliveries } = this.options;
    if (maxDeliveries === undefined || count < maxDeliveries) return true;
    const { epoch, sessions } = knowledge;
    const message = new ReceivedMessage(this, raw, sequence, time, redelivered, epoch, now, sessions);
    message.exhausted = new ResilientStanError(
      'ERR_STAN_TIMEOUT',
      `message ${sequence} of channel '${this.channel}' was handed over ${count} times and never acknowledged: ` +
        `with manualAck, the handler has to call message.ack()`,
    );
    this.#handling.push(message);
    return false;
  }

  /** With `manualAck`. */
  #handle(message: ReceivedMessage, handler: MessageHandler): void | Promise<void> {
    if (message.exhausted !== undefined) return this.#bury(message, message.exhausted);
    // Acknowledged by its first handing over while it waited for this one.
    if (message.epoch === this.#knowledge.epoch && !this.#cursor.isOutstanding(message.sequence)) {
      message.settled = true;
      return;
    }
    message.handedAt = this.clock.now();
    return handler(message);
  }

  /** For the handling: the handler is about to get one. */
  starting(): void {
    this.#counters.delivered++;
  }

  /** For the handling: the handler is done with it. */
  processed(message: ReceivedMessage): void {
    if (message.settled) return;
    if (!this.options.manualAck) this.acknowledge(message);
    else if (message.epoch === this.#knowledge.epoch) this.#refetch.leave(message, message);
  }

  /** For `message.ack()`, and when its handler is done. */
  acknowledge(message: ReceivedMessage): void {
    if (message.settled) return;
    message.settled = true;
    // Of a channel that is gone: its number belongs to another message now.
    if (message.epoch !== this.#knowledge.epoch) return;
    const { sequence } = message;
    this.#knowledge.forget(sequence);
    if (this.#cursor.finish(sequence, message.time)) this.#placement.ack(sequence);
  }

  /** For the handling: the handler threw or rejected. */
  failed(message: ReceivedMessage, error: unknown): Promise<void> | undefined {
    if (error === unprocessed) {
      this.#letGo(message);
      return undefined;
    }
    this.#emit('handler_error', { error, message });
    if (message.settled || message.epoch !== this.#knowledge.epoch) return undefined;
    const failures = this.#knowledge.noteFailure(message.sequence, this.clock.now());
    const { maxDeliveries } = this.options;
    if (maxDeliveries !== undefined && Math.max(failures, message.redeliveryCount + 1) >= maxDeliveries) {
      return this.#bury(message, error);
    }
    this.#letGo(message);
    return undefined;
  }

  /** It is not processed: to be handed over again when the server sends it again, or when it was fetched. */
  #letGo(message: ReceivedMessage): void {
    if (message.settled || message.epoch !== this.#knowledge.epoch) return;
    if (!this.#cursor.isOutstanding(message.sequence)) return;
    this.#cursor.fail(message.sequence);
    this.#refetch.leave(message, undefined);
  }

  /** Never rejects. */
  async #bury(message: ReceivedMessage, error: unknown): Promise<void> {
    try {
      await askUser(() => this.options.deadLetter?.(message, error));
    } catch (thrown) {
      this.#emit('handler_error', { error: thrown, message });
      this.#letGo(message);
      return;
    }
    this.acknowledge(message);
    this.#emit('dead_letter', { message, error });
  }

  // ── what may be wrong at the server ─────────────────────────────────────────────────────────────────────────────

  /**
   * A subscription that was made in the moment of a leader's promotion may never have its acks read: then what is
   * processed and acknowledged comes again and again.
   */
  #noteUnread(sequence: number): void {
    const unread = (this.#unread ??= new Set());
    if (!unread.has(sequence)) {
      if (unread.size < UNREAD_LIMIT) unread.add(sequence);
      return;
    }
    this.#unread = undefined;
    this.remakeBecause(`the server does not read our acknowledgement of message ${sequence}`);
  }

  /**
   * The same, seen earlier: exactly one window of messages came, all are acknowledged, and no more come. In a channel
   * that happens to end there, one needless remake per session.
   */
  #watchForStall(): void {
    this.#stallSeen = true;
    const check = (): void => {
      this.#cancelStall = undefined;
      if (this.#received !== this.options.maxInFlight || this.stopped) return;
      const unfinished = this.#cursor.outstanding > 0 || this.#knowledge.unfinished.size > 0;
      if (unfinished) this.#cancelStall = this.clock.after(STALL_AFTER, check);
      else this.remakeBecause('a full window is acknowledged and nothing follows');
    };
    this.#cancelStall = this.clock.after(STALL_AFTER, check);
  }

  /**
   * After a change of session the channel may be a new one of the same name. A plain subscription is shown the message it
   * was resumed at, so only a silence says nothing; the others are shown what the server thinks they need.
   */
  #lookLater(session: Session): void {
    if (this.#ended || this.#knowledge.known === undefined) return;
    if (!this.seesAll) {
      void this.startedOver(session, 'routine');
      return;
    }
    if (this.#received > 0) return;
    this.lookAfter(LOOK_AFTER, () => {
      if (this.#received === 0) void this.startedOver(session, 'missing');
    });
  }

  /** A message says neither that the channel is the one we know nor that it is not. */
  async #resolveDoubt(sequence: number, time: number): Promise<void> {
    const { session } = this.#placement;
    if (session === undefined || (await this.startedOver(session, 'held'))) return;
    this.#cursor.trust(time);
    if (this.#placement.live) return;
    this.remakeBecause(`message ${sequence} is dated later than those after it`);
  }

  /**
   * Whether the channel is still the one we know; if not, starts over. True: it is not, or something else has happened
   * that makes it no matter. A channel starts over between sessions, so what this one has brought proves nothing.
   */
  async startedOver(session: Session, urgency: Urgency): Promise<boolean> {
    const knowledge = this.#knowledge;
    const { known, knownOn } = knowledge;
    if (known === undefined) return false;
    // Asked anew after every wait: there may be two of us.
    const stale = this.staleness(session);
    const judgement = await this.#owner.inquiries.identify(this.channel, known, knownOn, urgency);
    if (stale()) return true;
    if (judgement === undefined) return false;
    if (!judgement.same) {
      this.startOver(judgement.shown);
      return true;
    }
    knowledge.verified = true;
    if (this.#received === 0 && this.seesAll)
      this.remakeBecause(`message ${judgement.shown} is stored and nothing comes`);
    return false;
  }

  /** For what takes its time: whether it is of no use any more, on another session, or of another channel. */
  staleness(session: Session | undefined): () => boolean {
    const { epoch } = this.#knowledge;
    return () => this.stopped || this.#placement.session !== session || this.#knowledge.epoch !== epoch;
  }

  /** Neither the server nor other members decide what it gets. */
  get seesAll(): boolean {
    return this.options.durableName === undefined && this.options.queueGroup === undefined;
  }

  /** The channel is a new one. What is queued and running is still of the old one, and has nothing to do with it. */
  startOver(got: number): void {
    const expected = (this.#cursor.highest?.sequence ?? 0) + 1;
    this.#knowledge.startOver();
    const members = [...this.#knowledge.members];
    // A queue group that has members is where it is: all of ours leave before the first one comes back.
    const barrier = new Barrier(members.length);
    for (const member of members) member.#startOverWith(expected, got, barrier.party());
  }

  #startOverWith(expected: number, got: number, party: Party): void {
    this.#placement.mute();
    this.#cancelTimers();
    this.#startSearch.startOver();
    this.#futile = 0;
    this.#remadeAt = -1;
    const { durableName, queueGroup } = this.options;
    if (this.stopped) party.arrive();
    else if (durableName === undefined && queueGroup === undefined) this.#placement.remake('make-first', party);
    else {
      this.#resetting = true;
      this.#placement.remake(durableName === undefined ? 'close-first' : 'drop-first', party);
    }
    this.#emit('reset', { expected, got });
  }

  // ── for those who repair it ─────────────────────────────────────────────────────────────────────────────────────

  get inquiries(): Inquiries {
    return this.#owner.inquiries;
  }

  get session(): Session | undefined {
    return this.#placement.session;
  }

  get live(): boolean {
    return this.#placement.live;
  }

  /** It has ended, or takes no more messages. */
  get stopped(): boolean {
    return this.#ended || this.#draining;
  }

  mute(): void {
    this.#placement.mute();
  }

  makeAgain(): void {
    this.#placement.remake(this.#remaking);
  }

  countFetched(): void {
    this.#counters.fetched++;
  }

  tellGap(gap: Gap): void {
    this.#emit('gap', gap);
  }

  lookAfter(milliseconds: number, look: () => void): void {
    this.#cancelLook?.();
    this.#cancelLook = this.clock.after(milliseconds, () => {
      this.#cancelLook = undefined;
      look();
    });
  }

  wakeMembers(): void {
    for (const member of this.#knowledge.members) member.#refetch.later();
  }

  log(message: string): void {
    this.#owner.log(message);
  }

  // ── its end ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends it and keeps a durable. Never rejects. Within its own handler it waits for the others only. */
  close(error?: Error): Promise<void> {
    const { calling } = this.#handling;
    if (this.#over) return Promise.resolve();
    const left = (this.#left ??= this.#leave(false, error));
    return calling === undefined ? left : this.#handling.idle(calling);
  }

  /**
   * Ends it and drops a durable. Once it has ended, only drops the durable.
   * @throws ClosedError, PermissionError, SubscribeError: the server keeps the durable
   */
  unsubscribe(): Promise<void> {
    if (this.#unsubscribing === undefined) {
      const unsubscribing = this.#unsubscribe().catch(outOf('unsubscribe()'));
      this.#unsubscribing = unsubscribing;
      this.#owner.dropping(unsubscribing);
      // Whoever does not care for the outcome shall not be killed by it. Who does may try again.
      unsubscribing.catch(() => {
        this.#unsubscribing = undefined;
      });
    }
    return this.#unsubscribing;
  }

  async #unsubscribe(): Promise<void> {
    const { durableName } = this.options;
    const { request } = this.request();
    const first = this.#left === undefined && !this.#ended;
    if (first) {
      // Without a session, asked for at once: a new durable of that name may be waiting for the next one.
      const dropping =
        durableName !== undefined && this.#placement.session === undefined ? this.#owner.drop(request) : undefined;
      this.#left = this.#leave(true, undefined);
      if (dropping !== undefined) return await dropping;
    }
    if (durableName === undefined) {
      await this.#left;
      if (first) await this.#given?.catch(onlyIfForbidden);
      return;
    }
    if (!first && this.#owner.inUse(this)) throw inUseAgain(this.channel, durableName);
    let told = false;
    try {
      told = (await this.#given) === true && first;
    } catch (error) {
      if (first && error instanceof PermissionError) throw error;
      // Only the end of the session ends it now, and on the next one it can be dropped. Who is told may ask for that.
      if (first && endRefusal((error as Error).message) === 'unknown')
        throw stillKept(this.channel, durableName, error);
    }
    if (!told) await this.#owner.drop(request);
  }

  /** @returns its end, here, which waits for what the server says, but not for ever. Never rejects. */
  #leave(drop: boolean, error: Error | undefined): Promise<void> {
    this.#leftForGood = drop;
    const { calling } = this.#handling;
    const { session } = this.#placement;
    this.#stop(error);
    if (!this.#everMade) {
      this.#settleReady.reject(error ?? new ClosedError(`the subscription to channel '${this.channel}' was closed`));
    }
    // A handler that waits for this very drop would be waited for in vain. One that waits for close() does not wait long.
    const idle = drop && calling !== undefined ? this.#idleBut(calling) : this.#handling.idle();
    // No longer than ackWait: by then the server has given their messages to somebody else anyhow.
    const ready = atMost(this.clock, this.options.ackWait, idle);
    const given = this.#placement.end(
      drop,
      ready.then(() => this.#refetch.giveBack()),
    );
    this.#given = given;
    const answered = given.then(
      () => true,
      (error: unknown) => {
        // As a member that listens to nothing it would keep messages from the others.
        if (this.options.queueGroup !== undefined) this.#loseOver(session, error);
        return false;
      },
    );
    if (session !== undefined) this.#owner.departures.add(session, this.#durable, answered);
    return (async () => {
      await ready;
      await atMost(this.clock, ANSWER_PATIENCE, answered);
      this.#finish(error);
    })();
  }

  /** The server refuses to end it. On the next session, it has ended. */
  #loseOver(session: Session | undefined, error: unknown): void {
    if (error instanceof EndRefused)
      session?.lose('request_timeout', `the subscription to '${this.channel}' cannot be ended: ${error.message}`);
  }

  /** No handler runs but this one, which gets some time all the same. */
  async #idleBut(calling: ReceivedMessage): Promise<void> {
    await this.#handling.idle(calling);
    await atMost(this.clock, GRACE, this.#handling.idle());
  }

  get #durable(): { channel: string; durableName: string | undefined; queueGroup: string | undefined } {
    const { durableName, queueGroup } = this.options;
    return { channel: this.channel, durableName, queueGroup };
  }

  /**
   * Intake stops. Resolves when no handler runs, but for those that may be waiting for whoever calls this: the one that has
   * called it, if one has, and the body of a loop, of which that cannot be told.
   */
  async drain(): Promise<void> {
    const { calling } = this.#handling;
    this.#draining = true;
    this.#holes?.end();
    this.#cancelTimers();
    this.#placement.stop();
    this.#release(undefined);
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
    if (this.#over) return;
    this.#stop(error);
    this.#placement.detach();
    if (!this.#everMade) this.#settleReady.reject(error ?? new ClosedError());
    this.#finish(error);
  }

  #over = false;
  /** Its durable is being dropped. */
  #leftForGood = false;

  #stop(reason: Error | undefined): void {
    this.#ended = true;
    this.#holes?.end();
    this.#cancelTimers();
    this.#placement.stop();
    this.#release(reason);
    this.#abort?.stop();
  }

  /** What is queued will not run: another member of the group may have it. */
  #release(reason: Error | undefined): void {
    this.follower?.stopping(reason);
    for (const message of this.#handling.stop()) this.#letGo(message);
  }

  #finish(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.follower?.over();
    this.#knowledge.members.delete(this);
    this.#refetch.giveBack();
    this.wakeMembers();
    this.#owner.ended(this);
    this.#emit('closed', error === undefined ? {} : { error });
  }

  #cancelTimers(): void {
    this.#cancelStall?.();
    this.#cancelLook?.();
    this.#cancelRemake?.();
    this.#refetch.cancel();
    this.#cancelStall = this.#cancelLook = this.#cancelRemake = undefined;
  }

  #emit<E extends keyof SubscriptionEvents>(event: E, payload: Parameters<SubscriptionEvents[E]>[0]): void {
    // A handler may fail long after its subscription has ended.
    if (this.#over && event !== 'closed') return;
    if (!this.#open) {
      this.#early.push(() => this.#emit(event, payload));
      return;
    }
    // eventemitter3's types cannot follow a generic event name.
    (this.subscription as EventEmitter<string>).emit(event, payload);
  }
}

/** Resolves with the promise, which must not reject, or after so many ms. */
async function atMost(clock: Clock, milliseconds: number, promise: Promise<unknown>): Promise<void> {
  let cancel: (() => void) | undefined;
  const late = new Promise<void>((resolve) => {
    cancel = clock.after(milliseconds, resolve);
  });
  await Promise.race([promise, late]);
  cancel?.();
}

function onlyIfForbidden(error: unknown): void {
  if (error instanceof PermissionError) throw error;
}

function inUseAgain(channel: string, durableName: string): SubscribeError {
  return new SubscribeError(
    channel,
    `the durable '${durableName}' on channel '${channel}' was not dropped, for this client is subscribed to it again: ` +
      `unsubscribe that subscription`,
  );
}

function stillKept(channel: string, durableName: string, cause: unknown): SubscribeError {
  return new SubscribeError(
    channel,
    `the durable '${durableName}' on channel '${channel}' could not be dropped: the server still keeps it ` +
      `(${describe(cause)}). Call unsubscribe() again when the cluster is well`,
    { cause },
  );
}
