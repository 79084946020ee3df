/**
 * Notices a server subscription whose acknowledgements nobody reads, which may be made in the moment when a leader is promoted.
 * Its processed messages come again and again, and nothing comes once its window is full. Making it again mends that.
 */
import type { Clock } from '../clock/clock.js';

/** How long a full window may bring nothing after everything is acknowledged, in ms. */
const STALL_AFTER = 1000;
/** The most sequences that are watched. */
const UNREAD_LIMIT = 1000;

export interface UnreadAcksHost {
  readonly clock: Clock;
  readonly options: { readonly maxInFlight: number };
  readonly stopped: boolean;
  /** Whether a received message is not processed yet. */
  readonly unfinished: boolean;
  remakeBecause(reason: string): void;
}

export class UnreadAcks {
  readonly #host: UnreadAcksHost;
  /** The number of messages on the current server subscription. */
  #received = 0;
  /** Whether a full window was seen in this session. */
  #stallSeen = false;
  #cancelStall: (() => void) | undefined;
  /** The processed messages that came flagged as redelivered on the current server subscription. */
  #unread: Set<number> | undefined;

  constructor(host: UnreadAcksHost) {
    this.#host = host;
  }

  /** The number of messages that the current server subscription has brought. */
  get received(): number {
    return this.#received;
  }

  /** Notes that a session begins. */
  beginSession(): void {
    this.#stallSeen = false;
  }

  /** Notes that a server subscription was made. */
  begin(): void {
    this.#received = 0;
    this.#unread = undefined;
  }

  cancel(): void {
    this.#cancelStall?.();
    this.#cancelStall = undefined;
  }

  /** Notes that the server subscription has brought a message. */
  came(): void {
    if (++this.#received === this.#host.options.maxInFlight && !this.#stallSeen) this.#watchForStall();
  }

  /**
   * Notes that a message that is already acknowledged came flagged as redelivered. The second time shows that the
   * acknowledgements are not read.
   */
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
   * Watches for the case that exactly one window of messages came, all are acknowledged, and no more come. A channel that
   * happens to end there causes one needless remake per session.
   */
  #watchForStall(): void {
    this.#stallSeen = true;
    const check = (): void => {
      this.#cancelStall = undefined;
      if (this.#received !== this.#host.options.maxInFlight || this.#host.stopped) return;
      if (this.#host.unfinished) this.#cancelStall = this.#host.clock.after(STALL_AFTER, check, { unref: true });
      else this.#host.remakeBecause('a full window is acknowledged and nothing follows');
    };
    this.#cancelStall = this.#host.clock.after(STALL_AFTER, check, { unref: true });
  }
}
