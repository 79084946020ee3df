import { Entries } from './entries.js';
import type { Sending } from './entry.js';

/** Between two tries of a channel that is not acknowledged, in ms: 1, 2, 4 and then every 5 seconds. */
const TRY_AGAIN = { first: 1000, most: 5000 };
/** Tries whose answers are waited for, at most: a channel may stay mute for days. */
const AWAITED = 8;

/**
 * A channel that nobody acknowledges although the leader answers our questions: a server that serves only this channel is
 * down, or a disk is slow. Its messages in flight take no room from other channels, and one of them is tried now and then.
 */
export class Muteness {
  /** Its messages in flight, in the order of sending. */
  readonly entries = new Entries();
  /** When the oldest of them had been sent. */
  readonly since: number;
  /** When the next try is due. */
  tryAt: number;
  #delay = TRY_AGAIN.first;
  readonly #tries: Sending[] = [];

  constructor(since: number, tryAt: number) {
    this.since = since;
    this.tryAt = tryAt;
  }

  /** @returns one whose answer is not waited for any more */
  tried(sending: Sending, now: number): Sending | undefined {
    this.tryAt = now + this.#delay;
    this.#delay = Math.min(2 * this.#delay, TRY_AGAIN.most);
    this.#tries.push(sending);
    return this.#tries.length > AWAITED ? this.#tries.shift() : undefined;
  }
}
