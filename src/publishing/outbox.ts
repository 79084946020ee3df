import { Deadlines } from './deadlines.js';
import { Entries, SendQueue, Muteness, ReadyQueues, Trouble, type Entry, type Sending } from './records.js';

export type Ordering = 'pipelined' | 'strict';

export interface OutboxOptions {
  ordering: Ordering;
  /** The most messages in flight on one session. */
  maxInFlight: number;
  /** The most messages that are admitted and not settled. */
  maxPending: number;
  /** The most bytes of their payloads. */
  maxPendingBytes: number;
}

/** So many queues are kept with 'strict' although they are empty, because their channels are most likely used again. */
const KEPT_QUEUES = 256;

/**
 * Knows where every message stands until it is settled, and decides which one goes next. It knows no session, no timer and no
 * promise, and takes the time as an argument, in ms of one clock. A message goes through
 *
 * ```
 * (waiting for room) ──► in its send queue ───► in flight ──► settled
 *                                 ▲                 │
 *                                 └── give back ────┘
 * ```
 * and every step takes constant time, however many messages there are. In flight are the messages in the window, and those of mute
 * channels, which take no room in the window.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #strict: boolean;
  /** The one queue of all channels, with 'pipelined'. */
  readonly #main: SendQueue;
  /** With 'strict' all queues. With 'pipelined' those of channels that are held back, so that the others need not wait. */
  readonly #queues = new Map<string, SendQueue>();
  readonly #ready = new ReadyQueues();
  readonly #held = new Deadlines<SendQueue>();
  readonly #mute = new Set<SendQueue>();
  #allHeldUntil = -Infinity;

  /** Messages that wait for room, in the order of the publish() calls. */
  readonly waiting = new Entries();
  /** The messages in the window, in the order of sending. */
  readonly inFlight = new Entries();
  /** The number of messages taken in so far. It is the `order` of the last one. */
  taken = 0;
  /** The number of messages that are admitted and not settled. */
  pending = 0;
  /** The bytes of their payloads. */
  pendingBytes = 0;
  /** The number of sendings that were not the first one of their message. */
  resent = 0;

  /** The most messages that may be in the window now. */
  window: number;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.window = options.maxInFlight;
    this.#strict = options.ordering === 'strict';
    this.#main = new SendQueue('', Infinity);
  }

  /** Whether a message of so many bytes can be admitted now. Messages that wait for room come first. */
  hasRoom(size: number): boolean {
    return this.waiting.size === 0 && this.#fits(size);
  }

  /** Admits a message, or lets it wait for room. */
  take(entry: Entry): void {
    this.taken = entry.order;
    if (this.hasRoom(entry.size)) this.#admit(entry);
    else this.waiting.push(entry);
  }

  /** Whether there may be a next message to send. */
  get maySend(): boolean {
    return this.#ready.head !== undefined && this.inFlight.size < this.window;
  }

  /** Returns the next message to send, if one may be sent now. It stays where it is until `sent`. */
  next(now: number): Entry | undefined {
    if (this.inFlight.size >= this.window || now < this.#allHeldUntil) return undefined;
    for (;;) {
      const queue = this.#ready.head;
      if (queue === undefined) return undefined;
      const entry = (queue.returned.head ?? queue.fresh.head) as Entry;
      if (this.#strict || this.#queues.size === 0) return entry;
      const held = this.#queues.get(entry.channel);
      if (held === undefined) return entry;
      this.#park(entry, held);
    }
  }

  /** Moves a message into the window that is handed over now. */
  sent(sending: Sending): void {
    this.#sent(sending, this.inFlight);
  }

  /** Counts a message in flight that is handed over once more, as a probe. */
  sentAgain({ entry }: Sending): void {
    this.#count(entry);
  }

  /** Takes a message out, wherever it stands. The room that becomes free goes to the messages that wait for it. */
  remove(entry: Entry): void {
    const list = entry.list as Entries;
    list.remove(entry);
    if (list !== this.waiting) this.#leave(entry);
    if (this.waiting.size > 0) this.#admitWaiting();
  }

  /**
   * Gives back what an acknowledged probe shows to be lost: what was sent before it and is still in the window, of its channel or
   * of all channels. Each message goes back to its place in its queue.
   */
  giveBackSentBefore({ number, probe, entry: { channel } }: Sending): void {
    const lost: Entry[] = [];
    for (let entry = this.inFlight.head; entry !== undefined; entry = entry.next) {
      if ((entry.sending as Sending).number > number) break;
      if (probe === 'all' || entry.channel === channel) lost.push(entry);
    }
    this.#giveBack(lost);
  }

  /** Sends nothing more of a channel until `open`. Messages of other channels pass by. */
  close(channel: string): void {
    const queue = this.#queueOf(channel);
    queue.closed = true;
    this.#refresh(queue);
  }

  /** Ends `close`. */
  open(channel: string): void {
    const queue = this.#queues.get(channel);
    if (queue === undefined || queue.mute !== undefined) return;
    queue.closed = false;
    this.#free(queue);
  }

  /**
   * Makes channels mute: that of a probe which nobody acknowledges, and each one of which the window has a message that was sent
   * before the probe. Their messages leave the window, and they are closed. The probe counts as the first try of its channel.
   */
  muteSentBefore(probe: Sending, now: number): void {
    let found = false;
    for (let entry = this.inFlight.head; entry !== undefined; entry = entry.next) {
      const { number, at } = entry.sending as Sending;
      if (number > probe.number) break;
      const queue = this.#queueOf(entry.channel);
      if (queue.mute !== undefined) continue;
      queue.mute = new Muteness(at, now);
      if (entry.channel === probe.entry.channel) queue.mute.tried(probe, now);
      queue.closed = true;
      this.#refresh(queue);
      this.#mute.add(queue);
      found = true;
    }
    if (!found) return;
    for (let entry = this.inFlight.head; entry !== undefined;) {
      const { next } = entry;
      const muteness = this.#queues.get(entry.channel)?.mute;
      if (muteness !== undefined) {
        this.inFlight.remove(entry);
        muteness.entries.push(entry);
        (entry.sending as Sending).owed = false;
      }
      entry = next;
    }
  }

  /**
   * Ends that a channel is mute, because one of its sendings was answered. Its messages in flight return to the window. Those that
   * were sent before this acknowledged probe are lost, and go back to their queue.
   */
  endMute(channel: string, probe?: Sending): void {
    const queue = this.#queues.get(channel);
    if (queue?.mute === undefined) return;
    const window: Entry[] = [];
    const lost: Entry[] = [];
    for (let entry = queue.mute.entries.head; entry !== undefined; entry = entry.next) {
      const isLost = probe !== undefined && (entry.sending as Sending).number < probe.number;
      (isLost ? lost : window).push(entry);
    }
    this.#giveBack(lost);
    if (window.length > 0) {
      for (const entry of window) {
        (entry.list as Entries).remove(entry);
        (entry.sending as Sending).owed = true;
      }
      this.inFlight.drainInto(window);
      for (const entry of window.sort(bySending)) this.inFlight.push(entry);
    }
    queue.mute = undefined;
    queue.closed = false;
    this.#mute.delete(queue);
    this.#free(queue);
  }

  /** The queues of the mute channels. */
  get mute(): ReadonlySet<SendQueue> {
    return this.#mute;
  }

  /** Returns when a mute channel is to be tried again; Infinity if there is none. */
  nextTry(): number {
    let next = Infinity;
    for (const { mute } of this.#mute) next = Math.min(next, mute?.tryAt ?? Infinity);
    return next;
  }

  /** Returns the message to try a mute channel with: the oldest in flight, or else the first that waits to be sent. */
  toTry(queue: SendQueue): Entry | undefined {
    const inFlight = queue.mute?.entries.head;
    if (inFlight !== undefined || queue.bucket !== undefined) return inFlight;
    return queue.returned.head ?? queue.fresh.head;
  }

  /** Moves a message out of the queue of a mute channel that is handed over now. */
  sentMute(queue: SendQueue, sending: Sending): void {
    this.#sent(sending, (queue.mute as Muteness).entries);
  }

  /** The number of messages in flight, those of mute channels included. */
  get unacknowledged(): number {
    let total = this.inFlight.size;
    for (const { mute } of this.#mute) total += mute?.entries.size ?? 0;
    return total;
  }

  /** The last sending of the oldest message in the window. */
  get oldest(): Sending | undefined {
    return this.inFlight.head?.sending;
  }

  /** Gives back a message in flight that the server refused, to its place in its queue. */
  giveBack(entry: Entry): void {
    this.#giveBack([entry]);
  }

  /** Sends nothing until then. */
  holdAll(until: number): void {
    this.#allHeldUntil = until;
  }

  /**
   * Gives back a message in flight that the server refused for a reason of its own. The messages of its channel wait with it, those
   * of other channels pass by.
   * @param duration how long they wait, in ms
   */
  holdChannel(entry: Entry, now: number, duration: number): void {
    const queue = this.#queueOf(entry.channel);
    if (queue.bucket !== undefined && queue.dueAt < now + duration) this.#held.remove(queue);
    if (queue.bucket === undefined) this.#held.add(queue, now, duration);
    this.giveBack(entry);
  }

  /** Lets queues go on that were held back until now. */
  release(now: number): void {
    for (let queue = this.#held.takeDue(now); queue !== undefined; queue = this.#held.takeDue(now)) {
      this.#free(queue);
    }
  }

  /** Whether nothing is sent because of `holdAll`. */
  isHeld(now: number): boolean {
    return now < this.#allHeldUntil;
  }

  /** Returns when something that is held back may go on; Infinity if nothing is. */
  nextRelease(now: number): number {
    return Math.min(now < this.#allHeldUntil ? this.#allHeldUntil : Infinity, this.#held.next());
  }

  /**
   * Takes everything in flight back, because the session has ended. Nothing is held any more. On the next session, what was sent
   * before goes first, in the order of publishing.
   * @param session its ordinal
   */
  recall(session: number): void {
    this.#allHeldUntil = -Infinity;
    const back: Entry[] = [];
    this.inFlight.drainInto(back);
    for (const queue of this.#mute) queue.mute?.entries.drainInto(back);
    this.#mute.clear();
    for (const queue of this.#queues.values()) {
      queue.mute = undefined;
      queue.closed = false;
    }
    for (const entry of back) {
      this.#withdraw(entry);
      const trouble = (entry.trouble ??= new Trouble());
      if (trouble.unansweredOn === 0) trouble.unansweredOn = session;
    }
    for (let queue = this.#held.takeDue(Infinity); queue !== undefined; queue = this.#held.takeDue(Infinity));
    if (this.#strict) this.#recallStrict(back);
    else this.#recallPipelined(back);
  }

  /** Returns all messages that are not settled, in the order of publishing. */
  all(): Entry[] {
    const entries: Entry[] = [];
    this.inFlight.copyInto(entries);
    this.waiting.copyInto(entries);
    for (const queue of [this.#main, ...this.#queues.values()]) {
      queue.mute?.entries.copyInto(entries);
      queue.returned.copyInto(entries);
      queue.fresh.copyInto(entries);
    }
    return entries.sort(byOrder);
  }

  /** The number of channels that have a queue of their own. */
  get queues(): number {
    return this.#queues.size;
  }

  #fits(size: number): boolean {
    return this.pending < this.#options.maxPending && this.pendingBytes + size <= this.#options.maxPendingBytes;
  }

  #admit(entry: Entry): void {
    this.pending++;
    this.pendingBytes += entry.size;
    const queue = this.#strict ? this.#queueOf(entry.channel) : this.#main;
    entry.queue = queue;
    queue.fresh.push(entry);
    if (!queue.ready && queue.canSend) this.#ready.push(queue);
  }

  /** Admits messages that wait for room, those that have waited longest first. */
  #admitWaiting(): void {
    for (let entry = this.waiting.head; entry !== undefined && this.#fits(entry.size); entry = this.waiting.head) {
      this.waiting.remove(entry);
      this.#admit(entry);
    }
  }

  #queueOf(channel: string): SendQueue {
    let queue = this.#queues.get(channel);
    if (queue === undefined) {
      queue = new SendQueue(channel, this.#strict ? 1 : Infinity);
      this.#queues.set(channel, queue);
    }
    return queue;
  }

  #sent(sending: Sending, list: Entries): void {
    const { entry } = sending;
    const queue = entry.queue as SendQueue;
    (entry.list as Entries).remove(entry);
    list.push(entry);
    queue.inFlight++;
    this.#refresh(queue);
    this.#count(entry);
    entry.sending = sending;
  }

  #count(entry: Entry): void {
    if (entry.attempts++ > 0) this.resent++;
  }

  #leave(entry: Entry): void {
    this.pending--;
    this.pendingBytes -= entry.size;
    const queue = entry.queue as SendQueue;
    if (entry.sending !== undefined) this.#withdraw(entry);
    this.#refresh(queue);
    this.#dropIfEmpty(queue);
  }

  /** Notes that a message is not in flight any more. */
  #withdraw(entry: Entry): void {
    (entry.queue as SendQueue).inFlight--;
    (entry.sending as Sending).owed = false;
    entry.sending = undefined;
  }

  /** Lets a queue go on, unless something else holds it back. */
  #free(queue: SendQueue): void {
    if (queue.held) return;
    if (!this.#strict) {
      this.#unpark(queue);
      this.#refresh(this.#main);
      return;
    }
    // Its messages are most likely older than those that wait elsewhere.
    if (queue.canSend && !queue.ready) this.#ready.unshift(queue);
    this.#dropIfEmpty(queue);
  }

  /** Moves a message out of the main queue while its channel is held back, with 'pipelined'. */
  #park(entry: Entry, held: SendQueue): void {
    (entry.list as Entries).remove(entry);
    held.returned.insert(entry);
    this.#refresh(this.#main);
  }

  /** Moves parked messages back into the main queue, with 'pipelined'. They are older than what is fresh there. */
  #unpark(held: SendQueue): void {
    this.#main.returned.merge(held.returned);
    this.#queues.delete(held.channel);
  }

  /** Moves messages in flight back into their queues. These queues are first in turn, in the order of their messages. */
  #giveBack(entries: Entry[]): void {
    entries.sort(byOrder);
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i] as Entry;
      const queue = entry.queue as SendQueue;
      (entry.list as Entries).remove(entry);
      this.#withdraw(entry);
      queue.returned.insert(entry);
      if (queue.ready) this.#ready.remove(queue);
      if (queue.canSend) this.#ready.unshift(queue);
    }
  }

  #recallPipelined(back: Entry[]): void {
    for (const queue of this.#queues.values()) this.#unpark(queue);
    const { returned } = this.#main;
    returned.drainInto(back);
    for (const entry of back.sort(byOrder)) returned.push(entry);
    this.#refresh(this.#main);
  }

  #recallStrict(back: Entry[]): void {
    for (const entry of back) (entry.queue as SendQueue).returned.insert(entry);
    const sentBefore: SendQueue[] = [];
    const others: SendQueue[] = [];
    for (const queue of this.#queues.values()) {
      if (queue.ready) this.#ready.remove(queue);
      if (queue.returned.size > 0) sentBefore.push(queue);
      else if (queue.fresh.size > 0) others.push(queue);
      else this.#dropIfEmpty(queue);
    }
    for (const queue of sentBefore.sort(byFirst)) this.#ready.push(queue);
    for (const queue of others.sort(byFirst)) this.#ready.push(queue);
  }

  #refresh(queue: SendQueue): void {
    if (queue.canSend) {
      if (!queue.ready) this.#ready.push(queue);
    } else if (queue.ready) {
      this.#ready.remove(queue);
    }
  }

  #dropIfEmpty(queue: SendQueue): void {
    if (!this.#strict || !queue.empty || queue.held) return;
    if (this.#queues.size > KEPT_QUEUES) this.#queues.delete(queue.channel);
  }
}

function byOrder(a: Entry, b: Entry): number {
  return a.order - b.order;
}

function bySending(a: Entry, b: Entry): number {
  return (a.sending?.number ?? 0) - (b.sending?.number ?? 0);
}

function byFirst(a: SendQueue, b: SendQueue): number {
  return ((a.returned.head ?? a.fresh.head)?.order ?? 0) - ((b.returned.head ?? b.fresh.head)?.order ?? 0);
}
