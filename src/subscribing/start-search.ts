/**
 * Where a subscription began: the server does not say, and what came first may have been lost on its way. So it is looked for
 * when a session has ended before the first messages were sure.
 */
import type { RawMessage, Session, StartPosition } from '../connection/protocol.js';
import type { Gap, Position } from './cursor.js';
import type { DeliveryState } from './delivery-state.js';
import type { RepairHost } from './repair.js';
import type { Beginning } from './resume.js';

/** So often in a row it is looked for, while nothing is found and nothing comes. */
const GIVE_UP = 5;
/** So often we look for the first message before we believe that there is none. */
const INSIST = 3;

export interface StartSearchHost extends RepairHost {
  /** How it was asked for. */
  begun: Beginning;
  /** Instead of any other peek that is to come. */
  peekAfter(milliseconds: number, peek: () => void): void;
}

export class StartSearch {
  readonly #host: StartSearchHost;
  readonly #state: DeliveryState;
  /** It has received nothing, and where it began is being looked for. */
  #seeking: { caught?: Position } | undefined;
  /** Below the first message, and not known yet whether it is gone. */
  #below: Gap | undefined;

  constructor(host: StartSearchHost, state: DeliveryState) {
    this.#host = host;
    this.#state = state;
  }

  /** A server-side subscription was made. */
  begin(): void {
    this.#seeking = undefined;
  }

  /** And it counts. */
  resumed(): void {
    if (this.#below !== undefined) void this.#tellIfGone();
  }

  /** The channel is a new one. */
  startOver(): void {
    this.#below = undefined;
  }

  /** A message comes while the beginning is looked for: there may be some before it. False: it is not looked for. */
  catches(raw: RawMessage): boolean {
    if (this.#seeking === undefined) return false;
    this.#seeking.caught ??= { sequence: raw.getSequence(), time: raw.getTimestampRaw() };
    this.#host.mute();
    return true;
  }

  /** A message came that is handed over. */
  came(sequence: number): void {
    // It was lost on its way.
    if (this.#below !== undefined && sequence <= this.#below.to) this.#below = undefined;
    const { below } = this.#state;
    if (below === undefined) return;
    this.#below = below;
    this.#state.below = undefined;
    void this.#tellIfGone();
  }

  /** Of what lies below the first message: if that is the first there is, the server does not have it. */
  async #tellIfGone(): Promise<void> {
    const below = this.#below;
    const { session } = this.#host;
    if (below === undefined || session === undefined) return;
    const { epoch } = this.#state;
    let first: Position | undefined;
    for (let attempt = 0; attempt < INSIST && first === undefined && session.alive; attempt++) {
      first = await this.#host.inquiries.oldest(this.#host.channel, 'missing');
    }
    // Told meanwhile; or not learned, and the next session may be asked.
    if (this.#below !== below || first === undefined) return;
    this.#below = undefined;
    if (first.sequence > below.to && this.#state.epoch === epoch) this.#host.tellGap(below);
  }

  /** A sequence that is not there yet means what is published next. Of a group, that is not known later. */
  async seeWhetherItIsThere(): Promise<void> {
    const { startAt, queueGroup, durableName } = this.#host.options;
    if (queueGroup === undefined || durableName !== undefined) return;
    if (typeof startAt !== 'object' || !('sequence' in startAt)) return;
    const last = await this.#host.inquiries.peek(this.#host.channel, () => ({ at: 'last' }), 'missing');
    if ((last?.sequence ?? 0) < startAt.sequence) this.#host.begun = { ...this.#host.begun, startAt: 'new' };
  }

  /** Looks back. What comes meanwhile comes again, if it would be the first one received: there may be some before it. */
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
      // There is nothing, or the looks were lost.
      this.#host.peekAfter(turn * this.#host.options.ackWait, () => void this.find(turn + 1));
    }
  }

  /** Where did it begin? What was lost on its way to the subscription may be lost on its way to the look, so it insists. */
  async #peekBack(session: Session | undefined, seeking: { readonly caught?: Position }): Promise<void> {
    const stale = this.#host.staleness(session);
    const peek = (start: () => StartPosition): Promise<Position | undefined> =>
      this.#host.inquiries.peek(this.#host.channel, start, 'missing');
    const since = (): StartPosition => this.#state.beginning(this.#host.begun, this.#host.clock.now());

    let first: Position | undefined;
    let last: Position | undefined;
    const more = (attempt: number): boolean => {
      if (first !== undefined || stale()) return false;
      // What came meanwhile was stored since, so a look that did not even bring that was lost.
      const lost = seeking.caught !== undefined && this.#host.options.startAt !== 'last';
      return attempt < (lost ? INSIST + GIVE_UP : INSIST);
    };
    for (let attempt = 0; more(attempt); attempt++) {
      first = await peek(since);
      if (first === undefined && this.#host.options.startAt === 'last') last = await peek(() => ({ at: 'last' }));
    }
    if (stale()) return;
    // No others are before what came meanwhile.
    first ??= seeking.caught;
    // What came before the messages we know cannot be later than they.
    if (first !== undefined && this.#state.isLater(first.time) && (await this.#host.startedOver(session!, 'missing')))
      return;
    let sequence = first?.sequence;
    if (this.#host.options.startAt === 'last') {
      // The newest of that time is the one before the first since; if there is none since, it is still the newest.
      sequence = sequence === undefined ? last?.sequence : Math.max(1, sequence - 1);
    }
    if (sequence !== undefined && this.#state.began(sequence, first?.time ?? NaN)) {
      this.#host.remakeBecause(`message ${sequence} was the first one`);
    }
  }
}
