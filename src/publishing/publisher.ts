import type { Clock } from '../clock/clock.js';
import type { InHand, Session } from '../connection/protocol.js';
import type { LastWords } from '../connection/server-texts.js';
import { describe, InternalError, PermissionError } from '../errors.js';
import { AckTimeout } from './ack-timeout.js';
import { Timer } from './timer.js';
import { Intake, type MakeError } from './intake.js';
import { Outbox } from './outbox.js';
import { payloadSize, Payloads } from './payload.js';
import type { PublisherOptions, PublisherStats } from './publisher-options.js';
import { PubMsgSize } from './pubmsg-size.js';
import { Entry, type AbortGroup } from './records.js';
import { Refusals } from './refusals.js';
import { closed, deliveryOf, endedSession, SharedErrors } from './rejections.js';
import { Settlement } from './settlement.js';
import type { PubAck, Resolve, Settler } from './settlers.js';
import { Transmission } from './transmission.js';

export type { PubAck } from './settlers.js';
export type { Ordering } from './outbox.js';
export type { PublisherOptions, PublisherStats } from './publisher-options.js';

/** A channel whose messages were sent and are not acknowledged, although the leader answers. */
export interface Unacknowledged {
  channel: string;
  /** When the oldest of them was sent, in ms of the clock. */
  since: number;
}

const NOT_SENT = { delivery: 'not-sent' } as const;

/**
 * Publishes on one session after the other, until each message is acknowledged or given up. There is one for the whole life of a
 * client. It is the door of this room: {@link Intake} decides what is taken in, {@link Outbox} what may
 * be sent when, {@link Transmission} sends it on one session, and {@link Settlement} keeps the promises.
 */
export class Publisher {
  readonly #clock: Clock;
  readonly #maxInFlight: number;
  readonly #onError: ((error: Error) => void) | undefined;
  readonly #timer: Timer;
  readonly #outbox: Outbox;
  readonly #payloads = new Payloads();
  readonly #pubMsgSize: PubMsgSize;
  readonly #intake: Intake;
  readonly #settlement: Settlement;
  readonly #refusals = new Refusals();
  readonly #ackTimeout: AckTimeout;
  /** The transmission on the session that is attached. */
  #transmission: Transmission | undefined;
  /** The ordinal of the last session that was attached. */
  #lastOrdinal = 0;
  #published = 0;

