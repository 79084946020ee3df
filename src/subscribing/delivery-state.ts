/**
 * The knowledge about a channel that a subscription needs. The members of a queue group in this client share one such state,
 * because the server may give any of them a message that another member had.
 */
import type { StartPosition } from '../connection/protocol.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';
import { ContiguousCursor } from './contiguous-cursor.js';
import type { Cursor, Gap, Leap, Position } from './cursor.js';
import { RecentDeliveries } from './recent-deliveries.js';
import { NOTICE, planContiguous, planFirst, planGroup, planSince, type Beginning, type Plan } from './resume.js';
import { SparseCursor } from './sparse-cursor.js';
import { UnfinishedMessages, type Unfinished } from './unfinished.js';

/** A plan and the epoch of the channel it was made for. */
export interface DatedPlan extends Plan {
  epoch: number;
}

const WHOLE: Plan = { start: { at: 'first' }, at: { sequence: 1, time: NaN } };

/** The most messages before the first received one that are fetched. More cannot be in flight to this client. */
const EXTENT = 100_000;

/** Greatest difference between the clocks of two leaders, in ms. */
const LEADERS_APART = 1000;

/** The most failed messages of a queue group that are remembered. Some of them may have gone to other members. */
const FAILED_LIMIT = 10_000;

/** Longest delay of a message behind a later answer of the leader, in ms. The leader sends on several connections. */
const OVERTAKING = 250;
/** Time after which the leader has certainly begun to send messages to a new group, in ms. */
const BEGUN = 1000;
/** The number of times that a fetch is put off until it is known whether the group has other members. */
const PATIENCE = 3;
/** Time between two questions to the leader while messages come, in ms. */
const PROVE_EVERY = 400;
/** Time for which recent deliveries are told apart finely, in ms. */
const LATELY = 4000;

/** The number of subscriptions in a row that must miss a message until another process counts as the one that acknowledged it. */
export const SURELY_OTHERS = 3;

/** What to do with an unfinished message when its time has come. */
export type Fate =
  /** The message is fetched by its number. */
  | 'fetch'
  /** Another process that had the durable has probably acknowledged the message, because the server has not sent it again. */
  | 'others'
  /** The server gives the message to a member of the group, which may be in another process. */
  | 'group'
  /** It is not known yet whether the group has other members. */
  | 'later';

export abstract class DeliveryState<Member = unknown> {
  abstract readonly cursor: Cursor;
  /** The subscriptions that share this state. */
  readonly members = new Set<Member>();
  /**
   * The highest received message that certainly belongs to the known channel. Messages of a new session count only after the
   * channel was checked.
   */
  known: Position | undefined;
  /** The session on which `known` was last certain. */
  knownOn: object | undefined;
  /** Whether the channel of this session was found to be the known one. */
  verified = true;
  #session: object | undefined;
  #peeked = false;
  /** The sequences that the server has sent again in this session although their messages were still in hand. */
  readonly #held = new Set<number>();
  /** The number of times that the channel has started over. */
  epoch = 0;
  /**
   * The messages that were handed over and are not processed: how often the handler has failed on each, how often it was handed
   * over, and when that was last noted, in ms of the clock.
   */
  readonly failures = new Map<number, { count: number; handed: number; at: number }>();
  /** The messages that are not processed and that no handler has. */
  readonly unfinished = new UnfinishedMessages();
  /** The number of sessions so far. */
  sessions = 0;
  /** The messages that are missing below the first received one. It is set until the start search takes them over. */
  below: Gap | undefined;
  /**
   * When the session ended that last had the server subscription, in ms of the clock. It is undefined while the server
   * subscription exists.
   */
  protected aliveAt: number | undefined;
  /** When the last question was asked that the leader answered in an earlier session, in ms of the clock. */
  protected confirmedAt = -Infinity;

  /** Notes that a message of interest was received. */
  noteReceived(_sequence: number, _now: number): void {}

