import type { Outbox } from './outbox.js';
import type { Sending } from './records.js';

/** The most channels that are remembered for having cost a session. */
const MOST_SILENT = 1000;

/**
 * Finds the message over which a session is given up: the leader answers, and does not acknowledge it within `ackTimeout`.
 * A channel costs one session, and no other one until it is acknowledged again.
 */
export class AckTimeout {
  /** How long an acknowledgement may take, in ms. */
  readonly timeout: number;
  readonly #outbox: Outbox;
  /** The channels that have cost a session and have acknowledged nothing since. */
  readonly #silent = new Set<string>();

  constructor(timeout: number, outbox: Outbox) {
    this.timeout = timeout;
    this.#outbox = outbox;
  }

  acknowledged(channel: string): void {
    if (this.#silent.size > 0) this.#silent.delete(channel);
  }

  /**
   * Returns a sending over which the session is to be given up.
   * @param isProven whether the leader has answered a question that was asked after that sending
   */
  takeOverdue(now: number, isProven: (sending: Sending) => boolean): Sending | undefined {
    for (const sending of this.#oldestSendings()) {
      if (now - sending.at < this.timeout || !isProven(sending)) continue;
      if (this.#silent.size >= MOST_SILENT) this.#silent.clear();
      this.#silent.add(sending.entry.channel);
      return sending;
    }
    return undefined;
  }

  /**
   * Returns when the next message may be overdue, in ms of the clock. One that is overdue already does not count: it waits for a
   * proof that the leader answers.
   */
  next(now: number): number {
    let next = Infinity;
    for (const { at } of this.#oldestSendings()) {
      const due = at + this.timeout;
      if (due > now && due < next) next = due;
    }
    return next;
  }

  /** The oldest of the window and of each mute channel, without the channels that have cost a session. */
  *#oldestSendings(): Generator<Sending> {
    let oldest = this.#outbox.inFlight.head;
    // A message behind those of a channel that has cost a session must not wait for them.
    while (oldest !== undefined && this.#silent.has(oldest.channel)) oldest = oldest.next;
    if (oldest?.sending !== undefined) yield oldest.sending;
    for (const { mute } of this.#outbox.mute) {
      const head = mute?.entries.head;
      if (head?.sending !== undefined && !this.#silent.has(head.channel)) yield head.sending;
    }
  }
}
