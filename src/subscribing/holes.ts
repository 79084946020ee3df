/**
 * Repairs a hole: a message came although messages before it are missing. They were lost on their way, and a new subscription
 * brings them; or the server no longer has them; or, for a durable, the server counts them as acknowledged. Only subscriptions
 * that see every message have holes.
 */
import type { RawMessage } from '../connection/protocol.js';
import type { ContiguousCursor } from './contiguous-cursor.js';
import { SURELY_OTHERS, type OwnDeliveryState } from './delivery-state.js';
import type { RepairHost } from './repair.js';

/**
 * The number of subscriptions in a row with the same hole after which the missing messages count as gone, even in the middle of
 * the channel.
 */
const GIVE_UP = 5;
/** The most messages that are kept while missing ones are looked for. */
const MOST_WITHHELD = 10_000;
/** The number of peeks for the last message. The answer may be lost more than once. */
const PEEKS = 3;

export class HoleRepair {
  readonly #host: RepairHost;
  readonly #state: OwnDeliveryState;
  readonly #cursor: ContiguousCursor;
  /** The messages that came since a hole was found, while its messages are looked for. */
  #withheld: RawMessage[] | undefined;
  /** Whether missing messages were looked for on the current server subscription. */
  #bridged = false;

  constructor(host: RepairHost, state: OwnDeliveryState) {
    this.#host = host;
    this.#state = state;
    this.#cursor = state.cursor;
  }

  /** Notes that a server subscription was made. */
  begin(): void {
    this.#withheld = undefined;
    this.#bridged = false;
    if (this.#state.wantsLast) void this.#seeWhereOthersEnd();
  }

  /** Forgets the kept messages, because they come again. */
  end(): void {
    this.#withheld = undefined;
  }

  /** Keeps a message while missing ones are looked for. Returns false if none are. */
  withhold(raw: RawMessage): boolean {
    if (this.#withheld === undefined) return false;
    if (this.#withheld.length < MOST_WITHHELD) this.#withheld.push(raw);
    else this.#host.mute();
    return true;
  }

  /** Fetches the missing messages, or finds out that the server no longer has them. */
  async bridge(raw: RawMessage): Promise<void> {
    const { from, to, times, lowestTo, likelyGone } = this.#cursor.missing;
    const { session } = this.#host;
    if (session === undefined) return;
    if ((times >= 2 || likelyGone) && !this.#bridged) {
      this.#bridged = true;
      // Another subscription did not bring the messages or is not needed. The server removes the oldest messages, while
      // messages are lost anywhere.
      const withheld = (this.#withheld = [raw]);
      let others = false;
      const first = await this.#host.inquiries.peek(this.#host.channel, () => ({ at: 'first' }), 'held');
      // The server subscription was made again meanwhile, or the session is another one.
      if (this.#withheld !== withheld) return;
      if (first !== undefined) {
        if (first.sequence > from) this.#cursor.goneBelow(first.sequence);
        const next = Math.max(from, first.sequence);
        // The server may have forgotten that the durable has not acknowledged these messages.
        if (next < to && times >= 2 && this.#host.options.durableName !== undefined) {
          // The messages above those that are gone have not been missed so often, nor have those that came once.
          const sureBelow = next === from && times >= SURELY_OTHERS ? lowestTo : next;
          others = await this.#fetch(withheld, next, to, sureBelow);
        }
      }
      if (this.#withheld !== withheld) return;
      if (times >= GIVE_UP && !others && this.#cursor.missing.from === from) this.#cursor.goneBelow(lowestTo);
      // The kept messages go on if nothing is missing any more. Otherwise the server subscription is made again.
      this.#withheld = undefined;
      const { epoch } = this.#state;
      const full = !this.#host.live;
      for (const message of withheld) {
        this.#host.receive(message, false);
        // Another message is missing, or the channel is another one.
        if (this.#state.epoch !== epoch || this.#host.live === full) return;
      }
      if (full) this.#host.remakeBecause('more came than is kept while something is looked for');
      return;
    }
    this.#host.mute();
    this.#host.remakeBecause(`message ${from} is missing, ${to} came instead`);
  }

  /**
   * Reads the messages past the durable, because the server has them and the durable does not bring them. A change of leaders
   * may have cost the server part of its memory of what was sent and acknowledged. Messages that were sent to another process
   * that had the durable are left out.
   * @param sureBelow the server has sent unacknowledged messages of ours again so often that those below this sequence are not
   *   among them
   * @returns whether messages were met that may have been sent to another process
   */
  async #fetch(withheld: RawMessage[], from: number, to: number, sureBelow: number): Promise<boolean> {
    const others = await this.#readPast(withheld, from, to);
    if (others && sureBelow > from && this.#withheld === withheld) {
      const ours = Math.min(sureBelow, this.#state.othersUpTo + 1);
      this.#cursor.othersBelow(ours);
      if (ours < to) await this.#readPast(withheld, ours, to);
    }
    return others;
  }

  /**
   * Reads the messages up to the first one that may have been sent to another process.
   * @returns whether there was such a message
   */
  async #readPast(withheld: RawMessage[], from: number, to: number): Promise<boolean> {
    let next = from;
    let others = false;
    await this.#host.inquiries.fetch(this.#host.channel, from, to, (message) => {
      const sequence = message.getSequence();
      // Only the missing messages are taken, in order. The subscription brings all others.
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
   * Finds the last message of this moment, because another process may have had the durable before this session. Later messages
   * are sent to us, and only earlier ones may have been sent to that process.
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
