/**
 * Who is to blame when a server ends a session with words that are not known. What was in hand when it happened is suspect;
 * the next sessions take one thing in hand at a time, and what was in hand alone several times is it. Pure.
 */

import type { InHand } from './protocol.js';

/** So often it has to have been in hand alone, and over so long a time, in ms: some troubles pass. */
const TIMES = 3;
const LASTING = 2000;

export class Suspects {
  readonly #accused = new Map<object | string, { times: number; since: number }>();

  /** A session ended over what was in hand. @returns whoever is to blame, as far as that is known */
  accuse(inHand: readonly InHand[], now: number): InHand | undefined {
    const [only] = inHand;
    if (only === undefined || inHand.length > 1) return undefined;
    const { times, since } = this.#accused.get(only.key) ?? { times: 0, since: now };
    this.#accused.set(only.key, { times: times + 1, since });
    return times + 1 >= TIMES && now - since >= LASTING ? only : undefined;
  }

  /** A session lasted: nothing is held against anybody any more. */
  acquit(): void {
    this.#accused.clear();
  }
}

/** Of a line that was too long: the longest. */
export function longestOf(inHand: readonly InHand[]): InHand | undefined {
  let longest: InHand | undefined;
  for (const each of inHand) if (each.line > (longest?.line ?? 0)) longest = each;
  return longest;
}
