/**
 * Holds the messages that are not processed and that no handler has: their handler failed or left them unacknowledged, or they
 * were lost on their way. The server sends them again after `ackWait`, unless it has forgotten them or no longer stores them.
 * So each has a deadline, after which it is fetched by its number. Pure.
 */
import type { ReceivedMessage } from './message.js';

export interface Unfinished {
  readonly sequence: number;
  /** The timestamp in ns, which tells the message from one of a new channel; NaN if the message never came. */
  readonly time: number;
  /** When the message is fetched, in ms of the clock; Infinity while it is being fetched. */
  due: number;
  /** The number of the session in which the server last sent the message. */
  session: number;
  /** Whether the message was fetched by its number, so that the server does not know that we have it. */
  fetched: boolean;
  /**
   * The time until which its holder may still acknowledge it, in ms of the clock. It follows from the `ackWait` of that member.
   */
  readonly reservedUntil: number;
  /** The message itself if its handler had it and may still acknowledge it, with `manualAck`. */
  readonly handed: ReceivedMessage | undefined;
  /** How often the fetch was put off because it was not known whether the group has other members. */
  waits: number;
}

/** A range of sequences, both ends included, and the messages in it that are wanted. */
export interface FetchRange {
  from: number;
  to: number;
  wanted: Map<number, Unfinished>;
}

/** The most messages in between that are read to save a second fetch. */
const WORTH_IT = 100;

export class UnfinishedMessages {
  readonly #messages = new Map<number, Unfinished>();
  /** A time before which no message is due, in ms of the clock. */
  #earliest = Infinity;

  get size(): number {
    return this.#messages.size;
  }

  /** The time before which nothing has to be fetched, in ms of the clock; Infinity if there is no message. */
  get earliest(): number {
    return this.#messages.size === 0 ? Infinity : this.#earliest;
  }

  get(sequence: number): Unfinished | undefined {
    return this.#messages.get(sequence);
  }

  add(message: Omit<Unfinished, 'waits'>): void {
    this.#messages.set(message.sequence, { ...message, waits: 0 });
    if (message.due < this.#earliest) this.#earliest = message.due;
  }

  delete(sequence: number): void {
    this.#messages.delete(sequence);
  }

  /** Puts off the fetch of a message. */
  postpone(message: Unfinished, due: number): void {
    if (this.#messages.get(message.sequence) !== message) return;
    message.due = due;
    if (due < this.#earliest) this.#earliest = due;
  }

  /** Moves the fetch of some messages forward to a time, if it is later. */
  hasten(which: (message: Unfinished) => boolean, due: number): void {
    for (const message of this.#messages.values()) {
      if (message.due > due && which(message)) message.due = due;
      if (message.due < this.#earliest) this.#earliest = message.due;
    }
  }

  /** Returns the messages that are due, at most `most` of them. They count as being fetched from then on. */
  takeDue(now: number, most: number): Unfinished[] {
    const due: Unfinished[] = [];
    let earliest = Infinity;
    for (const message of this.#messages.values()) {
      if (message.due <= now && due.length < most) {
        message.due = Infinity;
        due.push(message);
      } else if (message.due < earliest) earliest = message.due;
    }
    this.#earliest = earliest;
    return due;
  }

  [Symbol.iterator](): Iterator<Unfinished> {
    return this.#messages.values();
  }

  clear(): void {
    this.#messages.clear();
    this.#earliest = Infinity;
  }
}

/** Returns the ranges to fetch, in ascending order, each with at most `longest` sequences. */
export function fetchRanges(messages: readonly Unfinished[], longest: number): FetchRange[] {
  const ranges: FetchRange[] = [];
  for (const message of [...messages].sort((a, b) => a.sequence - b.sequence)) {
    const { sequence } = message;
    let range = ranges.at(-1);
    if (range === undefined || sequence > range.to + WORTH_IT || sequence >= range.from + longest) {
      range = { from: sequence, to: sequence, wanted: new Map() };
      ranges.push(range);
    }
    range.to = sequence;
    range.wanted.set(sequence, message);
  }
  return ranges;
}
