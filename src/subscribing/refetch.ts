/**
 * What nobody has finished: when its time has come and the server has not sent it again, it is fetched by its number, and
 * handed over or told to be gone. Only what the server gives to others is left to them: to members of a group elsewhere, or to
 * another process that had the durable.
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

/** So much later than after ackWait, in ms, what the server has not sent again by itself is fetched. */
export const LATE = 1000;
/** After which time what could not be fetched is tried again, ms; ever longer while it is refused. */
const FETCH_AGAIN = 1000;
const LONGEST_DELAY = 5000;
/** The longest range that is fetched at a time. */
const LONGEST_FETCH = 10_000;

export interface RefetchHost extends RepairHost {
  /** It is made again at once. */
  makeAgain(): void;
  /** The channel is a new one. */
  startOver(got: number): void;
  /** All members of a group look after what is unfinished. */
  wakeMembers(): void;
}

export class Refetch {
  readonly #host: RefetchHost;
  readonly #state: DeliveryState;
  readonly #processing: Processing;
  readonly #cursor: Cursor;
  #cancelFetch: (() => void) | undefined;
  #fetchAt = Infinity;
  /** Something is being fetched. */
  #fetching = false;
  /** The last time nothing was found in the channel. */
  #foundEmpty = false;
  /** Fetches in a row that were refused. */
  #tries = 0;
  /** On this session it was resumed further back, because a fetch was refused. */
  #wentBack = false;

  constructor(host: RefetchHost, state: DeliveryState, processing: Processing) {
    this.#host = host;
    this.#processing = processing;
    this.#state = state;
    this.#cursor = state.cursor;
  }

  /** A session begins. */
  begin(): void {
    this.#wentBack = false;
  }

  cancel(): void {
    this.#cancelFetch?.();
    this.#cancelFetch = undefined;
  }

  /** The server has made it. */
  resumed(now: number): void {
    const { unfinished, sessions } = this.#state;
    const { durableName, queueGroup } = this.#host.options;
    // A durable is sent at once what the server has pending for it.
    if (durableName !== undefined && queueGroup === undefined && unfinished.size > 0) {
      unfinished.hasten(({ handed, session }) => handed === undefined && session < sessions, now + LATE);
    }
    this.later();
  }

  /** What was leapt over comes by itself, or else is fetched. */
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

  /** Another member may have what this one has left unacknowledged. */
  giveBack(): void {
    const { unfinished } = this.#state;
    for (const message of [...unfinished]) {
      if (message.handed?.isOf(this.#processing) !== true) continue;
      this.#cursor.fail(message.sequence);
      unfinished.add({ ...message, handed: undefined });
    }
  }

  /** @param handed with `manualAck`: it was handed over, and may be acknowledged yet */
  leave(message: ReceivedMessage, handed: ReceivedMessage | undefined): void {
    const { sequence, time, fetched } = message;
    const session = this.#state.sentIn(message);
    const { ackWait } = this.#host.options;
    const now = this.#host.clock.now();
    const from = Math.max(now - ackWait, message.receivedAt, message.handedAt);
    const reservedUntil = from + ackWait;
    const due = reservedUntil + LATE;
    this.#state.unfinished.add({ sequence, time, session, fetched, reservedUntil, handed, due });
    this.later();
  }

  /** Comes back when the time of something has come. */
  later(): void {
    const at = this.#state.unfinished.earliest;
    if (at === Infinity || this.#fetching || this.#host.stopped) return;
    if (this.#cancelFetch !== undefined) {
      if (at >= this.#fetchAt) return;
      this.#cancelFetch();
    }
    this.#fetchAt = at;
    this.#cancelFetch = this.#host.clock.after(Math.max(0, at - this.#host.clock.now()), () => {
      this.#cancelFetch = undefined;
      void this.#fetchUnfinished();
    });
  }

  /** What nobody has finished in its time, and the server has not sent again, is fetched by its number. */
  async #fetchUnfinished(): Promise<void> {
    const { session } = this.#host;
    // On the next session there is another occasion.
    if (session === undefined || !this.#host.live || this.#fetching) return;
    this.#fetching = true;
    const due = this.#state.unfinished.takeDue(this.#host.clock.now(), this.#host.options.maxInFlight);
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
      // If the server has it pending, it sends it once more, unless that is lost on its way as well.
      message.waits++;
      this.#state.unfinished.postpone(message, this.#host.clock.now() + LATE);
      this.#host.makeAgain();
      return false;
    }
    if (fate === 'fetch' || fate === 'others') return true;
    if (fate === 'later') {
      message.waits++;
      this.#state.unfinished.postpone(message, this.#host.clock.now() + this.#host.options.ackWait);
      return false;
    }
    this.#state.forget(sequence);
    this.#cursor.fail(sequence);
    return false;
  }

  /**
   * @param goneBelow the server has nothing below this, so far as is known
   * @returns the same, with what was learned
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
    // It may have come by itself, or been acknowledged.
    const isLeft = (message: Unfinished): boolean => unfinished.get(message.sequence) === message;
    if (epoch !== this.#state.epoch || ![...wanted.values()].some(isLeft)) return goneBelow;
    if (end !== 'failed' && !stale() && to >= goneBelow) {
      const first = await inquiries.oldest(this.#host.channel, 'missing');
      if (first !== undefined) goneBelow = first.sequence;
      else if (
        end === 'silent' &&
        (await inquiries.peek(this.#host.channel, () => ({ at: 'last' }), 'missing')) === undefined
      ) {
        // Neither the range, nor the oldest message, nor the newest: there is none, if that is so twice.
        if (this.#foundEmpty) goneBelow = Infinity;
        this.#foundEmpty = true;
      }
      if (end === 'silent' && goneBelow < Infinity) await this.#host.startedOver(session, 'missing');
      if (epoch !== this.#state.epoch) return goneBelow;
    }
    if (end === 'failed' && !stale() && this.#host.seesAll && !this.#wentBack) {
      // There is no room for another subscription, so this one has to bring it.
      this.#wentBack = true;
      (this.#cursor as ContiguousCursor).goBackTo(from);
      this.#host.remakeBecause(`message ${from} is not processed and cannot be fetched`);
    }
    this.#tries = end === 'failed' ? this.#tries + 1 : 0;
    const again = this.#host.clock.now() + Math.min(LONGEST_DELAY, FETCH_AGAIN * 2 ** Math.min(this.#tries, 10));
    const gone: number[] = [];
    for (const message of [...wanted.values()].filter(isLeft)) {
      const { sequence, time } = message;
      // What is there, and was lost on its way, comes another time.
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

  /** An unfinished message has come, asked for by its number. */
  #fetched(raw: RawMessage, message: Unfinished): void {
    const { sequence, time, handed } = message;
    const { unfinished } = this.#state;
    // It has come by itself, or was acknowledged.
    if (unfinished.get(sequence) !== message) return;
    const stored = raw.getTimestampRaw();
    const isFirst = Number.isNaN(time);
    if (stored !== time && !isFirst) {
      this.#host.startOver(sequence);
      return;
    }
    if (this.#state.fate(message) === 'others') {
      // It is there, so that it is no gap.
      this.#state.forget(sequence);
      this.#cursor.finish(sequence, time);
      return;
    }
    const now = this.#host.clock.now();
    this.#host.countFetched();
    const wanted =
      handed === undefined
        ? this.#cursor.retake(sequence)
        : this.#processing.handOverAgain(raw, sequence, stored, true, now);
    if (wanted) this.#processing.take(raw, sequence, stored, !isFirst, now, true);
    else unfinished.delete(sequence);
  }
}
