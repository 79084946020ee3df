/**
 * What publishing remembers of each message, and of each channel. They are linked with each other, so that each can leave
 * whatever it stands in, from anywhere, in constant time: that is why they are one file.
 */
import type { AbortWatch } from '../abort-signal.js';
import type { Receipt } from '../connection/protocol.js';
import { toOurs } from '../errors.js';
import type { Timed, TimedQueue } from './deadlines.js';
import type { Generation } from './generations.js';

/** The cluster's acknowledgement of one message. */
export interface PubAck {
  /** The ID under which the acknowledged sending went out. A message that was sent more than once had one for each. */
  guid: string;
  channel: string;
  /** How often the message was handed to a server until this acknowledgement came; 1 without faults. */
  attempts: number;
}

/** What went wrong with a message so far. Most messages never have one. */
export class Trouble {
  /** Sendings that the cluster answered with an error which says that the message is not stored. */
  refused = 0;
  /** Refusals that may be the message's own (a bad channel, a limit), each of which cost one retry. */
  retries = 0;
  /** Refusals that are most likely another one's, beside which it was. */
  acquitted = 0;
  /** How many messages were published when it was refused first. */
  refusedFrom: number | undefined = undefined;
  /** Sessions in a row that this message's sending showed to be unregistered. */
  unregistered = 0;
  /** The last of them. */
  unregisteredOn = 0;
  /** The first session that ended while a sending of this message was unanswered; 0 if there was none. */
  unansweredOn = 0;
}

/** Where the answers of one session go. */
export interface Answers {
  answered(sending: Sending, error: string | undefined, guid: string): void;
}

/** One handing over of a message to a session. */
export class Sending implements Receipt {
  end = 0;
  /** False while nobody need answer it: it was given up or given back, its channel is mute, or it is a probe that is over. */
  owed = true;
  askAfter: number;
  /** When it answered one. */
  provenAt: number | undefined = undefined;
  /** One of too many tries: its answer is not waited for. */
  dropped = false;

  constructor(
    readonly entry: Entry,
    /** Counts all sendings of a client. */
    readonly number: number,
    readonly at: number,
    readonly probe: false | 'channel' | 'all',
    readonly answers: Answers,
  ) {
    this.askAfter = at;
  }

  /** An answer to what was sent before the message's last sending, or for a message that is not in flight, tells nothing. */
  get awaited(): boolean {
    const last = this.entry.sending;
    return last !== undefined && this.number >= last.number && !this.dropped;
  }

  answered(error: string | undefined, guid: string): void {
    this.answers.answered(this, error, guid);
  }
}

/**
 * One message that is not settled yet. It stands in exactly one list (waiting for room, queued in its lane, in flight), whose
 * links are its own, so that it can leave from anywhere in constant time. Rare things hang on it as objects of their own:
 * 100 000 of these may wait in an outage.
 */
export class Entry {
  prev: Entry | undefined = undefined;
  next: Entry | undefined = undefined;
  /** The list it stands in; undefined once it is settled. */
  list: Entries | undefined = undefined;
  /** Set when it is admitted. */
  lane: Lane | undefined = undefined;
  /** Times it was handed to a session. Never handed over means that it can be rejected as 'not-sent'. */
  attempts = 0;
  /** While it is in flight: its last sending that was not a probe. */
  sending: Sending | undefined = undefined;
  limits: Limits | undefined = undefined;
  trouble: Trouble | undefined = undefined;

  constructor(
    readonly channel: string,
    /** A string as it was given; bytes as a block that has them at `offset`. Dropped when the message is settled. */
    public body: string | Uint8Array,
    readonly offset: number,
    /** The payload's length in bytes. */
    readonly size: number,
    /** Its place in the order of the publish() calls. */
    readonly order: number,
    readonly generation: Generation,
    readonly resolve: (ack: PubAck | Promise<never>) => void,
  ) {}

  /** Without a function of its own: keeping the promise's would cost every message 72 bytes. */
  reject(error: Error): void {
    this.resolve(Promise.reject(toOurs(error, 'publish()')));
  }
}

/** A list of messages that live in it by their own links: every operation takes constant time, except where it says so. */
export class Entries {
  head: Entry | undefined = undefined;
  tail: Entry | undefined = undefined;
  size = 0;

  push(entry: Entry): void {
    this.#insertAfter(this.tail, entry);
  }

  remove(entry: Entry): void {
    const { prev, next } = entry;
    if (prev === undefined) this.head = next;
    else prev.next = next;
    if (next === undefined) this.tail = prev;
    else next.prev = prev;
    entry.prev = undefined;
    entry.next = undefined;
    entry.list = undefined;
    this.size--;
  }

  /** Keeps the order of the publish() calls. Constant time for what belongs at either end, which is the usual case. */
  insert(entry: Entry): void {
    if (this.head !== undefined && entry.order < this.head.order) {
      this.#insertAfter(undefined, entry);
      return;
    }
    let before = this.tail;
    while (before !== undefined && before.order > entry.order) before = before.prev;
    this.#insertAfter(before, entry);
  }

  copyInto(array: Entry[]): void {
    for (let entry = this.head; entry !== undefined; entry = entry.next) array.push(entry);
  }

  /** Takes everything out, first to last. */
  drainInto(array: Entry[]): void {
    for (let entry = this.head; entry !== undefined; entry = this.head) {
      this.remove(entry);
      array.push(entry);
    }
  }

