/**
 * "clientID already registered": whose is it? Mostly another live client's. But the server says the same while it still
 * works on an earlier connect request for that ID, which may be one of ours whose answer never came. And for a while after
 * a change of leaders two may answer, because one that hangs in its shutdown still does, by what it knew. So who has held
 * the ID believes a refusal only when it lasts. Pure.
 */

/** For so long a request without an answer may occupy the server, ms. Its check of a predecessor takes half a second. */
const OCCUPIED = 10_000;
/** So long a refusal has to last, ms, for who has held the ID. */
const LASTING = 5000;
/** Longer apart, ms, refusals have nothing to do with each other. */
const APART = 3000;

export class Claims {
  /** When the requests were sent that have not been answered. */
  readonly #open = new Set<{ readonly at: number }>();
  #held = false;
  /** When the present refusals began, and when the last one was. */
  #refusedSince = -Infinity;
  #refusedAt = -Infinity;

  /** A connect request is sent. @returns to be called at its answer, whatever that is */
  made(now: number): () => void {
    const claim = { at: now };
    this.#open.add(claim);
    return () => this.#open.delete(claim);
  }

  /** The ID is ours. An earlier request may still be granted after this one, and replace it. */
  granted(): void {
    this.#held = true;
    this.#refusedAt = -Infinity;
  }

  /** @returns whether another client has it, as far as can be known */
  refused(now: number): boolean {
    if (now - this.#refusedAt > APART) this.#refusedSince = now;
    this.#refusedAt = now;
    for (const claim of this.#open) if (now - claim.at > OCCUPIED) this.#open.delete(claim);
    if (this.#open.size > 0) return false;
    return !this.#held || now - this.#refusedSince >= LASTING;
  }
}
