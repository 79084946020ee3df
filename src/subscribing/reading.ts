/**
 * Decides about the messages of a finite read: which of them are handed over, where the next page starts, and which messages
 * are gone. Pure.
 *
 * The messages come in pages. Each page starts at the last message before, the anchor, whose timestamp shows that the channel is
 * still the same. A page may break off anywhere, and the next one goes on behind the last message that was taken.
 */
import type { Gap, Position } from './cursor.js';

/** The payload that one page may have, in bytes. One message may be larger. */
const PAGE_BYTES = 4 * 1024 * 1024;
/** The payload with which a page ends before its time: its messages are larger than those by which its size was chosen. */
const FULL_PAGE = 2 * PAGE_BYTES;
/** The fewest messages of the first page, and the most of any. */
const FIRST_PAGE = 32;
const LARGEST_PAGE = 1000;
/** How much larger than the page before a page may be. */
const GROWTH = 4;
/** The number of pages in a row that must leave out a stored message until it counts as missing in the store. */
const INSIST = 3;
/** The number of pages in a row that bring nothing although something is stored, until the read gives up. */
const GIVE_UP = 5;
/** Wait for the next message of a page, in ms. It doubles while pages bring nothing, because a slow line needs longer. */
const PATIENCE = 1000;

export interface ReadingStart {
  /** The first sequence that is wanted. */
  from: number;
  /** The last sequence that is wanted. It is stored when the read begins. */
  to: number;
  /** Whether the caller has named `from`, so that missing messages from there on are a gap. */
  named: boolean;
  /** The timestamp from which on messages are wanted, in ns. */
  notBefore: number;
}

/** What is to be asked after a page. */
export type Next =
  /** The next page. */
  | 'page'
  /** The oldest stored message, because messages were left out. */
  | 'oldest'
  /** The newest stored message, because nothing came. */
  | 'newest'
  /** Nothing, because all is read or gone. */
  | 'over'
  /** Nothing, because the server does not send what it has stored. */
  | 'stuck';

export class Reading {
  readonly #to: number;
  readonly #notBefore: number;
  #next: number;
  /** Whether missing messages are a gap. */
  #named: boolean;
  #anchor: Position | undefined;
  /** Whether the anchor has to come before any other message of the page. */
  #anchorDue = false;
  /** Where the page left out messages: the first one, and the one that came instead. */
  #leap: { from: number; to: number } | undefined;
  /** The first sequence that does not belong to the page. */
  #pageEnd = 0;
  /** Where the last pages left out messages, the lowest sequence that came instead, and how many of these pages there were. */
  #leaps = { from: 0, to: 0, count: 0 };
  #silent = 0;
  #size = FIRST_PAGE;
  #messages = 0;
  #bytes = 0;
  #gaps: Gap[] = [];

  constructor({ from, to, named, notBefore }: ReadingStart) {
    this.#next = from;
    this.#to = to;
    this.#named = named;
    this.#notBefore = notBefore;
  }

  /** Whether there is nothing more to read. */
  get over(): boolean {
    return this.#next > this.#to;
  }

  /** The next sequence that is wanted. */
  get next(): number {
    return this.#next;
  }

  /** The last sequence that is wanted. */
  get to(): number {
    return this.#to;
  }

  /** Longest wait for the next message of the page, in ms. */
  get patience(): number {
    return PATIENCE * 2 ** this.#silent;
  }

