/** At least so many names are remembered, and at most twice as many. */
const LEAST = 5000;

/** Remembers the names of the channels that were added most recently. Every operation takes constant time. */
export class RecentChannels {
  #young = new Set<string>();
  #old = new Set<string>();
  /** The channel that was added last. Most messages are of the same channel as the one before. */
  #last: string | undefined;

  add(channel: string): void {
    if (channel === this.#last) return;
    this.#last = channel;
    if (this.#young.has(channel)) return;
    if (this.#young.size >= LEAST) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(channel);
  }

  has(channel: string): boolean {
    return this.#young.has(channel) || this.#old.has(channel);
  }

  delete(channel: string): void {
    if (channel === this.#last) this.#last = undefined;
    this.#young.delete(channel);
    this.#old.delete(channel);
  }
}
