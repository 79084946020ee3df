/**
 * Reads the frames of NATS that bring messages to certain subscriptions from the received bytes. The parser of the wrapped
 * client turns up to 4 KB into a string and applies a regular expression for each frame, and nearly all frames are of this
 * kind. Other and unusual frames are left to that parser.
 *
 * Pure, except for the callbacks.
 */

/**
 * Returns the function that takes the payloads of a subscription, as strings with one character per byte; undefined to leave
 * the frame to the parser.
 */
export type Receiver = (sid: number) => ((payload: string) => void) | undefined;

export interface Reading {
  /** The number of bytes that were read. */
  consumed: number;
  /** The number of bytes behind them for the parser: one frame if its end is known; 0 if more has to arrive first. */
  parse: number;
  /** Whether a line other than a message follows. The whole line has arrived if `parse` is finite. */
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
/** The fewest bytes that are looked at. A whole message frame is longer. */
const SHORTEST = 12;
/** The longest line that is read, in bytes. The parser has the same limit. */
export const LONGEST_LINE = 4096;
/**
 * The longest frame whose rest is waited for here, in bytes. The wait costs a copy of all received bytes, which is little for
 * small frames. The parser is better for large ones.
 */
const SMALL = 4096;

/** The number of the subscription that {@link readLine} found. A returned object would cost one for each frame. */
let sid = 0;
/** The first byte of the payload and the byte behind it. */
let start = 0;
let end = 0;

/** Reads `MSG <subject> <sid> [reply] <length>`. Returns whether the bytes are such a line. */
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
      // A line with two spaces in a row is left to the parser.
      spaces = position === word ? 4 : spaces + 1;
      word = position + 1;
      number = 0;
    } else {
      // Only the second and the last word have to be numbers.
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

/** Returns the length of a frame that does not begin with `MSG `; Infinity if its end has not arrived. */
function lineLength(inbound: Buffer, at: number): number {
  const lineEnd = inbound.indexOf('\r\n', at);
  return lineEnd < 0 ? Infinity : lineEnd + 2 - at;
}

/**
 * Reads frames and calls the receivers.
 * @param alive is called after each callback, because a callback may end the connection
 * @param largest the most bytes of a payload
 * @throws Error when a payload has more bytes
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
  // The rest is a `PING`, a `PONG`, or the beginning of a longer frame.
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
