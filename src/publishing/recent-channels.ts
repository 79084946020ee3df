/** Names of channels, the most recent ones: at least {@link LEAST} of them, and at most twice as many. Constant time. */
const LEAST = 5000;

export class RecentChannels {
  #young = new Set<string>();
  #old = new Set<string>();
  /** The one added last: most messages are of the same channel as the one before. */
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
