/**
 * What is known of a channel on behalf of a subscription: its own, or, in a queue group, that of all members in this
 * client, since the server may give any of them what another had.
 */
import type { StartPosition } from '../connection/protocol.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';
import { ContiguousCursor } from './contiguous-cursor.js';
import type { Cursor, Gap, Leap, Position } from './cursor.js';
import { RecentDeliveries } from './recent-deliveries.js';
import { NOTICE, planContiguous, planFirst, planGroup, planSince, type Beginning, type Plan } from './resume.js';
import { SparseCursor } from './sparse-cursor.js';
import { UnfinishedMessages, type Unfinished } from './unfinished.js';

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

/** How much later than the leader we may hear of what it has sent before it answered, ms: it sends on several connections. */
const OVERTAKING = 250;
/** A leader that answers so long after a group was made, in ms, has begun to send what there is. */
const BEGUN = 1000;
/** So often it is waited to see whether a group has members elsewhere. */
const PATIENCE = 3;
/** While messages come, the whole way is proven so often, in ms. */
const PROVE_EVERY = 400;
/** For so long, in ms, receipts are told apart well. */
const LATELY = 4000;

/** What so many subscriptions in a row have not brought was acknowledged by another process, and not lost on its way. */
export const SURELY_OTHERS = 3;

/** What becomes of an unfinished message whose time has come. */
export type Fate =
  /** It is fetched by its number. */
  | 'fetch'
  /** Another process had the durable meanwhile, and the server has not sent it again since: that one has acknowledged it. */
  | 'others'
  /** The server has it, and gives it to a member of the group, which may be anywhere. */
  | 'group'
  /** It is not known yet whether the group has other members. */
  | 'later';

export abstract class DeliveryState<Member = unknown> {
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
  #peeked = false;
  /** What the server has sent again in this session while it was in hand. */
  readonly #held = new Set<number>();
  /** Which channel of that name. */
  epoch = 0;
  /** How often the handler has failed on a message, and when last. */
  readonly failures = new Map<number, { count: number; at: number }>();
  /** What is not processed, and no handler has. */
  readonly unfinished = new UnfinishedMessages();
  /** Counts up with every session. */
  sessions = 0;
  /** What is missed below the first message received, if the server has nothing there; until somebody takes it on. */
  below: Gap | undefined;
  /** When the session was last known to be alive; undefined: it is. */
  protected aliveAt: number | undefined;
  /** When the leader was asked last that answered, in a session that has ended, that we are registered. */
  protected confirmedAt = -Infinity;

  /** A message was received, and is wanted. */
  noteReceived(_sequence: number, _now: number): void {}

