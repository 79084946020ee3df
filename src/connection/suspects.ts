/**
 * Who is to blame when a server ends a session with words that are not known. What was in hand when it happened is suspect;
 * the next sessions take one thing in hand at a time, and what was in hand alone several times is it. Pure.
 */

import type { ServerComplaint } from './link.js';

/** Something that was asked of the server, and that it has not answered. */
export interface InHand {
  /** The same from session to session. */
  readonly key: object | string;
  /** Its longest line in the protocol, in bytes; 0 when its lines have a length that does not depend on it. */
  readonly line: number;
  /** Gives it up for good, with the server's words. */
  giveUp(complaint: ServerComplaint): void;
}

/** So often it has to have been in hand alone. */
const TIMES = 3;

export class Suspects {
  readonly #times = new Map<object | string, number>();

  /** A session ended over what was in hand. @returns whoever is to blame, as far as that is known */
  accuse(inHand: readonly InHand[]): InHand | undefined {
    const [only] = inHand;
    if (only === undefined || inHand.length > 1) return undefined;
    const times = (this.#times.get(only.key) ?? 0) + 1;
    this.#times.set(only.key, times);
    return times >= TIMES ? only : undefined;
  }

  /** A session lasted: nothing is held against anybody any more. */
  acquit(): void {
    this.#times.clear();
  }
}

/** Of a line that was too long: the longest. */
export function longestOf(inHand: readonly InHand[]): InHand | undefined {
  let longest: InHand | undefined;
  for (const each of inHand) if (each.line > (longest?.line ?? 0)) longest = each;
  return longest;
}
