/**
 * Messages that are not processed and that no handler has: their handler failed, or left them unacknowledged, or they were
 * lost on their way. The server sends them again after `ackWait`; but it may have forgotten them, or have them no more. So each
 * has a deadline of its own, after which it is fetched by its number. Pure.
 */
import type { ReceivedMessage } from './message.js';

export interface Unfinished {
  readonly sequence: number;
  /** Its timestamp, by which it is told from a message of a new channel; NaN: it never came. */
  readonly time: number;
  /** When it is fetched, by our clock; Infinity while it is being fetched. */
  due: number;
  /** In which session, counted up, the server sent it to us last. */
  session: number;
  /** It was fetched by its number, so that the server does not know that we have it. */
  fetched: boolean;
  /** Until then, by our clock, whoever has it may still acknowledge it: the `ackWait` of that member. */
  readonly reservedUntil: number;
  /** With `manualAck`: the handler had it, is through, and may still acknowledge it. */
  readonly handed: ReceivedMessage | undefined;
  /** How often it was put off because nobody knew whether the group has members elsewhere. */
  waits: number;
}

/** A range of sequences, both ends included, and what is wanted of it. */
export interface FetchRange {
  from: number;
  to: number;
  wanted: Map<number, Unfinished>;
}

/** It costs less to read so many messages in between than to ask twice. */
const WORTH_IT = 100;

export class UnfinishedMessages {
  readonly #messages = new Map<number, Unfinished>();
  /** No deadline is earlier. */
  #earliest = Infinity;

  get size(): number {
    return this.#messages.size;
  }

  /** When there may be something to fetch; Infinity if there is nothing. */
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

  /** It is to be fetched later. */
  postpone(message: Unfinished, due: number): void {
    if (this.#messages.get(message.sequence) !== message) return;
    message.due = due;
    if (due < this.#earliest) this.#earliest = due;
  }

  /** Those that this holds for are fetched no later than then. */
  hasten(which: (message: Unfinished) => boolean, due: number): void {
    for (const message of this.#messages.values()) {
      if (message.due > due && which(message)) message.due = due;
      if (message.due < this.#earliest) this.#earliest = message.due;
    }
  }

  /** Those whose time has come, at most so many; they are being fetched from now on. */
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

/** The ranges to ask for, in order, each no longer than `longest`. */
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
