/**
 * A leap: in a queue group that has no members elsewhere, a message came, and one before it has not. For members of queue
 * groups: where others get messages, too, any sequence may be theirs.
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

  /** The server has made it. What has not come may be gone. */
  resumed(): void {
    const { session } = this.#host;
    if (this.#state.lacking && session !== undefined) void this.#tellWhatIsGone(session);
  }

  /**
   * A queue group that has no members elsewhere did not get what was leapt over. Either a leader has forgotten that the one
   * before had sent it, and then it is read past the group (a leap may be rightful, too, when somebody joins in that very moment;
   * then its messages are handled twice, and otherwise not at all); or it was lost on its way, and comes again by itself; or
   * the server has it no more.
   */
  async fillIn(now: number): Promise<void> {
    const { session } = this.#host;
    const leap = this.#cursor.leapt;
    if (session === undefined || leap === undefined) return;
    const { from, to, ours, forgotten } = leap;
    // Somebody else has it, as in any group with members elsewhere. While that is not known, it may be lost all the same.
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

  /** Of what was leapt over the server may have some no more. */
  async #tellWhatIsGone(session: Session): Promise<void> {
    const stale = this.#host.staleness(session);
    const { highest } = this.#cursor;
    // At once: what is somebody else's may be gone soon.
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
