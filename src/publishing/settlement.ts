import type { Clock } from '../clock/clock.js';
import { PublishTimeoutError } from '../errors.js';
import { Aborts } from './aborts.js';
import type { Timer } from './timer.js';
import { Deadlines } from './deadlines.js';
import { FlushBarriers } from './flush-barriers.js';
import type { Outbox } from './outbox.js';
import { type AbortGroup, type Entry, Limits } from './records.js';
import { aborted, deliveryOf, SharedErrors } from './rejections.js';
import { Settlers } from './settlers.js';

/** Settles each message once: by its acknowledgement, an error, its own timeout, or its own signal. */
export class Settlement {
  readonly #outbox: Outbox;
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #timeouts = new Deadlines<Limits>();
  readonly signals: Aborts;
  readonly flushes = new FlushBarriers();
  readonly settlers = new Settlers();
  acknowledged = 0;
  rejected = 0;

  /**
   * @param onAborted is called when messages were given up over a signal
   * @param bug is told what was thrown meanwhile, so that it does not get into the signal's call
   */
  constructor(outbox: Outbox, clock: Clock, timer: Timer, onAborted: () => void, bug: (thrown: unknown) => void) {
    this.#outbox = outbox;
    this.#clock = clock;
    this.#timer = timer;
    this.signals = new Aborts((entries, reason) => {
      try {
        this.#abort(entries, reason);
        onAborted();
      } catch (thrown) {
        bug(thrown);
      }
    });
  }

  /** Gives a message its timeout in ms, and the group of its signal, which it has joined. */
  limit(entry: Entry, timeout: number | undefined, group: AbortGroup | undefined): void {
    if (timeout === Infinity) timeout = undefined;
    if (timeout === undefined && group === undefined) return;
    const limits = (entry.limits = new Limits(entry, timeout));
    if (group !== undefined) this.signals.add(limits, group);
    if (timeout !== undefined) {
      this.#timeouts.add(limits, this.#clock.now(), timeout);
      this.#timer.setBy(limits.dueAt);
    }
  }

  acknowledge(entry: Entry, guid: string): void {
    // The message may have been given up, or acknowledged for another sending.
    if (entry.list === undefined) return;
    this.acknowledged++;
    this.#settle(entry);
    this.settlers.stored(entry.settler, guid, entry.channel, entry.attempts);
  }

  reject(entry: Entry, error: Error): void {
    this.rejected++;
    this.#settle(entry);
    this.settlers.failed(entry.settler, error);
  }

  /** Rejects each message whose timeout is over. */
  rejectOverdue(now: number): void {
    let limits = this.#timeouts.takeDue(now);
    if (limits === undefined) return;
    const errors = new SharedErrors();
    for (; limits !== undefined; limits = this.#timeouts.takeDue(now)) {
      const { entry, timeout = 0 } = limits;
      const { channel } = entry;
      const delivery = deliveryOf(entry);
      const error = errors.get(
        `${delivery} ${timeout} ${channel}`,
        () => new PublishTimeoutError(channel, timeout, delivery),
      );
      this.reject(entry, error);
    }
  }

  /** When the next timeout is over, in ms of the clock; Infinity if there is none. */
  get nextTimeout(): number {
    return this.#timeouts.next();
  }

  #abort(entries: Entry[], reason: unknown): void {
    const errors = new SharedErrors();
    for (const entry of entries) {
      const { channel } = entry;
      const delivery = deliveryOf(entry);
      const error = errors.get(`${delivery} ${channel}`, () => aborted(channel, reason, delivery));
      this.reject(entry, error);
    }
  }

  #settle(entry: Entry): void {
    this.#outbox.remove(entry);
    // A session may hold the entry for long, and an old entry holds young payloads until it is collected.
    entry.body = '';
    if (entry.limits !== undefined) {
      this.#timeouts.remove(entry.limits);
      this.signals.remove(entry.limits);
      entry.limits = undefined;
    }
    this.flushes.settled(entry.barrier);
  }
}
