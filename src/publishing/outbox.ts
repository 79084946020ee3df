import { Deadlines } from './deadlines.js';
import { Entries, Lane, Muteness, ReadyLanes, Trouble, type Entry, type Sending } from './records.js';

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

/** So many lanes are kept with 'strict' although they are empty, because their channels are most likely used again. */
const KEPT_LANES = 256;

/**
 * Knows where every message stands until it is settled, and decides which one goes next. It knows no session, no timer and no
 * promise, and takes the time as an argument, in ms of one clock. A message goes through
 *
 * ```
 * (waiting for room) ──► queued in its lane ──► in flight ──► settled
 *                                 ▲                 │
 *                                 └── give back ────┘
 * ```
 * and every step takes constant time, however many messages there are. In flight are the messages in the window, and those of mute
 * channels, which take no room in the window.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #strict: boolean;
  /** The one lane of all channels, with 'pipelined'. */
  readonly #main: Lane;
  /** With 'strict' all lanes. With 'pipelined' those of channels that are held back, so that the others need not wait. */
  readonly #lanes = new Map<string, Lane>();
  readonly #ready = new ReadyLanes();
  readonly #held = new Deadlines<Lane>();
  readonly #mute = new Set<Lane>();
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
    this.#main = new Lane('', Infinity);
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
      const lane = this.#ready.head;
      if (lane === undefined) return undefined;
      const entry = (lane.returned.head ?? lane.fresh.head) as Entry;
      if (this.#strict || this.#lanes.size === 0) return entry;
      const held = this.#lanes.get(entry.channel);
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
   * of all channels. Each message goes back to its place in its lane.
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
    const lane = this.#laneOf(channel);
    lane.closed = true;
    this.#refresh(lane);
  }

  /** Ends `close`. */
  open(channel: string): void {
    const lane = this.#lanes.get(channel);
    if (lane === undefined || lane.mute !== undefined) return;
    lane.closed = false;
    this.#free(lane);
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
      const lane = this.#laneOf(entry.channel);
      if (lane.mute !== undefined) continue;
      lane.mute = new Muteness(at, now);
      if (entry.channel === probe.entry.channel) lane.mute.tried(probe, now);
      lane.closed = true;
      this.#refresh(lane);
      this.#mute.add(lane);
      found = true;
    }
    if (!found) return;
    for (let entry = this.inFlight.head; entry !== undefined;) {
      const { next } = entry;
      const muteness = this.#lanes.get(entry.channel)?.mute;
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
   * were sent before this acknowledged probe are lost, and go back to their lane.
   */
  endMute(channel: string, probe?: Sending): void {
    const lane = this.#lanes.get(channel);
    if (lane?.mute === undefined) return;
    const window: Entry[] = [];
    const lost: Entry[] = [];
    for (let entry = lane.mute.entries.head; entry !== undefined; entry = entry.next) {
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
    lane.mute = undefined;
    lane.closed = false;
    this.#mute.delete(lane);
    this.#free(lane);
  }

  /** The lanes of the mute channels. */
  get mute(): ReadonlySet<Lane> {
    return this.#mute;
  }

  /** Returns when a mute channel is to be tried again; Infinity if there is none. */
  nextTry(): number {
    let next = Infinity;
    for (const { mute } of this.#mute) next = Math.min(next, mute?.tryAt ?? Infinity);
    return next;
  }

  /** Returns the message to try a mute channel with: the oldest in flight, or else the first that waits to be sent. */
  toTry(lane: Lane): Entry | undefined {
    const inFlight = lane.mute?.entries.head;
    if (inFlight !== undefined || lane.queue !== undefined) return inFlight;
    return lane.returned.head ?? lane.fresh.head;
  }

  /** Moves a message out of the lane of a mute channel that is handed over now. */
  sentMute(lane: Lane, sending: Sending): void {
    this.#sent(sending, (lane.mute as Muteness).entries);
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

  /** Gives back a message in flight that the server refused, to its place in its lane. */
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
    const lane = this.#laneOf(entry.channel);
    if (lane.queue !== undefined && lane.dueAt < now + duration) this.#held.remove(lane);
    if (lane.queue === undefined) this.#held.add(lane, now, duration);
    this.giveBack(entry);
  }

  /** Lets lanes go on that were held back until now. */
  release(now: number): void {
    for (let lane = this.#held.takeDue(now); lane !== undefined; lane = this.#held.takeDue(now)) {
      this.#free(lane);
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
    for (const lane of this.#mute) lane.mute?.entries.drainInto(back);
    this.#mute.clear();
    for (const lane of this.#lanes.values()) {
      lane.mute = undefined;
      lane.closed = false;
    }
    for (const entry of back) {
      this.#withdraw(entry);
      const trouble = (entry.trouble ??= new Trouble());
      if (trouble.unansweredOn === 0) trouble.unansweredOn = session;
    }
    for (let lane = this.#held.takeDue(Infinity); lane !== undefined; lane = this.#held.takeDue(Infinity));
    if (this.#strict) this.#recallStrict(back);
    else this.#recallPipelined(back);
  }

  /** Returns all messages that are not settled, in the order of publishing. */
  all(): Entry[] {
    const entries: Entry[] = [];
    this.inFlight.copyInto(entries);
    this.waiting.copyInto(entries);
    for (const lane of [this.#main, ...this.#lanes.values()]) {
      lane.mute?.entries.copyInto(entries);
      lane.returned.copyInto(entries);
      lane.fresh.copyInto(entries);
    }
    return entries.sort(byOrder);
  }

  /** The number of channels that have a lane of their own. */
  get lanes(): number {
    return this.#lanes.size;
  }

  #fits(size: number): boolean {
    return this.pending < this.#options.maxPending && this.pendingBytes + size <= this.#options.maxPendingBytes;
  }

  #admit(entry: Entry): void {
    this.pending++;
    this.pendingBytes += entry.size;
    const lane = this.#strict ? this.#laneOf(entry.channel) : this.#main;
    entry.lane = lane;
    lane.fresh.push(entry);
    if (!lane.ready && lane.canSend) this.#ready.push(lane);
  }

  /** Admits messages that wait for room, those that have waited longest first. */
  #admitWaiting(): void {
    for (let entry = this.waiting.head; entry !== undefined && this.#fits(entry.size); entry = this.waiting.head) {
      this.waiting.remove(entry);
      this.#admit(entry);
    }
  }

  #laneOf(channel: string): Lane {
    let lane = this.#lanes.get(channel);
    if (lane === undefined) {
      lane = new Lane(channel, this.#strict ? 1 : Infinity);
      this.#lanes.set(channel, lane);
    }
    return lane;
  }

  #sent(sending: Sending, list: Entries): void {
    const { entry } = sending;
    const lane = entry.lane as Lane;
    (entry.list as Entries).remove(entry);
    list.push(entry);
    lane.inFlight++;
    this.#refresh(lane);
    this.#count(entry);
    entry.sending = sending;
  }

  #count(entry: Entry): void {
    if (entry.attempts++ > 0) this.resent++;
  }

  #leave(entry: Entry): void {
    this.pending--;
    this.pendingBytes -= entry.size;
    const lane = entry.lane as Lane;
    if (entry.sending !== undefined) this.#withdraw(entry);
    this.#refresh(lane);
    this.#dropIfEmpty(lane);
  }

  /** Notes that a message is not in flight any more. */
  #withdraw(entry: Entry): void {
    (entry.lane as Lane).inFlight--;
    (entry.sending as Sending).owed = false;
    entry.sending = undefined;
  }

  /** Lets a lane go on, unless something else holds it back. */
  #free(lane: Lane): void {
    if (lane.held) return;
    if (!this.#strict) {
      this.#unpark(lane);
      this.#refresh(this.#main);
      return;
    }
    // Its messages are most likely older than those that wait elsewhere.
    if (lane.canSend && !lane.ready) this.#ready.unshift(lane);
    this.#dropIfEmpty(lane);
  }

  /** Moves a message out of the main lane while its channel is held back, with 'pipelined'. */
  #park(entry: Entry, held: Lane): void {
    (entry.list as Entries).remove(entry);
    held.returned.insert(entry);
    this.#refresh(this.#main);
  }

  /** Moves parked messages back into the main lane, with 'pipelined'. They are older than what is fresh there. */
  #unpark(held: Lane): void {
    this.#main.returned.merge(held.returned);
    this.#lanes.delete(held.channel);
  }

  /** Moves messages in flight back into their lanes. These lanes are first in turn, in the order of their messages. */
  #giveBack(entries: Entry[]): void {
    entries.sort(byOrder);
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i] as Entry;
      const lane = entry.lane as Lane;
      (entry.list as Entries).remove(entry);
      this.#withdraw(entry);
      lane.returned.insert(entry);
      if (lane.ready) this.#ready.remove(lane);
      if (lane.canSend) this.#ready.unshift(lane);
    }
  }

  #recallPipelined(back: Entry[]): void {
    for (const lane of this.#lanes.values()) this.#unpark(lane);
    const { returned } = this.#main;
    returned.drainInto(back);
    for (const entry of back.sort(byOrder)) returned.push(entry);
    this.#refresh(this.#main);
  }

  #recallStrict(back: Entry[]): void {
    for (const entry of back) (entry.lane as Lane).returned.insert(entry);
    const sentBefore: Lane[] = [];
    const others: Lane[] = [];
    for (const lane of this.#lanes.values()) {
      if (lane.ready) this.#ready.remove(lane);
      if (lane.returned.size > 0) sentBefore.push(lane);
      else if (lane.fresh.size > 0) others.push(lane);
      else this.#dropIfEmpty(lane);
    }
    for (const lane of sentBefore.sort(byFirst)) this.#ready.push(lane);
    for (const lane of others.sort(byFirst)) this.#ready.push(lane);
  }

  #refresh(lane: Lane): void {
    if (lane.canSend) {
      if (!lane.ready) this.#ready.push(lane);
    } else if (lane.ready) {
      this.#ready.remove(lane);
    }
  }

  #dropIfEmpty(lane: Lane): void {
    if (!this.#strict || !lane.empty || lane.held) return;
    if (this.#lanes.size > KEPT_LANES) this.#lanes.delete(lane.channel);
  }
}

function byOrder(a: Entry, b: Entry): number {
  return a.order - b.order;
}

function bySending(a: Entry, b: Entry): number {
  return (a.sending?.number ?? 0) - (b.sending?.number ?? 0);
}

function byFirst(a: Lane, b: Lane): number {
  return ((a.returned.head ?? a.fresh.head)?.order ?? 0) - ((b.returned.head ?? b.fresh.head)?.order ?? 0);
}
