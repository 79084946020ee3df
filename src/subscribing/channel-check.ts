/**
 * Whether the channel is still the one that a subscription knows. After a change of session it may be a new one of the same
 * name; then all of the old one is forgotten, and the new one is read from its beginning.
 */
import type { Session } from '../connection/protocol.js';
import { Barrier, type Party } from './barrier.js';
import type { DeliveryState } from './delivery-state.js';
import type { Urgency } from './pacing.js';
import type { RepairHost } from './repair.js';

/** A silence at the start of a session that makes us look whether the channel is still the same, ms. */
const PEEK_AFTER = 1000;

export interface ChannelCheckHost extends RepairHost {
  /** Neither the server nor other members decide what it gets. */
  readonly seesAll: boolean;
  /** How many messages the current server-side subscription has brought. */
  readonly brought: number;
  /** Instead of any other peek that is to come. */
  peekAfter(milliseconds: number, peek: () => void): void;
}

/** One of those who share what is known of a channel. */
export interface Restarting {
  /** It starts over with its channel: all of them leave before the first one comes back. */
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
   * It was made on a new session. A plain subscription is shown the message it was resumed at, so only a silence says
   * nothing; the others are shown what the server thinks they need.
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

  /** A message says neither that the channel is the one we know nor that it is not. */
  async resolveDoubt(sequence: number, time: number): Promise<void> {
    const { session } = this.#host;
    if (session === undefined || (await this.startedOver(session, 'held'))) return;
    this.#state.cursor.trust(time);
    if (this.#host.live) return;
    this.#host.remakeBecause(`message ${sequence} is dated later than those after it`);
  }

  /**
   * Whether the channel is still the one we know; if not, starts over. True: it is not, or something else has happened
   * that makes it no matter. A channel starts over between sessions, so what this one has brought proves nothing.
   */
  async startedOver(session: Session, urgency: Urgency): Promise<boolean> {
    const state = this.#state;
    const { known, knownOn } = state;
    if (known === undefined) return false;
    // Asked anew after every wait: there may be two of us.
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

  /** The channel is a new one. What is queued and running is still of the old one, and has nothing to do with it. */
  startOver(got: number): void {
    const expected = (this.#state.cursor.highest?.sequence ?? 0) + 1;
    this.#state.startOver();
    const members = [...this.#state.members];
    // A queue group that has members is where it is: all of ours leave before the first one comes back.
    const barrier = new Barrier(members.length);
    for (const member of members) member.startOverWith(expected, got, barrier.party());
  }
}
