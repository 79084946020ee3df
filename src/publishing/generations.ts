/** The publishes between two calls of flush(). */
export class Generation {
  /** Those not settled yet. */
  open = 0;
  next: Generation | undefined = undefined;
  /** All of it is settled, and all that was published before. */
  flushed = false;
  /** Who waits for that. */
  waiting: Set<() => void> | undefined = undefined;
}

/** Knows, in constant time per message, when everything that was published before a certain moment is settled. */
export class Generations {
  #oldest = new Generation();
  /** The one that new messages belong to. */
  #current = this.#oldest;
  /** The one before it. */
  #previous: Generation | undefined = undefined;

  /**
   * Calls back once, when everything that belongs to the current generation or an earlier one is settled; never at once.
   * @returns what takes the callback away: in an outage nothing may stay behind of those who do not wait any longer
   */
  whenFlushed(callback: () => void): () => void {
    if (this.#current.open > 0) {
      this.#previous = this.#current;
      this.#current = new Generation();
      this.#previous.next = this.#current;
    }
    // Nothing was published since the last flush: this one waits for the same messages.
    const last = this.#previous;
    if (last === undefined || last.flushed) {
      queueMicrotask(callback);
      return () => {};
    }
    const waiting = (last.waiting ??= new Set());
    // One of its own: the same callback may wait twice.
    const call = (): void => callback();
    waiting.add(call);
    return () => waiting.delete(call);
  }

  /** Returns the one that a new message belongs to; {@link settled} is called once for it. */
  join(): Generation {
    this.#current.open++;
    return this.#current;
  }

  settled(generation: Generation): void {
    generation.open--;
    while (this.#oldest.open === 0 && this.#oldest.next !== undefined) {
      this.#oldest.flushed = true;
      for (const call of this.#oldest.waiting ?? []) queueMicrotask(call);
      this.#oldest.waiting = undefined;
      this.#oldest = this.#oldest.next;
    }
  }
}
