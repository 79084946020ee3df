/**
 * The records of publishing, of each message and of each channel. They are one file because they are linked with each other, so
 * that each can leave whatever it stands in, in constant time.
 */
import type { AbortWatch } from '../abort-signal.js';
import type { Receipt } from '../connection/protocol.js';
import type { Timed, TimedBucket } from './deadlines.js';
import type { FlushBarrier } from './flush-barriers.js';
import type { Settler } from './settlers.js';

/** What went wrong with a message so far. Most messages have no such record. */
export class Trouble {
  /** The number of sendings that the cluster refused in words that mean: it is not stored. */
  refused = 0;
  /** The number of refusals that may be the message's own fault. Each costs one retry. */
  retries = 0;
  /** The number of refusals that are most likely the fault of another message in its batch. */
  acquitted = 0;
  /** The number of messages that were published when this one was refused first. */
  refusedFrom: number | undefined = undefined;
  /** The number of sessions in a row that an answer to this message showed to be unregistered. */
  unregistered = 0;
  /** The ordinal of the last of them. */
  unregisteredOn = 0;
  /** The ordinal of the first session that ended while a sending of this message was unanswered; 0 if there was none. */
  unansweredOn = 0;
}

/** Hears the answers of one session. */
export interface Answers {
  answered(sending: Sending, error: string | undefined, guid: string): void;
}

/** One handing over of a message to a session. */
export class Sending implements Receipt {
  end = 0;
  /** False when the message was given up or given back, when its channel is mute, and when a probe is over. */
  owed = true;
  askAfter: number;
  /** When the leader answered a question that was asked after `askAfter`, in ms of the clock. */
  provenAt: number | undefined = undefined;
  /** Nobody waits for its answer: it is one of too many tries of a mute channel. */
  dropped = false;

  constructor(
    readonly entry: Entry,
    /** Counts the sendings on one session. */
    readonly number: number,
    readonly at: number,
    readonly probe: false | 'channel' | 'all',
    readonly answers: Answers,
  ) {
    this.askAfter = at;
  }

  /** False for what was sent before the message's last sending, and for a message that is not in flight. */
  get awaited(): boolean {
    const last = this.entry.sending;
    return last !== undefined && this.number >= last.number && !this.dropped;
  }

  answered(error: string | undefined, guid: string): void {
    this.answers.answered(this, error, guid);
  }
}

/**
 * One message that is not settled yet. It stands in exactly one list (waiting for room, in its send queue, in flight), by links of
 * its own, so that it can leave in constant time. Rare things are objects of their own, because 100 000 messages may wait in an
 * outage.
 */
export class Entry {
  prev: Entry | undefined = undefined;
  next: Entry | undefined = undefined;
  /** The list that it stands in; undefined when it is settled. */
  list: Entries | undefined = undefined;
  /** Its queue, from when it is admitted. */
  queue: SendQueue | undefined = undefined;
  /** The number of its sendings. With none it can be rejected as 'not-sent'. */
  attempts = 0;
  /** Its last sending that was not a probe, while it is in flight. */
  sending: Sending | undefined = undefined;
  limits: Limits | undefined = undefined;
  trouble: Trouble | undefined = undefined;

  constructor(
    readonly channel: string,
    /** A string, or a block that has the bytes at `offset`. It is dropped when the message is settled. */
    public body: string | Uint8Array,
    readonly offset: number,
    /** The length of the payload in bytes. */
    readonly size: number,
    /** Its place in the order of the publish() calls. */
    readonly order: number,
    readonly barrier: FlushBarrier,
    readonly settler: Settler,
  ) {}
}

/** A list of messages by their own links. Every operation takes constant time, except where it says so. */
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

  /** Inserts by the order of the publish() calls. It takes constant time for what belongs at either end, which is the usual case. */
  insert(entry: Entry): void {
    if (this.head !== undefined && entry.order < this.head.order) {
      this.#insertAfter(undefined, entry);
      return;
    }
    let before = this.tail;
    while (before !== undefined && before.order > entry.order) before = before.prev;
    this.#insertAfter(before, entry);
  }

  /** Adds all messages to an array, first to last. */
  copyInto(array: Entry[]): void {
    for (let entry = this.head; entry !== undefined; entry = entry.next) array.push(entry);
  }

  /** Moves all messages into an array, first to last. */
  drainInto(array: Entry[]): void {
    for (let entry = this.head; entry !== undefined; entry = this.head) {
      this.remove(entry);
      array.push(entry);
    }
  }

  /** Takes in all messages of another list, both being in the order of the publish() calls. It takes time for each message of both. */
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

