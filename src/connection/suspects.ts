/**
 * Finds the request that made a server end a session with a complaint. All requests without an answer at that moment are
 * suspect. The next sessions take one request at a time, and a request that was the only one several times is to blame. Pure.
 */

import type { InHand } from './protocol.js';
import type { Complaint } from './server-texts.js';

/**
 * The number of sessions that a request must end alone, and the shortest time over which it must do so, in ms. Some troubles
 * pass.
 */
const TIMES = 3;
const LASTING = 2000;

export class Suspects {
  readonly #accused = new Map<object | string, { times: number; since: number }>();
  #careful = false;

  /** Whether the next session takes one request at a time, so that the reason of its end is known. */
  get careful(): boolean {
    return this.#careful;
  }

  /**
   * Judges a session that ended with a complaint.
   * @param inHand the requests without an answer
   * @returns the request that is to blame, if it is known
   */
  judge({ kind }: Complaint, inHand: readonly InHand[], now: number): InHand | undefined {
    let culprit: InHand | undefined;
    if (kind === 'control-line') culprit = longestOf(inHand);
    else if (kind !== 'unknown' && kind !== 'payload') return undefined;
    else if (this.#careful) culprit = this.accuse(inHand, now);
    // If the request is not known, the next session takes one at a time.
    if (culprit === undefined && inHand.length > 0) this.#careful = true;
    return culprit;
  }

  /**
   * Counts a session against a request if that was the only one. Returns the request if it is to blame, as far as that is
   * known.
   */
  accuse(inHand: readonly InHand[], now: number): InHand | undefined {
    const [only] = inHand;
    if (only === undefined || inHand.length > 1) return undefined;
    const { times, since } = this.#accused.get(only.key) ?? { times: 0, since: now };
    this.#accused.set(only.key, { times: times + 1, since });
    return times + 1 >= TIMES && now - since >= LASTING ? only : undefined;
  }

  /** Clears all suspicion, because a session lasted. Returns whether that session took one request at a time. */
  acquit(): boolean {
    const careful = this.#careful;
    this.#accused.clear();
    this.#careful = false;
    return careful;
  }
}

/** Returns the request with the longest line, after a line was too long. */
export function longestOf(inHand: readonly InHand[]): InHand | undefined {
  let longest: InHand | undefined;
  for (const each of inHand) if (each.line > (longest?.line ?? 0)) longest = each;
  return longest;
}
