/**
 * Fetches unfinished messages. When the time of a message has come and the server has not sent it again, the message is fetched
 * by its number and handed over, or reported as gone. Messages that the server gives to others are left to them: to other
 * members of a group, or to another process that had the durable.
 */
import type { RawMessage, Session } from '../connection/protocol.js';
import type { ContiguousCursor } from './contiguous-cursor.js';
import type { Cursor } from './cursor.js';
import type { FetchEnd } from './inquiries.js';
import { SURELY_OTHERS, type DeliveryState } from './delivery-state.js';
import type { ReceivedMessage } from './message.js';
import type { Processing } from './processing.js';
import type { RepairHost } from './repair.js';
import { rangesOf } from './range-set.js';
import { fetchRanges, type FetchRange, type Unfinished } from './unfinished.js';

/** Time after `ackWait` until a message that the server has not sent again is fetched, in ms. */
export const LATE = 1000;
/** Shortest and longest delay before a failed fetch is tried again, in ms. The delay doubles while fetches are refused. */
const FETCH_AGAIN = 1000;
const LONGEST_DELAY = 5000;
/** The most sequences that one fetch reads. */
const LONGEST_FETCH = 10_000;

export interface RefetchHost extends RepairHost {
  /** Makes the server subscription again at once. */
  makeAgain(): void;
  /** Starts over, because the channel is a new one. */
  startOver(got: number): void;
  /** Lets all members of the group look for unfinished messages. */
  wakeMembers(): void;
}

export class Refetch {
  readonly #host: RefetchHost;
  readonly #state: DeliveryState;
  readonly #processing: Processing;
  readonly #cursor: Cursor;
  #cancelFetch: (() => void) | undefined;
  #fetchAt = Infinity;
  /** Whether a fetch is under way. */
  #fetching = false;
  /** Whether the last peek found the channel empty. */
  #foundEmpty = false;
  /** The number of fetches in a row that were refused. */
  #tries = 0;
  /** Whether the subscription was resumed further back on this session because a fetch was refused. */
  #wentBack = false;

  constructor(host: RefetchHost, state: DeliveryState, processing: Processing) {
    this.#host = host;
    this.#processing = processing;
    this.#state = state;
    this.#cursor = state.cursor;
  }

  /** Notes that a session begins. */
  begin(): void {
    this.#wentBack = false;
  }

  cancel(): void {
    this.#cancelFetch?.();
    this.#cancelFetch = undefined;
  }

  /** Notes that the server subscription was made. */
  resumed(now: number): void {
    const { unfinished, sessions } = this.#state;
    const { durableName, queueGroup } = this.#host.options;
    // The server sends the pending messages of a durable at once.
    if (durableName !== undefined && queueGroup === undefined && unfinished.size > 0) {
      unfinished.hasten(({ handed, session }) => handed === undefined && session < sessions, now + LATE);
    }
    this.later();
  }

  /** Fetches the messages of a leap unless they come by themselves in time. */
  awaitMissing(from: number, to: number, now: number): void {
    const { sessions, unfinished } = this.#state;
    const reservedUntil = now + this.#host.options.ackWait;
    const due = reservedUntil + LATE;
    const missing = {
      time: NaN,
      session: sessions,
      fetched: false,
      reservedUntil,
      handed: undefined,
      due,
    };
    for (let sequence = from; sequence < Math.min(to, from + LONGEST_FETCH); sequence++) {
      unfinished.add({ ...missing, sequence });
    }
    this.later();
  }

