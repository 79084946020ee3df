/**
 * What happened in a run, and the verdict on it. Pure: it is told what happened and when, by any one clock in ms. It
 * grows by a few bytes for each message, so a run may last for hours.
 */
import { InvalidArgumentError, type Delivery } from '../../errors.js';
import { Column } from './column.js';
import { Dropping, type Between } from './dropping.js';
import { FaultWatch, type FaultRecord } from './fault-watch.js';
import { Places } from './places.js';
import { Told, type Gap } from './told.js';
import { checkPublisherName, decodeValue } from './value.js';
import {
  violationsOf,
  type ExampleKind,
  type FaultVerdict,
  type JudgeOptions,
  type PublisherVerdict,
  type Stall,
  type SubscriptionKind,
  type SubscriptionVerdict,
  type Verdict,
} from './verdict.js';

/** How a publish ended. `abandoned`: its process was killed first. */
export type Outcome = 'acknowledged' | Delivery | 'abandoned';

/** What is known of one attempt. */
const OUTCOMES: readonly Outcome[] = ['acknowledged', 'not-sent', 'rejected', 'unknown', 'abandoned'];
const NEVER = 0;
const PENDING = 1;
const ACKNOWLEDGED = 2;
const NOT_SENT = 3;
const REJECTED = 4;

const MAX_EXAMPLES = 5;

export interface SubscriptionSettings {
  kind: SubscriptionKind;
  /**
   * `all` (default): it has to see everything. `ready`: what is published after its first {@link SubscriptionHistory.ready}.
   */
  from?: 'all' | 'ready';
}

/** One delivery to a handler. */
export interface Receipt {
  data: Uint8Array;
  sequence: number;
  /** Which life or which member of the subscription has handled it. Default 0. */
  life?: number;
}

export interface HistoryOptions {
  /**
   * How many messages the channel keeps, as by the server's limit `max_msgs`. Only then a message may be gone, and every
   * subscription has to be told of every sequence that is. Default: all, and no gap excuses a loss.
   */
  retention?: number | undefined;
}

/** What the server itself may lose of a group: see {@link SubscriptionHistory.exposed}. */
export interface Exposure {
  /**
   * `stored` (default): what may have been stored in that time, by when it was published and acknowledged. `dropped`: what the
   * channel may have dropped in it.
   */
  what?: 'stored' | 'dropped';
  /** On the run's own clock: both ends included. */
  from: number;
  to: number;
  /** How many messages at most. */
  most: number;
}

/** What all records of a run share. */
interface Shared {
  readonly publishers: ReadonlyMap<string, PublisherHistory>;
  readonly subscriptions: ReadonlyMap<string, SubscriptionHistory>;
  readonly faults: readonly FaultRecord[];
  readonly places: Places;
  readonly retention: number | undefined;
}

export class History {
  readonly #publishers = new Map<string, PublisherHistory>();
  readonly #subscriptions = new Map<string, SubscriptionHistory>();
  readonly #faults: FaultRecord[] = [];
  readonly #shared: Shared;

