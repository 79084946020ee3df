/**
 * What is known of a channel on behalf of a subscription: its own, or, in a queue group, that of all members in this
 * client, since the server may give any of them what another had.
 */
import type { StartPosition } from '../connection/protocol.js';
import type { ResolvedSubscribeOptions } from '../options.js';
import { ContiguousCursor, SparseCursor, type Cursor, type Leap, type Position } from './cursor.js';
import type { ReceivedMessage } from './message.js';
import { Receipts } from './receipts.js';
import { NOTICE, planContiguous, planFirst, planGroup, type Beginning, type Plan } from './resume.js';

/** A plan, and the channel it is for. */
export interface DatedPlan extends Plan {
  epoch: number;
}

const WHOLE: Plan = { start: { at: 'first' }, at: { sequence: 1, time: NaN } };

/** So many messages at most are fetched from before the first one received; more cannot be in flight to us. */
const EXTENT = 100_000;

/** The clocks of two leaders may be so far apart, ms. */
const LEADERS_APART = 1000;

/** So many failed messages of a queue group are remembered; they may have gone to other members. */
const FAILED_LIMIT = 10_000;

export abstract class Knowledge<Member = unknown> {
  abstract readonly cursor: Cursor;
  /** Those who share it. */
  readonly members = new Set<Member>();
  /**
   * The highest message of which it is sure that it is of the channel we think. What a new session brings is so only when
   * that has been looked at.
   */
  known: Position | undefined;
  /** The session on which that was sure last. */
  knownOn: object | undefined;
  /** The channel of this session is the one we know. */
  verified = true;
  #session: object | undefined;
  /** Which channel of that name. */
  epoch = 0;
  /** How often the handler has failed on a message, and when last. */
  readonly failures = new Map<number, { count: number; at: number }>();
  /** With `manualAck`: handed to the handler, which is done with them, and not acknowledged. */
  readonly unacknowledged = new Map<number, ReceivedMessage>();
  /** When the session was last known to be alive; undefined: it is. */
  protected aliveAt: number | undefined;

  /** A message was received, and is wanted. */
  noteReceived(_sequence: number, _now: number): void {}

  /** A new session begins. True for the first member who says so. */
  noteSession(session: object): boolean {
    if (this.#session === session) return false;
    if (this.verified) {
      this.known = this.cursor.highest;
      this.knownOn = this.#session;
    }
    this.#session = session;
    this.verified = this.known === undefined;
    return true;
  }

  /** The handler failed on a message. Returns how often it has by now. */
  noteFailure(sequence: number, now: number): number {
    const failure = this.failures.get(sequence);
    if (failure === undefined) {
      this.failures.set(sequence, { count: 1, at: now });
      return 1;
    }
    failure.at = now;
    return ++failure.count;
  }

  /** A message is processed. */
  forget(sequence: number): void {
    if (this.failures.size > 0) this.failures.delete(sequence);
    if (this.unacknowledged.size > 0) this.unacknowledged.delete(sequence);
  }

  /** The server has made it by this plan. */
  noteMade(_plan: DatedPlan, _now: number, _took: number): void {
    this.aliveAt = undefined;
  }

  noteLost(now: number): void {
    this.aliveAt ??= now;
  }

  /**
   * What was leapt over and stored up to this timestamp may have been sent to us, and be lost; what is later was sent to
   * somebody else, or not at all.
   */
  sentUntil(_leap: Leap, _now: number): number {
    return -Infinity;
  }

  /** Whether the beginning is unsure, and has to be looked at. Call it before `noteMade`. */
  mustLookBack(_begun: Beginning, _plan: DatedPlan, _now: number): boolean {
    return false;
  }

  /** What to look at for that. */
  beginning(begun: Beginning, now: number): StartPosition {
    return planFirst({ ...begun, transit: 0 }, now).start;
  }

  began(_sequence: number, _time: number): boolean {
    return false;
  }

  /** Later than all that was received. */
  isLater(_time: number): boolean {
    return false;
  }

  /** Where a subscription starts that was begun like this. */
  plan(begun: Beginning, now: number): DatedPlan {
    // A channel that started over is wanted whole, whatever was asked for of the old one.
    const fresh = this.epoch > 0 && this.cursor.highest === undefined;
    const plan = fresh ? WHOLE : this.planHere(begun, now);
    return { ...plan, epoch: this.epoch };
  }

  protected abstract planHere(begun: Beginning, now: number): Plan;

  /** The channel started over: all that was known is of the old one. */
  startOver(): void {
    this.epoch++;
    this.cursor.reset();
    this.failures.clear();
    this.unacknowledged.clear();
    this.known = undefined;
    this.verified = true;
  }
}

export class OwnKnowledge<Member = unknown> extends Knowledge<Member> {
  readonly cursor: ContiguousCursor;
  readonly #ackWait: number;
  /** It began with what was published from then on. */
  readonly #live: boolean;
  /** When it was made first, and how long that request took. */
  #madeAt: number | undefined;
  #took = 0;
  #firstReceipt: number | undefined;
  /** When the first message came that was not flagged. */
  #baseReceipt: number | undefined;
  #beginningSure: boolean;
  /** Where it began, if that had to be looked at before anything was received. */
  #beginning: number | undefined;

