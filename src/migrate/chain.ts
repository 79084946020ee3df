/**
 * Which message of a channel goes out next, and what an answer of the target means. Pure.
 *
 * Messages go out many at a time, each as "stored only if it is number n, and behind the one with the ID of n − 1". The number
 * alone is not enough: when a foreign message takes number n, only message n is refused, and n + 1 would be stored behind it.
 *
 * After anything but a good answer a new run begins: nothing more is sent, the last number of the stream is read, and the
 * message behind it goes out alone, by its number only, because a server that has been restarted does not know the ID any
 * more. When that one is stored, the others follow.
 */
import { MESSAGE_TOO_LARGE, WRONG_LAST_ID, WRONG_LAST_SEQUENCE } from './api-errors.js';

/** A message of the channel, as the chain needs it. */
export interface Link {
  readonly sequence: number;
  /** Bytes that it takes in memory and on the wire. */
  readonly size: number;
}

/** How many messages may wait for their answers. */
export interface Window {
  readonly messages: number;
  readonly bytes: number;
}

/** What is to be sent. */
export interface Send<L> {
  readonly link: L;
  /** Whether the target has to know the message before by its ID. */
  readonly chained: boolean;
}

/** What an answer of the target says of a message. */
export type Answer =
  | { readonly stored: number }
  | { readonly refused: number; readonly text: string }
  /** Nobody listens on the subject, or no answer has come in time. */
  | { readonly silent: 'nobody' | 'timeout' };

/** What is to be done. `reread`: see what the stream has. `hopeless`: it would be refused each time. */
export type Verdict = 'stored' | 'reread' | 'hopeless';

/** The codes with which a server refuses what does not fit behind its last message. */
const OUT_OF_PLACE: readonly number[] = [WRONG_LAST_ID, ...WRONG_LAST_SEQUENCE];

export function verdictOf(sequence: number, answer: Answer): Verdict {
  if ('stored' in answer) return answer.stored === sequence ? 'stored' : 'reread';
  if ('refused' in answer && answer.refused === MESSAGE_TOO_LARGE) return 'hopeless';
  return 'reread';
}

/** Whether a refusal is about the place of the message, and not about the message or the server. */
export const isOutOfPlace = (answer: Answer): boolean => 'refused' in answer && OUT_OF_PLACE.includes(answer.refused);

export class Chain<L extends Link> {
  readonly #window: Window;
  readonly #onStored: (link: L) => void;
  /** What is taken and not stored for sure, by its number. */
  readonly #links = new Map<number, L>();
  #bytes = 0;
  /** All up to this one are stored. */
  #stored: number;
  /** The last one that was taken. */
  #taken: number;
  /** The last one that was sent in this run. */
  #sent: number;
  /** The answers that have come before those of messages with lower numbers. */
  readonly #early = new Set<number>();
  #state: 'alone' | 'running' | 'stopped' = 'alone';

  /**
   * @param stored the last number of the stream
   * @param onStored hears of each message once, when all up to it are stored
   */
  constructor(stored: number, window: Window, onStored: (link: L) => void = () => undefined) {
    this.#stored = stored;
    this.#taken = stored;
    this.#sent = stored;
    this.#window = window;
    this.#onStored = onStored;
  }

  /** All messages up to this number are in the stream. */
  get stored(): number {
    return this.#stored;
  }

  /** The last message that was taken. */
  get taken(): number {
    return this.#taken;
  }

  /** How many messages have no answer yet. */
  get unanswered(): number {
    return this.#sent - this.#stored - this.#early.size;
  }

  get hasRoom(): boolean {
    const { messages, bytes } = this.#window;
    return this.#links.size === 0 || (this.#links.size < messages && this.#bytes < bytes);
  }

  /** The message of a number, while it is not stored for sure. */
  link(sequence: number): L | undefined {
    return this.#links.get(sequence);
  }

  /** Takes the next message. Its number has to follow the last one. */
  take(link: L): void {
    if (link.sequence !== this.#taken + 1) {
      throw new RangeError(`message ${link.sequence} does not follow message ${this.#taken}`);
    }
    this.#taken = link.sequence;
    this.#links.set(link.sequence, link);
    this.#bytes += link.size;
  }

  /** The next message to be sent. Undefined when there is none now. */
  next(): Send<L> | undefined {
    if (this.#state === 'stopped' || this.#sent === this.#taken) return undefined;
    const chained = this.#state === 'running';
    if (!chained && this.#sent > this.#stored) return undefined;
    this.#sent++;
    return { link: this.#links.get(this.#sent)!, chained };
  }

  /** Message `sequence` of this run is stored. */
  storedAt(sequence: number): void {
    if (sequence <= this.#stored || sequence > this.#sent) return;
    if (this.#state === 'alone') this.#state = 'running';
    if (sequence !== this.#stored + 1) {
      this.#early.add(sequence);
      return;
    }
    do this.#drop(++this.#stored);
    while (this.#early.delete(this.#stored + 1));
  }

  /** Sends nothing more in this run. */
  stop(): void {
    this.#state = 'stopped';
  }

  /**
   * Begins a new run behind what the stream has.
   * @param last the last number of the stream, of which it is known that it is ours: not below `stored` and not above `taken`
   */
  resume(last: number): void {
    if (last < this.#stored || last > this.#taken) {
      throw new RangeError(`the stream ends at ${last}, not between ${this.#stored} and ${this.#taken}`);
    }
    while (this.#stored < last) this.#drop(++this.#stored);
    this.#sent = last;
    this.#early.clear();
    this.#state = 'alone';
  }

  #drop(sequence: number): void {
    const link = this.#links.get(sequence)!;
    this.#bytes -= link.size;
    this.#links.delete(sequence);
    this.#onStored(link);
  }
}