/** A message's own `timeout` and `signal`. Only a message with one of them has this record. */
export class Limits implements Timed<Limits> {
  dueAt = 0;
  bucket: TimedBucket<Limits> | undefined = undefined;
  sooner: Limits | undefined = undefined;
  later: Limits | undefined = undefined;

  group: AbortGroup | undefined = undefined;
  /** Links to the neighbours among the messages of one signal. */
  prev: Limits | undefined = undefined;
  next: Limits | undefined = undefined;

  constructor(
    readonly entry: Entry,
    /** In ms. */
    readonly timeout: number | undefined,
  ) {}
}

/** All messages of one AbortSignal. */
export class AbortGroup {
  head: Limits | undefined = undefined;
  /** The number of messages that are about to be added. */
  joining = 0;
  constructor(
    readonly signal: AbortSignal,
    readonly watch: AbortWatch,
  ) {}
}

/** The time between two tries of a mute channel, in ms. It doubles with each try, up to `most`. */
const TRY_AGAIN = { first: 1000, most: 5000 };
/** The most tries whose answers are waited for. A channel may stay mute for days. */
const AWAITED = 8;

/**
 * The state of a mute channel: nobody acknowledges its messages although the leader answers our questions. The server of this
 * channel is down, or a disk is slow. Its messages in flight take no room in the window, and one of them is tried now and then.
 */
export class Muteness {
  /** Its messages in flight, in the order of sending. */
  readonly entries = new Entries();
  /** When the oldest of them was sent, in ms of the clock. */
  readonly since: number;
  /** When the next try is due, in ms of the clock. */
  tryAt: number;
  #delay = TRY_AGAIN.first;
  readonly #tries: Sending[] = [];

  constructor(since: number, tryAt: number) {
    this.since = since;
    this.tryAt = tryAt;
  }

  /** Notes a try. Returns an earlier one whose answer is not waited for any more. */
  tried(sending: Sending, now: number): Sending | undefined {
    this.tryAt = now + this.#delay;
    this.#delay = Math.min(2 * this.#delay, TRY_AGAIN.most);
    this.#tries.push(sending);
    return this.#tries.length > AWAITED ? this.#tries.shift() : undefined;
  }
}

/**
 * A queue of messages that keep their order. With 'strict' there is one for each channel, with one message in flight at a time.
 * With 'pipelined' there is one for all channels, and for a while one for each channel that is held back.
 */
export class SendQueue implements Timed<SendQueue> {
  /** Messages to be sent again, in the order of publishing. All of them were published before those in `fresh`. */
  readonly returned = new Entries();
  /** Messages that were not sent yet, in the order of publishing. */
  readonly fresh = new Entries();
  /** The number of its messages in flight. */
  inFlight = 0;

  /** Nothing new of it is sent, because a probe is to show what became of what was sent. */
  closed = false;
  /** Its state while its channel is mute. Then it is closed. */
  mute: Muteness | undefined = undefined;

  /** Links to the neighbours among the queues that may send. */
  prev: SendQueue | undefined = undefined;
  next: SendQueue | undefined = undefined;
  ready = false;

  /** It is held back until `dueAt` while it stands among deadlines. */
  dueAt = 0;
  bucket: TimedBucket<SendQueue> | undefined = undefined;
  sooner: SendQueue | undefined = undefined;
  later: SendQueue | undefined = undefined;

  constructor(
    readonly channel: string,
    /** The most messages in flight. */
    readonly limit: number,
  ) {}

  get empty(): boolean {
    return this.inFlight === 0 && this.fresh.size === 0 && this.returned.size === 0;
  }

  get canSend(): boolean {
    return this.inFlight < this.limit && !this.held && this.returned.size + this.fresh.size > 0;
  }

  get held(): boolean {
    return this.closed || this.bucket !== undefined;
  }
}

/** The queues that may send, in the order of their turns. */
export class ReadyQueues {
  head: SendQueue | undefined = undefined;
  #tail: SendQueue | undefined = undefined;

  push(queue: SendQueue): void {
    queue.prev = this.#tail;
    if (this.#tail === undefined) this.head = queue;
    else this.#tail.next = queue;
    this.#tail = queue;
    queue.ready = true;
  }

  unshift(queue: SendQueue): void {
    queue.next = this.head;
    if (this.head === undefined) this.#tail = queue;
    else this.head.prev = queue;
    this.head = queue;
    queue.ready = true;
  }

  remove(queue: SendQueue): void {
    const { prev, next } = queue;
    if (prev === undefined) this.head = next;
    else prev.next = next;
    if (next === undefined) this.#tail = prev;
    else next.prev = prev;
    queue.prev = undefined;
    queue.next = undefined;
    queue.ready = false;
  }
}
