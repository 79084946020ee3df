import type { AwakeClock } from '../awake-clock.js';
import { type Delivery, PayloadTooLargeError } from '../errors.js';
import type { Outbox } from './outbox.js';
import type { PublisherOptions } from './publisher-options.js';
import type { PubMsgSize } from './pubmsg-size.js';
import type { AbortGroup } from './records.js';
import { aborted, full, intakeEnded, neverFits } from './rejections.js';

/** A channel that the server does not take is refused for this long, in ms: each try would end a session. */
const FORBIDDEN_FOR = 10_000;
/** The most channels that are remembered for being forbidden. */
const MOST_FORBIDDEN = 1000;

/** Makes the error of one message, which says in `delivery` what is known of it. */
export type MakeError = (delivery: Delivery) => Error;

/** Decides whether a message is taken in. */
export class Intake {
  readonly #options: PublisherOptions;
  readonly #clock: AwakeClock;
  readonly #outbox: Outbox;
  readonly #size: PubMsgSize;
  /** Channels that the server does not take: the error of their messages, and since when, in ms of the clock. */
  readonly #forbidden = new Map<string, { make: MakeError; since: number }>();
  #open = true;
  /** The `max_payload` of the session that is attached, or was last. */
  #maxPayload: number | undefined;
  #attached = false;

  constructor(options: PublisherOptions, outbox: Outbox, size: PubMsgSize) {
    this.#options = options;
    this.#clock = options.clock;
    this.#outbox = outbox;
    this.#size = size;
  }

  /** Returns the error of a message that is not taken in. Runs no code of the caller; `abortedBy` is the group of a signal that is aborted. */
  check(channel: string, size: number, abortedBy: AbortGroup | undefined): Error | undefined {
    if (!this.#open) return intakeEnded();
    if (abortedBy !== undefined) return aborted(channel, abortedBy.watch.reason, 'not-sent');
    if (this.#forbidden.size > 0) {
      const forbidden = this.#checkForbidden(channel);
      if (forbidden !== undefined) return forbidden;
    }
    const limit = this.#limit;
    if (limit !== undefined && this.#size.exceeds(limit, channel, size)) {
      return new PayloadTooLargeError(channel, this.#size.of(channel, size), limit);
    }
    const { maxPendingBytes, whenFull } = this.#options;
    if (size > maxPendingBytes) return neverFits(channel, size, maxPendingBytes);
    if (whenFull === 'reject' && !this.#outbox.hasRoom(size)) return full(this.#outbox, this.#options);
    return undefined;
  }

  attached(maxPayload: number): void {
    this.#attached = true;
    this.#maxPayload = maxPayload;
  }

  detached(): void {
    this.#attached = false;
  }

  /** Takes nothing in from now on. */
  close(): void {
    this.#open = false;
  }

  /** Takes nothing of this channel in for a while. */
  forbid(channel: string, make: MakeError): void {
    if (this.#forbidden.size >= MOST_FORBIDDEN) this.#forbidden.clear();
    this.#forbidden.set(channel, { make, since: this.#clock.now() });
  }

  get #limit(): number | undefined {
    return this.#attached ? this.#maxPayload : (this.#options.maxPayload?.() ?? this.#maxPayload);
  }

  #checkForbidden(channel: string): Error | undefined {
    const forbidden = this.#forbidden.get(channel);
    if (forbidden === undefined) return undefined;
    if (this.#clock.now() - forbidden.since >= FORBIDDEN_FOR) {
      this.#forbidden.delete(channel);
      return undefined;
    }
    return forbidden.make('not-sent');
  }
}
