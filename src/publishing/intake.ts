import type { Clock } from '../clock/clock.js';
import { type Delivery, PayloadTooLargeError } from '../errors.js';
import type { Outbox } from './outbox.js';
import type { PublisherOptions } from './publisher-options.js';
import type { PubMsgSize } from './pubmsg-size.js';
import type { AbortGroup } from './records.js';
import { aborted, full, intakeEnded, neverFits } from './rejections.js';

/** For how long a channel is refused that the server does not take, in ms. Each try would end a session. */
const FORBIDDEN_FOR = 10_000;
/** The most channels that are remembered for being forbidden. */
const MOST_FORBIDDEN = 1000;

/** Makes the error of a message. Its `delivery` says what is known of the message. */
export type MakeError = (delivery: Delivery) => Error;

/** Decides whether a message is taken in. */
export class Intake {
  readonly #options: PublisherOptions;
  readonly #clock: Clock;
  readonly #outbox: Outbox;
  readonly #size: PubMsgSize;
  /** The channels that the server does not take, with the error of their messages, and when that began, in ms of the clock. */
  readonly #forbidden = new Map<string, { make: MakeError; since: number }>();
  #open = true;
  /** The `max_payload` of the last session, in bytes. */
  #maxPayload: number | undefined;
  #attached = false;

  constructor(options: PublisherOptions, outbox: Outbox, size: PubMsgSize) {
    this.#options = options;
    this.#clock = options.clock;
    this.#outbox = outbox;
    this.#size = size;
  }

  /**
   * Returns the error of a message that is not taken in. It runs no code of the caller.
   * @param size of the payload, in bytes
   * @param abortedBy the group of its signal, if that is aborted
   */
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

  /** A session is attached, with this limit in bytes. */
  attached(maxPayload: number): void {
    this.#attached = true;
    this.#maxPayload = maxPayload;
  }

  /** No session is attached. */
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

  /** How large a message may be on the wire, in bytes. */
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
