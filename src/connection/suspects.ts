/**
 * Who is to blame when a server ends a session with words of its own. What was in hand when it happened is suspect; the next
 * sessions take one thing in hand at a time, and what was in hand alone several times is it. Pure.
 */

import type { InHand } from './protocol.js';
import type { Complaint } from './server-texts.js';

/** So often it has to have been in hand alone, and over so long a time, in ms: some troubles pass. */
const TIMES = 3;
const LASTING = 2000;

export class Suspects {
  readonly #accused = new Map<object | string, { times: number; since: number }>();
  #careful = false;

  /** The next session takes one thing at a time: what is in hand when it ends is known to be the reason. */
  get careful(): boolean {
    return this.#careful;
  }

  /**
   * A server complained, and a session has ended over it.
   * @param inHand what that session was asked for, and had not answered
   * @returns whoever is to blame, as far as that is known
   */
  judge({ kind }: Complaint, inHand: readonly InHand[], now: number): InHand | undefined {
    let culprit: InHand | undefined;
    if (kind === 'control-line') culprit = longestOf(inHand);
    else if (kind !== 'unknown' && kind !== 'payload') return undefined;
    else if (this.#careful) culprit = this.accuse(inHand, now);
    // Known by its words, or in hand alone; otherwise the next session takes one thing at a time.
    if (culprit === undefined && inHand.length > 0) this.#careful = true;
    return culprit;
  }

  /** A session ended over what was in hand. @returns whoever is to blame, as far as that is known */
  accuse(inHand: readonly InHand[], now: number): InHand | undefined {
    const [only] = inHand;
    if (only === undefined || inHand.length > 1) return undefined;
    const { times, since } = this.#accused.get(only.key) ?? { times: 0, since: now };
    this.#accused.set(only.key, { times: times + 1, since });
    return times + 1 >= TIMES && now - since >= LASTING ? only : undefined;
  }

  /** A session lasted: nothing is held against anybody any more. @returns whether it was a careful one */
  acquit(): boolean {
    const careful = this.#careful;
    this.#accused.clear();
    this.#careful = false;
    return careful;
  }
}

/** Of a line that was too long: the longest. */
export function longestOf(inHand: readonly InHand[]): InHand | undefined {
  let longest: InHand | undefined;
  for (const each of inHand) if (each.line > (longest?.line ?? 0)) longest = each;
  return longest;
}