  constructor(options: ResolvedSubscribeOptions) {
    super();
    const { startAt, durableName, ackWait } = options;
    const durable = durableName !== undefined;
    this.#ackWait = ackWait;
    this.#live = startAt === 'new';
    const from =
      startAt === 'first' ? 1 : typeof startAt === 'object' && 'sequence' in startAt ? startAt.sequence : undefined;
    this.cursor = new ContiguousCursor({ durable, from });
    // A durable is the server's, and where a sequence was asked for the cursor sees what is missing.
    this.#beginningSure = durable || from !== undefined;
  }

  override noteReceived(_sequence: number, now: number): void {
    this.#firstReceipt ??= now;
    if (this.#baseReceipt === undefined && !Number.isNaN(this.cursor.baseTime)) this.#baseReceipt = now;
  }

  /**
   * The first message received need not be the first there was: those before it may have been lost on their way. The
   * server would have sent them again after ackWait; if there was no time for that, look at the first message since the
   * beginning, and report it to `began`. With 'last' what is wanted is the one before that, which no age leads to.
   */
  override mustLookBack(begun: Beginning, plan: DatedPlan, now: number): boolean {
    if (this.#beginningSure) return false;
    if (this.#firstReceipt === undefined) return begun.startAt === 'last' && !('at' in plan.start);
    this.#beginningSure = (this.aliveAt ?? now) - this.#firstReceipt >= this.#ackWait + NOTICE;
    return !this.#beginningSure;
  }

  /**
   * No earlier than it began: a message from before that would be handed over out of order, and was never asked for. The
   * server began at some time between the first request and its answer.
   */
  override beginning(begun: Beginning, now: number): StartPosition {
    const { start } = planFirst({ ...begun, transit: 0 }, now);
    if (!('ago' in start) || this.#firstReceipt === undefined) return start;
    return { ago: Math.max(0, start.ago - this.#took) };
  }

  override noteMade(plan: DatedPlan, now: number, took: number): void {
    super.noteMade(plan, now, took);
    if (this.#madeAt !== undefined) return;
    this.#madeAt = now;
    this.#took = took;
  }

  /**
   * Where it began, as the server sees it, and when that message was stored (NaN: of no matter). True: we have missed
   * something.
   */
  override began(sequence: number, time: number): boolean {
    this.#beginningSure = true;
    const { base, baseTime, highest } = this.cursor;
    if (highest === undefined) {
      this.#beginning = sequence;
      this.cursor.expect(sequence);
      return true;
    }
    // All that came so far was flagged, and says nothing of what is between.
    const known = base ?? highest.sequence + 1;
    if (sequence >= known) return false;
    if (this.#live && this.#madeAt !== undefined && this.#baseReceipt !== undefined) {
      // By the clock of a leader that is behind, the look went further back than the subscription. By the clock of the
      // leader who stored the first new message received, it did not.
      const since = baseTime - (this.#baseReceipt - this.#madeAt) * 1e6;
      if (time < since) return false;
    }
    this.cursor.extend(Math.max(sequence, known - EXTENT));
    return true;
  }

  override isLater(time: number): boolean {
    return this.cursor.highest !== undefined && time > this.cursor.latest;
  }

  protected planHere(begun: Beginning, now: number): Plan {
    const { resumePoint } = this.cursor;
    if (resumePoint === undefined && this.#beginning !== undefined) {
      return { start: { sequence: this.#beginning }, at: { sequence: this.#beginning, time: NaN } };
    }
    return planContiguous(begun, resumePoint, now);
  }

  override startOver(): void {
    super.startOver();
    this.#beginningSure = true;
    this.#beginning = undefined;
  }
}

export class GroupsKnowledge<Member = unknown> extends Knowledge<Member> {
  readonly cursor = new SparseCursor();
  readonly #ackWait: number;
  readonly #receipts: Receipts;
  #firstReceipt = -Infinity;
  /** Of a message: {@link Receipts} also count what a subscription starts with. */
  #lastReceipt = -Infinity;
  /** When the last session ended. */
  #lostAt = -Infinity;
  /** A start by age was asked for, back to this time, and nothing has come since. */
  #since = Infinity;

  constructor(ackWait: number) {
    super();
    this.#ackWait = ackWait;
    this.#receipts = new Receipts(ackWait);
  }

  override noteReceived(sequence: number, now: number): void {
    if (this.#firstReceipt === -Infinity) this.#firstReceipt = now;
    this.#since = Infinity;
    this.#lastReceipt = now;
    this.#receipts.note(sequence, now);
  }

  override noteLost(now: number): void {
    super.noteLost(now);
    this.#lostAt = now;
  }

  /** Counted from the last receipt by our clock, and from its timestamp by the server's. */
  override sentUntil({ after }: Leap, now: number): number {
    const inThisSession = this.#lastReceipt > this.#lostAt;
    const since = (inThisSession ? now : this.#lostAt) - this.#lastReceipt;
    return after + (since + LEADERS_APART) * 1e6;
  }

  override noteMade(plan: DatedPlan, now: number, took: number): void {
    super.noteMade(plan, now, took);
    // What it starts with may be lost as well. (The user's own start says nothing: the group may have been elsewhere.)
    const ours = this.#firstReceipt !== -Infinity || this.epoch > 0;
    if (ours && plan.at !== undefined) this.#receipts.note(plan.at.sequence, now);
  }

  override noteFailure(sequence: number, now: number): number {
    const count = super.noteFailure(sequence, now);
    if (this.failures.size > FAILED_LIMIT) {
      const oldest = this.failures.keys().next();
      if (!oldest.done) this.failures.delete(oldest.value);
    }
    return count;
  }

  protected planHere(begun: Beginning, now: number): Plan {
    const aliveAt = this.aliveAt ?? now;
    let unfinished = this.cursor.oldestOutstanding ?? Infinity;
    for (const [sequence, { at }] of this.failures) {
      // By then it came again, to us or to another member.
      if (at >= aliveAt - 2 * this.#ackWait && sequence < unfinished) unfinished = sequence;
    }
    const plan = planGroup(
      begun,
      {
        received: this.cursor.highest !== undefined,
        unfinished: unfinished === Infinity ? undefined : unfinished,
        recent: this.#receipts.from,
        firstReceipt: this.#firstReceipt,
        lastReceipt: this.#receipts.last,
        aliveAt,
        since: this.#since,
      },
      this.#ackWait,
      now,
    );
    if ('ago' in plan.start) this.#since = now - plan.start.ago;
    return plan;
  }

  override startOver(): void {
    super.startOver();
    this.#receipts.clear();
    this.#firstReceipt = -Infinity;
    this.#since = Infinity;
  }
}
