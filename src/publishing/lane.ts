import { Entries } from './entries.js';
import type { Timed, TimedQueue } from './deadlines.js';
import type { Muteness } from './muteness.js';

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