  /** Begins a page. Returns its range, of which `to` is the first sequence that does not belong to it. */
  page(): { from: number; to: number } {
    this.#anchorDue = this.#anchor !== undefined;
    this.#leap = undefined;
    this.#messages = this.#bytes = 0;
    this.#pageEnd = Math.min(this.#next + this.#size, this.#to + 1);
    return { from: this.#anchor?.sequence ?? this.#next, to: this.#pageEnd };
  }

  /**
   * Takes a message of the page.
   * @param bytes returns the size of its payload
   * @returns 'keep' to hand it over, 'last' to do so and end the page with it, 'skip' to leave it out, 'stop' to end the page
   * without it
   */
  take(sequence: number, time: number, bytes: () => number): 'keep' | 'last' | 'skip' | 'stop' {
    const anchor = this.#anchor;
    if (anchor !== undefined && this.#anchorDue) {
      if (sequence < anchor.sequence || (sequence === anchor.sequence && time !== anchor.time)) {
        // The channel is another one of the same name, so the rest of the old one is gone.
        this.#goneUpTo(this.#to);
        return 'stop';
      }
      if (sequence > anchor.sequence) {
        this.#leap = { from: anchor.sequence, to: sequence };
        return 'stop';
      }
      this.#anchorDue = false;
      return 'skip';
    }
    if (sequence < this.#next) return 'skip';
    if (sequence > this.#next) {
      this.#leap = { from: this.#next, to: sequence };
      return 'stop';
    }
    this.#next = sequence + 1;
    this.#anchor = { sequence, time };
    this.#silent = 0;
    this.#messages++;
    this.#bytes += bytes();
    if (time < this.#notBefore) return 'skip';
    // From here on nothing may be missing.
    this.#named = true;
    if (this.#bytes < FULL_PAGE) return 'keep';
    this.#pageEnd = this.#next;
    return 'last';
  }

  /** Ends the page. @param silent whether it ended because no message came in time */
  ended(silent: boolean): Next {
    this.#resize();
    if (this.over) return 'over';
    if (!silent && this.#next < this.#pageEnd) {
      // A message behind the page came instead of the rest of it.
      const from = this.#anchorDue ? this.#anchor!.sequence : this.#next;
      this.#leap ??= { from, to: this.#pageEnd };
    }
    if (this.#leap !== undefined) return 'oldest';
    if (!silent || this.#messages > 0) return 'page';
    this.#silent++;
    return 'newest';
  }

  /** Takes the oldest stored message after a page left out messages. */
  oldest(oldest: Position | undefined): Next {
    const leap = this.#leap;
    if (leap === undefined) return 'page';
    if (oldest !== undefined && oldest.sequence > leap.from) {
      this.#goneUpTo(Math.min(oldest.sequence - 1, this.#to));
      if (this.#anchor !== undefined && this.#anchor.sequence < oldest.sequence) this.#anchor = undefined;
      return this.over ? 'over' : 'page';
    }
    const { from, to, count } = this.#leaps;
    this.#leaps = from === leap.from ? { from, to: Math.min(to, leap.to), count: count + 1 } : { ...leap, count: 1 };
    if (this.#leaps.count < INSIST) return 'page';
    // A store that was damaged may lack messages, and the server passes over them. Only what is below the lowest sequence was
    // left out each time.
    this.#anchor = undefined;
    this.#goneUpTo(Math.min(this.#leaps.to - 1, this.#to));
    this.#leaps.count = 0;
    return this.over ? 'over' : 'page';
  }

  /** Takes the newest stored message after a page that has brought nothing. */
  newest(newest: Position | undefined): Next {
    if (newest === undefined || newest.sequence < this.#next) {
      this.#goneUpTo(this.#to);
      return 'over';
    }
    return this.#silent < GIVE_UP ? 'page' : 'stuck';
  }

  /** Returns the messages that are gone, in their order, and forgets them. */
  takeGaps(): Gap[] {
    const gaps = this.#gaps;
    this.#gaps = [];
    return gaps;
  }

  #goneUpTo(sequence: number): void {
    if (sequence < this.#next) return;
    if (this.#named) this.#gaps.push({ from: this.#next, to: sequence });
    this.#next = sequence + 1;
  }

  /** Chooses the size of the next page by the size of the messages so far. */
  #resize(): void {
    if (this.#messages === 0) return;
    const fits = Math.floor((PAGE_BYTES * this.#messages) / Math.max(1, this.#bytes));
    this.#size = Math.max(1, Math.min(fits, GROWTH * this.#size, LARGEST_PAGE));
  }
}
