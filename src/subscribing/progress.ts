/**
 * Tells how far a subscription has come in its channel: its lag, and whether it has caught up. It does nothing until somebody
 * asks.
 *
 * The server does not tell the position of a durable or of a group. What it does not send, though the subscription has room for
 * it, was processed before or belongs to others. So the newest message is asked for, and what comes is waited for.
 */
import type { Session } from '../connection/protocol.js';
import type { Clock } from '../clock/clock.js';
import type { Caller } from './caller.js';
import type { Cursor } from './cursor.js';
import { OwnDeliveryState, type DeliveryState } from './delivery-state.js';
import type { Urgency } from './pacing.js';
import type { Questions } from './questions.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';

/** How long nothing must come until the server counts as having no more for us, in ms. */
const QUIET = 250;
/** The same where every message is ours, so that only a loss or the limits of the channel explain a silence. */
const QUIET_WHERE_OURS = 1000;
/** Longest time between two checks while nothing comes, in ms. */
const LONGEST_PAUSE = 30_000;

export interface ProgressHost {
  readonly channel: string;
  readonly options: ResolvedSubscribeOptions;
  readonly clock: Clock;
  readonly questions: Questions;
  readonly session: Session | undefined;
  /** Whether the server has the subscription and its messages are listened to. */
  readonly live: boolean;
  /** Whether the server has made the subscription for the first time. */
  readonly isReady: boolean;
  /** Whether the subscription gets every message. */
  readonly seesAll: boolean;
  /** The number of messages that the current server subscription has brought. */
  readonly brought: number;
  /** Is called when a message has come or was processed, while somebody waits for that. */
  onProgress: (() => void) | undefined;
}

/** What has come, to compare. */
interface Mark {
  session: Session | undefined;
  brought: number;
}

/** Somebody who waits until something is true. */
interface Watch {
  isTrue: () => boolean;
  tell: () => void;
}

export class Progress {
  readonly #host: ProgressHost;
  readonly #state: DeliveryState;
  readonly #cursor: Cursor;
  /** The sequence up to which the server has nothing more for us, and the epoch in which that was seen. */
  #floor = { sequence: 0, epoch: 0 };
  readonly #watches = new Set<Watch>();

  constructor(host: ProgressHost, state: DeliveryState) {
    this.#host = host;
    this.#state = state;
    this.#cursor = state.cursor;
  }

