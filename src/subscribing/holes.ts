/**
 * A hole: a message came, and one before it that should have come has not. It was lost on its way, and a new subscription
 * brings it; or the server does not have it any more; or, of a durable, the server takes it for acknowledged. For
 * subscriptions that see every message.
 */
import type { RawMessage } from '../connection/protocol.js';
import type { ContiguousCursor } from './contiguous-cursor.js';
import { SURELY_OTHERS, type OwnDeliveryState } from './delivery-state.js';
import type { RepairHost } from './repair.js';

/** So many subscriptions in a row that bring the same message too late show a hole in the middle of the channel. */
const GIVE_UP = 5;
/** So many messages are kept while something that is missing is looked for. */
const MOST_WITHHELD = 10_000;
/** So often it is looked for the last message: what is lost on its way may be lost again. */
const PEEKS = 3;

export class HoleRepair {
  readonly #host: RepairHost;
  readonly #state: OwnDeliveryState;
  readonly #cursor: ContiguousCursor;
  /** What has come since something was found to be missing, while it is being looked for. */
  #withheld: RawMessage[] | undefined;
  /** That was done on the current server-side subscription. */
  #bridged = false;

  constructor(host: RepairHost, state: OwnDeliveryState) {
    this.#host = host;
    this.#state = state;
    this.#cursor = state.cursor;
  }

  /** A server-side subscription was made. */
  begin(): void {
    this.#withheld = undefined;
    this.#bridged = false;
    if (this.#state.wantsLast) void this.#seeWhereOthersEnd();
  }

  /** What has come meanwhile is of no use any more. */
  end(): void {
    this.#withheld = undefined;
  }

  /** A message that comes while something before it is looked for waits. False: nothing is. */
  withhold(raw: RawMessage): boolean {
    if (this.#withheld === undefined) return false;
    if (this.#withheld.length < MOST_WITHHELD) this.#withheld.push(raw);
    else this.#host.mute();
    return true;
  }

  /** Fetches what is missing; or learns that the server does not have it any more. */
  async bridge(raw: RawMessage): Promise<void> {
    const { from, to, times, likelyGone } = this.#cursor.missing;
    const { session } = this.#host;
    if (session === undefined) return;
    if ((times >= 2 || likelyGone) && !this.#bridged) {
      this.#bridged = true;
      // Another subscription did not bring it, either, or may be spared. Retention takes the oldest; messages are lost anywhere.
      const withheld = (this.#withheld = [raw]);
      let others = false;
      const first = await this.#host.inquiries.peek(this.#host.channel, () => ({ at: 'first' }), 'held');
      // Made again meanwhile, or on another session.
      if (this.#withheld !== withheld) return;
      if (first !== undefined) {
        if (first.sequence > from) this.#cursor.goneBelow(first.sequence);
        const next = Math.max(from, first.sequence);
        // A durable may have forgotten them.
        if (next < to && times >= 2 && this.#host.options.durableName !== undefined) {
          // What is above those that are gone has not been missed so often.
          others = await this.#fetch(withheld, next, to, next === from && times >= SURELY_OTHERS);
        }
      }
      if (this.#withheld !== withheld) return;
      if (times >= GIVE_UP && !others && this.#cursor.missing.from === from) this.#cursor.goneBelow(to);
      // If nothing is missing any more, it goes on; if there is, it is made again.
      this.#withheld = undefined;
      const { epoch } = this.#state;
      const full = !this.#host.live;
      for (const message of withheld) {
        this.#host.receive(message, false);
        // Something else is missing, or it is another channel.
        if (this.#state.epoch !== epoch || this.#host.live === full) return;
      }
      if (full) this.#host.remakeBecause('more came than is kept while something is looked for');
      return;
    }
    this.#host.mute();
    this.#host.remakeBecause(`message ${from} is missing, ${to} came instead`);
  }

  /**
   * The server has them, and the durable does not bring them: it goes by its own memory of what it has sent and what was
   * acknowledged, and may have lost some of that in a change of leaders. So they are read past it; but not what was sent to
   * another process that had the durable while we were away.
   * @param surely what was sent to us and is not acknowledged has been sent again so often that it is not among it
   * @returns whether there is such
   */
  async #fetch(withheld: RawMessage[], from: number, to: number, surely: boolean): Promise<boolean> {
    const others = await this.#readPast(withheld, from, to);
    if (others && surely && this.#withheld === withheld) {
      const ours = Math.min(to, this.#state.othersUpTo + 1);
      this.#cursor.othersBelow(ours);
      if (ours < to) await this.#readPast(withheld, ours, to);
    }
    return others;
  }

  /** @returns whether it has met a message that may have been sent to another process, and ended there */
  async #readPast(withheld: RawMessage[], from: number, to: number): Promise<boolean> {
    let next = from;
    let others = false;
    await this.#host.inquiries.fetch(this.#host.channel, from, to, (message) => {
      const sequence = message.getSequence();
      // Only what is missing, in order: all else is for the subscription.
      if (this.#withheld !== withheld || sequence !== next) return false;
      others = this.#state.maybeOthers(sequence, message.getTimestampRaw());
      if (others) return false;
      next += 1;
      this.#host.countFetched();
      this.#host.receive(message, true);
      return true;
    });
    if (next > from && this.#withheld === withheld)
      this.#host.log(`channel '${this.#host.channel}': messages ${from} to ${next - 1} read past the durable`);
    return others;
  }

  /**
   * Another process may have had the durable before this session. What is stored from now on is sent to us: only what is up to
   * the last message of now may have been sent to that one.
   */
  async #seeWhereOthersEnd(): Promise<void> {
    const { session } = this.#host;
    const stale = this.#host.staleness(session);
    for (let i = 0; i < PEEKS && !stale() && this.#state.wantsLast; i++) {
      const last = await this.#host.inquiries.peek(this.#host.channel, () => ({ at: 'last' }), 'missing');
      if (last !== undefined && !stale()) this.#state.noteLast(last.sequence);
    }
  }
}
