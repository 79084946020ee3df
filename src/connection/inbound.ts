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
  /** What is left is the beginning of a frame of ours, and no parser is needed before more has arrived. */
  waiting: boolean;
}

const SPACE = 32;
const CR = 13;
const LF = 10;
const ZERO = 48;
const M = 77;
const S = 83;
const G = 71;
/** `MSG `, the shortest subject and number, and a length: below that there is nothing to see. */
const SHORTEST = 12;
/** A line is not longer than this; the parser has the same limit. */
const LONGEST_LINE = 4096;
/**
 * The rest of a frame up to this length is waited for here. To go on then costs a copy of all that arrives, which is little
 * for the many small frames it has; for large ones, the parser does better.
 */
const SMALL = 4096;

/**
 * @param alive asked after each callback: a callback may end the connection
 */
export function readFrames(inbound: Buffer, receiver: Receiver, alive: () => boolean): Reading {
  const length = inbound.length;
  let at = 0;
  while (length - at >= SHORTEST) {
    if (inbound[at] !== M || inbound[at + 1] !== S || inbound[at + 2] !== G || inbound[at + 3] !== SPACE) break;

    // MSG <subject> <sid> [reply] <length>
    const limit = Math.min(length, at + LONGEST_LINE);
    let spaces = 0;
    let sid = 0;
    let size = 0;
    let position = at + 4;
    let byte = 0;
    let word = position;
    for (; position < limit; position++) {
      byte = inbound[position]!;
      if (byte === CR) break;
      if (byte === SPACE) {
        // Two in a row are for the parser.
        spaces = position === word ? 4 : spaces + 1;
        word = position + 1;
        size = 0;
      } else {
        const digit = byte - ZERO;
        // Only the last word has to be a number, and the second.
        size = digit >= 0 && digit <= 9 ? size * 10 + digit : NaN;
        if (spaces === 1) sid = size;
      }
    }
    if (position >= limit - 1) return { consumed: at, waiting: limit === length };
    const usual = inbound[position + 1] === LF && (spaces === 2 || spaces === 3) && position > word && size >= 0;
    const onPayload = usual && sid >= 0 ? receiver(sid) : undefined;
    if (onPayload === undefined) break;

    const start = position + 2;
    const end = start + size;
    if (end + 2 > length) return { consumed: at, waiting: end - at <= SMALL };
    at = end + 2;
    onPayload(inbound.toString('latin1', start, end));
    if (!alive()) break;
  }
  return { consumed: at, waiting: at === length };
}
