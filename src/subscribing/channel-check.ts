/**
 * Checks whether the channel is still the one that a subscription knows. On a new session it may be a new channel of the same
 * name. Then everything about the old one is forgotten, and the new one is read from its first message.
 */
import type { Session } from '../connection/protocol.js';
import { Barrier, type Party } from './barrier.js';
import type { DeliveryState } from './delivery-state.js';
import type { Urgency } from './pacing.js';
import type { RepairHost } from './repair.js';

/** Longest silence at the start of a session until the channel is checked, in ms. */
const PEEK_AFTER = 1000;

export interface ChannelCheckHost extends RepairHost {
  /** The number of messages that the current server subscription has brought. */
  readonly brought: number;
}

/** A subscription that shares a delivery state with others. */
export interface Restarting {
  /** Starts over with the channel. All parties end their server subscriptions before the first one makes a new one. */
  startOverWith(expected: number, got: number, party: Party): void;
}

export class ChannelCheck {
  readonly #host: ChannelCheckHost;
  readonly #state: DeliveryState<Restarting>;

  constructor(host: ChannelCheckHost, state: DeliveryState<Restarting>) {
    this.#host = host;
    this.#state = state;
  }

  /**
   * Notes that the server subscription was made on a new session. A plain subscription gets the message that it was resumed at,
   * so only a silence calls for a check. The others get the messages that the server chooses, so they always need one.
   */
  resumed(session: Session): void {
    if (this.#host.stopped || this.#state.known === undefined) return;
    if (!this.#host.seesAll) {
      void this.startedOver(session, 'routine');
      return;
    }
    if (this.#host.brought > 0) return;
    this.#host.peekAfter(PEEK_AFTER, () => {
      if (this.#host.brought === 0) void this.startedOver(session, 'missing');
    });
  }

  /** Finds out about a message that may belong to the known channel or to a new one. */
  async resolveDoubt(sequence: number, time: number): Promise<void> {
    const { session } = this.#host;
    if (session === undefined || (await this.startedOver(session, 'held'))) return;
    this.#state.cursor.trust(time);
    if (this.#host.live) return;
    this.#host.remakeBecause(`message ${sequence} is dated later than those after it`);
  }

  /**
   * Checks the channel, and starts over if it is a new one. Messages of this session prove nothing, because a channel starts
   * over between sessions.
   * @returns true if the channel is a new one, or if the check is out of date
   */
  async startedOver(session: Session, urgency: Urgency): Promise<boolean> {
    const state = this.#state;
    const { known, knownOn } = state;
    if (known === undefined) return false;
    // This is checked after each wait, because another member may start over meanwhile.
    const stale = this.#host.staleness(session);
    const judgement = await this.#host.inquiries.identify(this.#host.channel, known, knownOn, urgency);
    if (stale()) return true;
    if (judgement === undefined) return false;
    if (!judgement.same) {
      this.startOver(judgement.shown);
      return true;
    }
    state.verified = true;
    if (this.#host.brought === 0 && this.#host.seesAll)
      this.#host.remakeBecause(`message ${judgement.shown} is stored and nothing comes`);
    return false;
  }

  /** Starts over with a new channel. Queued and running messages of the old channel do not affect it. */
  startOver(got: number): void {
    const expected = (this.#state.cursor.highest?.sequence ?? 0) + 1;
    this.#state.startOver();
    const members = [...this.#state.members];
    // A queue group keeps its position while it has members, so all members of this client leave before the first one comes
    // back.
    const barrier = new Barrier(members.length);
    for (const member of members) member.startOverWith(expected, got, barrier.party());
  }
}
