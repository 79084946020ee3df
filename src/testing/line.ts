/** A line of limited bandwidth: it says when the bytes that are sent over it have arrived. Pure: the time is passed in, in ms. */

/**
 * A direction of a connection: `'upstream'` from the client to the server, `'downstream'` back.
 * @category Network
 */
export type Direction = 'upstream' | 'downstream';

/** The length of a piece, in ms at the rate of the line. Pieces are short, so that bytes move all the time as on a real line. */
const PIECE_MS = 10;

/** The smallest piece, in bytes. It is about the smallest packet of a network. */
const SMALLEST_PIECE = 64;

/** For how long the line may catch up after a late timer, in ms. */
const CATCH_UP_MS = 100;

/** How much a line stores by default, in ms at its rate. A router's queue stores about as much. */
const BUFFER_MS = 100;
/** How much a line stores by default at least, in bytes. */
const LEAST_BUFFER = 16_000;

/** The default for the `buffer` of a line, in KB of 1000 bytes. */
export function defaultBuffer(rate: number): number {
  return Math.max(rate * BUFFER_MS, LEAST_BUFFER) / 1000;
}

/**
 * One direction of a line. A user takes a turn for one piece, and its next turn when that piece has arrived. So several
 * users of one line get equal parts of it.
 */
export class Line {
  /** The rate, in bytes a ms, which is KB a second. */
  readonly #rate: number;
  /** When the last turn that was taken ends. */
  #taken = 0;

  constructor(rate: number) {
    this.#rate = rate;
  }

  /** The largest piece for one turn, in bytes. */
  get piece(): number {
    return Math.max(Math.floor(this.#rate * PIECE_MS), SMALLEST_PIECE);
  }

  /** Takes the next turn for `bytes` that wait since `since`. Returns when the last of them has arrived. */
  take(bytes: number, since: number, now: number): number {
    this.#taken = Math.max(this.#taken, since, now - CATCH_UP_MS) + bytes / this.#rate;
    return this.#taken;
  }
}

/** The two directions of a line that several connections share. */
export type SharedLine = Readonly<Record<Direction, Line>>;

const shared = new WeakMap<object, SharedLine>();

/** The line of a toxic. The same object has the same line, to however many proxies it is added. */
export function sharedLine(toxic: { rate: number }): SharedLine {
  let line = shared.get(toxic);
  if (!line) {
    line = { upstream: new Line(toxic.rate), downstream: new Line(toxic.rate) };
    shared.set(toxic, line);
  }
  return line;
}