  /** Leaves unacknowledged messages to other members of the group. */
  giveBack(): void {
    const { unfinished } = this.#state;
    for (const message of [...unfinished]) {
      if (message.handed?.isOf(this.#processing) !== true) continue;
      this.#cursor.fail(message.sequence);
      this.#state.noteHanded(message.sequence, this.#host.clock.elapsed());
      unfinished.add({ ...message, handed: undefined });
    }
  }

  /**
   * Adds a message that was not processed or not acknowledged.
   * @param handed the message itself if its handler had it and may still acknowledge it, with `manualAck`
   */
  leave(message: ReceivedMessage, handed: ReceivedMessage | undefined): void {
    const { sequence, time, fetched } = message;
    const session = this.#state.sentIn(message);
    const { ackWait } = this.#host.options;
    const now = this.#host.clock.elapsed();
    const from = Math.max(now - ackWait, message.receivedAt, message.handedAt);
    const reservedUntil = from + ackWait;
    const due = reservedUntil + LATE;
    this.#state.unfinished.add({ sequence, time, session, fetched, reservedUntil, handed, due });
    this.later();
  }

  /** Sets the timer for the next unfinished message. */
  later(): void {
    const at = this.#state.unfinished.earliest;
    if (at === Infinity || this.#fetching || this.#host.stopped) return;
    if (this.#cancelFetch !== undefined) {
      if (at >= this.#fetchAt) return;
      this.#cancelFetch();
    }
    this.#fetchAt = at;
    this.#cancelFetch = this.#host.clock.after(
      Math.max(0, at - this.#host.clock.elapsed()),
      () => {
        this.#cancelFetch = undefined;
        void this.#fetchUnfinished();
      },
      { unref: true },
    );
  }

  /** Fetches the messages whose time has come. */
  async #fetchUnfinished(): Promise<void> {
    const { session } = this.#host;
    // The next session sets the timer again.
    if (session === undefined || !this.#host.live || this.#fetching) return;
    this.#fetching = true;
    const due = this.#state.unfinished.takeDue(this.#host.clock.elapsed(), this.#host.options.maxInFlight);
    const ranges = fetchRanges(
      due.filter((message) => this.#isWanted(message)),
      LONGEST_FETCH,
    );
    let goneBelow = 0;
    for (const range of ranges) goneBelow = await this.#fetchAgain(session, range, goneBelow);
    this.#fetching = false;
    this.#host.wakeMembers();
  }

  #isWanted(message: Unfinished): boolean {
    const { sequence } = message;
    const fate = this.#state.fate(message);
    if (fate === 'others' && message.waits < SURELY_OTHERS - 1) {
      // If the server has the message pending, it sends the message once more, unless that is lost as well.
      message.waits++;
      this.#state.unfinished.postpone(message, this.#host.clock.elapsed() + LATE);
      this.#host.makeAgain();
      return false;
    }
    if (fate === 'fetch' || fate === 'others') return true;
    if (fate === 'later') {
      message.waits++;
      this.#state.unfinished.postpone(message, this.#host.clock.elapsed() + this.#host.options.ackWait);
      return false;
    }
    this.#state.forget(sequence);
    this.#cursor.fail(sequence);
    return false;
  }

  /**
   * Fetches a range of messages again.
   * @param goneBelow the sequence below which the server is known to have nothing
   * @returns the same, with what the fetch has shown
   */
  async #fetchAgain(session: Session, { from, to, wanted }: FetchRange, goneBelow: number): Promise<number> {
    const { unfinished, epoch } = this.#state;
    const stale = this.#host.staleness(session);
    const { inquiries } = this.#host;
    let end: FetchEnd = stale() ? 'failed' : 'through';
    if (!stale() && to >= goneBelow) {
      const take = (raw: RawMessage): boolean => {
        if (stale()) return false;
        const message = wanted.get(raw.getSequence());
        if (message !== undefined) this.#fetched(raw, message);
        return true;
      };
      end = await inquiries.fetch(this.#host.channel, from, to + 1, take, 'missing');
    }
    // A message may have come by itself or been acknowledged meanwhile.
    const isLeft = (message: Unfinished): boolean => unfinished.get(message.sequence) === message;
    if (epoch !== this.#state.epoch || ![...wanted.values()].some(isLeft)) return goneBelow;
    if (end !== 'failed' && !stale() && to >= goneBelow) {
      const first = await inquiries.oldest(this.#host.channel, 'missing');
      if (first !== undefined) goneBelow = first.sequence;
      else if (
        end === 'silent' &&
        (await inquiries.peek(this.#host.channel, () => ({ at: 'last' }), 'missing')) === undefined
      ) {
        // Neither the range nor the oldest nor the newest message could be read. If that happens twice, the channel is empty.
        if (this.#foundEmpty) goneBelow = Infinity;
        this.#foundEmpty = true;
      }
      if (end === 'silent' && goneBelow < Infinity) await this.#host.startedOver(session, 'missing');
      if (epoch !== this.#state.epoch) return goneBelow;
    }
    if (end === 'failed' && !stale() && this.#host.seesAll && !this.#wentBack) {
      // The server has no room for another subscription, so this subscription itself has to bring the messages.
      this.#wentBack = true;
      (this.#cursor as ContiguousCursor).goBackTo(from);
      this.#host.remakeBecause(`message ${from} is not processed and cannot be fetched`);
    }
    this.#tries = end === 'failed' ? this.#tries + 1 : 0;
    const again = this.#host.clock.elapsed() + Math.min(LONGEST_DELAY, FETCH_AGAIN * 2 ** Math.min(this.#tries, 10));
    const gone: number[] = [];
    for (const message of [...wanted.values()].filter(isLeft)) {
      const { sequence, time } = message;
      // The message is stored and was lost on its way. It is fetched another time.
      if (stale() || sequence >= goneBelow) unfinished.postpone(message, again);
      else {
        gone.push(sequence);
        this.#state.forget(sequence);
        this.#cursor.finish(sequence, time);
      }
    }
    for (const gap of rangesOf(gone)) this.#host.tellGap(gap);
    return goneBelow;
  }

  /** Takes an unfinished message that was fetched by its number. */
  #fetched(raw: RawMessage, message: Unfinished): void {
    const { sequence, time, handed } = message;
    const { unfinished } = this.#state;
    // The message has come by itself or was acknowledged.
    if (unfinished.get(sequence) !== message) return;
    const stored = raw.getTimestampRaw();
    const isFirst = Number.isNaN(time);
    if (stored !== time && !isFirst) {
      this.#host.startOver(sequence);
      return;
    }
    if (this.#state.fate(message) === 'others') {
      // The message is stored, so it is no gap.
      this.#state.forget(sequence);
      this.#cursor.finish(sequence, time);
      return;
    }
    const now = this.#host.clock.elapsed();
    this.#host.countFetched();
    const wanted =
      handed === undefined
        ? this.#cursor.retake(sequence)
        : this.#processing.handOverAgain(raw, sequence, stored, true, now);
    if (wanted) this.#processing.take(raw, sequence, stored, !isFirst, now, true);
    else unfinished.delete(sequence);
  }
}
