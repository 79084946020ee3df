/**
 * Searches for the message that a subscription began with. The server does not tell it, and the first messages may have been
 * lost on their way. The search runs when a session has ended before the first messages were certain.
 */
import type { RawMessage, Session, StartPosition } from '../connection/protocol.js';
import type { Gap, Position } from './cursor.js';
import type { DeliveryState } from './delivery-state.js';
import type { RepairHost } from './repair.js';
import type { Beginning } from './resume.js';

/** The most searches in a row that find nothing while no message comes. */
const GIVE_UP = 5;
/** The number of peeks for the first message until it counts as missing. */
const INSIST = 3;

export interface StartSearchHost extends RepairHost {
  /** The start that the user asked for. */
  begun: Beginning;
}

export class StartSearch {
  readonly #host: StartSearchHost;
  readonly #state: DeliveryState;
  /** The search under way of a subscription that has received nothing, and the first message that came meanwhile. */
  #seeking: { caught?: Position } | undefined;
  /** The messages below the first one that are missing and may be gone. */
  #below: Gap | undefined;

  constructor(host: StartSearchHost, state: DeliveryState) {
    this.#host = host;
    this.#state = state;
  }

  /** Notes that a server subscription was made. */
  begin(): void {
    this.#seeking = undefined;
  }

  /** Notes that the server subscription is wanted. */
  resumed(): void {
    if (this.#below !== undefined) void this.#tellIfGone();
  }

  /** Notes that the channel is a new one. */
  startOver(): void {
    this.#below = undefined;
  }

  /**
   * Holds back a message that comes during the search, because there may be messages before it. Returns false if there is no
   * search.
   */
  catches(raw: RawMessage): boolean {
    if (this.#seeking === undefined) return false;
    this.#seeking.caught ??= { sequence: raw.getSequence(), time: raw.getTimestampRaw() };
    this.#host.mute();
    return true;
  }

  /** Notes that a message came that is handed over. */
  came(sequence: number): void {
    // The messages below were lost on their way.
    if (this.#below !== undefined && sequence <= this.#below.to) this.#below = undefined;
    const { below } = this.#state;
    if (below === undefined) return;
    this.#below = below;
    this.#state.below = undefined;
    void this.#tellIfGone();
  }

  /** Reports the messages below the first one as gone if the server has nothing there. */
  async #tellIfGone(): Promise<void> {
    const below = this.#below;
    const { session } = this.#host;
    if (below === undefined || session === undefined) return;
    const { epoch } = this.#state;
    let first: Position | undefined;
    for (let attempt = 0; attempt < INSIST && first === undefined && session.alive; attempt++) {
      first = await this.#host.inquiries.oldest(this.#host.channel, 'missing');
    }
    // Either this was told meanwhile, or the peek failed and the next session tries again.
    if (this.#below !== below || first === undefined) return;
    this.#below = undefined;
    if (first.sequence > below.to && this.#state.epoch === epoch) this.#host.tellGap(below);
  }

  /**
   * Checks whether the sequence that the user asked for exists. If it does not, the subscription begins with the next published
   * message. For a group this cannot be found out later.
   */
  async seeWhetherItIsThere(): Promise<void> {
    const { startAt, queueGroup, durableName } = this.#host.options;
    if (queueGroup === undefined || durableName !== undefined) return;
    if (typeof startAt !== 'object' || !('sequence' in startAt)) return;
    const last = await this.#host.inquiries.peek(this.#host.channel, () => ({ at: 'last' }), 'missing');
    if ((last?.sequence ?? 0) < startAt.sequence) this.#host.begun = { ...this.#host.begun, startAt: 'new' };
  }

  /**
   * Searches for the start. If nothing was received before, messages that come meanwhile are held back and come again, because
   * there may be messages before them.
   */
  async find(turn = 1): Promise<void> {
    const seeking: { caught?: Position } = {};
    this.#seeking = this.#state.unseen ? seeking : undefined;
    const { session } = this.#host;
    await this.#peekBack(session, seeking);
    if (this.#seeking !== seeking) return;
    this.#seeking = undefined;
    if (this.#host.session !== session) return;
    if (!this.#host.live) this.#host.remakeBecause('its beginning is known');
    else if (turn < GIVE_UP && this.#state.unsureOfBeginning) {
      // The channel has no message since the start, or the peeks were lost.
      this.#host.peekAfter(turn * this.#host.options.ackWait, () => void this.find(turn + 1));
    }
  }

  /**
   * Searches for the first message since the start. It peeks several times, because the answer may be lost like the first
   * messages.
   */
  async #peekBack(session: Session | undefined, seeking: { readonly caught?: Position }): Promise<void> {
    const stale = this.#host.staleness(session);
    const peek = (start: () => StartPosition): Promise<Position | undefined> =>
      this.#host.inquiries.peek(this.#host.channel, start, 'missing');
    const since = (): StartPosition => this.#state.beginning(this.#host.begun, this.#host.clock.elapsed());

    let first: Position | undefined;
    let last: Position | undefined;
    const more = (attempt: number): boolean => {
      if (first !== undefined || stale()) return false;
      // Messages that came meanwhile are younger than the start, so a peek without any message was lost.
      const lost = seeking.caught !== undefined && this.#host.options.startAt !== 'last';
      return attempt < (lost ? INSIST + GIVE_UP : INSIST);
    };
    for (let attempt = 0; more(attempt); attempt++) {
      first = await peek(since);
      if (first === undefined && this.#host.options.startAt === 'last') last = await peek(() => ({ at: 'last' }));
    }
    if (stale()) return;
    // There are no messages between the start and the one that came meanwhile.
    first ??= seeking.caught;
    // A message before the known ones cannot have a later timestamp.
    if (first !== undefined && this.#state.isLater(first.time) && (await this.#host.startedOver(session!, 'missing')))
      return;
    let sequence = first?.sequence;
    if (this.#host.options.startAt === 'last') {
      // The wanted message is the one before the first message since the start. If there is none since the start, it is still
      // the newest one.
      sequence = sequence === undefined ? last?.sequence : Math.max(1, sequence - 1);
    }
    if (sequence !== undefined && this.#state.began(sequence, first?.time ?? NaN)) {
      this.#host.remakeBecause(`message ${sequence} was the first one`);
    }
  }
}