  /**
   * A new session begins. Each member says so.
   * @param continued nobody else can have had our client ID since the last one
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

  /** Somebody has to look whether the channel is still the same. True for the first member who asks, once in a session. */
  claimPeek(): boolean {
    const claimed = !this.#peeked;
    this.#peeked = true;
    return claimed;
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
    if (this.#held.size > 0) this.#held.delete(sequence);
    if (this.failures.size > 0) this.failures.delete(sequence);
    if (this.unfinished.size > 0) this.unfinished.delete(sequence);
  }

  /** In which session the server sent last what a handler has had until now. */
  sentIn({ sequence, session }: { sequence: number; session: number }): number {
    return this.#held.has(sequence) ? this.sessions : session;
  }

  /** The server has sent it again although it is not finished: it has it pending. */
  noteHeld(sequence: number, due: number): void {
    this.#held.add(sequence);
    const message = this.unfinished.get(sequence);
    if (message === undefined) return;
    message.session = this.sessions;
    message.fetched = false;
    // It comes again by the `ackWait` of the member that it was sent to.
    if (message.due < due) message.due = due;
  }

  /** The server does not have these any more. */
  noteGone({ from, to }: Gap): void {
    if (this.unfinished.size === 0 && this.failures.size === 0) return;
    for (const { sequence } of [...this.unfinished]) if (sequence >= from && sequence <= to) this.forget(sequence);
  }

  /** A member is made again, and until then the server knows it twice. */
  crossing(_until: Promise<void>): void {}

  /** Something that was to come may be gone, and nobody knows yet. */
  get lacking(): boolean {
    return false;
  }

  /** What is to be done with it when its time has come. */
  fate(_message: Unfinished): Fate {
    return 'fetch';
  }

  /** @param continued false: another process may have had our client ID */
  protected beginSession(_continued: boolean): void {}

  /** The server sends what is new: what is missing below is ours. */
  noteNew(): void {}

  /** What is missing may have been sent to another process that had our client ID. */
  get foreign(): boolean {
    return false;
  }

  /** The leader has answered a question that was asked then: what it had sent before has arrived. */
  noteAnswer(_askedAt: number): void {}

  /** An answer to a question that is asked later than this would tell something. */
  get wantsAnswerSince(): number | undefined {
    return undefined;
  }

  /** Something was lost on its way, from this sequence on if it is known which. */
  noteLoss(_now: number, _sequence?: number): void {}

  /** The server has made it by this plan. */
  noteMade(_plan: DatedPlan, _now: number, _took: number): void {
    this.aliveAt = undefined;
  }

  /** @param confirmedAt when the leader was asked that answered last that we are registered */
  noteLost(now: number, confirmedAt: number): void {
    this.aliveAt ??= now;
    this.confirmedAt = Math.max(this.confirmedAt, confirmedAt);
  }

  /**
   * What was leapt over and stored up to this timestamp may have been sent to us, and be lost; what is later was sent to
   * somebody else, or not at all.
   */
  sentUntil(_leap: Leap, _now: number): number {
    return -Infinity;
  }

  /** What has come since it was planned shows that it does not begin where it should: it is to be made again. */
  overtaken(_plan: DatedPlan): boolean {
    return false;
  }

  /** Whether the beginning is unsure, and has to be looked at. Call it before `noteMade`. */
  mustPeekBack(_begun: Beginning, _plan: DatedPlan, _now: number): boolean {
    return false;
  }

  /** What to look at for that. */
  beginning(begun: Beginning, now: number): StartPosition {
    return planFirst({ ...begun, transit: 0 }, now).start;
  }

  began(_sequence: number, _time: number): boolean {
    return false;
  }

  /** Where it began is not known, and is worth looking for again. */
  get unsureOfBeginning(): boolean {
    return false;
  }

  /** Later than all that was received. */
  isLater(_time: number): boolean {
    return false;
  }

  /** No message has come yet. */
  get unseen(): boolean {
    return this.cursor.highest === undefined;
  }

  /** A message came, and was not taken because those before it are missing. */
  noteHole(_sequence: number): void {}

  /** What is missed of what the server does not have any more. */
  missed(gap: Gap): Gap | undefined {
    return gap;
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
  /** The sequence it was to begin with. */
  readonly #asked: number | undefined;
  readonly #ackWait: number;
  /** How often it was made. */
  #lives = 0;
  /** When it was made first, and how long that request took. */
  #madeAt: number | undefined;
  #took = 0;
  #firstReceipt: number | undefined;
  /** When the first message came that was not flagged. */
  #baseReceipt: number | undefined;
  #beginningSure: boolean;
  /** Where it began, if that had to be looked at before anything was received. */
  #beginning: number | undefined;
  /** When the last message came. */
  #lastReceipt = -Infinity;
  /** The first session before which another process may have had the durable. */
  #foreignBefore = 0;
  /** Messages dated later than this were sent to that one, until we know that the durable is with us again. */
  #oursUntil = Infinity;
  /** The last message that was stored when the durable was with us again. */
  #othersUpTo = Infinity;
  /** The first message that there was, as its first life saw it. */
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
    // A durable is the server's; of the first there is, the cursor sees what is missing.
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
   * Of a durable whose first message is not flagged, so that nothing before it waits: was it new, and began above the sequence
   * asked for? The server does not say, so an earlier process may have handled them.
   */
  #noteFirst(sequence: number): void {
    if (!this.#durable || this.#asked === undefined || this.epoch > 0) return;
    if (sequence > this.#asked && this.cursor.base === sequence) this.below = { from: this.#asked, to: sequence - 1 };
  }

  /** The server goes upward, so what the first life brought first is the first there was when it was asked for. */
  override noteHole(sequence: number): void {
    if (this.#lives === 1 && this.cursor.highest === undefined) this.#foundFirst = sequence;
  }

  override get unseen(): boolean {
    return super.unseen && this.#foundFirst === undefined;
  }

  /** Who asked for the first there is does not miss what was gone before; all that was there since he does. */
  override missed(gap: Gap): Gap | undefined {
    if (this.#startAt !== 'first' || this.epoch > 0) return gap;
    const from = Math.max(gap.from, this.#foundFirst ?? 1);
    return from > gap.to ? undefined : { from, to: gap.to };
  }

  /**
   * The first message received need not be the first there was: those before it may have been lost on their way. The
   * server would have sent them again after ackWait; if there was no time for that, look at the first message since the
   * beginning, and report it to `began`. With 'last' what is wanted is the one before that, which no age leads to. With a
   * sequence that was not there yet it began with what was published next, of any number.
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
   * No earlier than it began: a message from before that would be handed over out of order, and was never asked for. The
   * server began at some time between the first request and its answer.
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
   * Where it began, as the server sees it, and when that message was stored (NaN: of no matter). True: we have missed
   * something.
   */
  override began(sequence: number, time: number): boolean {
    this.#beginningSure = true;
    const { base, baseTime, highest } = this.cursor;
    if (highest === undefined) {
      // If it is not below the sequence asked for, that was there.
      if (this.#asked !== undefined && sequence >= this.#asked) return false;
      this.#beginning = sequence;
      this.cursor.expect(sequence);
      return true;
    }
    // All that came so far was flagged, and says nothing of what is between.
    const known = base ?? highest.sequence + 1;
    if (sequence >= known) return false;
    // With what was published from then on.
    const live = this.#startAt === 'new' || this.#asked !== undefined;
    if (live && this.#madeAt !== undefined && this.#baseReceipt !== undefined) {
      // By the clock of a leader that is behind, the look went further back than the subscription. By the clock of the
      // leader who stored the first new message received, it did not.
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
    // What the server has sent us after that, it has pending for the durable, and sends it again.
    const since = Math.max(0, this.confirmedAt - this.#lastReceipt);
    this.#oursUntil = this.cursor.latest + since * 1e6;
  }

  override fate({ session }: Unfinished): Fate {
    return this.#durable && session < this.#foreignBefore ? 'others' : 'fetch';
  }

  override noteNew(): void {
    this.#oursUntil = Infinity;
  }

  /** A message that is missing may have been sent to another process. */
  maybeOthers(sequence: number, time: number): boolean {
    return time > this.#oursUntil && sequence <= this.#othersUpTo;
  }

  /** What is above this sequence was not sent to another process; Infinity: not known yet. */
  get othersUpTo(): number {
    return this.#othersUpTo;
  }

  /** Another process may have had the durable, and it is not known how far that one can have come. */
  get wantsLast(): boolean {
    return this.#durable && this.#oursUntil !== Infinity && this.#othersUpTo === Infinity;
  }

  /** This was the last message stored when the durable was with us again. */
  noteLast(sequence: number): void {
    this.#othersUpTo = sequence;
  }

  /** It began with a sequence that may not have been there, and nothing has come. */
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
      // The server has it by now. If it has lost that, the channel is another one, and the sequence says nothing.
      return planSince(begun.requestedAt ?? now, begun.transit, now);
    }
    return planContiguous(begun, resumePoint, now);
  }

  /** It was planned at a sequence that was not there yet, and it is known by now that there are some below. */
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
  /** The longest of all members there were, in ms. */
  #ackWait = 0;
  /** The largest maxInFlight of all members there were. */
  #window = 0;
  /** Of the last seconds, and of the last `ackWait`. */
  readonly #lately = new RecentDeliveries(LATELY);
  #receipts = new RecentDeliveries(1000);
  /** Of a message: {@link RecentDeliveries} also count what a subscription starts with. */
  #lastReceipt = -Infinity;
  /** When the last session ended. */
  #lostAt = -Infinity;
  /** A start by age was asked for, back to this time, and nothing has come since. */
  #since = Infinity;
  /** When the question was asked that the leader answered last. */
  #provenAt = -Infinity;
  /** When the group was made first, and last. */
  #madeAt = Infinity;
  #madeLast = Infinity;
  /** Another process may have had our client ID before this session, and with it what the group was sent. */
  #foreign = false;
  /** A channel that began again is wanted whole, from here on, and nothing of it has come. */
  #wholeFrom: number | undefined;
  /** The group has not been made on this session. */
  #startsAfresh = false;
  /** Something was lost: noticed then, sent since, or from that sequence on. The server sends it again within `ackWait`. */
  #loss: { at: number; since: number; sequence: number } | undefined;
  /** The last leap of which it is not known whether others have what is missing, and the lowest that is. */
  #leap: { at: number; sequence: number } | undefined;

  /** Another member: what the server gives to one of them may come after the wait of any other. */
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
      // Nothing is before it but what was lost on its way.
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

  /** Only what was received since the last proof is in doubt. */
  override get wantsAnswerSince(): number | undefined {
    return this.#lastReceipt > this.#provenAt ? this.#provenAt + PROVE_EVERY : undefined;
  }

  override noteLoss(now: number, sequence = Infinity): void {
    const { since, sequence: before } = this.#lossIn(now) ?? { since: Infinity, sequence: Infinity };
    this.#loss = { at: now, since: Math.min(since, this.#provenAt), sequence: Math.min(before, sequence) };
  }

  /** A message came, and those before it from this sequence on did not: others have them, or they were lost. */
  noteLeap(now: number, sequence: number): void {
    this.#leap = { at: now, sequence: Math.min(sequence, this.#leapIn(now) ?? Infinity) };
  }

  /** From here on the server may yet have to send something again that was leapt over. */
  #leapIn(now: number): number | undefined {
    const open = this.#leap !== undefined && now - this.#leap.at < this.#ackWait + NOTICE;
    return open && this.cursor.unsure ? this.#leap?.sequence : undefined;
  }

  /** What may still be missing then of what was noticed to be lost. */
  #lossIn(now: number): { since: number; sequence: number } | undefined {
    return this.#loss !== undefined && now - this.#loss.at < this.#ackWait + NOTICE ? this.#loss : undefined;
  }

  override get foreign(): boolean {
    return this.#foreign;
  }

  override noteNew(): void {
    this.#foreign = false;
  }

  /** Counted from the last receipt by our clock, and from its timestamp by the server's. */
  override sentUntil({ after }: Leap, now: number): number {
    if (this.#foreign) return after + Math.max(0, this.confirmedAt - this.#lastReceipt) * 1e6;
    const inThisSession = this.#lastReceipt > this.#lostAt;
    const since = (inThisSession ? now : this.#lostAt) - this.#lastReceipt;
    return after + (since + LEADERS_APART) * 1e6;
  }

  protected override beginSession(continued: boolean): void {
    this.#foreign = !continued;
    // The group is told where to start from, and from there on all is sent again.
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
    // What it starts with may be lost as well. (The user's own start says nothing: the group may have been elsewhere.)
    const ours = this.cursor.highest !== undefined || this.epoch > 0;
    if (ours && plan.at !== undefined) {
      this.#lately.note(plan.at.sequence, now);
      this.#receipts.note(plan.at.sequence, now);
      if (this.cursor.highest === undefined) this.#wholeFrom = plan.at.sequence;
    }
  }

  override noteFailure(sequence: number, now: number): number {
    const count = super.noteFailure(sequence, now);
    if (this.failures.size > FAILED_LIMIT) {
      const oldest = this.failures.keys().next();
      if (!oldest.done) this.failures.delete(oldest.value);
    }
    return count;
  }

  /** So many members are made again, each of which the server knows twice meanwhile. */
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

  /** While the session lives that brought it, the server gives it to one of the members, wherever they are. */
  override fate({ time, session, fetched, waits }: Unfinished): Fate {
    const { alone, shared } = this.cursor;
    // It never came to us.
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
    // All of ours leave before the first one comes back.
    this.#startsAfresh = true;
    this.#since = Infinity;
  }
}