  /** @throws InvalidArgumentError */
  constructor({ retention }: HistoryOptions = {}) {
    if (retention !== undefined && !(retention >= 1)) {
      throw new InvalidArgumentError('retention', `retention must be 1 message or more, not ${String(retention)}`);
    }
    this.#shared = {
      publishers: this.#publishers,
      subscriptions: this.#subscriptions,
      faults: this.#faults,
      places: new Places(),
      retention,
    };
  }

  /** The record of a publisher; made at the first call. */
  publisher(name: string): PublisherHistory {
    const known = this.#publishers.get(name);
    if (known) return known;
    checkPublisherName(name);
    const made = new PublisherHistory(name, this.#publishers.size, this.#subscriptions, this.#faults);
    this.#publishers.set(name, made);
    return made;
  }

  /** The record of a subscription; made at the first call, which has to say what it is. */
  subscription(name: string, settings?: SubscriptionSettings): SubscriptionHistory {
    const known = this.#subscriptions.get(name);
    if (known) return known;
    if (!settings) throw new InvalidArgumentError('subscription', `there is no subscription '${name}'`);
    const made = new SubscriptionHistory(name, settings, this.#shared);
    this.#subscriptions.set(name, made);
    return made;
  }

  /** A fault begins. Returns how to say that it was mended. */
  fault(name: string, at: number): { mended(at: number): void } {
    const next = (): number[] => [...this.#publishers.values()].map((publisher) => publisher.next);
    const record: FaultRecord = { name, at, until: undefined, begun: next(), mended: undefined };
    this.#faults.push(record);
    return {
      mended: (until) => {
        if (record.mended) return;
        record.until = until;
        record.mended = next();
      },
    };
  }

  /** Publishes that were acknowledged. */
  get acknowledged(): number {
    let acknowledged = 0;
    for (const publisher of this.#publishers.values()) acknowledged += publisher.acknowledged;
    return acknowledged;
  }

  /** Publishes that have not settled. */
  get pending(): number {
    let pending = 0;
    for (const publisher of this.#publishers.values()) pending += publisher.pending;
    return pending;
  }

  /** Deliveries that are still owed: acknowledged, and not yet handed over, by subscription. */
  get owed(): number {
    let owed = 0;
    for (const subscription of this.#subscriptions.values()) owed += subscription.owed;
    return owed;
  }

  /** The verdict as of now. What is pending or owed at this moment counts as unsettled and as lost. */
  judge(at: number, options: JudgeOptions = {}): Verdict {
    const publishers = [...this.#publishers.values()].map((publisher) => publisher.judge(at));
    // The same for all, dear, and needed by few.
    let known: Dropping | undefined;
    const dropping = (): Dropping | undefined => (known ??= this.#dropping());
    const subscriptions = [...this.#subscriptions.values()].map((subscription) => subscription.judge(at, dropping));
    const violations = violationsOf(publishers, subscriptions, options);
    return {
      clean: violations.length === 0,
      violations,
      ordering: options.ordering ?? 'pipelined',
      publishers,
      subscriptions,
      faults: this.#faults.map((fault, i) => this.#judgeFault(fault, i, at)),
    };
  }

  /** When the channel dropped what. Undefined: it keeps everything. */
  #dropping(): Dropping | undefined {
    const { retention, places } = this.#shared;
    if (retention === undefined) return undefined;
    const publishers = [...this.#publishers.values()];
    return new Dropping(retention, places.highest, (sequence) => {
      const place = places.at(sequence);
      return place && publishers[place.publisher]?.storedWithin(place.counter);
    });
  }

  #judgeFault({ name, at, until }: FaultRecord, index: number, now: number): FaultVerdict {
    const publishers = [...this.#publishers.values()];
    const subscriptions = [...this.#subscriptions.values()];
    const answers = publishers.map((publisher) => publisher.faultWatch.next(index)).filter((ms) => ms !== undefined);
    return {
      name,
      at,
      until,
      toNextAck: answers.length > 0 ? Math.min(...answers) : undefined,
      ackStall: Math.max(0, ...publishers.map((publisher) => publisher.stallIn(index, now))),
      toNextDelivery: Object.fromEntries(
        subscriptions.map((subscription) => [subscription.name, subscription.faultWatch.next(index)]),
      ),
      deliveryStall: Object.fromEntries(
        subscriptions.map((subscription) => [subscription.name, subscription.stallIn(index, now)]),
      ),
    };
  }
}

export class PublisherHistory {
  readonly name: string;
  /** @internal */
  readonly index: number;
  readonly #subscriptions: ReadonlyMap<string, SubscriptionHistory>;
  /** @internal */
  readonly faultWatch: FaultWatch;
  readonly #states = new Column(Uint8Array);
  readonly #attempts = new Column(Float64Array);
  readonly #acknowledgements = new Column(Float64Array);
  /** The sequence at which somebody has seen it. 0: nobody has. */
  readonly #places = new Column(Float64Array);
  readonly #counts: Record<Outcome, number> = {
    acknowledged: 0,
    'not-sent': 0,
    rejected: 0,
    unknown: 0,
    abandoned: 0,
  };
  readonly #stall = new StallWatch();
  #next = 0;
  #pending = 0;
  #settledTwice = 0;

  /** @internal */
  constructor(
    name: string,
    index: number,
    subscriptions: ReadonlyMap<string, SubscriptionHistory>,
    faults: readonly FaultRecord[],
  ) {
    this.name = name;
    this.index = index;
    this.#subscriptions = subscriptions;
    this.faultWatch = new FaultWatch(faults);
  }

  /** The counter of its next attempt. */
  get next(): number {
    return this.#next;
  }

  /** Attempts that have not settled. */
  get pending(): number {
    return this.#pending;
  }

  get acknowledged(): number {
    return this.#counts.acknowledged;
  }

  /** Its next value is about to be published. Returns the counter of it. */
  attempt(at: number): number {
    const counter = this.#next++;
    this.#states.set(counter, PENDING);
    this.#attempts.set(counter, at);
    if (this.#pending++ === 0) this.#stall.owedSince(at);
    for (const subscription of this.#subscriptions.values()) subscription.attempted(this, counter, at);
    return counter;
  }

  /** An attempt has ended. Returns how long it took, in ms. */
  settle(counter: number, outcome: Outcome, at: number): number {
    const state = this.#states.get(counter);
    if (state === NEVER) {
      throw new InvalidArgumentError('counter', `publisher '${this.name}' never attempted ${counter}`);
    }
    const took = at - this.#attempts.get(counter);
    if (state !== PENDING) {
      this.#settledTwice++;
      return took;
    }
    if (outcome === 'acknowledged') this.#acknowledgements.set(counter, at);
    this.#states.set(counter, ACKNOWLEDGED + OUTCOMES.indexOf(outcome));
    this.#counts[outcome]++;
    this.#pending--;
    for (const subscription of this.#subscriptions.values()) subscription.settled(this, counter, outcome, at);
    if (outcome === 'acknowledged') {
      this.faultWatch.came(this.index, counter, at, this.#stall.since);
      this.#stall.progress(at, this.#pending > 0);
    } else {
      this.#stall.wait(at);
    }
    return took;
  }

  /** Its process was killed: nobody will ever hear what became of these. */
  abandon(at: number): void {
    for (let counter = 0; counter < this.#next; counter++) {
      if (this.#states.get(counter) === PENDING) this.settle(counter, 'abandoned', at);
    }
  }

  /** @internal */
  stallIn(fault: number, now: number): number {
    return this.faultWatch.stall(fault, now, this.#pending > 0 ? this.#stall.since : Number.POSITIVE_INFINITY);
  }

  /** @internal What is known of this attempt. */
  stateOf(counter: number): number {
    return this.#states.get(counter);
  }

  /** @internal When it was attempted. */
  attemptedAt(counter: number): number {
    return this.#attempts.get(counter);
  }

  /** @internal When it was stored, if it was. */
  storedWithin(counter: number): Between {
    const known = this.#states.get(counter) === ACKNOWLEDGED;
    const latest = known ? this.#acknowledgements.get(counter) : Number.POSITIVE_INFINITY;
    return { earliest: this.attemptedAt(counter), latest };
  }

  /** @internal Somebody has seen where it is. */
  place(counter: number, sequence: number): void {
    this.#places.set(counter, sequence);
  }

  /** @internal The sequence at which it was seen last. 0: nobody has seen it. */
  placeOf(counter: number): number {
    return this.#places.get(counter);
  }

  /** @internal */
  isPlaced(counter: number): boolean {
    return this.placeOf(counter) !== 0;
  }

  /** @internal */
  judge(at: number): PublisherVerdict {
    return {
      name: this.name,
      attempted: this.#next,
      acknowledged: this.#counts.acknowledged,
      notSent: this.#counts['not-sent'],
      rejected: this.#counts.rejected,
      unknown: this.#counts.unknown,
      abandoned: this.#counts.abandoned,
      unsettled: this.#pending,
      settledTwice: this.#settledTwice,
      longestStall: this.#stall.longest(at, this.#pending > 0),
    };
  }
}

/** Of one publisher, as one subscription sees it. */
class Seen {
  /** How many copies of each value, up to 255. */
  readonly copies = new Column(Uint8Array);
  /** 1: it was told to be gone, before any copy came. */
  readonly gone = new Column(Uint8Array);
  /** Of its values, the first that has to be seen. */
  readonly from: number;
  first = Number.POSITIVE_INFINITY;
  last = -1;

  constructor(from: number) {
    this.from = from;
  }
}

/** A life of a subscription: one after the other, or beside each other. */
interface Life {
  /** 0, 1, 2 … in the order in which they began. */
  readonly order: number;
  readonly at: number;
  /** It has left in good order: what it handled is acknowledged. */
  left: boolean;
  /** Since when nothing reaches it. Infinity: something may. */
  cutOff: number;
  /** Its process has ended, so that nothing will reach it again. */
  over: boolean;
}

export class SubscriptionHistory {
  readonly name: string;
  readonly kind: SubscriptionKind;
  readonly #fromReady: boolean;
  readonly #shared: Shared;
  readonly #publishers: ReadonlyMap<string, PublisherHistory>;
  /** @internal */
  readonly faultWatch: FaultWatch;
  readonly #seen = new Map<PublisherHistory, Seen>();
  readonly #stall = new StallWatch();
  /** What was at each sequence: the publisher's index + 1, the counter, and who has handled it. */
  readonly #atSequence = {
    publisher: new Column(Uint16Array),
    counter: new Column(Float64Array),
    life: new Column(Uint32Array),
    /** 1: its handler was called for it, and failed. */
    tried: new Column(Uint8Array),
  };
  readonly #lives = new Map<number, Life>();
  readonly #told = new Told();
  readonly #exposures: Exposure[] = [];
  /** When no process had it. */
  readonly #absences: { from: number; to: number }[] = [];
  readonly #examples: SubscriptionVerdict['examples'] = {};
  #ready = false;
  /** Acknowledged, and not yet handed over. */
  #owed = 0;
  /** Published (and not rejected), and not yet handed over. */
  #awaited = 0;
  /** Sequences it was told to be gone at which nobody has seen anything. */
  #toldUnseen = 0;
  #received = 0;
  #aliens = 0;
  #duplicated = 0;
  #handledTwice = 0;
  #repeated = 0;
  #afterTakeover = 0;
  #threw = 0;
  #toldTwice = 0;
  #reordered = 0;
  #outOfSequence = 0;
  #resets = 0;
  #highest = 0;

  /** @internal */
  constructor(name: string, settings: SubscriptionSettings, shared: Shared) {
    this.name = name;
    this.kind = settings.kind;
    this.#fromReady = settings.from === 'ready';
    this.#shared = shared;
    this.#publishers = shared.publishers;
    this.faultWatch = new FaultWatch(shared.faults);
  }

  /** Acknowledged, and neither handed to it nor told to be gone. */
  get owed(): number {
    return Math.max(this.#owed - this.#unseenExcuses, 0);
  }

  /** Different values it got. */
  get received(): number {
    return this.#received;
  }

  /** It is established: from here on it has to see everything. Only the first call counts. */
  ready(at = 0): void {
    if (this.#ready) return;
    for (const publisher of this.#publishers.values()) this.#of(publisher);
    this.#ready = true;
    if (this.#awaited > 0) this.#stall.owedSince(at);
  }

  /** @internal */
  attempted(publisher: PublisherHistory, counter: number, at: number): void {
    if (!this.#hasToSee(publisher, counter)) return;
    if (this.#awaited++ === 0 && this.#ready) this.#stall.owedSince(at);
  }

  /** @internal */
  settled(publisher: PublisherHistory, counter: number, outcome: Outcome, at: number): void {
    if (!this.#hasToSee(publisher, counter)) return;
    const { copies, gone } = this.#of(publisher);
    if (copies.get(counter) > 0 || gone.get(counter) > 0) return;
    if (outcome === 'acknowledged') {
      this.#owed++;
    } else {
      this.#awaited--; // it may come, or not
      if (this.#ready) this.#stall.wait(at);
    }
  }

  /** Before it is established it is owed nothing; but what it gets shows that it is. */
  #hasToSee(publisher: PublisherHistory, counter: number): boolean {
    if (this.#fromReady && !this.#ready && !this.#seen.has(publisher)) return false;
    return counter >= this.#of(publisher).from;
  }

  /** A life of it begins: later lives take over from earlier ones. Told before anything that it gets. Only the first call counts. */
  began(life: number, at: number): void {
    if (this.#lives.has(life)) return;
    if (this.#isUnattended) {
      const from = Math.max(...[...this.#lives.values()].map(({ cutOff }) => cutOff));
      this.#absences.push({ from, to: at });
    }
    this.#lives.set(life, { order: this.#lives.size, at, left: false, cutOff: Number.POSITIVE_INFINITY, over: false });
  }

  /** The session of this life is lost. */
  cutOff(life: number, at: number): void {
    const known = this.#lives.get(life);
    if (known) known.cutOff = Math.min(known.cutOff, at);
  }

  /** This life has a session again. */
  cameBack(life: number): void {
    const known = this.#lives.get(life);
    if (known && !known.over) known.cutOff = Number.POSITIVE_INFINITY;
  }

  /** The process of this life has ended. */
  ended(life: number, at: number): void {
    const known = this.#lives.get(life);
    if (!known) return;
    this.cutOff(life, at);
    known.over = true;
  }

  /** There were processes that had it, and there is none. */
  get #isUnattended(): boolean {
    return this.#lives.size > 0 && [...this.#lives.values()].every(({ over }) => over);
  }

  /** A life has left in good order, with everything acknowledged that it had handled. */
  left(life: number): void {
    const known = this.#lives.get(life);
    if (known) known.left = true;
  }

  /** It was told that these are gone. */
  gap(gap: Gap, at: number): void {
    const { from, to, life = 0 } = gap;
    this.began(life, at);
    this.#toldTwice += this.#told.again(gap);
    const there = this.#atSequence;
    for (let sequence = from; sequence <= to; sequence++) {
      if (there.publisher.get(sequence) !== 0 && there.life.get(sequence) === life) this.#refute(sequence);
    }
    for (const sequence of this.#told.note(gap, at)) {
      const place = this.#shared.places.at(sequence);
      if (!place) this.#toldUnseen++;
      else this.#isGone(this.#publisherAt(place.publisher), place.counter);
    }
    if (this.#awaited - this.#unseenExcuses <= 0) this.#stall.progress(at, false);
  }

  /**
   * What was on its way to a member may be lost by the server itself: what was stored shortly before, if the leader that knew
   * of it is gone; and what the channel dropped before the server gave it to another member. What is missing of that counts as
   * `serverLost`, up to the most that can have been on its way; what is missing beyond is lost.
   */
  exposed(exposure: Exposure): void {
    this.#exposures.push(exposure);
  }

  /** A message was handed to its handler, which is through with it. */
  receive(receipt: Receipt, at: number): void {
    const message = this.#read(receipt);
    if (!message) return;
    const { publisher, counter } = message;
    const { sequence, life = 0 } = receipt;
    this.began(life, at);
    this.#wasThere(sequence, life);
    const isNew = this.#place(publisher, counter, sequence, life);
    if (!isNew) return;
    const seen = this.#of(publisher);
    const copies = seen.copies.get(counter);
    seen.copies.set(counter, Math.min(copies + 1, 255));
    if (copies > 0) {
      this.#duplicated++;
      return;
    }
    this.#received++;
    if (this.#atSequence.tried.get(sequence) === 0) this.#inOrder(publisher, counter, seen);
    const state = publisher.stateOf(counter);
    const gone = seen.gone.get(counter) > 0;
    seen.gone.set(counter, 0);
    if (counter >= seen.from && !gone) {
      if (state === ACKNOWLEDGED) this.#owed--;
      if (state === ACKNOWLEDGED || state === PENDING) this.#awaited--;
    }
    this.faultWatch.came(publisher.index, counter, at, this.#stall.since);
    this.#stall.progress(at, this.#awaited - this.#unseenExcuses > 0);
  }

  /** A message was handed to its handler, which failed: it has to come again, at whatever place. */
  threw(receipt: Receipt, at: number): void {
    const message = this.#read(receipt);
    if (!message) return;
    const { publisher, counter } = message;
    const { sequence, life = 0 } = receipt;
    this.began(life, at);
    this.#wasThere(sequence, life);
    this.#threw++;
    const there = this.#atSequence;
    if (there.publisher.get(sequence) !== 0) {
      // Through with it before, and called for it once more.
      if (there.life.get(sequence) === life) this.#twice(publisher, counter, sequence);
      return;
    }
    if (there.tried.get(sequence) !== 0) return;
    there.tried.set(sequence, 1);
    this.#inSequence(sequence);
    const seen = this.#of(publisher);
    if (seen.copies.get(counter) === 0) this.#inOrder(publisher, counter, seen);
  }

  /** Whose it is. Undefined: nobody published it. */
  #read({ data, sequence }: Receipt): { publisher: PublisherHistory; counter: number } | undefined {
    const value = decodeValue(data);
    const publisher = value && this.#publishers.get(value.publisher);
    if (!value || !publisher || value.counter >= publisher.next) {
      this.#aliens++;
      this.#example('aliens', `sequence ${sequence}: '${Buffer.from(data.subarray(0, 40)).toString('latin1')}'`);
      return undefined;
    }
    const { counter } = value;
    if (this.#shared.places.note(sequence, publisher.index, counter)) {
      publisher.place(counter, sequence);
      for (const subscription of this.#shared.subscriptions.values()) subscription.seenAt(sequence, publisher, counter);
    }
    return { publisher, counter };
  }

  /** @internal Somebody has seen what is at this sequence, for the first time. */
  seenAt(sequence: number, publisher: PublisherHistory, counter: number): void {
    if (!this.#told.has(sequence)) return;
    this.#toldUnseen--;
    this.#isGone(publisher, counter);
  }

  /** This message is what it was told to be gone. */
  #isGone(publisher: PublisherHistory, counter: number): void {
    if (this.#shared.retention === undefined || !this.#hasToSee(publisher, counter)) return;
    const { copies, gone } = this.#of(publisher);
    if (copies.get(counter) > 0 || gone.get(counter) > 0) return;
    gone.set(counter, 1);
    const state = publisher.stateOf(counter);
    if (state === ACKNOWLEDGED) this.#owed--;
    if (state === ACKNOWLEDGED || state === PENDING) this.#awaited--;
  }

  /** What is handed over was not gone when this life, or one before it, was told so. */
  #wasThere(sequence: number, life: number): void {
    if (!this.#told.has(sequence)) return;
    const order = (of: number): number => this.#lives.get(of)!.order;
    if (order(life) >= order(this.#told.lifeOf(sequence))) this.#refute(sequence);
  }

  #refute(sequence: number): void {
    if (this.#told.refute(sequence)) this.#example('falseGaps', `sequence ${sequence}`);
  }

  /** How many of the messages that nobody has seen it was told to be gone, where that excuses anything. */
  get #unseenExcuses(): number {
    return this.#shared.retention === undefined ? 0 : this.#toldUnseen;
  }

  #publisherAt(index: number): PublisherHistory {
    return [...this.#publishers.values()][index]!;
  }

  #inSequence(sequence: number): void {
    if (sequence < this.#highest && !this.#isGroup) {
      this.#outOfSequence++;
      this.#example('outOfSequence', `sequence ${sequence} after ${this.#highest}`);
    }
    this.#highest = Math.max(this.#highest, sequence);
  }

  #inOrder(publisher: PublisherHistory, counter: number, seen: Seen): void {
    if (counter < seen.last && !this.#isGroup) {
      this.#reordered++;
      this.#example('reordered', `${publisher.name}-${counter} after ${seen.last}`);
    }
    seen.first = Math.min(seen.first, counter);
    seen.last = Math.max(seen.last, counter);
  }

  #twice(publisher: PublisherHistory, counter: number, sequence: number): void {
    this.#handledTwice++;
    this.#example('handledTwice', `${publisher.name}-${counter} at sequence ${sequence}`);
  }

  /** Notes what is at this sequence. False: it is a message that was handed over before. */
  #place(publisher: PublisherHistory, counter: number, sequence: number, life: number): boolean {
    const there = this.#atSequence;
    const before = there.publisher.get(sequence);
    if (before === publisher.index + 1 && there.counter.get(sequence) === counter) {
      const other = there.life.get(sequence);
      if (other === life) {
        this.#twice(publisher, counter, sequence);
      } else {
        this.#repeated++;
        there.life.set(sequence, life);
        if (this.#tookOver(other, life, publisher.attemptedAt(counter))) {
          this.#afterTakeover++;
          this.#example('afterTakeover', `${publisher.name}-${counter} at sequence ${sequence}`);
        }
      }
      return false;
    }
    if (before !== 0) {
      // Another message at a sequence that was taken: the channel has begun again.
      this.#resets++;
      for (const column of Object.values(there)) column.clear();
      this.#highest = 0;
    }
    there.publisher.set(sequence, publisher.index + 1);
    there.counter.set(sequence, counter);
    there.life.set(sequence, life);
    if (there.tried.get(sequence) === 0) this.#inSequence(sequence);
    return true;
  }

  /**
   * What `after` is handed is none of its own: `other` had taken over from it when that was published, and has left with
   * everything acknowledged. What was published before may have been on its way to both.
   */
  #tookOver(other: number, after: number, attemptedAt: number): boolean {
    const [later, earlier] = [this.#lives.get(other)!, this.#lives.get(after)!];
    return later.left && earlier.order < later.order && attemptedAt > later.at;
  }

  /** @internal */
  judge(at: number, droppingOf: () => Dropping | undefined): SubscriptionVerdict {
    const lost = { total: 0, prefix: 0, middle: 0, tail: 0 };
    let recovered = 0;
    let ghosts = 0;
    let gone = 0;
    let unattended = 0;
    let serverLost = 0;
    let unseenLost = 0;
    /** Of these, nobody has seen where they are: they may be what it was told. */
    let excuses = this.#unseenExcuses;
    const excusable = this.#absences.length > 0 || this.#exposures.length > 0;
    const dropping = excusable ? droppingOf() : undefined;
    const missed = this.#missed(dropping);
    /** Nor of these. */
    const unseenMissed = [...missed].filter((sequence) => !this.#shared.places.at(sequence));
    const isUnseenMissed = (stored: Between): boolean => {
      const i = unseenMissed.findIndex((sequence) => dropping?.stored(sequence, stored));
      if (i >= 0) unseenMissed.splice(i, 1);
      return i >= 0;
    };
    const examples: SubscriptionVerdict['examples'] = { ...this.#examples };
    const example = (kind: ExampleKind, text: string): void => {
      const list = (examples[kind] ??= []);
      if (list.length < MAX_EXAMPLES) list.push(text);
    };
    const exposures = new Exposures(this.#exposures, dropping);
    for (const publisher of this.#publishers.values()) {
      const seen = this.#seen.get(publisher) ?? new Seen(this.#fromReady && !this.#ready ? publisher.next : 0);
      for (let counter = 0; counter < publisher.next; counter++) {
        const state = publisher.stateOf(counter);
        const there = seen.copies.get(counter) > 0;
        if (state === ACKNOWLEDGED && !there && counter >= seen.from) {
          const value = `${publisher.name}-${counter}`;
          if (seen.gone.get(counter) > 0) {
            gone++;
          } else if (!publisher.isPlaced(counter) && excuses > 0) {
            excuses--;
            gone++;
          } else if (missed.has(publisher.placeOf(counter))) {
            unattended++;
            example('unattended', value);
          } else if (!publisher.isPlaced(counter) && isUnseenMissed(publisher.storedWithin(counter))) {
            unattended++;
            example('unattended', value);
          } else if (exposures.take(publisher.storedWithin(counter), publisher.placeOf(counter))) {
            serverLost++;
            example('serverLost', value);
          } else {
            if (!publisher.isPlaced(counter)) unseenLost++;
            lost.total++;
            if (counter > seen.last) lost.tail++;
            else if (counter < seen.first) lost.prefix++;
            else lost.middle++;
            example('lost', value);
          }
        } else if (there && (state === NOT_SENT || state === REJECTED)) {
          ghosts++;
          example('ghosts', `${publisher.name}-${counter}`);
        } else if (there && state !== ACKNOWLEDGED) {
          recovered++;
        }
      }
    }
    const tooEarly = this.#tooEarly();
    for (const sequence of tooEarly) example('falseGaps', `sequence ${sequence}`);
    return {
      name: this.name,
      kind: this.kind,
      received: this.#received,
      lost,
      recovered,
      ghosts,
      aliens: this.#aliens,
      duplicated: this.#duplicated,
      handledTwice: this.#handledTwice,
      repeated: this.#repeated,
      afterTakeover: this.#afterTakeover,
      threw: this.#threw,
      told: this.#told.total,
      gone,
      falseGaps: this.#told.falsehoods + tooEarly.length,
      toldTwice: this.#toldTwice,
      untold: this.#untold(unseenLost, missed, exposures, (text) => example('untold', text)),
      unattended,
      serverLost,
      reordered: this.#reordered,
      outOfSequence: this.#outOfSequence,
      resets: this.#resets,
      longestStall: this.#stall.longest(at, this.#ready && this.#awaited - this.#unseenExcuses > 0),
      examples,
    };
  }

  /**
   * Sequences that it was told to be gone when they cannot have been: a message that was published after it was told has
   * a sequence above all that were stored by then, and the youngest of those are kept.
   */
  #tooEarly(): number[] {
    const { retention, places } = this.#shared;
    if (retention === undefined || this.#told.gaps.length === 0) return [];
    const publishers = [...this.#publishers.values()];
    const stored: { at: number; sequence: number }[] = [];
    for (let sequence = 1; sequence <= places.highest; sequence++) {
      const place = places.at(sequence);
      if (place) stored.push({ at: publishers[place.publisher]!.attemptedAt(place.counter), sequence });
    }
    stored.sort((a, b) => b.at - a.at);
    const early = new Set<number>();
    let next = Number.POSITIVE_INFINITY;
    let i = 0;
    for (const gap of [...this.#told.gaps].sort((a, b) => b.at - a.at)) {
      for (; i < stored.length && stored[i]!.at > gap.at; i++) next = Math.min(next, stored[i]!.sequence);
      if (next === Number.POSITIVE_INFINITY) continue;
      for (let sequence = Math.max(gap.from, next - retention); sequence <= gap.to; sequence++) {
        if (!this.#told.isFalse(sequence)) early.add(sequence);
      }
    }
    return [...early];
  }

  /** Sequences of which it knows nothing, and that the channel dropped while no process had it. */
  #missed(dropping: Dropping | undefined): ReadonlySet<number> {
    const missed = new Set<number>();
    // What was at the sequences of a channel before it began again, nobody remembers.
    if (dropping === undefined || this.#absences.length === 0 || this.#resets > 0) return missed;
    for (let sequence = 1; sequence <= dropping.end; sequence++) {
      if (this.#knows(sequence)) continue;
      if (this.#absences.some(({ from, to }) => dropping.within(sequence, from, to))) missed.add(sequence);
    }
    return missed;
  }

  #knows(sequence: number): boolean {
    return this.#atSequence.publisher.get(sequence) !== 0 || this.#told.has(sequence);
  }

  /**
   * Sequences of which it knows nothing. Those of messages that count as lost are not told twice; of a message that
   * nobody has seen the sequence is not known, so as many of them are left out as are lost of these.
   */
  #untold(
    unseenLost: number,
    missed: ReadonlySet<number>,
    exposures: Exposures,
    example: (text: string) => void,
  ): number {
    const { retention, places } = this.#shared;
    // What was at the sequences of a channel before it began again, nobody remembers.
    if (retention === undefined || this.#resets > 0) return 0;
    const publishers = [...this.#publishers.values()];
    let sequence = 1;
    if (this.#fromReady) while (sequence <= places.highest && !this.#knows(sequence)) sequence++;
    let untold = 0;
    for (; sequence <= places.highest; sequence++) {
      if (this.#knows(sequence) || missed.has(sequence)) continue;
      const place = places.at(sequence);
      if (!place && unseenLost > 0) {
        unseenLost--;
        continue;
      }
      if (place) {
        const publisher = publishers[place.publisher]!;
        const isLost = publisher.stateOf(place.counter) === ACKNOWLEDGED && !this.#has(publisher, place.counter);
        if (isLost || exposures.cover(publisher.storedWithin(place.counter), sequence)) continue;
      }
      untold++;
      example(`sequence ${sequence}`);
    }
    return untold;
  }

  #has(publisher: PublisherHistory, counter: number): boolean {
    return (this.#seen.get(publisher)?.copies.get(counter) ?? 0) > 0;
  }

  /** @internal */
  stallIn(fault: number, now: number): number {
    const waits = this.#ready && this.#awaited - this.#unseenExcuses > 0;
    return this.faultWatch.stall(fault, now, waits ? this.#stall.since : Number.POSITIVE_INFINITY);
  }

  get #isGroup(): boolean {
    return this.kind === 'queue' || this.kind === 'durable-queue';
  }

  /** A publisher that comes after it is established has to be seen from its beginning. */
  #of(publisher: PublisherHistory): Seen {
    let seen = this.#seen.get(publisher);
    if (!seen) {
      seen = new Seen(this.#fromReady && !this.#ready ? publisher.next : 0);
      this.#seen.set(publisher, seen);
    }
    return seen;
  }

  #example(kind: ExampleKind, text: string): void {
    const list = (this.#examples[kind] ??= []);
    if (list.length < MAX_EXAMPLES) list.push(text);
  }
}

/** What is left of what the server itself may lose. */
class Exposures {
  readonly #left: Exposure[];
  readonly #dropping: Dropping | undefined;

  constructor(exposures: readonly Exposure[], dropping: Dropping | undefined) {
    // The one that is over first is used up first.
    this.#left = exposures.map((exposure) => ({ ...exposure })).sort((a, b) => a.to - b.to);
    this.#dropping = dropping;
  }

  /** Whether a message, stored in this time, and at this sequence if that is known, may be one of them. It is then. */
  take(stored: Between, sequence: number): boolean {
    const found = this.#left.find((exposure) => exposure.most > 0 && this.#covers(exposure, stored, sequence));
    if (found) found.most--;
    return found !== undefined;
  }

  /** Whether it may be another copy of one of them. */
  cover(stored: Between, sequence: number): boolean {
    return this.#left.some((exposure) => this.#covers(exposure, stored, sequence));
  }

  #covers({ what = 'stored', from, to }: Exposure, { earliest, latest }: Between, sequence: number): boolean {
    if (earliest > to) return false;
    return what === 'stored' ? latest >= from : this.#dropping?.within(sequence, from, to) === true;
  }
}

/** The longest time without progress while some was owed. */
class StallWatch {
  #since = Number.POSITIVE_INFINITY;
  #longest: Stall = { ms: 0, at: 0 };

  /** Since when something is owed, or nothing has come that was. Infinity: nothing is owed. */
  get since(): number {
    return this.#since;
  }

  owedSince(at: number): void {
    this.#since = at;
  }

  /** Something came. `stillOwed`: and more has to. */
  progress(at: number, stillOwed: boolean): void {
    this.wait(at);
    this.#since = stillOwed ? at : Number.POSITIVE_INFINITY;
  }

  /** Still nothing. */
  wait(at: number): void {
    const ms = at - this.#since; // -Infinity when nothing is owed
    if (ms > this.#longest.ms) this.#longest = { ms, at };
  }

  longest(now: number, owed: boolean): Stall {
    const ms = owed ? now - this.#since : 0;
    return ms > this.#longest.ms ? { ms, at: now } : { ...this.#longest };
  }
}
