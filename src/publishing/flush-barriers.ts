import { inMicrotask } from '../microtask.js';

/** What a flush() waits for: the publishes since the flush() before it, and all earlier ones. */
export class FlushBarrier {
  /** The number of publishes that are not settled. */
  open = 0;
  next: FlushBarrier | undefined = undefined;
  /** All publishes of it and of earlier ones are settled. */
  flushed = false;
  /** Called when that is so. */
  waiting: Set<() => void> | undefined = undefined;
}

/** Knows when everything is settled that was published before a flush(). It takes constant time for each message. */
export class FlushBarriers {
  #oldest = new FlushBarrier();
  /** New messages belong to it. */
  #current = this.#oldest;
  /** The one before it. */
  #previous: FlushBarrier | undefined = undefined;

  /**
   * Calls back once, when everything that was published so far is settled, and never within this call.
   * @returns a function that takes the callback away, so that nothing stays behind of a caller who waits no longer
   */
  whenFlushed(callback: () => void): () => void {
    if (this.#current.open > 0) {
      this.#previous = this.#current;
      this.#current = new FlushBarrier();
      this.#previous.next = this.#current;
    }
    // If nothing was published since the last flush, this one waits for the same messages.
    const last = this.#previous;
    if (last === undefined || last.flushed) {
      inMicrotask(callback);
      return () => {};
    }
    const waiting = (last.waiting ??= new Set());
    // A function of its own, because the same callback may wait twice.
    const call = (): void => callback();
    waiting.add(call);
    return () => waiting.delete(call);
  }

  /** Returns what a new message belongs to. {@link settled} has to be called once for it. */
  join(): FlushBarrier {
    this.#current.open++;
    return this.#current;
  }

  /** A message of it is settled. */
  settled(barrier: FlushBarrier): void {
    barrier.open--;
    while (this.#oldest.open === 0 && this.#oldest.next !== undefined) {
      this.#oldest.flushed = true;
      for (const call of this.#oldest.waiting ?? []) inMicrotask(call);
      this.#oldest.waiting = undefined;
      this.#oldest = this.#oldest.next;
    }
  }
}
