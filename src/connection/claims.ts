/**
 * Whose client ID is it that is "already registered"? The server says so of another live client; but also while it still
 * works on an earlier connect request for the same ID, which may be one of ours whose answer never came: it was lost in a
 * change of leaders, or the leader hangs in one. Such a one may even be granted after a later one, which it replaces. Pure.
 */

/** For so long a request without an answer may occupy the server, ms. Its check of a predecessor takes half a second. */
const OCCUPIED = 10_000;

export class Claims {
  /** When the requests were sent that have not been answered. */
  readonly #open = new Set<{ readonly at: number }>();

  /** A connect request is sent. @returns to be called at its answer, whatever that is */
  made(now: number): () => void {
    const claim = { at: now };
    this.#open.add(claim);
    return () => this.#open.delete(claim);
  }

  /** A refusal may be due to an earlier request of ours, so it says nothing of another client. */
  mayBeOurs(now: number): boolean {
    for (const claim of this.#open) if (now - claim.at > OCCUPIED) this.#open.delete(claim);
    return this.#open.size > 0;
  }
}
