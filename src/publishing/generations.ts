/** The publishes between two calls of flush(). */
export class Generation {
  /** Those not settled yet. */
  open = 0;
  next: Generation | undefined = undefined;
  flushed: Promise<void> | undefined = undefined;
  resolve: (() => void) | undefined = undefined;
}

/** Knows, in constant time per message, when everything that was published before a certain moment is settled. */
export class Generations {
  #oldest = new Generation();
  /** The one that new messages belong to. */
  current = this.#oldest;
  /** The one before it. */
  #previous: Generation | undefined = undefined;

  /** Resolves when everything that belongs to the current generation or an earlier one is settled. */
  flush(): Promise<void> {
    if (this.current.open > 0) {
      this.#previous = this.current;
      this.current = new Generation();
      this.#previous.next = this.current;
    }
    const last = this.#previous;
    // Nothing was published since the last flush: this one waits for the same messages.
    if (last === undefined) return Promise.resolve();
    last.flushed ??= new Promise((resolve) => (last.resolve = resolve));
    return last.flushed;
  }

  settled(generation: Generation): void {
    generation.open--;
    while (this.#oldest.open === 0 && this.#oldest.next !== undefined) {
      this.#oldest.resolve?.();
      this.#oldest = this.#oldest.next;
    }
  }
}
