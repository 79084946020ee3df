import type { AwakeClock } from '../awake-clock.js';
import type { InHand, Session } from '../connection/protocol.js';
import { maybeStored, publishRefusal, type LastWords } from '../connection/server-texts.js';
import {
  type Delivery,
  describe,
  InternalError,
  PayloadTooLargeError,
  PermissionError,
  PublishTimeoutError,
  toOurs,
} from '../errors.js';
import { Aborts } from './aborts.js';
import { Alarm } from './alarm.js';
import { Deadlines } from './deadlines.js';
import { Generations } from './generations.js';
import { Outbox } from './outbox.js';
import { muteAt, probeAt } from './overdue.js';
import { payloadSize, Payloads } from './payload.js';
import type { PublisherOptions, PublisherStats } from './publisher-options.js';
import {
  Entry,
  Limits,
  Sending,
  Trouble,
  type AbortGroup,
  type Answers,
  type Lane,
  type Muteness,
  type PubAck,
} from './records.js';
import { PubMsgSize } from './pubmsg-size.js';
import { Refusals } from './refusals.js';
import {
  aborted,
  closed,
  deliveryOf,
  endedSession,
  full,
  intakeEnded,
  neverFits,
  oversize,
  refusedBefore,
  refusedByCluster,
  SharedErrors,
} from './rejections.js';

export type { PubAck } from './records.js';
export type { Ordering } from './outbox.js';
export type { PublisherOptions, PublisherStats } from './publisher-options.js';

/** The oldest message in flight, sent once more, to learn from its second acknowledgement what became of those behind it. */
interface Probe {
  sending: Sending;
  /** Something was lost for certain: until its answer nothing at all is handed over. Else only its channel waits. */
  blocking: boolean;
}

/** A channel whose messages were sent and are not acknowledged, although the leader answers. */
export interface Unacknowledged {
  channel: string;
  /** When (by the clock) the oldest of them had been sent. */
  since: number;
}

/** Back-off when nobody can take a message: 50 ms, doubling, at most 1 s. */
const LEADERLESS_BACKOFF = { first: 50, most: 1000 };
/** How long a leader that answers questions may refuse everything for want of a leader, ms. */
const LEADERLESS_FOR = 2500;
/** A message that three sessions in a row call unregistered is to blame itself. */
const UNREGISTERED_SESSIONS = 3;
/** Channels remembered for being forbidden, or for having cost a session. */
const BAD_CHANNELS = 1000;
/** How long a channel that the server's permissions forbid is not tried again, ms: each try ends a session. */
const FORBIDDEN_FOR = 10_000;
const NOT_SENT = { delivery: 'not-sent' } as const;

