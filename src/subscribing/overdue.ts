/**
 * Notices handlers that run for longer than `ackWait`. The server then takes their messages for lost and sends them again. A
 * message costs a few stores and no timer: one timer for each subscription counts steps while a handler runs.
 */
import type { Clock } from '../clock/clock.js';
import type { ReceivedMessage } from './message.js';

/** How many steps `ackWait` has. A handler is noticed at most one step late. */
const STEPS = 8;

export class OverdueWatch {
  readonly #clock: Clock;
  readonly #step: number;
  readonly #counting: Set<OverdueWatch>;
  readonly #tell: (message: ReceivedMessage) => void;
  /** The messages whose handlers have returned a promise, in no order. */
  readonly #running: ReceivedMessage[] = [];
  /** The number of steps when each of them began. */
  readonly #begun: number[] = [];
  /** The number of steps so far. */
  #steps = 0;
  /** Cancels the next step while steps are counted. */
  #cancel: (() => void) | undefined;

  /**
   * @param ackWait in ms
   * @param counting holds this while it counts, so that it can be stopped
   * @param tell is called once for each call of a handler that takes longer
   */
  constructor(clock: Clock, ackWait: number, counting: Set<OverdueWatch>, tell: (message: ReceivedMessage) => void) {
    this.#clock = clock;
    this.#step = ackWait / STEPS;
    this.#counting = counting;
    this.#tell = tell;
  }

  /** Notes that a handler has returned a promise. */
  began(message: ReceivedMessage): void {
    message.place = this.#running.length;
    this.#running.push(message);
    this.#begun.push(this.#steps);
    if (this.#cancel === undefined) this.#count();
  }

  /** Notes that a handler is done. */
  ended(message: ReceivedMessage): void {
    const { place } = message;
    if (place < 0) return;
    message.place = -1;
    const last = this.#running.pop()!;
    const begun = this.#begun.pop()!;
    if (last === message) return;
    this.#running[place] = last;
    this.#begun[place] = begun;
    last.place = place;
  }

  /** Forgets all handlers, because nothing comes again to a client that is closed. */
  stop(): void {
    this.#pause();
    for (const message of this.#running) message.place = -1;
    this.#running.length = this.#begun.length = 0;
  }

  #pause(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#counting.delete(this);
  }

  #count(): void {
    this.#counting.add(this);
    this.#cancel = this.#clock.after(this.#step, () => this.#look(), { unref: true });
  }

  #look(): void {
    this.#steps++;
    const late: ReceivedMessage[] = [];
    let waiting = false;
    for (const [i, message] of this.#running.entries()) {
      const age = this.#steps - this.#begun[i]!;
      // A part of the first step had passed when the handler began.
      if (age === STEPS + 1) late.push(message);
      else if (age <= STEPS) waiting = true;
    }
    if (waiting) this.#count();
    else this.#pause();
    for (const message of late) this.#tell(message);
  }
}
