/** The last messages of a channel that were seen before a cut, so that they can be looked at again after it. */
import { MigrationTargetError } from '../../migrate/errors.js';
import { waitFor } from '../wait.js';
import type { CheckedClient } from './checked-client.js';

/** How many messages are kept. A shift that begins before them is there at the end, too. */
const KEPT = 64;
/** How long they may take to come after the cut, in ms. */
const PATIENCE = 10_000;

export class Anchors {
  readonly #channel: string;
  readonly #messages = new Map<number, Uint8Array>();

  constructor(channel: string) {
    this.#channel = channel;
  }

  /** Keeps a message, and forgets the one that was kept first. */
  note(sequence: number, data: Uint8Array): void {
    this.#messages.set(sequence, data);
    if (this.#messages.size > KEPT) this.#messages.delete(this.#messages.keys().next().value!);
  }

  /**
   * Reads the messages again from a client.
   * @throws MigrationTargetError when another message has the number of one of them, or none has that of the last one
   * @throws TimeoutError when neither the last of them nor a later one comes
   */
  async check(client: CheckedClient): Promise<void> {
    if (this.#messages.size === 0) return;
    const sequences = [...this.#messages.keys()];
    const last = Math.max(...sequences);
    let shifted: number | undefined;
    let reached = 0;
    const subscription = await client.subscribe(
      this.#channel,
      ({ sequence, data }) => {
        const before = this.#messages.get(sequence);
        if (before !== undefined && Buffer.compare(before, data) !== 0) shifted ??= sequence;
        if (sequence > last && reached < last) shifted ??= last;
        reached = Math.max(reached, sequence);
      },
      { startAt: { sequence: Math.min(...sequences) } },
    );
    try {
      await waitFor(() => (shifted !== undefined || reached >= last ? true : undefined), {
        timeout: PATIENCE,
        interval: 2,
        what: () =>
          `message ${last} of channel '${this.#channel}' was there before the cut, and does not come after it`,
      });
    } finally {
      await (subscription as { close?: () => Promise<void> } | undefined)?.close?.();
    }
    if (shifted === undefined) return;
    throw new MigrationTargetError(
      `message ${shifted} of channel '${this.#channel}' is another one after the cut than before it, or is gone: messages have got ` +
        "other numbers on their way, or were changed. 'resilient-stan migrate verify' says which",
    );
  }
}
