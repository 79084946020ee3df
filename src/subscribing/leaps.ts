/**
 * Repairs a leap: a message came to a queue group without members in other processes although messages before it are missing.
 * In a group with such members, any sequence may be theirs.
 */
import type { Session } from '../connection/protocol.js';
import type { GroupDeliveryState } from './delivery-state.js';
import type { Refetch } from './refetch.js';
import type { RepairHost } from './repair.js';
import type { SparseCursor } from './sparse-cursor.js';

export class LeapRepair {
  readonly #host: RepairHost;
  readonly #state: GroupDeliveryState;
  readonly #cursor: SparseCursor;
  readonly #refetch: Refetch;

  constructor(host: RepairHost, state: GroupDeliveryState, refetch: Refetch) {
    this.#host = host;
    this.#state = state;
    this.#cursor = state.cursor;
    this.#refetch = refetch;
  }

  /** Notes that the server subscription was made. The missing messages may be gone. */
  resumed(): void {
    const { session } = this.#host;
    if (this.#state.lacking && session !== undefined) void this.#tellWhatIsGone(session);
  }

  /**
   * Fetches the messages of a leap in a group without members in other processes. There are three cases. If a new leader has
   * forgotten that the old one had sent the messages, they are read past the group. If they were lost on their way, they come
   * again by themselves. If the server no longer has them, they are reported as gone.
   *
   * A leap may be right when a member of another process joins in that moment. Then the messages are handled twice, which is
   * better than not at all.
   */
  async fillIn(now: number): Promise<void> {
    const { session } = this.#host;
    const leap = this.#cursor.leapt;
    if (session === undefined || leap === undefined) return;
    const { from, to, ours, forgotten } = leap;
    // Other members have the messages, as in any shared group. Until that is certain, the messages may be lost.
    if (!ours) {
      this.#state.noteLeap(now, from);
      return;
    }
    const stale = this.#host.staleness(session);
    const until = this.#state.sentUntil(leap, now);
    const { foreign } = this.#state;
    if (!foreign) {
      this.#state.noteLoss(now, from);
      this.#refetch.awaitMissing(from, to, now);
    }
    let next = from;
    if (forgotten) {
      await this.#host.inquiries.fetch(this.#host.channel, from, to, (message) => {
        if (stale() || message.getTimestampRaw() > until) return false;
        next = next === from ? message.getSequence() : next;
        this.#host.countFetched();
        this.#host.receive(message, true);
        return true;
      });
    }
    if (stale() || foreign) return;
    if (forgotten && next < to)
      this.#host.log(`channel '${this.#host.channel}': messages from ${next} on read past the queue group`);
    await this.#tellWhatIsGone(session);
  }

  /** Reports the messages of a leap that the server no longer has. */
  async #tellWhatIsGone(session: Session): Promise<void> {
    const stale = this.#host.staleness(session);
    const { highest } = this.#cursor;
    // The peek is urgent, because messages of other members may be gone soon as well.
    const first = await this.#host.inquiries.oldest(this.#host.channel, 'held');
    if (first === undefined || stale()) return;
    this.#cursor.goneBelow(first.sequence);
    this.#cursor.storedUpTo(highest?.sequence ?? 0);
    for (const gap of this.#cursor.takeGaps()) {
      this.#state.noteGone(gap);
      this.#host.tellGap(gap);
    }
  }
}
