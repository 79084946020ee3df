/**
 * A server-side subscription of which nobody reads our acknowledgements: one that was made in the moment of a leader's
 * promotion. What is processed and acknowledged comes again and again, and when its window is full, nothing comes any more.
 * Making it again mends that.
 */
import type { Clock } from './clock.js';

/** How long a full window may stand still, with everything acknowledged, ms. */
const STALL_AFTER = 1000;
/** So many sequences at most are watched. */
const UNREAD_LIMIT = 1000;

export interface UnreadAcksHost {
  readonly clock: Clock;
  readonly options: { readonly maxInFlight: number };
  readonly stopped: boolean;
  /** Something that has come is not processed. */
  readonly unfinished: boolean;
  remakeBecause(reason: string): void;
}

export class UnreadAcks {
  readonly #host: UnreadAcksHost;
  /** Messages on the current server-side subscription. */
  #received = 0;
  /** A full window was seen in this session. */
  #stallSeen = false;
  #cancelStall: (() => void) | undefined;
  /** Processed messages that came flagged on the current server-side subscription. */
  #unread: Set<number> | undefined;

  constructor(host: UnreadAcksHost) {
    this.#host = host;
  }

  /** How many messages the current server-side subscription has brought. */
  get received(): number {
    return this.#received;
  }

  /** A session begins. */
  beginSession(): void {
    this.#stallSeen = false;
  }

  /** A server-side subscription was made. */
  begin(): void {
    this.#received = 0;
    this.#unread = undefined;
  }

  cancel(): void {
    this.#cancelStall?.();
    this.#cancelStall = undefined;
  }

  /** It has brought a message. */
  came(): void {
    if (++this.#received === this.#host.options.maxInFlight && !this.#stallSeen) this.#watchForStall();
  }

  /** A message came flagged, and is processed and acknowledged already. */
  cameAgain(sequence: number): void {
    const unread = (this.#unread ??= new Set());
    if (!unread.has(sequence)) {
      if (unread.size < UNREAD_LIMIT) unread.add(sequence);
      return;
    }
    this.#unread = undefined;
    this.#host.remakeBecause(`the server does not read our acknowledgement of message ${sequence}`);
  }

  /**
   * Seen earlier: exactly one window of messages came, all are acknowledged, and no more come. In a channel that happens to
   * end there, one needless remake per session.
   */
  #watchForStall(): void {
    this.#stallSeen = true;
    const check = (): void => {
      this.#cancelStall = undefined;
      if (this.#received !== this.#host.options.maxInFlight || this.#host.stopped) return;
      if (this.#host.unfinished) this.#cancelStall = this.#host.clock.after(STALL_AFTER, check);
      else this.#host.remakeBecause('a full window is acknowledged and nothing follows');
    };
    this.#cancelStall = this.#host.clock.after(STALL_AFTER, check);
  }
}
