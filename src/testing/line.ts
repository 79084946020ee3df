/** A thin line: what it carries at a time, and when that has arrived. Pure: the time is passed in, in ms. */

/** Upstream: from the client to the server. Downstream: back. */
export type Direction = 'upstream' | 'downstream';

/** Data leaves in pieces of what so many ms carry, so that bytes move all the time, as on a real line. */
const PIECE_MS = 10;

/** No piece is smaller than this, in bytes: about the smallest packet there is. */
const SMALLEST_PIECE = 64;

/** A timer that fires late is made up for, but for no more than so many ms: what was not used is gone. */
const CATCH_UP_MS = 100;

/** How long a line stores, in ms at its rate, and the least in bytes, if nobody says: about what a router's queue does. */
const BUFFER_MS = 100;
const LEAST_BUFFER = 16_000;

/** The `buffer` of a line for which none was given, in KB of 1000 bytes. */
export function defaultBuffer(rate: number): number {
  return Math.max(rate * BUFFER_MS, LEAST_BUFFER) / 1000;
}

/**
 * One direction of a line. Whoever uses it takes a turn for one piece, and the next one when that has arrived: so users
 * that share a line get equal parts of it.
 */
export class Line {
  /** In bytes a ms, which is KB a second. */
  readonly #rate: number;
  /** Until when it is taken. */
  #taken = 0;

  constructor(rate: number) {
    this.#rate = rate;
  }

  /** The most it carries in one turn, in bytes. */
  get piece(): number {
    return Math.max(Math.floor(this.#rate * PIECE_MS), SMALLEST_PIECE);
  }

  /** Takes the next turn for `bytes` that have waited `since` then. Returns when the last of them has arrived. */
  take(bytes: number, since: number, now: number): number {
    this.#taken = Math.max(this.#taken, since, now - CATCH_UP_MS) + bytes / this.#rate;
    return this.#taken;
  }
}

/** Both directions of a line that several connections share. */
export type SharedLine = Readonly<Record<Direction, Line>>;

const shared = new WeakMap<object, SharedLine>();

/** The line that belongs to this toxic: the same one for the same object, whatever proxies it is added to. */
export function sharedLine(toxic: { rate: number }): SharedLine {
  let line = shared.get(toxic);
  if (!line) {
    line = { upstream: new Line(toxic.rate), downstream: new Line(toxic.rate) };
    shared.set(toxic, line);
  }
  return line;
}