  constructor(options: PublisherOptions) {
    const { clock, clientId, ackTimeout, maxInFlight, onError } = options;
    this.#clock = clock;
    this.#maxInFlight = maxInFlight;
    this.#onError = onError;
    this.#timer = new Timer(() => this.#wake(), clock);
    this.#outbox = new Outbox(options);
    this.#pubMsgSize = new PubMsgSize(clientId);
    this.#intake = new Intake(options, this.#outbox, this.#pubMsgSize);
    this.#settlement = new Settlement(
      this.#outbox,
      clock,
      this.#timer,
      () => this.#transmission?.feed(),
      (thrown) => this.#bug(thrown),
    );
    this.#ackTimeout = new AckTimeout(ackTimeout, this.#outbox);
  }

  /**
   * Publishes a message. Resolves when the cluster has acknowledged it, on this session or a later one. Without a `timeout` it waits
   * for ever. The bytes are copied, so that the caller may reuse his array.
   *
   * Rejects, each time with `delivery`: ClosedError; AbortedError (`cause` is the signal's reason); PublishTimeoutError;
   * PayloadTooLargeError; OutboxFullError (`whenFull: 'reject'`); InvalidArgumentError when the message alone is larger than
   * `maxPendingBytes`, and, without being counted as published, when the bytes or the signal cannot be used;
   * PublishRejectedError when the cluster refuses it; PermissionError.
   *
   * @param channel a valid channel name
   * @param options `timeout` is counted from this call, waiting for room included, in ms
   */
  publish(
    channel: string,
    data: string | Uint8Array,
    options?: { timeout?: number | undefined; signal?: AbortSignal | undefined },
  ): Promise<PubAck> {
    const promise = new Promise<PubAck>(takeResolve);
    this.take(channel, data, options, takenResolve);
    return promise;
  }

  /** Does what {@link publish} does for whoever waits for the message. */
  take(
    channel: string,
    data: string | Uint8Array,
    options: { timeout?: number | undefined; signal?: AbortSignal | undefined } | undefined,
    settler: Settler,
  ): void {
    const { signals, flushes, settlers } = this.#settlement;
    // What runs code of the caller, or may throw because of what he passed, comes first. Only then is anything changed.
    let group: AbortGroup | undefined;
    let size: number;
    let refused: Error | undefined;
    let body: string | Uint8Array = data;
    let offset = 0;
    try {
      if (options?.signal !== undefined) group = signals.join(options.signal);
      const isAborted = group?.watch.aborted === true;
      size = payloadSize(data);
      refused = this.#intake.check(channel, size, isAborted ? group : undefined);
      if (refused === undefined && typeof data !== 'string') {
        body = this.#payloads.keep(data);
        offset = this.#payloads.offset;
      }
    } catch (error) {
      if (group !== undefined) signals.leave(group);
      settlers.failed(settler, error, NOT_SENT);
      return;
    }
    this.#published++;
    if (refused !== undefined) {
      if (group !== undefined) signals.leave(group);
      this.#settlement.rejected++;
      settlers.failed(settler, refused);
      return;
    }
    const entry = new Entry(channel, body, offset, size, this.#outbox.taken + 1, flushes.join(), settler);
    if (options !== undefined) this.#settlement.limit(entry, options.timeout, group);
    this.#outbox.take(entry);
    this.#transmission?.feed();
  }

  /**
   * Begins to publish on a new session that is up. What was sent before and is unacknowledged is sent again, in order, and then
   * what waits.
   * @param careful one message at a time, because the server ends sessions over one of them
   */
  attach(session: Session, careful = false): void {
    if (this.#transmission !== undefined) this.detach();
    const transmission = new Transmission(session, {
      outbox: this.#outbox,
      settlement: this.#settlement,
      refusals: this.#refusals,
      ackTimeout: this.#ackTimeout,
      payloads: this.#payloads,
      pubMsgSize: this.#pubMsgSize,
      timer: this.#timer,
      clock: this.#clock,
      bug: (thrown) => this.#bug(thrown),
    });
    this.#transmission = transmission;
    this.#lastOrdinal = session.ordinal;
    this.#intake.attached(session.maxPayload);
    this.#outbox.window = careful ? 1 : this.#maxInFlight;
    transmission.feed();
  }

  /** Ends publishing on the session, which is gone. Nothing is handed over until the next `attach`. */
  detach(): void {
    if (this.#transmission === undefined) return;
    this.#transmission.end();
    this.#transmission = undefined;
    this.#intake.detached();
    this.#rearm();
  }

  /** Hands nothing over until `resume` or the next session, because the session is suspect. */
  pause(): void {
    this.#transmission?.pause();
  }

  /**
   * Goes on, because the leader has answered.
   * @param missed whether some questions got no answer, so that messages are lost as well. If so, the oldest in flight is sent again
   *   as a probe, and nothing new is handed over until it is answered. If not, the leader or the line is most likely slow, and what is
   *   in flight is sent again only if {@link review} says so.
   */
  resume(missed = true): void {
    this.#transmission?.resume(missed);
  }

  /**
   * Sends the oldest message in flight once more, as a probe. The leader works in order: when the probe is acknowledged, what was sent
   * before it and is not acknowledged is lost, and is sent again. Until then nothing new of its channel is handed over. It does nothing
   * while a probe is under way, while paused, and when nothing is in flight.
   */
  probe(): void {
    this.#transmission?.probe();
  }

  /** The leader has answered a question that was asked then, in ms of the clock. */
  leaderAnswered(askedAt: number): void {
    this.#transmission?.leaderAnswered(askedAt);
  }

  /**
   * Sends the oldest message in flight again if it is overdue, or makes its channel mute. It is called now and then while the session
   * is not suspect.
   * @param threshold how long the leader may take for an answer, in ms
   * @returns when there may be something to do next, in ms of the clock; Infinity if that depends on something else
   */
  review(threshold: number): number {
    return this.#transmission?.review(threshold) ?? Infinity;
  }

  /** The mute channels: their messages in flight are not acknowledged although the leader answers. They hold up no others. */
  get unacknowledged(): Unacknowledged[] {
    return [...this.#outbox.mute].map(({ channel, mute }) => ({ channel, since: mute?.since ?? 0 }));
  }

  /** Whether the oldest message in flight is probably lost, because one that was sent later has been acknowledged. */
  get overtaken(): boolean {
    return this.#transmission?.overtaken ?? false;
  }

  /** Resolves when every publish so far is settled, one way or the other. Never rejects. */
  flush(): Promise<void> {
    return new Promise((resolve) => this.whenFlushed(resolve));
  }

  /** Calls back when every publish so far is settled. Returns a function that takes the callback away. */
  whenFlushed(callback: () => void): () => void {
    return this.#settlement.flushes.whenFlushed(callback);
  }

  /** Takes nothing in any more: publish() rejects with a ClosedError, 'not-sent'. What is pending goes on. */
  stopIntake(): void {
    this.#intake.close();
  }

  /**
   * Gives up all that is left, and takes nothing in any more. Each message rejects with a ClosedError of the reason's message:
   * 'not-sent' if it was never handed to a session, else 'unknown'. A reason of another class becomes its `cause`.
   */
  rejectAll(reason: Error | (() => Error)): void {
    this.#intake.close();
    this.detach();
    if (typeof reason === 'function') reason = reason();
    const because = reason;
    const errors = new SharedErrors();
    for (const entry of this.#outbox.all()) {
      const delivery = deliveryOf(entry);
      this.#settlement.reject(
        entry,
        errors.get(delivery, () => closed(because, delivery)),
      );
    }
    this.#rearm();
  }

  /**
   * Gives up all messages of a channel that the server's permissions refuse: as 'unknown' if an earlier sending may be stored, else as
   * 'rejected'. For 10 s what is published to it rejects at once, as 'not-sent', because each try would end a session. It is called
   * for the last session that was attached, before or after `detach`.
   */
  denyChannel(channel: string, error: PermissionError): void {
    const { subject, message } = error;
    this.#deny(channel, (delivery) =>
      error.delivery === delivery ? error : new PermissionError(subject, message, { cause: error, delivery }),
    );
  }

  /** Gives up all messages of a channel that is taken on no session. */
  #deny(channel: string, make: MakeError): void {
    const refused = make('rejected');
    const unknown = make('unknown');
    for (const entry of this.#outbox.all()) {
      if (entry.channel === channel) this.#settlement.reject(entry, this.#onlyDenied(entry) ? refused : unknown);
    }
    this.#intake.forbid(channel, make);
    this.#transmission?.feed();
  }

  /** Whether every sending was refused, except perhaps the one that the server of the last session denied. */
  #onlyDenied({ attempts, trouble, sending }: Entry): boolean {
    const unanswered = attempts - (trouble?.refused ?? 0);
    if (unanswered !== 1) return unanswered === 0;
    return sending !== undefined || trouble?.unansweredOn === this.#lastOrdinal;
  }

  /** Ends what `attach` began as `careful`. */
  relax(): void {
    this.#outbox.window = this.#maxInFlight;
    this.#transmission?.feed();
  }

  /** Returns what was handed over to the session and is not answered. It is called before `detach`. */
  inHand(): InHand[] {
    const entries: Entry[] = [];
    this.#outbox.inFlight.copyInto(entries);
    return entries.map((entry) => ({
      key: entry,
      line: entry.channel.length,
      giveUp: (complaint) => this.#giveUp(entry, complaint),
    }));
  }

  /** Gives up a message over which the server has ended sessions, or its whole channel. */
  #giveUp(entry: Entry, complaint: LastWords): void {
    const { channel } = entry;
    if (complaint.complaint.kind === 'control-line') {
      this.#deny(channel, (delivery) => endedSession(channel, complaint, delivery));
    } else if (entry.list !== undefined) {
      this.#settlement.reject(entry, endedSession(channel, complaint, 'unknown'));
      this.#transmission?.feed();
    }
  }

  get stats(): PublisherStats {
    const { pending, pendingBytes, unacknowledged, waiting, resent } = this.#outbox;
    const { acknowledged, rejected } = this.#settlement;
    return {
      published: this.#published,
      acknowledged,
      rejected,
      resent,
      pending,
      pendingBytes,
      inFlight: unacknowledged,
      waiting: waiting.size,
    };
  }

  // The one timer

  /** Sets the timer to what is due next. */
  #rearm(): void {
    const now = this.#clock.now();
    const nextDue = this.#transmission?.nextDue(now) ?? Infinity;
    this.#timer.set(Math.min(this.#settlement.nextTimeout, this.#outbox.nextRelease(now), nextDue));
  }

  #wake(): void {
    try {
      const now = this.#clock.now();
      this.#settlement.rejectOverdue(now);
      this.#transmission?.checkAckTimeout(now);
      this.#outbox.release(now);
      this.#transmission?.tryMute(now);
      this.#transmission?.feed();
    } catch (thrown) {
      this.#bug(thrown);
    }
    this.#rearm();
  }

  #bug(thrown: unknown): void {
    try {
      this.#onError?.(new InternalError(`publishing failed: ${describe(thrown)}`, { cause: thrown }));
    } catch {
      // Nobody is left to tell.
    }
  }
}

// All promises share one function, instead of a closure for each.
let takenResolve: Resolve;
function takeResolve(resolve: Resolve): void {
  takenResolve = resolve;
}