  /** Takes all of another list in, both being in the order of the publish() calls. Costs the length of both. */
  merge(other: Entries): void {
    let before: Entry | undefined;
    for (let entry = other.head; entry !== undefined; entry = other.head) {
      other.remove(entry);
      let after = before === undefined ? this.head : before.next;
      while (after !== undefined && after.order < entry.order) {
        before = after;
        after = after.next;
      }
      this.#insertAfter(before, entry);
      before = entry;
    }
  }

  #insertAfter(before: Entry | undefined, entry: Entry): void {
    const after = before === undefined ? this.head : before.next;
    entry.prev = before;
    entry.next = after;
    entry.list = this;
    if (before === undefined) this.head = entry;
    else before.next = entry;
    if (after === undefined) this.tail = entry;
    else after.prev = entry;
    this.size++;
  }
}

/** A message's own `timeout` and `signal`. Only messages that have one of them have this. */
export class Limits implements Timed<Limits> {
  dueAt = 0;
  queue: TimedQueue<Limits> | undefined = undefined;
  sooner: Limits | undefined = undefined;
  later: Limits | undefined = undefined;

  group: AbortGroup | undefined = undefined;
  /** Links within the messages of one signal. */
  prev: Limits | undefined = undefined;
  next: Limits | undefined = undefined;

  constructor(
    readonly entry: Entry,
    readonly timeout: number | undefined,
  ) {}
}

/** All messages of one AbortSignal. */
export class AbortGroup {
  head: Limits | undefined = undefined;
  /** Messages that are about to be added. */
  joining = 0;
  constructor(
    readonly signal: AbortSignal,
    readonly watch: AbortWatch,
  ) {}
}

/** Between two tries of a channel that is not acknowledged, in ms: 1, 2, 4 and then every 5 seconds. */
const TRY_AGAIN = { first: 1000, most: 5000 };
/** Tries whose answers are waited for, at most: a channel may stay mute for days. */
const AWAITED = 8;

/**
 * A channel that nobody acknowledges although the leader answers our questions: a server that serves only this channel is
 * down, or a disk is slow. Its messages in flight take no room from other channels, and one of them is tried now and then.
 */
export class Muteness {
  /** Its messages in flight, in the order of sending. */
  readonly entries = new Entries();
  /** When the oldest of them had been sent. */
  readonly since: number;
  /** When the next try is due. */
  tryAt: number;
  #delay = TRY_AGAIN.first;
  readonly #tries: Sending[] = [];

  constructor(since: number, tryAt: number) {
    this.since = since;
    this.tryAt = tryAt;
  }

  /** @returns one whose answer is not waited for any more */
  tried(sending: Sending, now: number): Sending | undefined {
    this.tryAt = now + this.#delay;
    this.#delay = Math.min(2 * this.#delay, TRY_AGAIN.most);
    this.#tries.push(sending);
    return this.#tries.length > AWAITED ? this.#tries.shift() : undefined;
  }
}

/**
 * A sequence of messages that keep their order. 'strict' has one lane per channel, each with one message in flight at a
 * time; 'pipelined' has one for all channels, and for a while one for each channel that is held back.
 */
export class Lane implements Timed<Lane> {
  /** Waiting to be sent again; all of them were published before those in `fresh`. Sorted by the order of publishing. */
  readonly returned = new Entries();
  readonly fresh = new Entries();
  inFlight = 0;

  /** Nothing new of it is sent: it is being found out what became of what was sent. */
  closed = false;
  /** While nobody acknowledges its channel; then it is closed. */
  mute: Muteness | undefined = undefined;

  /** Links in the list of lanes that may send. */
  prev: Lane | undefined = undefined;
  next: Lane | undefined = undefined;
  ready = false;

  /** While it stands in a queue of deadlines, it is held back until `dueAt`. */
  dueAt = 0;
  queue: TimedQueue<Lane> | undefined = undefined;
  sooner: Lane | undefined = undefined;
  later: Lane | undefined = undefined;

  constructor(
    readonly channel: string,
    readonly limit: number,
  ) {}

  get empty(): boolean {
    return this.inFlight === 0 && this.fresh.size === 0 && this.returned.size === 0;
  }

  get canSend(): boolean {
    return this.inFlight < this.limit && !this.held && this.returned.size + this.fresh.size > 0;
  }

  get held(): boolean {
    return this.closed || this.queue !== undefined;
  }
}

/** The lanes that may send, in the order in which they take turns. */
export class ReadyLanes {
  head: Lane | undefined = undefined;
  #tail: Lane | undefined = undefined;

  push(lane: Lane): void {
    lane.prev = this.#tail;
    if (this.#tail === undefined) this.head = lane;
    else this.#tail.next = lane;
    this.#tail = lane;
    lane.ready = true;
  }

  unshift(lane: Lane): void {
    lane.next = this.head;
    if (this.head === undefined) this.#tail = lane;
    else this.head.prev = lane;
    this.head = lane;
    lane.ready = true;
  }

  remove(lane: Lane): void {
    const { prev, next } = lane;
    if (prev === undefined) this.head = next;
    else prev.next = next;
    if (next === undefined) this.#tail = prev;
    else next.prev = prev;
    lane.prev = undefined;
    lane.next = undefined;
    lane.ready = false;
  }
}
