/**
 * What happened in a run, and the verdict on it. Pure: it is told what happened and when, by any one clock in ms. It
 * grows by a few bytes for each message, so a run may last for hours.
 */
import { InvalidArgumentError, type Delivery } from '../../errors.js';
import { Column } from './column.js';
import { FaultWatch, type FaultRecord } from './fault-watch.js';
import { checkPublisherName, decodeValue } from './value.js';
import {
  violationsOf,
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

export class History {
  readonly #publishers = new Map<string, PublisherHistory>();
  readonly #subscriptions = new Map<string, SubscriptionHistory>();
  readonly #faults: FaultRecord[] = [];

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
    const made = new SubscriptionHistory(name, settings, this.#publishers, this.#faults);
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
    const subscriptions = [...this.#subscriptions.values()].map((subscription) => subscription.judge(at));
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
  /** Of its values, the first that has to be seen. */
  readonly from: number;
  first = Number.POSITIVE_INFINITY;
  last = -1;

  constructor(from: number) {
    this.from = from;
  }
}

export class SubscriptionHistory {
  readonly name: string;
  readonly kind: SubscriptionKind;
  readonly #fromReady: boolean;
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
  };
  readonly #examples: SubscriptionVerdict['examples'] = {};
  #ready = false;
  /** Acknowledged, and not yet handed over. */
  #owed = 0;
  /** Published (and not rejected), and not yet handed over. */
  #awaited = 0;
  #received = 0;
  #aliens = 0;
  #duplicated = 0;
  #handledTwice = 0;
  #repeated = 0;
  #reordered = 0;
  #outOfSequence = 0;
  #resets = 0;
  #highest = 0;

  /** @internal */
  constructor(
    name: string,
    settings: SubscriptionSettings,
    publishers: ReadonlyMap<string, PublisherHistory>,
    faults: readonly FaultRecord[],
  ) {
    this.name = name;
    this.kind = settings.kind;
    this.#fromReady = settings.from === 'ready';
    this.#publishers = publishers;
    this.faultWatch = new FaultWatch(faults);
  }

  /** Acknowledged, and not yet handed to it. */
  get owed(): number {
    return this.#owed;
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
    if (!this.#hasToSee(publisher, counter) || this.#of(publisher).copies.get(counter) > 0) return;
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

  /** A message was handed to its handler. */
  receive({ data, sequence, life = 0 }: Receipt, at: number): void {
    const value = decodeValue(data);
    const publisher = value && this.#publishers.get(value.publisher);
    if (!value || !publisher || value.counter >= publisher.next) {
      this.#aliens++;
      this.#example('aliens', `sequence ${sequence}: '${Buffer.from(data.subarray(0, 40)).toString('latin1')}'`);
      return;
    }
    const { counter } = value;
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
    if (counter < seen.last && !this.#isGroup) {
      this.#reordered++;
      this.#example('reordered', `${publisher.name}-${counter} after ${seen.last}`);
    }
    seen.first = Math.min(seen.first, counter);
    seen.last = Math.max(seen.last, counter);
    const state = publisher.stateOf(counter);
    if (counter >= seen.from) {
      if (state === ACKNOWLEDGED) this.#owed--;
      if (state === ACKNOWLEDGED || state === PENDING) this.#awaited--;
    }
    this.faultWatch.came(publisher.index, counter, at, this.#stall.since);
    this.#stall.progress(at, this.#awaited > 0);
  }

  /** Notes what is at this sequence. False: it is a message that was handed over before. */
  #place(publisher: PublisherHistory, counter: number, sequence: number, life: number): boolean {
    const there = this.#atSequence;
    const before = there.publisher.get(sequence);
    if (before === publisher.index + 1 && there.counter.get(sequence) === counter) {
      if (there.life.get(sequence) === life) {
        this.#handledTwice++;
        this.#example('handledTwice', `${publisher.name}-${counter} at sequence ${sequence}`);
      } else {
        this.#repeated++;
        there.life.set(sequence, life);
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
    if (sequence < this.#highest && !this.#isGroup) {
      this.#outOfSequence++;
      this.#example('outOfSequence', `sequence ${sequence} after ${this.#highest}`);
    }
    this.#highest = Math.max(this.#highest, sequence);
    return true;
  }

  /** @internal */
  judge(at: number): SubscriptionVerdict {
    const lost = { total: 0, prefix: 0, middle: 0, tail: 0 };
    let recovered = 0;
    let ghosts = 0;
    const examples: SubscriptionVerdict['examples'] = { ...this.#examples };
    const example = (kind: 'lost' | 'ghosts', text: string): void => {
      const list = (examples[kind] ??= []);
      if (list.length < MAX_EXAMPLES) list.push(text);
    };
    for (const publisher of this.#publishers.values()) {
      const seen = this.#seen.get(publisher) ?? new Seen(this.#fromReady && !this.#ready ? publisher.next : 0);
      for (let counter = 0; counter < publisher.next; counter++) {
        const state = publisher.stateOf(counter);
        const there = seen.copies.get(counter) > 0;
        if (state === ACKNOWLEDGED && !there && counter >= seen.from) {
          lost.total++;
          if (counter > seen.last) lost.tail++;
          else if (counter < seen.first) lost.prefix++;
          else lost.middle++;
          example('lost', `${publisher.name}-${counter}`);
        } else if (there && (state === NOT_SENT || state === REJECTED)) {
          ghosts++;
          example('ghosts', `${publisher.name}-${counter}`);
        } else if (there && state !== ACKNOWLEDGED) {
          recovered++;
        }
      }
    }
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
      reordered: this.#reordered,
      outOfSequence: this.#outOfSequence,
      resets: this.#resets,
      longestStall: this.#stall.longest(at, this.#ready && this.#awaited > 0),
      examples,
    };
  }

  /** @internal */
  stallIn(fault: number, now: number): number {
    const waits = this.#ready && this.#awaited > 0;
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

  #example(kind: keyof SubscriptionVerdict['examples'], text: string): void {
    const list = (this.#examples[kind] ??= []);
    if (list.length < MAX_EXAMPLES) list.push(text);
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
