/**
 * The record of a run, and the verdict on it. Pure: it is told what happened and when, by any clock in ms. It grows by a few
 * bytes for each message, so a run may last for hours.
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

/**
 * How a publish has ended: `'acknowledged'`, or what its error said, or `'abandoned'` when its process was killed before.
 * @category Continuity
 */
export type Outcome = 'acknowledged' | Delivery | 'abandoned';

/** The outcomes, in the order of the states that follow PENDING. */
const OUTCOMES: readonly Outcome[] = ['acknowledged', 'not-sent', 'rejected', 'unknown', 'abandoned'];
const NEVER = 0;
const PENDING = 1;
const ACKNOWLEDGED = 2;
const NOT_SENT = 3;
const REJECTED = 4;

const MAX_EXAMPLES = 5;

/** How long after a message was due again its process may take to tell that it is gone, in ms. */
const NOTICED = 1000;

/**
 * How long a subscription has to be past a message before an interrupted run calls it lost, in ms. Until then it may come late:
 * after `ackWait`, again and again when its handler fails, or when the last fault is mended.
 */
const LATE = 30_000;

/**
 * What a subscription has to see.
 * @category Continuity
 */
export interface SubscriptionSettings {
  /** Kind of the subscription. */
  kind: SubscriptionKind;
  /**
   * `'all'`: it has to see every message. `'ready'`: those that are published after {@link SubscriptionHistory.ready} was
   * called first. Default `'all'`.
   */
  from?: 'all' | 'ready';
  /**
   * How long after its handler has failed a message comes again, in ms, as `ackWait` says. A process that was killed before that
   * cannot tell that the channel has dropped the message meanwhile. Default: this excuses nothing.
   */
  ackWait?: number | undefined;
}

/**
 * One message that was handed to a handler.
 * @category Continuity
 */
export interface Receipt {
  /** The payload. */
  data: Uint8Array;
  /** The number of the message in its channel. */
  sequence: number;
  /** The life or the member of the subscription that got it. Default 0. */
  life?: number;
}

/**
 * What a {@link History} has to know of the channel.
 * @category Continuity
 */
export interface HistoryOptions {
  /**
   * How many messages the channel keeps, as the server's `max_msgs` says. Messages may then be gone, and each subscription
   * has to tell each sequence that is. Default: all messages are kept, and no `gap` excuses a loss.
   */
  retention?: number | undefined;
}

/**
 * What the server itself may have lost of a group: see {@link SubscriptionHistory.exposed}.
 * @category Continuity
 */
export interface Exposure {
  /**
   * `'stored'`: messages that may have been stored in this time, by when they were published and acknowledged. `'dropped'`:
   * messages that the channel may have dropped in this time. Default `'stored'`.
   */
  what?: 'stored' | 'dropped';
  /** The beginning of the time, by the clock of the run, in ms. */
  from: number;
  /** The end of the time, by the clock of the run, in ms. */
  to: number;
  /** How many messages it may be, at most. */
  most: number;
}

/** The parts that all records of a run share. */
interface Shared {
  readonly publishers: ReadonlyMap<string, PublisherHistory>;
  readonly subscriptions: ReadonlyMap<string, SubscriptionHistory>;
  readonly faults: readonly FaultRecord[];
  readonly places: Places;
  readonly retention: number | undefined;
}

/**
 * The record of a run. It is told what happened and when, and judges it. A {@link ContinuityChecker} writes to one.
 *
 * @example
 * ```ts
 * const history = new History();
 * const writer = history.publisher('writer');
 * const reader = history.subscription('reader', { kind: 'plain' });
 * const counter = writer.attempt(performance.now()); // publish `writer-${counter}` now
 * writer.settle(counter, 'acknowledged', performance.now());
 * reader.receive({ data: Buffer.from('writer-0'), sequence: 1 }, performance.now());
 * assert.deepEqual(history.judge(performance.now()).violations, []);
 * ```
 * @category Continuity
 */
export class History {
  readonly #publishers = new Map<string, PublisherHistory>();
  readonly #subscriptions = new Map<string, SubscriptionHistory>();
  readonly #faults: FaultRecord[] = [];
  readonly #shared: Shared;

  /**
   * @param options default: the channel keeps all messages
   * @throws InvalidArgumentError when `retention` is wrong
   */
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

