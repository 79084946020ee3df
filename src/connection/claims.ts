/**
 * Decides who has the client ID when the server says "clientID already registered". Normally it is another live client. But the
 * server says the same while it works on an earlier connect request for the ID, which may be ours. After a change of leaders, a
 * former leader that hangs in its shutdown may answer from old knowledge. So a client that has held the ID believes a refusal
 * only when it lasts. Pure.
 */

/**
 * Longest time that a request without an answer may occupy the server, in ms. The server's check of a predecessor takes half a
 * second.
 */
const OCCUPIED = 10_000;
/** Time that refusals must last until a client that has held the ID believes them, in ms. */
const LASTING = 5000;
/** Longest time between refusals that belong together, in ms. */
const APART = 3000;

export class Claims {
  /** When the requests without an answer were sent, in ms of the clock. */
  readonly #open = new Set<{ readonly at: number }>();
  #held = false;
  /** When the present refusals began and when the last one came, in ms of the clock. */
  #refusedSince = -Infinity;
  #refusedAt = -Infinity;

  /** Notes that a connect request is sent. Returns a function to call when any answer comes. */
  made(now: number): () => void {
    const claim = { at: now };
    this.#open.add(claim);
    return () => this.#open.delete(claim);
  }

  /** Notes that the ID is ours. An earlier request may still be granted after this one, and replace it. */
  granted(): void {
    this.#held = true;
    this.#refusedAt = -Infinity;
  }

  /** Notes a refusal. Returns whether another client has the ID, as far as can be known. */
  refused(now: number): boolean {
    if (now - this.#refusedAt > APART) this.#refusedSince = now;
    this.#refusedAt = now;
    for (const claim of this.#open) if (now - claim.at > OCCUPIED) this.#open.delete(claim);
    if (this.#open.size > 0) return false;
    return !this.#held || now - this.#refusedSince >= LASTING;
  }
}
