/**
 * Reads from the front of what has arrived the frames of NATS that bring messages to certain subscriptions. The wrapped
 * client's parser turns up to 4 KB into a string and runs an expression over it for every frame; these are nearly all
 * frames there are. Whatever else comes, and whatever looks unusual, is left to that parser.
 *
 * Pure, but for the callbacks.
 */

/** Who gets the payload of a frame, as a string with one character per byte; undefined: leave the frame to the parser. */
export type Receiver = (sid: number) => ((payload: string) => void) | undefined;

export interface Reading {
  /** So many bytes are read. */
  consumed: number;
  /** So many after these are for the parser, one frame if that can be told; 0: none, before more has arrived. */
  parse: number;
  /** What follows is no message, but another line; all of it, if `parse` is finite. */
  line: boolean;
}

const SPACE = 32;
const CR = 13;
const LF = 10;
const ZERO = 48;
const NINE = 57;
const M = 77;
const S = 83;
const G = 71;
/** `MSG `, the shortest subject and number, and a length: below that there is nothing to see. */
const SHORTEST = 12;
/** A line is not longer than this; the parser has the same limit. */
export const LONGEST_LINE = 4096;
/**
 * The rest of a frame up to this length is waited for here. To go on then costs a copy of all that arrives, which is little
 * for the many small frames it has; for large ones, the parser does better.
 */
const SMALL = 4096;

/** What {@link readLine} found: an object would be one for every frame. */
let sid = 0;
/** Where the payload is. */
let start = 0;
let end = 0;

/** Reads `MSG <subject> <sid> [reply] <length>`, and says whether that is what stands there. */
function readLine(inbound: Buffer, at: number): 'message' | 'cut off' | 'other' {
  const limit = Math.min(inbound.length, at + LONGEST_LINE);
  let spaces = 0;
  let number = 0;
  let position = at + 4;
  let word = position;
  for (; position < limit; position++) {
    const byte = inbound[position]!;
    if (byte === CR) break;
    if (byte === SPACE) {
      // Two in a row are for the parser.
      spaces = position === word ? 4 : spaces + 1;
      word = position + 1;
      number = 0;
    } else {
      // Only the second word and the last have to be numbers.
      number = byte >= ZERO && byte <= NINE ? number * 10 + byte - ZERO : NaN;
      if (spaces === 1) sid = number;
    }
  }
  if (position >= limit - 1) return limit === inbound.length ? 'cut off' : 'other';
  start = position + 2;
  end = start + number;
  const usual = inbound[position + 1] === LF && (spaces === 2 || spaces === 3) && position > word;
  return usual && number >= 0 && sid >= 0 ? 'message' : 'other';
}

/** How long the frame is that begins here with something else than `MSG `; Infinity if its end is not there. */
function lineLength(inbound: Buffer, at: number): number {
  const lineEnd = inbound.indexOf('\r\n', at);
  return lineEnd < 0 ? Infinity : lineEnd + 2 - at;
}

/**
 * @param alive asked after each callback: a callback may end the connection
 * @param largest the most bytes that a payload may have
 * @throws Error when one has more
 */
export function readFrames(
  inbound: Buffer,
  receiver: Receiver,
  alive: () => boolean,
  largest = Number.POSITIVE_INFINITY,
): Reading {
  const { length } = inbound;
  let at = 0;
  while (length - at >= SHORTEST) {
    if (inbound[at] !== M || inbound[at + 1] !== S || inbound[at + 2] !== G || inbound[at + 3] !== SPACE) {
      return { consumed: at, parse: lineLength(inbound, at), line: true };
    }
    const kind = readLine(inbound, at);
    if (kind !== 'message') return { consumed: at, parse: kind === 'cut off' ? 0 : Infinity, line: false };
    if (end - start > largest) throw new Error(tooLarge(end - start, largest));
    const next = end + 2;
    const onPayload = receiver(sid);
    if (onPayload === undefined) return { consumed: at, parse: next - at, line: false };
    if (next > length) return { consumed: at, parse: next - at <= SMALL ? 0 : Infinity, line: false };
    at = next;
    onPayload(inbound.toString('latin1', start, end));
    if (!alive()) return { consumed: at, parse: 0, line: false };
  }
  // A `PING`, a `PONG`, or the beginning of something longer.
  const rest = length - at;
  const message = inbound[at] === M && (rest < 2 || inbound[at + 1] === S) && (rest < 3 || inbound[at + 2] === G);
  return {
    consumed: at,
    parse: rest === 0 ? 0 : message ? Infinity : lineLength(inbound, at),
    line: rest > 0 && !message,
  };
}

export const tooLarge = (size: number, largest: number): string =>
  `a message of ${size} bytes came, and ${largest} are the most that this server may send`;