  /**
   * Notes that a new session begins. Each member calls it.
   * @param continued whether no other process can have had our client ID since the last session
   */
  noteSession(session: object, continued: boolean): void {
    if (this.#session === session) return;
    if (this.verified) {
      this.known = this.cursor.highest;
      this.knownOn = this.#session;
    }
    this.#session = session;
    this.#peeked = false;
    this.#held.clear();
    this.sessions++;
    this.beginSession(continued);
    this.verified = this.known === undefined;
  }

  /** Returns whether the caller has to check the channel. That is true for the first caller of each session. */
  claimPeek(): boolean {
    const claimed = !this.#peeked;
    this.#peeked = true;
    return claimed;
  }

  /** Notes that the handler failed on a message. Returns how often it has failed on that message. */
  noteFailure(sequence: number, now: number): number {
    this.noteHanded(sequence, now);
    return ++this.failures.get(sequence)!.count;
  }

  /** Notes that a message was handed over and is not processed. */
  noteHanded(sequence: number, now: number): void {
    const failure = this.failures.get(sequence);
    if (failure === undefined) {
      this.failures.set(sequence, { count: 0, handed: 1, at: now });
      return;
    }
    failure.at = now;
    failure.handed++;
  }

  /** Returns how often a message that is not processed was handed over before. */
  handedBefore(sequence: number): number {
    return this.failures.size === 0 ? 0 : (this.failures.get(sequence)?.handed ?? 0);
  }

  /** Forgets a message that was processed. */
  forget(sequence: number): void {
    if (this.#held.size > 0) this.#held.delete(sequence);
    if (this.failures.size > 0) this.failures.delete(sequence);
    if (this.unfinished.size > 0) this.unfinished.delete(sequence);
  }

  /** Returns the number of the session in which the server last sent a message. */
  sentIn({ sequence, session }: { sequence: number; session: number }): number {
    return this.#held.has(sequence) ? this.sessions : session;
  }

  /** Notes that the server has sent an unfinished message again, so that the server has it pending. */
  noteHeld(sequence: number, due: number): void {
    this.#held.add(sequence);
    const message = this.unfinished.get(sequence);
    if (message === undefined) return;
    message.session = this.sessions;
    message.fetched = false;
    // The server sends the message again by the `ackWait` of the member that it was sent to.
    if (message.due < due) message.due = due;
  }

  /** Notes that the server no longer has these messages. */
  noteGone({ from, to }: Gap): void {
    if (this.unfinished.size === 0 && this.failures.size === 0) return;
    for (const { sequence } of [...this.unfinished]) if (sequence >= from && sequence <= to) this.forget(sequence);
  }

  /** Notes that the server knows two subscriptions of a member until the promise resolves. */
  crossing(_until: Promise<void>): void {}

  /** Whether an expected message may be gone. */
  get lacking(): boolean {
    return false;
  }

  /** Returns what to do with an unfinished message when its time has come. */
  fate(_message: Unfinished): Fate {
    return 'fetch';
  }

  /** Whether the server may give a message of ours to another process after `ackWait`. */
  get shares(): boolean {
    return false;
  }

  /** @param continued whether no other process can have had our client ID since the last session */
  protected beginSession(_continued: boolean): void {}

  /** Notes that the server sends new messages, so that missing messages below them are ours. */
  noteNew(): void {}

  /** Whether missing messages may have been sent to another process that had our client ID. */
  get foreign(): boolean {
    return false;
  }

  /** Notes that the leader has answered a question. Messages that it had sent before the question have arrived. */
  noteAnswer(_askedAt: number): void {}

  /** The time from which on a question to the leader would tell something, in ms of the clock. It is undefined if none would. */
  get wantsAnswerSince(): number | undefined {
    return undefined;
  }

  /** Notes that messages were lost on their way, from a sequence on if that is known. */
  noteLoss(_now: number, _sequence?: number): void {}

  /** Notes that the server subscription was made by this plan. */
  noteMade(_plan: DatedPlan, _now: number, _took: number): void {
    this.aliveAt = undefined;
  }

  /**
   * Notes that the session has ended.
   * @param confirmedAt when the last question was asked that the leader answered, in ms of the clock
   */
  noteLost(now: number, confirmedAt: number): void {
    this.aliveAt ??= now;
    this.confirmedAt = Math.max(this.confirmedAt, confirmedAt);
  }

  /**
   * Returns the last timestamp of messages in a leap that may have been sent to us and lost, in ns. Later messages were sent to
   * another member or to nobody.
   */
  sentUntil(_leap: Leap, _now: number): number {
    return -Infinity;
  }

  /** Whether it is known by now that the plan starts at a wrong sequence, so that the server subscription must be made again. */
  overtaken(_plan: DatedPlan): boolean {
    return false;
  }

  /** Returns whether the start is uncertain and has to be looked up. It must be called before `noteMade`. */
  mustPeekBack(_begun: Beginning, _plan: DatedPlan, _now: number): boolean {
    return false;
  }

  /** Returns where the search for the start looks. */
  beginning(begun: Beginning, now: number): StartPosition {
    return planFirst({ ...begun, transit: 0 }, now).start;
  }

  began(_sequence: number, _time: number): boolean {
    return false;
  }

  /** Whether the start is unknown and worth another search. */
  get unsureOfBeginning(): boolean {
    return false;
  }

  /** Whether a timestamp is later than those of all received messages. */
  isLater(_time: number): boolean {
    return false;
  }

  /** Whether no message has come yet. */
  get unseen(): boolean {
    return this.cursor.highest === undefined;
  }

  /** Notes that a message was not taken because messages before it are missing. */
  noteHole(_sequence: number): void {}

  /** Returns the part of a gap that the subscription has missed. */
  missed(gap: Gap): Gap | undefined {
    return gap;
  }

  /** Returns where the server subscription starts now. */
  plan(begun: Beginning, now: number): DatedPlan {
    // A channel that started over is read from its first message, whatever start the user asked for.
    const fresh = this.epoch > 0 && this.cursor.highest === undefined;
    const plan = fresh ? WHOLE : this.planHere(begun, now);
    return { ...plan, epoch: this.epoch };
  }

  protected abstract planHere(begun: Beginning, now: number): Plan;

  /** Forgets everything that belongs to the old channel, because the channel started over. */
  startOver(): void {
    this.epoch++;
    this.cursor.reset();
    this.failures.clear();
    this.unfinished.clear();
    this.#held.clear();
    this.below = undefined;
    this.known = undefined;
    this.verified = true;
  }
}

export class OwnDeliveryState<Member = unknown> extends DeliveryState<Member> {
  readonly cursor: ContiguousCursor;
  readonly #durable: boolean;
  readonly #startAt: ResolvedSubscribeOptions['startAt'];
  /** The sequence that the user asked for, if any. */
  readonly #asked: number | undefined;
  readonly #ackWait: number;
  /** The number of server subscriptions that were made. */
  #lives = 0;
  /** When the first server subscription was made and how long its request took, in ms. */
  #madeAt: number | undefined;
  #took = 0;
  #firstReceipt: number | undefined;
  /** When the first message came that was not flagged as redelivered, in ms of the clock. */
  #baseReceipt: number | undefined;
  #beginningSure: boolean;
  /** The sequence of the start. It is set when a search found it before a message was received. */
  #beginning: number | undefined;
  /** When the last message came, in ms of the clock. */
  #lastReceipt = -Infinity;
  /** The number of the last session before which another process may have had the durable. */
  #foreignBefore = 0;
  /**
   * The timestamp after which messages may have been sent to another process, in ns. It is Infinity while the durable is
   * certainly ours.
   */
  #oursUntil = Infinity;
  /** The last sequence that was stored when the durable was ours again. It is Infinity until that is known. */
  #othersUpTo = Infinity;
  /** The first sequence that the first server subscription brought, if messages before it were missing. */
  #foundFirst: number | undefined;

  constructor(options: ResolvedSubscribeOptions) {
    super();
    const { startAt, durableName, ackWait, maxInFlight } = options;
    this.#durable = durableName !== undefined;
    this.#startAt = startAt;
    this.#asked = typeof startAt === 'object' && 'sequence' in startAt ? startAt.sequence : undefined;
    this.#ackWait = ackWait;
    this.cursor = new ContiguousCursor({
      durable: this.#durable,
      from: startAt === 'first' ? 1 : this.#asked,
      window: maxInFlight,
    });
    // The server knows where a durable starts. With 'first' the cursor notices missing messages.
    this.#beginningSure = this.#durable || startAt === 'first';
  }

  override noteReceived(sequence: number, now: number): void {
    this.#lastReceipt = now;
    if (this.#firstReceipt === undefined) {
      this.#firstReceipt = now;
      this.#noteFirst(sequence);
    }
    if (this.#baseReceipt === undefined && !Number.isNaN(this.cursor.baseTime)) this.#baseReceipt = now;
  }

  /**
   * Notes messages between the sequence that the user asked for and the first message of a durable. An earlier process may have
   * handled them, because the server does not say whether a durable is new.
   */
  #noteFirst(sequence: number): void {
    if (!this.#durable || this.#asked === undefined || this.epoch > 0) return;
    if (sequence > this.#asked && this.cursor.base === sequence) this.below = { from: this.#asked, to: sequence - 1 };
  }

  /** The server sends in ascending order, so the first message of the first server subscription was the oldest stored one. */
  override noteHole(sequence: number): void {
    if (this.#lives === 1 && this.cursor.highest === undefined) this.#foundFirst = sequence;
  }

  override get unseen(): boolean {
    return super.unseen && this.#foundFirst === undefined;
  }

  /** With 'first' the subscription does not miss messages that were gone before the first server subscription was made. */
  override missed(gap: Gap): Gap | undefined {
    if (this.#startAt !== 'first' || this.epoch > 0) return gap;
    const from = Math.max(gap.from, this.#foundFirst ?? 1);
    return from > gap.to ? undefined : { from, to: gap.to };
  }

  /**
   * Messages before the first received one may have been lost, and the server sends them again after `ackWait`. If the session
   * ended earlier, the first message since the start has to be looked up. With 'last' no age leads to the wanted message, which
   * is the one before. With a sequence that did not exist yet, the server began with the next published message, whatever its
   * number.
   */
  override mustPeekBack(begun: Beginning, plan: DatedPlan, now: number): boolean {
    if (this.#beginningSure) return false;
    if (this.#firstReceipt === undefined) {
      return this.#asked === undefined ? begun.startAt === 'last' && !('at' in plan.start) : this.#lives > 0;
    }
    this.#beginningSure = (this.aliveAt ?? now) - this.#firstReceipt >= this.#ackWait + NOTICE;
    return !this.#beginningSure;
  }

  /**
   * The search does not go back behind the start of the subscription, because older messages were never asked for. The server
   * began between the first request and its answer.
   */
  override beginning(begun: Beginning, now: number): StartPosition {
    const { start } =
      this.#asked === undefined
        ? planFirst({ ...begun, transit: 0 }, now)
        : planSince(begun.requestedAt ?? now, 0, now);
    if (!('ago' in start) || this.#firstReceipt === undefined) return start;
    return { ago: Math.max(0, start.ago - this.#took) };
  }

  override noteMade(plan: DatedPlan, now: number, took: number): void {
    super.noteMade(plan, now, took);
    this.#lives++;
    if (this.#madeAt !== undefined) return;
    this.#madeAt = now;
    this.#took = took;
  }

  /**
   * Takes the result of the search for the start. Returns whether messages were missed.
   * @param time timestamp of the first message since the start, in ns; NaN if it does not matter
   */
  override began(sequence: number, time: number): boolean {
    this.#beginningSure = true;
    const { base, baseTime, highest } = this.cursor;
    if (highest === undefined) {
      // If the first message is not below the sequence that the user asked for, that sequence existed.
      if (this.#asked !== undefined && sequence >= this.#asked) return false;
      this.#beginning = sequence;
      this.cursor.expect(sequence);
      return true;
    }
    // Flagged messages say nothing about the messages between them.
    const known = base ?? highest.sequence + 1;
    if (sequence >= known) return false;
    // These starts begin with the next published message.
    const live = this.#startAt === 'new' || this.#asked !== undefined;
    if (live && this.#madeAt !== undefined && this.#baseReceipt !== undefined) {
      // A search by the clock of a leader that is behind goes back too far. The clock of the leader that stored the first new
      // message tells when the subscription was made.
      const since = baseTime - (this.#baseReceipt - this.#madeAt) * 1e6;
      if (time < since) return false;
    }
    this.cursor.extend(Math.max(sequence, known - EXTENT));
    return true;
  }

  protected override beginSession(continued: boolean): void {
    if (continued) return;
    this.#foreignBefore = this.sessions;
    this.#othersUpTo = Infinity;
    if (this.#oursUntil !== Infinity || this.cursor.highest === undefined) return;
    // Later messages that were sent to us are pending for the durable, and the server sends them again.
    const since = Math.max(0, this.confirmedAt - this.#lastReceipt);
    this.#oursUntil = this.cursor.latest + since * 1e6;
  }

  override fate({ session }: Unfinished): Fate {
    return this.#durable && session < this.#foreignBefore ? 'others' : 'fetch';
  }

  override noteNew(): void {
    this.#oursUntil = Infinity;
  }

  /** Whether a missing message may have been sent to another process. */
  maybeOthers(sequence: number, time: number): boolean {
    return time > this.#oursUntil && sequence <= this.#othersUpTo;
  }

  /** The highest sequence that may have been sent to another process. It is Infinity until that is known. */
  get othersUpTo(): number {
    return this.#othersUpTo;
  }

  /** Whether another process may have had the durable and its highest sequence is not known yet. */
  get wantsLast(): boolean {
    return this.#durable && this.#oursUntil !== Infinity && this.#othersUpTo === Infinity;
  }

  /** Notes the last sequence that was stored when the durable was ours again. */
  noteLast(sequence: number): void {
    this.#othersUpTo = sequence;
  }

  /** Whether the user asked for a sequence that may not have existed and no message has come. */
  override get unsureOfBeginning(): boolean {
    return !this.#beginningSure && this.#firstReceipt === undefined && this.#asked !== undefined;
  }

  override isLater(time: number): boolean {
    return this.cursor.highest !== undefined && time > this.cursor.latest;
  }

  protected planHere(begun: Beginning, now: number): Plan {
    const { resumePoint } = this.cursor;
    if (resumePoint === undefined && this.#beginning !== undefined) {
      return { start: { sequence: this.#beginning }, at: { sequence: this.#beginning, time: NaN } };
    }
    if (resumePoint === undefined && this.#durable && this.#asked !== undefined && this.#lives > 0) {
      // The server knows the durable by now. If it does not, the channel is another one, in which the sequence means nothing.
      return planSince(begun.requestedAt ?? now, begun.transit, now);
    }
    return planContiguous(begun, resumePoint, now);
  }

  /** A plan for a sequence that did not exist yet is too high when a lower sequence was found meanwhile. */
  override overtaken({ at }: DatedPlan): boolean {
    const { highest } = this.cursor;
    const next = highest === undefined ? this.#beginning : highest.sequence + 1;
    return !this.#durable && at !== undefined && next !== undefined && at.sequence > next;
  }

  override startOver(): void {
    super.startOver();
    this.#beginningSure = true;
    this.#beginning = undefined;
    this.#oursUntil = Infinity;
  }
}

export class GroupDeliveryState<Member = unknown> extends DeliveryState<Member> {
  readonly cursor = new SparseCursor();
  /** The longest `ackWait` of all members so far, in ms. */
  #ackWait = 0;
  /** The largest `maxInFlight` of all members so far. */
  #window = 0;
  /** The deliveries of the last seconds and of the last `ackWait`. */
  readonly #lately = new RecentDeliveries(LATELY);
  #receipts = new RecentDeliveries(1000);
  /**
   * When the last message came, in ms of the clock. {@link RecentDeliveries} also count the sequence that a server subscription
   * starts with.
   */
  #lastReceipt = -Infinity;
  /** When the last session ended, in ms of the clock. */
  #lostAt = -Infinity;
  /**
   * The time that the last start by age reached back to, in ms of the clock. It is Infinity when the messages since then have
   * arrived.
   */
  #since = Infinity;
  /** When the last question was asked that the leader has answered, in ms of the clock. */
  #provenAt = -Infinity;
  /** When the group was first made and when it was last made, in ms of the clock. */
  #madeAt = Infinity;
  #madeLast = Infinity;
  /** Whether another process may have had our client ID before this session and taken messages of the group. */
  #foreign = false;
  /** The sequence from which on a channel that started over is read. It is undefined once a message of that channel came. */
  #wholeFrom: number | undefined;
  /** Whether the group has not been made yet on this session. */
  #startsAfresh = false;
  /**
   * The last noticed loss: when it was noticed, when the lost messages were sent at the earliest, and their lowest sequence.
   * The server sends them again within `ackWait`.
   */
  #loss: { at: number; since: number; sequence: number } | undefined;
  /** The last leap of which it is not known whether other members have the messages, and the lowest missing sequence. */
  #leap: { at: number; sequence: number } | undefined;

  /** Adds a member. The longest `ackWait` counts, because the server may give each message to any member. */
  join({ ackWait, maxInFlight }: Pick<ResolvedSubscribeOptions, 'ackWait' | 'maxInFlight'>): void {
    this.#window = Math.max(this.#window, maxInFlight);
    if (ackWait <= this.#ackWait) return;
    this.#ackWait = ackWait;
    const from = this.#receipts.from(-Infinity);
    const { last } = this.#receipts;
    this.#receipts = new RecentDeliveries(ackWait);
    if (from !== undefined) this.#receipts.note(from, last);
  }

  override noteReceived(sequence: number, now: number): void {
    this.#since = Infinity;
    this.#lastReceipt = now;
    if (this.#wholeFrom !== undefined) {
      // Only messages that were lost on their way can be before this one.
      if (sequence > this.#wholeFrom) this.noteLoss(now, this.#wholeFrom);
      this.#wholeFrom = undefined;
    }
    this.#lately.note(sequence, now);
    this.#receipts.note(sequence, now);
  }

  override noteLost(now: number, confirmedAt: number): void {
    super.noteLost(now, confirmedAt);
    this.#lostAt = now;
  }

  override noteAnswer(askedAt: number): void {
    if (askedAt > this.#provenAt) this.#provenAt = askedAt;
    if (askedAt > this.#madeLast + BEGUN) this.#since = Infinity;
  }

  /** Only messages that came since the last answered question are in doubt. */
  override get wantsAnswerSince(): number | undefined {
    return this.#lastReceipt > this.#provenAt ? this.#provenAt + PROVE_EVERY : undefined;
  }

  override noteLoss(now: number, sequence = Infinity): void {
    const { since, sequence: before } = this.#lossIn(now) ?? { since: Infinity, sequence: Infinity };
    this.#loss = { at: now, since: Math.min(since, this.#provenAt), sequence: Math.min(before, sequence) };
  }

  /** Notes that messages from this sequence on were leapt over. Other members have them, or they were lost. */
  noteLeap(now: number, sequence: number): void {
    this.#leap = { at: now, sequence: Math.min(sequence, this.#leapIn(now) ?? Infinity) };
  }

  /** Returns the lowest sequence of a leap that the server may still send again. */
  #leapIn(now: number): number | undefined {
    return this.cursor.unsure ? this.#stillOpen(this.#leap, now)?.sequence : undefined;
  }

  /** Returns the last noticed loss if the server may not have sent its messages again yet. */
  #lossIn(now: number): { since: number; sequence: number } | undefined {
    return this.#stillOpen(this.#loss, now);
  }

  /** Returns what was noticed if the server may not have sent its messages again yet. */
  #stillOpen<Noticed extends { at: number }>(noticed: Noticed | undefined, now: number): Noticed | undefined {
    return noticed !== undefined && now - noticed.at < this.#ackWait + NOTICE ? noticed : undefined;
  }

  override get foreign(): boolean {
    return this.#foreign;
  }

  override noteNew(): void {
    this.#foreign = false;
  }

  /** The result counts from the last message: from its receipt by our clock, and from its timestamp by the clock of the server. */
  override sentUntil({ after }: Leap, now: number): number {
    if (this.#foreign) return after + Math.max(0, this.confirmedAt - this.#lastReceipt) * 1e6;
    const inThisSession = this.#lastReceipt > this.#lostAt;
    const since = (inThisSession ? now : this.#lostAt) - this.#lastReceipt;
    return after + (since + LEADERS_APART) * 1e6;
  }

  protected override beginSession(continued: boolean): void {
    this.#foreign = !continued;
    // The group is made at a given start, and the server sends all messages from there on again.
    this.#startsAfresh = true;
  }

  override noteMade(plan: DatedPlan, now: number, took: number): void {
    super.noteMade(plan, now, took);
    if (this.#madeAt === Infinity) this.#madeAt = now;
    this.#madeLast = now;
    if (!this.#startsAfresh) return;
    this.#startsAfresh = false;
    this.#loss = undefined;
    this.#leap = undefined;
    this.#lately.clear();
    this.#receipts.clear();
    // The message at the start may be lost as well. A start of the user does not count, because the group may have existed in
    // another process.
    const ours = this.cursor.highest !== undefined || this.epoch > 0;
    if (ours && plan.at !== undefined) {
      this.#lately.note(plan.at.sequence, now);
      this.#receipts.note(plan.at.sequence, now);
      if (this.cursor.highest === undefined) this.#wholeFrom = plan.at.sequence;
    }
  }

  override noteHanded(sequence: number, now: number): void {
    super.noteHanded(sequence, now);
    if (this.failures.size > FAILED_LIMIT) {
      const oldest = this.failures.keys().next();
      if (!oldest.done) this.failures.delete(oldest.value);
    }
  }

  /** The number of members of which the server knows two subscriptions. */
  #crossings = 0;

  override crossing(until: Promise<void>): void {
    if (++this.#crossings === 1) this.cursor.cross(true);
    void until.then(() => {
      if (--this.#crossings === 0) this.cursor.cross(false);
    });
  }

  override get lacking(): boolean {
    return this.cursor.lacking;
  }

  override get shares(): boolean {
    return !this.cursor.surelyAlone;
  }

  /**
   * While the session lives that brought a message, the server gives the message to any member, which may be in another
   * process.
   */
  override fate({ time, session, fetched, waits }: Unfinished): Fate {
    const { alone, shared } = this.cursor;
    // The message never came to us.
    if (Number.isNaN(time)) return shared ? 'group' : 'fetch';
    if (fetched || session !== this.sessions || alone) return 'fetch';
    if (shared) return 'group';
    return waits < PATIENCE ? 'later' : 'fetch';
  }

  protected planHere(begun: Beginning, now: number): Plan {
    const alive = this.aliveAt ?? now;
    const loss = this.#lossIn(alive);
    const arrivedUpTo = Math.min(this.#provenAt, loss?.since ?? Infinity) - OVERTAKING;
    const receipts = this.#lately.covers(arrivedUpTo) ? this.#lately : this.#receipts;
    const recent = Math.min(receipts.from(arrivedUpTo) ?? Infinity, loss?.sequence ?? Infinity);
    const plan = planGroup(
      begun,
      {
        received: this.cursor.highest !== undefined,
        proven: this.#provenAt > this.#madeAt,
        unfinished: this.cursor.oldestOutstanding(this.#window),
        missing: this.#leapIn(alive),
        next: this.cursor.surelyAlone ? this.cursor.highest!.sequence + 1 : undefined,
        arrivedUpTo,
        recent: recent === Infinity ? undefined : recent,
        lastReceipt: receipts.last,
        since: this.#since,
      },
      now,
    );
    if ('ago' in plan.start) this.#since = now - plan.start.ago;
    return plan;
  }

  override startOver(): void {
    super.startOver();
    this.#lately.clear();
    this.#receipts.clear();
    this.#loss = undefined;
    this.#leap = undefined;
    this.#wholeFrom = undefined;
    // All members of this client leave the group before the first one comes back.
    this.#startsAfresh = true;
    this.#since = Infinity;
  }
}