  /**
   * The record of a publisher. It is made at the first call.
   * @throws InvalidArgumentError when the name is wrong
   */
  publisher(name: string): PublisherHistory {
    const known = this.#publishers.get(name);
    if (known) return known;
    checkPublisherName(name);
    const made = new PublisherHistory(name, this.#publishers.size, this.#subscriptions, this.#faults);
    this.#publishers.set(name, made);
    return made;
  }

  /**
   * The record of a subscription. It is made at the first call, which needs the settings.
   * @throws InvalidArgumentError when there is none, and no settings are given
   */
  subscription(name: string, settings?: SubscriptionSettings): SubscriptionHistory {
    const known = this.#subscriptions.get(name);
    if (known) return known;
    if (!settings) throw new InvalidArgumentError('subscription', `there is no subscription '${name}'`);
    const made = new SubscriptionHistory(name, settings, this.#shared);
    this.#subscriptions.set(name, made);
    return made;
  }

  /** Notes that a fault begins. */
  fault(
    name: string,
    at: number,
  ): {
    /** Notes that the last blow of the fault has fallen. Default: the beginning is the only one. After `mended` it does not count. */
    struck(at: number): void;
    /** Notes that the fault is over. Only the first call counts. */
    mended(at: number): void;
  } {
    const next = (): number[] => [...this.#publishers.values()].map((publisher) => publisher.next);
    const record: FaultRecord = { name, at, struck: at, until: undefined, after: next(), mended: undefined };
    this.#faults.push(record);
    return {
      struck: (blow) => {
        if (record.mended) return;
        record.struck = blow;
        record.after = next();
      },
      mended: (until) => {
        if (record.mended) return;
        record.until = until;
        record.mended = next();
      },
    };
  }

  /** How many publishes were acknowledged. */
  get acknowledged(): number {
    let acknowledged = 0;
    for (const publisher of this.#publishers.values()) acknowledged += publisher.acknowledged;
    return acknowledged;
  }

  /** How many publishes are not settled. */
  get pending(): number {
    let pending = 0;
    for (const publisher of this.#publishers.values()) pending += publisher.pending;
    return pending;
  }

  /** How many deliveries are missing: acknowledged messages that a subscription has not got, over all subscriptions. */
  get owed(): number {
    let owed = 0;
    for (const subscription of this.#subscriptions.values()) owed += subscription.owed;
    return owed;
  }

  /**
   * The verdict of now. A publish that is pending counts as unsettled, and a delivery that is missing as lost, or as under way
   * when the run was interrupted.
   * @param at the clock, in ms
   * @param options what was promised
   */
  judge(at: number, options: JudgeOptions = {}): Verdict {
    const publishers = [...this.#publishers.values()].map((publisher) => publisher.judge(at));
    // It is the same for all, costs time, and few need it, so it is found out at the first question.
    let known: Dropping | undefined;
    const dropping = (): Dropping | undefined => (known ??= this.#dropping());
    const subscriptions = [...this.#subscriptions.values()].map((subscription) =>
      subscription.judge(at, dropping, options.interrupted),
    );
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

  /** When the channel dropped which message. Undefined when it keeps all. */
  #dropping(): Dropping | undefined {
    const { retention, places } = this.#shared;
    if (retention === undefined) return undefined;
    const publishers = [...this.#publishers.values()];
    return new Dropping(retention, places.highest, (sequence) => {
      const place = places.at(sequence);
      return place && publishers[place.publisher]?.storedWithin(place.counter);
    });
  }

  #judgeFault({ name, at, struck, until }: FaultRecord, index: number, now: number): FaultVerdict {
    const publishers = [...this.#publishers.values()];
    const subscriptions = [...this.#subscriptions.values()];
    const answers = publishers.map((publisher) => publisher.faultWatch.next(index)).filter((ms) => ms !== undefined);
    return {
      name,
      at,
      struck,
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

/**
 * The record of one publisher, in a {@link History}.
 * @category Continuity
 */
export class PublisherHistory {
  /** Name of the publisher. */
  readonly name: string;
  /** @internal */
  readonly index: number;
  readonly #subscriptions: ReadonlyMap<string, SubscriptionHistory>;
  /** @internal */
  readonly faultWatch: FaultWatch;
  readonly #states = new Column(Uint8Array);
  readonly #attempts = new Column(Float64Array);
  readonly #acknowledgements = new Column(Float64Array);
  /** The sequence at which a subscription has seen each message. 0: none has. */
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

  /** The counter of the next message. */
  get next(): number {
    return this.#next;
  }

  /** How many messages are not settled. */
  get pending(): number {
    return this.#pending;
  }

  /** How many messages were acknowledged. */
  get acknowledged(): number {
    return this.#counts.acknowledged;
  }

  /** Notes that the next message is about to be published. Returns its counter. */
  attempt(at: number): number {
    const counter = this.#next++;
    this.#states.set(counter, PENDING);
    this.#attempts.set(counter, at);
    this.#pending++;
    this.#stall.owedFrom(at);
    for (const subscription of this.#subscriptions.values()) subscription.attempted(this, counter, at);
    return counter;
  }

  /**
   * Notes how a publish has ended.
   * @returns how long it took, in ms
   * @throws InvalidArgumentError when no message has this counter
   */
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
      // A rejection ends no wait for an acknowledgement. The death of the process does: nobody waits there.
      this.#stall.wait(at);
      if (outcome === 'abandoned' && this.#pending === 0) this.#stall.end();
    }
    return took;
  }

  /** Notes that the process was killed. What is not settled is abandoned. */
  abandon(at: number): void {
    for (let counter = 0; counter < this.#next; counter++) {
      if (this.#states.get(counter) === PENDING) this.settle(counter, 'abandoned', at);
    }
  }

  /** @internal */
  stallIn(fault: number, now: number): number {
    return this.faultWatch.stall(fault, this.#pending > 0 ? now : this.#stall.noted, this.#stall.since);
  }

  /** @internal The state of a message. */
  stateOf(counter: number): number {
    return this.#states.get(counter);
  }

  /** @internal When a message was published. */
  attemptedAt(counter: number): number {
    return this.#attempts.get(counter);
  }

  /** @internal Between which times a message was stored, if it was. */
  storedWithin(counter: number): Between {
    const known = this.#states.get(counter) === ACKNOWLEDGED;
    const latest = known ? this.#acknowledgements.get(counter) : Number.POSITIVE_INFINITY;
    return { earliest: this.attemptedAt(counter), latest };
  }

  /** @internal Notes at which sequence a message was seen. */
  place(counter: number, sequence: number): void {
    this.#places.set(counter, sequence);
  }

  /** @internal The sequence at which a message was seen last. 0: it was not seen. */
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

/** The messages of one publisher, as one subscription has seen them. */
class Seen {
  /** How many copies of each message have come, up to 255. */
  readonly copies = new Column(Uint8Array);
  /** 1: the message was told to be gone before a copy came. */
  readonly gone = new Column(Uint8Array);
  /** The counter of the first message that has to be seen. */
  readonly from: number;
  first = Number.POSITIVE_INFINITY;
  last = -1;

  constructor(from: number) {
    this.from = from;
  }
}

/** A life of a subscription. Lives follow each other, or are members of a group beside each other. */
interface Life {
  /** 0, 1, 2 … in the order in which they began. */
  readonly order: number;
  readonly at: number;
  /** It has left in good order, so what it handled is acknowledged. */
  left: boolean;
  /** Since when nothing reaches it, in ms. Infinity: messages may reach it. */
  cutOff: number;
  /** Its process has ended. */
  over: boolean;
}

/**
 * The record of one subscription, in a {@link History}.
 * @category Continuity
 */
export class SubscriptionHistory {
  /** Name of the subscription. */
  readonly name: string;
  /** Kind of the subscription. */
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
    /** 1: the handler was called for this message, and failed. */
    tried: new Column(Uint8Array),
  };
  readonly #lives = new Map<number, Life>();
  /** The last failure of a handler on each message, by its sequence: the life, and when that was. */
  readonly #failures = new Map<number, { life: number; at: number }>();
  /** How long after a failure its process may take to tell that the message is gone, in ms. 0: this excuses nothing. */
  readonly #tellsWithin: number;
  readonly #told = new Told();
  readonly #exposures: Exposure[] = [];
  readonly #passing = new Passing();
  /** The times in which no process had the subscription. */
  readonly #absences: { from: number; to: number }[] = [];
  readonly #examples: SubscriptionVerdict['examples'] = {};
  #ready = false;
  /** How many acknowledged messages have not come. */
  #owed = 0;
  /** How many messages have not come that were published and not rejected. */
  #awaited = 0;
  /** How many sequences were told to be gone at which no subscription has seen a message. */
  #toldUnseen = 0;
  #received = 0;
  #aliens = 0;
  #duplicated = 0;
  #handledTwice = 0;
  #repeated = 0;
  #afterTakeover = 0;
  #threw = 0;
  #toldTwice = 0;
  readonly #reordered: OutOfOrder[] = [];
  readonly #outOfSequence: OutOfOrder[] = [];
  #resets = 0;
  #highest = 0;

  /** @internal */
  constructor(name: string, settings: SubscriptionSettings, shared: Shared) {
    this.name = name;
    this.kind = settings.kind;
    this.#fromReady = settings.from === 'ready';
    this.#tellsWithin = settings.ackWait === undefined ? 0 : settings.ackWait + NOTICED;
    this.#shared = shared;
    this.#publishers = shared.publishers;
    this.faultWatch = new FaultWatch(shared.faults);
  }

  /** How many acknowledged messages have neither come nor were told to be gone. */
  get owed(): number {
    return Math.max(this.#owed - this.#unseenExcuses, 0);
  }

  /** How many different messages have come. */
  get received(): number {
    return this.#received;
  }

  /** Notes that the client has subscribed, so each message from now on has to come. Only the first call counts. */
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
      this.#awaited--; // it need not come
      if (this.#ready) this.#stall.wait(at);
    }
  }

  /** Whether a message has to come. Before {@link ready} none has to, unless one has come already. */
  #hasToSee(publisher: PublisherHistory, counter: number): boolean {
    if (this.#fromReady && !this.#ready && !this.#seen.has(publisher)) return false;
    return counter >= this.#of(publisher).from;
  }

  /**
   * Notes that a life begins, before anything that it gets. Later lives take over from earlier ones. Only the first call
   * counts.
   */
  began(life: number, at: number): void {
    if (this.#lives.has(life)) return;
    if (this.#isUnattended) {
      const from = Math.max(...[...this.#lives.values()].map(({ cutOff }) => cutOff));
      this.#absences.push({ from, to: at });
    }
    this.#lives.set(life, { order: this.#lives.size, at, left: false, cutOff: Number.POSITIVE_INFINITY, over: false });
  }

  /** Notes that the session of a life is lost. */
  cutOff(life: number, at: number): void {
    const known = this.#lives.get(life);
    if (known) known.cutOff = Math.min(known.cutOff, at);
  }

  /** Notes that a life has a session again. */
  cameBack(life: number): void {
    const known = this.#lives.get(life);
    if (known && !known.over) known.cutOff = Number.POSITIVE_INFINITY;
  }

  /** Notes that the process of a life has ended. */
  ended(life: number, at: number): void {
    const known = this.#lives.get(life);
    if (!known) return;
    this.cutOff(life, at);
    known.over = true;
  }

  /** Whether processes had the subscription, and none has it now. */
  get #isUnattended(): boolean {
    return this.#lives.size > 0 && [...this.#lives.values()].every(({ over }) => over);
  }

  /** Notes that a life has left in good order, so everything that it has handled is acknowledged. */
  left(life: number): void {
    const known = this.#lives.get(life);
    if (known) known.left = true;
  }

  /** Notes that the subscription was told that sequences are gone. */
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
   * Notes that the server itself may have lost what was on its way to a member of a group: messages that were stored shortly
   * before, if the leader that knew of them is gone, and messages that the channel dropped before another member got them.
   * They count as `serverLost`, up to `most`. What is missing beyond that is lost.
   */
  exposed(exposure: Exposure): void {
    this.#exposures.push(exposure);
  }

  /** Notes a message that was handed to its handler, and processed. */
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
    this.#passing.note(publisher.attemptedAt(counter), at);
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

  /** Notes a message that was handed to its handler, and failed. It has to come again, in whatever order. */
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
      // The message was processed before, and its handler was called once more.
      if (there.life.get(sequence) === life) this.#twice(publisher, counter, sequence);
      return;
    }
    if (this.#tellsWithin > 0) this.#failures.set(sequence, { life, at });
    if (there.tried.get(sequence) !== 0) return;
    there.tried.set(sequence, 1);
    this.#inSequence(sequence);
    const seen = this.#of(publisher);
    if (seen.copies.get(counter) === 0) this.#inOrder(publisher, counter, seen);
  }

  /** The publisher and the counter of a message. Undefined when no publisher has published it. */
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

  /** @internal A subscription has seen the message at this sequence, for the first time. */
  seenAt(sequence: number, publisher: PublisherHistory, counter: number): void {
    if (!this.#told.has(sequence)) return;
    this.#toldUnseen--;
    this.#isGone(publisher, counter);
  }

  /** Notes that this message was told to be gone. */
  #isGone(publisher: PublisherHistory, counter: number): void {
    if (this.#shared.retention === undefined || !this.#hasToSee(publisher, counter)) return;
    const { copies, gone } = this.#of(publisher);
    if (copies.get(counter) > 0 || gone.get(counter) > 0) return;
    gone.set(counter, 1);
    const state = publisher.stateOf(counter);
    if (state === ACKNOWLEDGED) this.#owed--;
    if (state === ACKNOWLEDGED || state === PENDING) this.#awaited--;
  }

  /** A message that comes was not gone if this life, or one before it, was told so. */
  #wasThere(sequence: number, life: number): void {
    if (!this.#told.has(sequence)) return;
    const order = (of: number): number => this.#lives.get(of)!.order;
    if (order(life) >= order(this.#told.lifeOf(sequence))) this.#refute(sequence);
  }

  #refute(sequence: number): void {
    if (this.#told.refute(sequence)) this.#example('falseGaps', `sequence ${sequence}`);
  }

  /** How many sequences were told to be gone at which nothing was seen. 0 where the channel keeps all messages. */
  get #unseenExcuses(): number {
    return this.#shared.retention === undefined ? 0 : this.#toldUnseen;
  }

  #publisherAt(index: number): PublisherHistory {
    return [...this.#publishers.values()][index]!;
  }

  #inSequence(sequence: number): void {
    if (sequence < this.#highest && !this.#isGroup)
      this.#outOfSequence.push({ sequence, text: `sequence ${sequence} after ${this.#highest}` });
    this.#highest = Math.max(this.#highest, sequence);
  }

  #inOrder(publisher: PublisherHistory, counter: number, seen: Seen): void {
    if (counter < seen.last && !this.#isGroup)
      this.#reordered.push({
        sequence: publisher.placeOf(counter),
        text: `${publisher.name}-${counter} after ${seen.last}`,
      });
    seen.first = Math.min(seen.first, counter);
    seen.last = Math.max(seen.last, counter);
  }

  #twice(publisher: PublisherHistory, counter: number, sequence: number): void {
    this.#handledTwice++;
    this.#example('handledTwice', `${publisher.name}-${counter} at sequence ${sequence}`);
  }

  /** Notes the message at a sequence. Returns false when it was handed over before. */
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
      // Another message was at this sequence, so the channel has begun again.
      this.#resets++;
      for (const column of Object.values(there)) column.clear();
      this.#failures.clear();
      this.#highest = 0;
    }
    there.publisher.set(sequence, publisher.index + 1);
    there.counter.set(sequence, counter);
    there.life.set(sequence, life);
    if (there.tried.get(sequence) === 0) this.#inSequence(sequence);
    return true;
  }

  /**
   * Whether a message must not come to the life `after`: the life `other` had taken over before the message was published, and
   * has left with everything acknowledged. What was published earlier may have been on its way to both.
   */
  #tookOver(other: number, after: number, attemptedAt: number): boolean {
    const [later, earlier] = [this.#lives.get(other)!, this.#lives.get(after)!];
    return later.left && earlier.order < later.order && attemptedAt > later.at;
  }

  /** @internal */
  judge(at: number, droppingOf: () => Dropping | undefined, interrupted = false): SubscriptionVerdict {
    const lost = { total: 0, prefix: 0, middle: 0, tail: 0 };
    let underWay = 0;
    /** What was stored later than this may still come. Infinity: nothing may. */
    const passed = interrupted ? this.#passing.until(at - LATE) : Number.POSITIVE_INFINITY;
    let recovered = 0;
    let ghosts = 0;
    let gone = 0;
    let unattended = 0;
    let serverLost = 0;
    let unseenLost = 0;
    /** How many lost messages may be excused, as their sequences are not known and may be among those told to be gone. */
    let excuses = this.#unseenExcuses;
    const excusable = this.#absences.length > 0 || this.#exposures.length > 0;
    const dropping = excusable ? droppingOf() : undefined;
    const missed = this.#missed(dropping);
    /** Missed sequences at which no subscription has seen a message. */
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
          } else if (publisher.storedWithin(counter).latest >= passed) {
            underWay++;
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
    /** The server may send late what it may also lose: for want of a proof, it was passed over. */
    const mayBeLate = ({ sequence }: OutOfOrder): boolean => {
      const place = this.#shared.places.at(sequence);
      if (place === undefined) return false;
      return exposures.cover(this.#publisherAt(place.publisher).storedWithin(place.counter), sequence);
    };
    const reordered = this.#reordered.filter((message) => !mayBeLate(message));
    const outOfSequence = this.#outOfSequence.filter((message) => !mayBeLate(message));
    for (const { text } of reordered) example('reordered', text);
    for (const { text } of outOfSequence) example('outOfSequence', text);
    const tooEarly = this.#tooEarly();
    for (const sequence of tooEarly) example('falseGaps', `sequence ${sequence}`);
    return {
      name: this.name,
      kind: this.kind,
      received: this.#received,
      lost,
      underWay,
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
      untold: this.#untold(unseenLost, missed, exposures, passed, (text) => example('untold', text)),
      unattended,
      serverLost,
      reordered: reordered.length,
      outOfSequence: outOfSequence.length,
      resets: this.#resets,
      longestStall: this.#stall.longest(at, this.#ready && this.#awaited - this.#unseenExcuses > 0),
      examples,
    };
  }

  /**
   * Sequences that were told to be gone too early. A message that was published after a gap was told has a sequence above
   * all that were stored then, and the channel keeps the youngest of those.
   *
   * A server may have fewer than it should: one that was away for too long, and comes back by a snapshot, empties its store, and
   * may lead then. So it is true what two subscriptions of different processes have found out: that the channel begins there.
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
    const others = [...this.#shared.subscriptions.values()].filter((other) => other !== this);
    const confirmed = (gap: Required<Gap>): boolean => others.some((other) => other.wasToldElsewhere(gap));
    for (const gap of [...this.#told.gaps].sort((a, b) => b.at - a.at)) {
      for (; i < stored.length && stored[i]!.at > gap.at; i++) next = Math.min(next, stored[i]!.sequence);
      if (next === Number.POSITIVE_INFINITY || confirmed(gap)) continue;
      for (let sequence = Math.max(gap.from, next - retention); sequence <= gap.to; sequence++) {
        if (!this.#told.isFalse(sequence)) early.add(sequence);
      }
    }
    return [...early];
  }

  /** @internal Whether another life was told of a gap that ends at the same sequence. */
  wasToldElsewhere({ to, life }: Required<Gap>): boolean {
    return this.#told.gaps.some((gap) => gap.to === to && gap.life !== life);
  }

  /** Sequences that neither came nor were told to be gone, and that the channel dropped while no process had the subscription. */
  #missed(dropping: Dropping | undefined): ReadonlySet<number> {
    const missed = new Set<number>();
    // What was at the sequences of a channel before it began again is not known.
    if (dropping === undefined || this.#absences.length === 0 || this.#resets > 0) return missed;
    for (let sequence = 1; sequence <= dropping.end; sequence++) {
      if (this.#knows(sequence)) continue;
      const unattended = this.#absences.some(({ from, to }) => dropping.within(sequence, from, to));
      if (unattended || this.#diedOver(sequence, dropping)) missed.add(sequence);
    }
    return missed;
  }

  /**
   * Whether a handler had failed on a message, and the channel dropped it, and the process was killed before it could notice
   * that.
   */
  #diedOver(sequence: number, dropping: Dropping): boolean {
    const failure = this.#failures.get(sequence);
    const life = failure && this.#lives.get(failure.life);
    if (!failure || !life?.over || life.cutOff > failure.at + this.#tellsWithin) return false;
    return dropping.within(sequence, failure.at, life.cutOff);
  }

  #knows(sequence: number): boolean {
    return this.#atSequence.publisher.get(sequence) !== 0 || this.#told.has(sequence);
  }

  /**
   * How many sequences neither came nor were told to be gone. A message that counts as lost is not counted again. The
   * sequence of a lost message that nobody has seen is not known, so for each of those one unknown sequence is left out. What
   * was stored later than `passed` may still come.
   */
  #untold(
    unseenLost: number,
    missed: ReadonlySet<number>,
    exposures: Exposures,
    passed: number,
    example: (text: string) => void,
  ): number {
    const { retention, places } = this.#shared;
    // What was at the sequences of a channel before it began again is not known.
    if (retention === undefined || this.#resets > 0) return 0;
    const publishers = [...this.#publishers.values()];
    let sequence = 1;
    if (this.#fromReady) while (sequence <= places.highest && !this.#knows(sequence)) sequence++;
    let untold = 0;
    for (; sequence <= places.highest; sequence++) {
      if (this.#knows(sequence) || missed.has(sequence)) continue;
      const place = places.at(sequence);
      const latest = place && publishers[place.publisher]!.storedWithin(place.counter).latest;
      if (passed !== Number.POSITIVE_INFINITY && (latest === undefined || latest >= passed)) continue;
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

  /** The record of a publisher. One that begins after {@link ready} has to be seen from its first message on. */
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

/** How much the server itself may still have lost. */
class Exposures {
  readonly #left: Exposure[];
  readonly #dropping: Dropping | undefined;

  constructor(exposures: readonly Exposure[], dropping: Dropping | undefined) {
    // The exposure that ends first is used up first.
    this.#left = exposures.map((exposure) => ({ ...exposure })).sort((a, b) => a.to - b.to);
    this.#dropping = dropping;
  }

  /** Whether the server may have lost a message, by when and at which sequence it was stored (0: not known). It counts as one then. */
  take(stored: Between, sequence: number): boolean {
    const found = this.#left.find((exposure) => exposure.most > 0 && this.#covers(exposure, stored, sequence));
    if (found) found.most--;
    return found !== undefined;
  }

  /** Whether a sequence may be another copy of such a message. It does not count. */
  cover(stored: Between, sequence: number): boolean {
    return this.#left.some((exposure) => this.#covers(exposure, stored, sequence));
  }

  #covers({ what = 'stored', from, to }: Exposure, { earliest, latest }: Between, sequence: number): boolean {
    if (earliest > to) return false;
    return what === 'stored' ? latest >= from : this.#dropping?.within(sequence, from, to) === true;
  }
}

/** How far a subscription had come at which time. A message for every half second is kept. */
class Passing {
  readonly #steps: { at: number; published: number }[] = [];
  #published = Number.NEGATIVE_INFINITY;

  /** Notes that a message has come that was published then. */
  note(published: number, at: number): void {
    this.#published = Math.max(this.#published, published);
    const last = this.#steps.at(-1);
    if (last === undefined || at - last.at >= 500) this.#steps.push({ at, published: this.#published });
  }

  /** When the latest message was published that had come by a time. -Infinity: none had. */
  until(at: number): number {
    return this.#steps.findLast((step) => step.at <= at)?.published ?? Number.NEGATIVE_INFINITY;
  }
}

/** A message that was handed over after one that is later. */
interface OutOfOrder {
  readonly sequence: number;
  /** For people. */
  readonly text: string;
}

/** Measures the longest time in which something was missing and nothing came. */
class StallWatch {
  #since = Number.POSITIVE_INFINITY;
  #noted = Number.NEGATIVE_INFINITY;
  #longest: Stall = { ms: 0, at: 0 };

  /** Since when something is missing and nothing has come, in ms. Infinity: nothing is missing. */
  get since(): number {
    return this.#since;
  }

  /** The last time at which it was noted that nothing had come, in ms. */
  get noted(): number {
    return this.#noted;
  }

  owedSince(at: number): void {
    this.#since = at;
  }

  /** The same, unless something is missing already. */
  owedFrom(at: number): void {
    if (this.#since === Number.POSITIVE_INFINITY) this.#since = at;
  }

  /** Nobody waits any longer. */
  end(): void {
    this.#since = Number.POSITIVE_INFINITY;
  }

  /** Notes that something has come. `stillOwed`: more is missing. */
  progress(at: number, stillOwed: boolean): void {
    this.wait(at);
    this.#since = stillOwed ? at : Number.POSITIVE_INFINITY;
  }

  /** Notes that nothing has come until now. */
  wait(at: number): void {
    this.#noted = at;
    const ms = at - this.#since; // -Infinity when nothing is missing
    if (ms > this.#longest.ms) this.#longest = { ms, at };
  }

  longest(now: number, owed: boolean): Stall {
    const ms = owed ? now - this.#since : 0;
    return ms > this.#longest.ms ? { ms, at: now } : { ...this.#longest };
  }
}