/**
 * Publishes through whatever session is there, from one to the next, until each message is acknowledged or given up. There
 * is one for the whole life of a client. What may be sent when is decided by the {@link Outbox}; this hands it over, hears the
 * answers, and keeps the promises.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #clock: AwakeClock;
  readonly #alarm: Alarm;
  readonly #outbox: Outbox;
  readonly #payloads = new Payloads();
  readonly #pubMsgSize: PubMsgSize;
  readonly #generations = new Generations();
  readonly #timeouts = new Deadlines<Limits>();
  readonly #aborts = new Aborts((entries, reason) => this.#aborted(entries, reason));
  readonly #refusals = new Refusals();
  /** Channels that cost a session by `ackTimeout` and have not been acknowledged since: they cost no other one. */
  readonly #silent = new Set<string>();
  /** Channels that the server does not take, with what to say of it, and since when. */
  readonly #forbidden = new Map<string, { make: (delivery: Delivery) => Error; since: number }>();

  #session: Session | undefined;
  /** Where that session's answers go. */
  #answers: Answers = NOBODY;
  #lastOrdinal = 0;
  #lastMaxPayload: number | undefined;
  #paused = false;
  #probe: Probe | undefined;
  /** A probe was answered with an error, so it told nothing. */
  #probeAgain: { blocking: boolean } | undefined;
  /** The latest question that the leader answered on this session: when it was asked, and when answered. */
  #answered = { askedAt: -Infinity, at: -Infinity };
  #feeding = false;
  /** The highest number of a sending that was acknowledged on this session. */
  #ackedUpTo = 0;
  #sendings = 0;
  #order = 0;
  /** Refusals for want of a leader since the last acknowledgement, each burst counted once. */
  #leaderless = 0;
  /** Since when everything is refused for want of a leader. */
  #leaderlessSince: number | undefined;

  #intake = true;

  #published = 0;
  #acknowledged = 0;
  #rejected = 0;
  #resent = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#alarm = new Alarm(() => this.#wake(), options.clock);
    this.#outbox = new Outbox(options);
    this.#pubMsgSize = new PubMsgSize(options.clientId);
  }

  /**
   * Resolves when the cluster has acknowledged the message, on this session or a later one. Without a `timeout` it waits for
   * ever. The bytes are copied, so the caller may reuse his array.
   *
   * Rejects, each time with `delivery`: ClosedError; AbortedError (`cause` is the signal's reason); PublishTimeoutError;
   * PayloadTooLargeError; OutboxFullError (`whenFull: 'reject'`); InvalidArgumentError when the message alone is larger than
   * `maxPendingBytes`, and, without being counted as published, when the bytes or the signal cannot be used;
   * PublishRejectedError when the cluster refuses it; PermissionError.
   *
   * @param channel a valid channel name
   * @param options `timeout` in milliseconds, counted from this call, waiting for room included
   */
  publish(
    channel: string,
    data: string | Uint8Array,
    options?: { timeout?: number | undefined; signal?: AbortSignal | undefined },
  ): Promise<PubAck> {
    // First all that runs code of the caller, or may throw because of what he passed; only then is anything changed.
    let group: AbortGroup | undefined;
    let size: number;
    let refused: Error | undefined;
    let body: string | Uint8Array = data;
    let offset = 0;
    try {
      if (options?.signal !== undefined) group = this.#aborts.join(options.signal);
      const isAborted = group?.watch.aborted === true;
      size = payloadSize(data);
      refused = this.#check(channel, size, isAborted ? group : undefined);
      if (refused === undefined && typeof data !== 'string') {
        body = this.#payloads.keep(data);
        offset = this.#payloads.offset;
      }
    } catch (error) {
      if (group !== undefined) this.#aborts.leave(group);
      return Promise.reject(toOurs(error, 'publish()', NOT_SENT));
    }
    if (refused !== undefined) {
      if (group !== undefined) this.#aborts.leave(group);
      this.#published++;
      this.#rejected++;
      return Promise.reject(refused);
    }
    this.#published++;
    const promise = new Promise<PubAck>(takeResolve);
    const generation = this.#generations.current;
    generation.open++;
    const entry = new Entry(channel, body, offset, size, ++this.#order, generation, takenResolve);
    if (options !== undefined) this.#limit(entry, options.timeout, group);
    if (this.#outbox.hasRoom(size)) {
      this.#outbox.admit(entry);
      this.#feed();
    } else {
      this.#outbox.wait(entry);
    }
    return promise;
  }

  /**
   * A new session, proven alive. What was sent before and is unacknowledged is sent again, in order, then what waits.
   * @param careful one message at a time: a server ends sessions over one of them
   */
  attach(session: Session, careful = false): void {
    if (this.#session !== undefined) this.detach();
    this.#session = session;
    this.#answers = { answered: (sending, error, guid) => this.#hear(session, sending, error, guid) };
    this.#lastOrdinal = session.ordinal;
    this.#lastMaxPayload = session.maxPayload;
    this.#outbox.window = careful ? 1 : this.#options.maxInFlight;
    this.#feed();
  }

  /** The session is gone. Nothing is handed over until the next `attach`. */
  detach(): void {
    if (this.#session === undefined) return;
    this.#outbox.recall(this.#session.ordinal);
    this.#refusals.interrupted();
    this.#session = undefined;
    this.#answers = NOBODY;
    this.#paused = false;
    this.#probe = undefined;
    this.#probeAgain = undefined;
    this.#ackedUpTo = 0;
    this.#leaderless = 0;
    this.#leaderlessSince = undefined;
    this.#answered = { askedAt: -Infinity, at: -Infinity };
    this.#rearm();
  }

  /** The session is suspect: nothing is handed over until `resume` or the next session. */
  pause(): void {
    if (this.#session !== undefined) this.#paused = true;
  }

  /**
   * The leader has answered after all, and it goes on.
   * @param missed some questions since got no answer, so messages are lost as well: the oldest in flight is sent again as a
   *   probe, and nothing new is handed over until it is answered. Otherwise what is in flight is most likely still to be
   *   acknowledged, by a leader that is merely slow or over a thin line, and is sent again only if {@link review} says so.
   */
  resume(missed = true): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#leaderlessSince = undefined;
    const now = this.#clock.now();
    if (missed) {
      this.#sendProbe(true);
      this.#tryMute(now, true);
    } else {
      const { oldest } = this.#outbox;
      // Once for each sending, or a leader that is always slow would put the proof off for ever.
      if (oldest !== undefined && oldest.askAfter === oldest.at) {
        oldest.askAfter = now;
        oldest.provenAt = undefined;
      }
      this.#tryMute(now);
    }
    this.#feed();
  }

  /**
   * Sends the oldest message in flight once more. The leader works in order: when this sending is acknowledged, whatever was
   * sent before it and is not acknowledged is lost and is sent again. Until then nothing new of its channel is handed over.
   * Does nothing while a probe is under way, while paused, and when nothing is in flight.
   */
  probe(): void {
    if (this.#paused || this.#probeUnderWay() || this.#probeAgain !== undefined) return;
    this.#sendProbe(false);
  }

  /** The leader has answered a question that was asked then (by the clock). */
  leaderAnswered(askedAt: number): void {
    if (this.#session === undefined || askedAt <= this.#answered.askedAt) return;
    const now = this.#clock.now();
    this.#answered = { askedAt, at: now };
    const { oldest } = this.#outbox;
    if (oldest !== undefined) this.#provenAt(oldest);
    if (this.#probe !== undefined) this.#provenAt(this.#probe.sending);
    this.#checkAckTimeout(now);
  }

  /**
   * Looks at the oldest message in flight: is it to be sent again, or is its channel one that nobody acknowledges? To be
   * called now and then while the session is not suspect.
   * @param threshold how long the leader may take for an answer, in ms
   * @returns when (by the clock) there may be something to do next; Infinity if that depends on something else
   */
  review(threshold: number): number {
    if (this.#session?.alive !== true || this.#paused) return Infinity;
    const now = this.#clock.now();
    if (this.#probeUnderWay()) {
      const { sending } = this.#probe as Probe;
      const due = muteAt(this.#provenAt(sending), threshold);
      if (now < due) return due;
      this.#mute(sending, now);
      return this.review(threshold);
    }
    const { oldest } = this.#outbox;
    if (oldest === undefined) return Infinity;
    const due = probeAt(oldest.at, this.#provenAt(oldest), this.overtaken, threshold);
    if (now < due) return due;
    this.probe();
    return Infinity;
  }

  /** The channels whose messages in flight are not acknowledged although the leader answers. They hold up no others. */
  get unacknowledged(): Unacknowledged[] {
    return [...this.#outbox.mute].map(({ channel, mute }) => ({ channel, since: mute?.since ?? 0 }));
  }

  /** A message sent later than the oldest one in flight has been acknowledged: that one is probably lost. */
  get overtaken(): boolean {
    const { oldest } = this.#outbox;
    return oldest !== undefined && oldest.number < this.#ackedUpTo && !this.#probeUnderWay();
  }

  /** Resolves when every publish so far is settled, one way or the other. Never rejects. */
  flush(): Promise<void> {
    return new Promise((resolve) => this.whenFlushed(resolve));
  }

  /** Calls back when every publish so far is settled. Returns what takes the callback away. */
  whenFlushed(callback: () => void): () => void {
    return this.#generations.whenFlushed(callback);
  }

  /** From now on publish() rejects with a ClosedError, 'not-sent'. What is pending goes on. */
  stopIntake(): void {
    this.#intake = false;
  }

  /**
   * Gives up all that is left: 'not-sent' if it was never handed to a session, else 'unknown'. Rejects with a ClosedError of
   * the reason's message; a reason of another class becomes its `cause`. Ends the intake, too.
   */
  rejectAll(reason: Error | (() => Error)): void {
    this.#intake = false;
    this.detach();
    if (typeof reason === 'function') reason = reason();
    const because = reason;
    const errors = new SharedErrors();
    for (const entry of this.#outbox.all()) {
      const delivery = deliveryOf(entry);
      this.#reject(
        entry,
        errors.get(delivery, () => closed(because, delivery)),
      );
    }
    this.#rearm();
  }

  /**
   * The server's permissions refuse this channel: all its messages are rejected, as 'rejected', except those of which an
   * earlier sending may be stored, which are 'unknown'. To be called for the last session attached, before or after `detach`.
   * For 10 s what is published to it rejects at once, as 'not-sent': each try would end a session.
   */
  denyChannel(channel: string, error: PermissionError): void {
    const { subject, message } = error;
    this.#deny(channel, (delivery) =>
      error.delivery === delivery ? error : new PermissionError(subject, message, { cause: error, delivery }),
    );
  }

  /** Of no session is this channel taken. */
  #deny(channel: string, make: (delivery: Delivery) => Error): void {
    const refused = make('rejected');
    const unknown = make('unknown');
    for (const entry of this.#outbox.all()) {
      if (entry.channel === channel) this.#reject(entry, this.#onlyDenied(entry) ? refused : unknown);
    }
    if (this.#forbidden.size >= BAD_CHANNELS) this.#forbidden.clear();
    this.#forbidden.set(channel, { make, since: this.#clock.now() });
    this.#goOn();
  }

  /** No longer one message at a time. */
  relax(): void {
    this.#outbox.window = this.#options.maxInFlight;
    this.#feed();
  }

  /** What was handed over to the session and is not answered. To be asked before `detach`. */
  inHand(): InHand[] {
    const entries: Entry[] = [];
    this.#outbox.inFlight.copyInto(entries);
    return entries.map((entry) => ({
      key: entry,
      line: entry.channel.length,
      giveUp: (complaint) => this.#giveUp(entry, complaint),
    }));
  }

  /** The server has ended sessions over this message, or over any of its channel. */
  #giveUp(entry: Entry, complaint: LastWords): void {
    const { channel } = entry;
    if (complaint.complaint.kind === 'control-line') {
      this.#deny(channel, (delivery) => endedSession(channel, complaint, delivery));
    } else if (entry.list !== undefined) {
      this.#reject(entry, endedSession(channel, complaint, 'unknown'));
      this.#goOn();
    }
  }

  get stats(): PublisherStats {
    const { pending, pendingBytes, unacknowledged, waiting } = this.#outbox;
    return {
      published: this.#published,
      acknowledged: this.#acknowledged,
      rejected: this.#rejected,
      resent: this.#resent,
      pending,
      pendingBytes,
      inFlight: unacknowledged,
      waiting: waiting.size,
    };
  }

  // Taking in

  /** Why a message is not taken in. Runs no code of the caller; `abortedBy` is the group of a signal that is aborted. */
  #check(channel: string, size: number, abortedBy: AbortGroup | undefined): Error | undefined {
    if (!this.#intake) return intakeEnded();
    if (abortedBy !== undefined) return aborted(channel, abortedBy.watch.reason, 'not-sent');
    if (this.#forbidden.size > 0) {
      const forbidden = this.#checkForbidden(channel);
      if (forbidden !== undefined) return forbidden;
    }
    const limit = this.#session?.maxPayload ?? this.#options.maxPayload?.() ?? this.#lastMaxPayload;
    if (limit !== undefined && this.#pubMsgSize.exceeds(limit, channel, size)) {
      return new PayloadTooLargeError(channel, this.#pubMsgSize.of(channel, size), limit);
    }
    const { maxPendingBytes, whenFull } = this.#options;
    if (size > maxPendingBytes) return neverFits(channel, size, maxPendingBytes);
    if (whenFull === 'reject' && !this.#outbox.hasRoom(size)) return full(this.#outbox, this.#options);
    return undefined;
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

  #limit(entry: Entry, timeout: number | undefined, group: AbortGroup | undefined): void {
    if (timeout === Infinity) timeout = undefined;
    if (timeout === undefined && group === undefined) return;
    const limits = (entry.limits = new Limits(entry, timeout));
    if (group !== undefined) this.#aborts.add(limits, group);
    if (timeout !== undefined) {
      this.#timeouts.add(limits, this.#clock.now(), timeout);
      this.#alarm.setBy(limits.dueAt);
    }
  }

  // Handing over

  /** Hands over what may be sent now. */
  #feed(): void {
    // That it is over lets its channel go on, and nothing is owed for it.
    this.#probeUnderWay();
    const session = this.#session;
    if (session === undefined || this.#paused || this.#feeding || !session.alive) return;
    // Reading the clock is the dearest of it all.
    if (this.#probeAgain === undefined && !this.#outbox.maySend) return;
    const now = this.#clock.now();
    if (this.#probeAgain !== undefined && !this.#outbox.isHeld(now)) {
      const { blocking } = this.#probeAgain;
      this.#probeAgain = undefined;
      this.#sendProbe(blocking);
    }
    let handedOver = false;
    // A session may answer, or end, while it is being called.
    this.#feeding = true;
    try {
      while (this.#session === session && session.alive && !this.#paused) {
        if (this.#probeUnderWay() && this.#probe?.blocking === true) break;
        const entry = this.#outbox.next(now);
        if (entry === undefined) break;
        if (this.#rejectDoomed(entry) || this.#rejectOversize(entry, session)) continue;
        this.#send(entry, session, now);
        handedOver = true;
      }
    } catch (thrown) {
      this.#bug(thrown);
    } finally {
      this.#feeding = false;
    }
    if (this.#session !== session) return this.#feed();
    if (handedOver) this.#alarm.setBy(now + this.#options.ackTimeout);
  }

  /** @returns whether its channel is known to refuse it */
  #rejectDoomed(entry: Entry): boolean {
    const text = this.#refusals.dooms(entry);
    if (text === undefined) return false;
    this.#reject(entry, refusedBefore(entry.channel, text));
    this.#outbox.admitWaiting();
    return true;
  }

  /** @returns whether this session's server does not take it */
  #rejectOversize(entry: Entry, session: Session): boolean {
    if (!this.#pubMsgSize.exceeds(session.maxPayload, entry.channel, entry.size)) return false;
    const size = this.#pubMsgSize.of(entry.channel, entry.size);
    this.#reject(entry, oversize(entry, size, session.maxPayload));
    this.#outbox.admitWaiting();
    return true;
  }

  #send(entry: Entry, session: Session, now: number): void {
    if (entry.attempts > 0) this.#resent++;
    const sending = new Sending(entry, ++this.#sendings, now, false, this.#answers);
    this.#outbox.sent(sending);
    this.#handOver(session, sending);
  }

  /** The last probe is over, if there was one. */
  #sendProbe(blocking: boolean): void {
    const session = this.#session;
    const entry = this.#outbox.inFlight.head;
    if (session === undefined || entry === undefined || !session.alive) return;
    this.#endProbe();
    const sending = new Sending(entry, ++this.#sendings, this.#clock.now(), 'all', this.#answers);
    this.#probe = { sending, blocking };
    if (!blocking) this.#outbox.close(entry.channel);
    this.#probeAgain = undefined;
    this.#resent++;
    entry.attempts++;
    this.#handOver(session, sending);
  }

  #endProbe(): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    this.#probe = undefined;
    probe.sending.owed = false;
    if (!probe.blocking) this.#outbox.open(probe.sending.entry.channel);
  }

  /** When the leader was first known to have answered what was asked after this sending. */
  #provenAt(sending: Sending): number | undefined {
    if (sending.provenAt === undefined && this.#answered.askedAt > sending.askAfter)
      sending.provenAt = this.#answered.at;
    return sending.provenAt;
  }

  /** Nobody acknowledges the channel of this probe, nor those of what was sent before it. */
  #mute(probe: Sending, now: number): void {
    this.#outbox.muteSentBefore(probe, now);
    this.#endProbe();
    this.#tryMute(now);
    this.#goOn();
  }

  /** Sends one message of each channel that nobody acknowledges and whose time has come, or of all of them. */
  #tryMute(now: number, all = false): void {
    if (this.#paused || this.#outbox.mute.size === 0) return;
    for (const lane of [...this.#outbox.mute]) {
      if (lane.mute !== undefined && (all || lane.mute.tryAt <= now)) this.#tryLane(lane, lane.mute, now);
    }
    this.#alarm.setBy(this.#outbox.nextTry());
  }

  #tryLane(lane: Lane, muteness: Muteness, now: number): void {
    const session = this.#session;
    if (session === undefined || !session.alive) return;
    const entry = this.#outbox.toTry(lane);
    if (entry === undefined) {
      // All its messages were given up, and it has no others: the next one shows how it is.
      this.#outbox.endMute(lane.channel);
      return;
    }
    const inFlight = entry.sending !== undefined;
    if (!inFlight && this.#rejectOversize(entry, session)) {
      this.#tryLane(lane, muteness, now);
      return;
    }
    const sending = new Sending(entry, ++this.#sendings, now, inFlight ? 'channel' : false, this.#answers);
    if (entry.attempts > 0) this.#resent++;
    if (inFlight) {
      entry.attempts++;
      sending.owed = false;
    } else this.#outbox.sentMute(lane, sending);
    const dropped = muteness.tried(sending, now);
    if (dropped !== undefined) {
      dropped.dropped = true;
      session.forget(dropped);
    }
    this.#handOver(session, sending);
  }

  #handOver(session: Session, sending: Sending): void {
    const { channel, body, offset, size } = sending.entry;
    session.publish(channel, this.#payloads.bytes(body, offset, size), sending);
  }

  /** A probe is over when nothing that was sent before it is in flight any more. */
  #probeUnderWay(): boolean {
    if (this.#probe === undefined) return false;
    const { oldest } = this.#outbox;
    if (oldest !== undefined && oldest.number < this.#probe.sending.number) return true;
    this.#endProbe();
    return false;
  }

  // Hearing answers

  #hear(session: Session, sending: Sending, error: string | undefined, guid: string): void {
    // Only the living session of now is to be believed: an older one may still hand over what it had received.
    if (session !== this.#session || !session.alive) return;
    try {
      if (error !== undefined) {
        // Whatever the answer: somebody serves the channel.
        this.#outbox.endMute(sending.entry.channel);
        this.#refused(session, sending, error);
      } else {
        this.#acked(sending, guid);
        const probe = sending.probe !== false;
        this.#outbox.endMute(sending.entry.channel, probe ? sending : undefined);
        if (probe) {
          // The leader works in order. Also an earlier probe tells what became of everything before it.
          this.#outbox.giveBackSentBefore(sending);
          session.forget(sending);
        }
      }
      this.#goOn();
    } catch (thrown) {
      this.#bug(thrown);
    }
  }

  #acked(sending: Sending, guid: string): void {
    const { entry } = sending;
    if (sending.number > this.#ackedUpTo) this.#ackedUpTo = sending.number;
    this.#leaderless = 0;
    this.#leaderlessSince = undefined;
    this.#refusals.acknowledged(entry.channel);
    if (this.#silent.size > 0) this.#silent.delete(entry.channel);
    // It may have been given up, or acknowledged for another sending.
    if (entry.list === undefined) return;
    this.#acknowledged++;
    this.#settle(entry);
    entry.resolve({ guid, channel: entry.channel, attempts: entry.attempts });
  }

  #refused(session: Session, sending: Sending, text: string): void {
    const { entry } = sending;
    const trouble = (entry.trouble ??= new Trouble());
    if (!maybeStored(text)) trouble.refused++;
    const kind = publishRefusal(text);
    const probe = this.#probeUnderWay() ? this.#probe : undefined;
    if (probe?.sending === sending) {
      this.#endProbe();
      this.#probeAgain = { blocking: probe.blocking };
    }
    if (kind === 'unregistered') {
      this.#unregistered(entry, trouble, session, text);
      return;
    }
    trouble.unregistered = 0;
    if (kind === 'refused') this.#leaderlessSince = undefined;
    else if (this.#stuckWithoutLeader(session, text)) return;
    if (entry.sending === undefined) return;
    // The answer to a later sending of it is still to come.
    const last = probe?.sending.entry === entry ? probe.sending : entry.sending;
    if (last.number > sending.number) return;
    if (kind === 'leaderless') this.#leaderlessRefused(entry);
    else this.#messageRefused(entry, trouble, text);
  }

  #unregistered(entry: Entry, trouble: Trouble, session: Session, text: string): void {
    if (entry.list !== undefined && trouble.unregisteredOn !== session.ordinal) {
      trouble.unregisteredOn = session.ordinal;
      if (++trouble.unregistered >= UNREGISTERED_SESSIONS) {
        this.#reject(entry, refusedByCluster(entry, trouble, text));
        return;
      }
    }
    session.lose('replaced', `the cluster does not know this session any more: it answered a publish with "${text}"`);
  }

  /**
   * It claims to lead by answering our questions, and leads nothing: another server may do better.
   * @returns whether the session was ended over it
   */
  #stuckWithoutLeader(session: Session, text: string): boolean {
    const since = (this.#leaderlessSince ??= this.#clock.now());
    if (this.#clock.now() - since <= LEADERLESS_FOR || this.#answered.askedAt <= since) return false;
    session.lose(
      'refused',
      `every publish was refused with "${text}" for more than ${LEADERLESS_FOR} ms, by a leader that answers questions`,
    );
    return true;
  }

  #leaderlessRefused(entry: Entry): void {
    this.#outbox.giveBack(entry);
    const now = this.#clock.now();
    // All answers of one burst count as one.
    if (this.#outbox.isHeld(now)) return;
    const { first, most } = LEADERLESS_BACKOFF;
    const until = now + Math.min(most, first * 2 ** this.#leaderless++);
    this.#outbox.holdAll(until);
    this.#alarm.setBy(until);
  }

  #messageRefused(entry: Entry, trouble: Trouble, text: string): void {
    const now = this.#clock.now();
    const { retryIn, shownFor } = this.#refusals.judge(entry, trouble, text, now, this.#order);
    if (retryIn === undefined) {
      this.#reject(entry, refusedByCluster(entry, trouble, text, shownFor));
      return;
    }
    this.#outbox.holdChannel(entry, now, retryIn);
    this.#alarm.setBy(this.#outbox.nextRelease(now));
  }

  // Settling

  /** Every sending was refused, except perhaps one, which is the one that the last session's server denied. */
  #onlyDenied({ attempts, trouble, sending }: Entry): boolean {
    const unanswered = attempts - (trouble?.refused ?? 0);
    if (unanswered !== 1) return unanswered === 0;
    return sending !== undefined || trouble?.unansweredOn === this.#lastOrdinal;
  }

  #aborted(entries: Entry[], reason: unknown): void {
    try {
      const errors = new SharedErrors();
      for (const entry of entries) {
        const { channel } = entry;
        const delivery = deliveryOf(entry);
        const error = errors.get(`${delivery} ${channel}`, () => aborted(channel, reason, delivery));
        this.#reject(entry, error);
      }
      this.#goOn();
    } catch (thrown) {
      this.#bug(thrown);
    }
  }

  #reject(entry: Entry, error: Error): void {
    this.#rejected++;
    this.#settle(entry);
    entry.reject(error);
  }

  #settle(entry: Entry): void {
    this.#outbox.remove(entry);
    // A session may hold the entry for long, and an old one holds what is young until it is collected itself.
    entry.body = '';
    if (entry.limits !== undefined) {
      this.#timeouts.remove(entry.limits);
      this.#aborts.remove(entry.limits);
      entry.limits = undefined;
    }
    this.#generations.settled(entry.generation);
  }

  /** After something was settled or given back. */
  #goOn(): void {
    if (this.#outbox.waiting.size > 0) this.#outbox.admitWaiting();
    this.#feed();
  }

  // The one timer

  /** To what is due next. */
  #rearm(): void {
    const now = this.#clock.now();
    const due = [this.#timeouts.next(), this.#outbox.nextRelease(now)];
    if (this.#session?.alive === true) {
      // One that is due already waits for a proof that the leader answers.
      due.push(this.#nextAckTimeout(now));
      if (!this.#paused) due.push(this.#outbox.nextTry());
    }
    this.#alarm.set(Math.min(...due));
  }

  #wake(): void {
    try {
      const now = this.#clock.now();
      this.#rejectOverdue(now);
      this.#checkAckTimeout(now);
      this.#outbox.release(now);
      this.#tryMute(now);
      this.#goOn();
    } catch (thrown) {
      this.#bug(thrown);
    }
    this.#rearm();
  }

  #rejectOverdue(now: number): void {
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
      this.#reject(entry, error);
    }
  }

  #checkAckTimeout(now: number): void {
    const session = this.#session;
    if (session === undefined || !session.alive) return;
    const { ackTimeout } = this.#options;
    for (const sending of this.#oldestSendings()) {
      if (now - sending.at < ackTimeout || this.#provenAt(sending) === undefined) continue;
      const { channel } = sending.entry;
      if (this.#silent.size >= BAD_CHANNELS) this.#silent.clear();
      this.#silent.add(channel);
      session.lose(
        'ack_timeout',
        `a message on channel '${channel}' was not acknowledged within ${ackTimeout} ms (publishing.ackTimeout)`,
      );
      return;
    }
  }

  #nextAckTimeout(now: number): number {
    let next = Infinity;
    for (const { at } of this.#oldestSendings()) {
      const due = at + this.#options.ackTimeout;
      if (due > now && due < next) next = due;
    }
    return next;
  }

  /** Of the window and of each mute channel, unless the channel has cost a session before. */
  *#oldestSendings(): Generator<Sending> {
    const heads = [this.#outbox.inFlight.head];
    for (const { mute } of this.#outbox.mute) heads.push(mute?.entries.head);
    for (const head of heads) {
      if (head?.sending !== undefined && !this.#silent.has(head.channel)) yield head.sending;
    }
  }

  #bug(thrown: unknown): void {
    try {
      this.#options.onError?.(new InternalError(`publishing failed: ${describe(thrown)}`, { cause: thrown }));
    } catch {
      // Nobody is left to tell.
    }
  }
}

/** Without a session there are no answers. */
const NOBODY: Answers = { answered: () => {} };

// One function for all promises, instead of a closure for each.
let takenResolve: (ack: PubAck | Promise<never>) => void;
function takeResolve(resolve: (ack: PubAck | Promise<never>) => void): void {
  takenResolve = resolve;
}