  /** The number of messages that are not processed. @throws the errors of {@link Questions.ask} */
  async lag(caller: Caller): Promise<number> {
    const { questions, channel } = this.#host;
    for (;;) {
      const { epoch } = this.#state;
      const newest = await questions.newest(channel, caller);
      const last = newest?.sequence ?? 0;
      let before = this.#mark();
      const known = (): boolean => {
        if (this.#reach >= last || this.#isOurs || this.#isFull || epoch !== this.#state.epoch) return true;
        if (!this.#isGroup || this.#isAt(before)) return false;
        // Another member may get what is missing here, so the next message that comes shows as much as all others.
        if (this.#host.session === before.session && this.#host.brought > before.brought) return true;
        before = this.#mark();
        return false;
      };
      await this.#until(known, last, caller, 'asked');
      if (epoch !== this.#state.epoch) continue;
      if (this.#reach >= last) return this.#unprocessed;
      const oldest = await questions.oldest(channel, caller);
      if (epoch !== this.#state.epoch) continue;
      // What the limits of the channel have taken is not waited for.
      const gone = oldest === undefined ? last : oldest.sequence - 1;
      return Math.max(0, last - Math.max(this.#reach, gone)) + this.#unprocessed;
    }
  }

  /**
   * Resolves when everything is processed that was stored when this was called.
   * @throws the errors of {@link Questions.ask}
   */
  async caughtUp(caller: Caller): Promise<void> {
    const { questions, channel, options, seesAll } = this.#host;
    for (;;) {
      const { epoch } = this.#state;
      const nothing = seesAll && options.startAt === 'new' && epoch === 0;
      const newest = nothing ? undefined : await questions.newest(channel, caller, 'routine');
      const target = newest?.sequence ?? 0;
      const known = (): boolean => (this.#host.isReady && this.#isProcessed(target)) || epoch !== this.#state.epoch;
      await this.#until(known, target, caller, 'routine');
      // A channel that began again has a new end.
      if (epoch === this.#state.epoch) return;
    }
  }

  /** The highest sequence that has come, or up to which nothing comes. */
  get #reach(): number {
    const { sequence, epoch } = this.#floor;
    return Math.max(this.#cursor.highest?.sequence ?? 0, epoch === this.#state.epoch ? sequence : 0);
  }

  get #isGroup(): boolean {
    return this.#host.options.queueGroup !== undefined;
  }

  /** Whether every message above the highest one is ours and comes. */
  get #isOurs(): boolean {
    return this.#state instanceof OwnDeliveryState && this.#state.cursor.base !== undefined;
  }

  /** Whether the server sends no more until a message is acknowledged. */
  get #isFull(): boolean {
    return this.#cursor.outstanding >= this.#host.options.maxInFlight;
  }

  /** The number of messages that are received and not processed. */
  get #unprocessed(): number {
    return this.#cursor.outstanding + this.#failed(Infinity);
  }

  /** The number of messages up to a sequence whose handler has failed, and that the cursor of a group does not count. */
  #failed(upTo: number): number {
    let count = 0;
    for (const { sequence, time } of this.#state.unfinished) {
      // A message without a time has never come, and another member may have it.
      if (sequence <= upTo && !Number.isNaN(time) && !this.#cursor.isOutstanding(sequence)) count++;
    }
    return count;
  }

  #isProcessed(upTo: number): boolean {
    if (this.#reach < upTo) return false;
    if (this.#cursor.outstanding > 0 && this.#cursor.lastSequence < upTo) return false;
    return this.#state.unfinished.size === 0 || this.#failed(upTo) === 0;
  }

  #mark(): Mark {
    return { session: this.#host.session, brought: this.#host.brought };
  }

  #isAt({ session, brought }: Mark): boolean {
    return this.#host.session === session && this.#host.brought === brought;
  }

  /** Resolves when something is true, which is looked at when a message comes or is processed, and from time to time. */
  async #until(isTrue: () => boolean, target: number, caller: Caller, urgency: Urgency): Promise<void> {
    let pause = QUIET;
    while (!isTrue()) {
      const before = this.#mark();
      await caller.wait(this.#rest(isTrue, pause));
      if (isTrue()) return;
      const idle = this.#isIdleSince(before);
      if (idle && this.#reach < target) await this.#seeWhetherMoreComes(target, pause, caller, urgency);
      pause = idle ? Math.min(2 * pause, LONGEST_PAUSE) : QUIET;
    }
  }

  /** Whether the server could have sent something and has not. */
  #isIdleSince(before: Mark): boolean {
    return this.#host.live && this.#isAt(before) && !this.#isFull;
  }

  /**
   * After a silence, finds out that nothing comes up to the target. The answer of the server comes behind everything that it had
   * sent before.
   */
  async #seeWhetherMoreComes(target: number, pause: number, caller: Caller, urgency: Urgency): Promise<void> {
    const { questions, channel } = this.#host;
    const { epoch } = this.#state;
    const before = this.#mark();
    if (this.#isOurs) {
      if (pause < QUIET_WHERE_OURS) return;
      const oldest = await questions.oldest(channel, caller, urgency);
      if (oldest !== undefined && oldest.sequence <= target) return;
    } else await questions.newest(channel, caller, urgency);
    if (this.#isIdleSince(before) && epoch === this.#state.epoch) this.#floor = { sequence: target, epoch };
  }

  /** Resolves when something is true, or after a pause. */
  #rest(isTrue: () => boolean, milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const tell = (): void => {
        cancel();
        this.#watches.delete(watch);
        if (this.#watches.size === 0) this.#host.onProgress = undefined;
        resolve();
      };
      const watch: Watch = { isTrue, tell };
      const cancel = this.#host.clock.after(milliseconds, tell, { unref: true });
      this.#watches.add(watch);
      this.#host.onProgress = this.#look;
    });
  }

  readonly #look = (): void => {
    for (const { isTrue, tell } of this.#watches) if (isTrue()) tell();
  };
}
