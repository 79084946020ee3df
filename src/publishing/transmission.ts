/** Publishes on one session: hands over what may be sent, probes what is overdue, and hears the answers. */
import type { Clock } from '../clock/clock.js';
import type { Session } from '../connection/protocol.js';
import { maybeStored, publishRefusal } from '../connection/server-texts.js';
import type { AckTimeout } from './ack-timeout.js';
import type { Timer } from './timer.js';
import { Leaderless, LEADERLESS_FOR } from './leaderless.js';
import type { Outbox } from './outbox.js';
import { muteAt, probeAt } from './retransmission-timeout.js';
import type { Payloads } from './payload.js';
import type { PubMsgSize } from './pubmsg-size.js';
import { type Answers, type Entry, type SendQueue, type Muteness, Sending, Trouble } from './records.js';
import type { Refusals } from './refusals.js';
import { oversize, refusedBefore, refusedByCluster } from './rejections.js';
import type { Settlement } from './settlement.js';

/** The number of sessions in a row that a message shows to be unregistered until it is to blame itself. */
const UNREGISTERED_SESSIONS = 3;

/** The parts of publishing that stay from session to session. */
export interface Kept {
  readonly outbox: Outbox;
  readonly settlement: Settlement;
  readonly refusals: Refusals;
  readonly ackTimeout: AckTimeout;
  readonly payloads: Payloads;
  readonly pubMsgSize: PubMsgSize;
  readonly timer: Timer;
  readonly clock: Clock;
  /** Is told what was thrown, so that it does not get into a session's call. */
  readonly bug: (thrown: unknown) => void;
}

/**
 * The oldest message in flight, sent once more, to learn from its acknowledgement what became of those sent before it. While it is
 * under way, nothing of its channel is handed over. If something was lost for certain (`blocking`), nothing at all is. A probe that
 * was answered with an error has told nothing, and is to be sent again.
 */
type Probe =
  { state: 'under way'; sending: Sending; blocking: boolean } | { state: 'to be sent again'; blocking: boolean };

export class Transmission implements Answers {
  readonly session: Session;
  readonly #kept: Kept;
  readonly #outbox: Outbox;
  readonly #clock: Clock;
  readonly #leaderless = new Leaderless();
  #ended = false;
  #paused = false;
  #probe: Probe | undefined;
  /** When the last question was asked that the leader has answered, and when it did, in ms of the clock. */
  #answered = { askedAt: -Infinity, at: -Infinity };
  #feeding = false;
  #sendings = 0;
  /** The highest number of an acknowledged sending. */
  #ackedUpTo = 0;

  constructor(session: Session, kept: Kept) {
    this.session = session;
    this.#kept = kept;
    this.#outbox = kept.outbox;
    this.#clock = kept.clock;
  }

  /** Takes back all that was in flight, because the session is gone. */
  end(): void {
    this.#ended = true;
    this.#outbox.recall(this.session.ordinal);
    this.#kept.refusals.interrupted();
  }

  get #live(): boolean {
    return !this.#ended && this.session.alive;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(missed: boolean): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#leaderless.interrupted();
    const now = this.#clock.now();
    if (missed) {
      this.#sendProbe(true);
      this.tryMute(now, true);
    } else {
      const { oldest } = this.#outbox;
      // The proof is put off once for each sending, so that a leader that is always slow does not put it off for ever.
      if (oldest !== undefined && oldest.askAfter === oldest.at) {
        oldest.askAfter = now;
        oldest.provenAt = undefined;
      }
      this.tryMute(now);
    }
    this.feed();
  }

  probe(): void {
    if (!this.#paused && this.#currentProbe === undefined) this.#sendProbe(false);
  }

  leaderAnswered(askedAt: number): void {
    if (askedAt <= this.#answered.askedAt) return;
    const now = this.#clock.now();
    this.#answered = { askedAt, at: now };
    const { oldest } = this.#outbox;
    if (oldest !== undefined) this.#provenAt(oldest);
    if (this.#probe?.state === 'under way') this.#provenAt(this.#probe.sending);
    this.checkAckTimeout(now);
  }

  review(threshold: number): number {
    if (!this.#live || this.#paused) return Infinity;
    const now = this.#clock.now();
    const probe = this.#currentProbe;
    if (probe?.state === 'under way') {
      const due = muteAt(this.#provenAt(probe.sending), threshold);
      if (now < due) return due;
      this.#mute(probe.sending, now);
      return this.review(threshold);
    }
    const { oldest } = this.#outbox;
    if (oldest === undefined) return Infinity;
    const due = probeAt(oldest.at, this.#provenAt(oldest), this.overtaken, threshold);
    if (now < due) return due;
    this.probe();
    return Infinity;
  }

  get overtaken(): boolean {
    const { oldest } = this.#outbox;
    return oldest !== undefined && oldest.number < this.#ackedUpTo && this.#currentProbe?.state !== 'under way';
  }

  /** Ends the session if a message has waited for its acknowledgement for too long. */
  checkAckTimeout(now: number): void {
    if (!this.#live) return;
    const { ackTimeout } = this.#kept;
    const sending = ackTimeout.takeOverdue(now, (sending) => this.#provenAt(sending) !== undefined);
    if (sending === undefined) return;
    this.session.lose(
      'ack_timeout',
      `a message on channel '${sending.entry.channel}' was not acknowledged within ${ackTimeout.timeout} ms (publishing.ackTimeout)`,
    );
  }

  /** Returns when there may be something to do, in ms of the clock; Infinity if that depends on something else. */
  nextDue(now: number): number {
    if (!this.#live) return Infinity;
    const ackTimeoutAt = this.#kept.ackTimeout.next(now);
    return this.#paused ? ackTimeoutAt : Math.min(ackTimeoutAt, this.#outbox.nextTry());
  }

  // Handing over

  /** Hands over what may be sent now. */
  feed(): void {
    // A probe that is over is noticed here, so that its channel goes on and nothing is owed for it.
    const probe = this.#currentProbe;
    const { session } = this;
    if (this.#ended || this.#paused || this.#feeding || !session.alive) return;
    // Reading the clock costs more than all else here.
    if (probe?.state !== 'to be sent again' && !this.#outbox.maySend) return;
    const now = this.#clock.now();
    if (probe?.state === 'to be sent again' && !this.#outbox.isHeld(now)) {
      this.#probe = undefined;
      this.#sendProbe(probe.blocking);
    }
    let handedOver = false;
    // A session may answer or end while it is called.
    this.#feeding = true;
    try {
      while (this.#live && !this.#paused && !this.#blocked) {
        const entry = this.#outbox.next(now);
        if (entry === undefined) break;
        if (this.#rejectDoomed(entry) || this.#rejectOversize(entry)) continue;
        const sending = new Sending(entry, ++this.#sendings, now, false, this);
        this.#outbox.sent(sending);
        this.#handOver(sending);
        handedOver = true;
      }
    } catch (thrown) {
      this.#kept.bug(thrown);
    } finally {
      this.#feeding = false;
    }
    if (handedOver && !this.#ended) this.#kept.timer.setBy(now + this.#kept.ackTimeout.timeout);
  }

  /** Rejects a message whose channel is known to refuse it. Returns whether that was so. */
  #rejectDoomed(entry: Entry): boolean {
    const text = this.#kept.refusals.dooms(entry);
    if (text === undefined) return false;
    this.#kept.settlement.reject(entry, refusedBefore(entry.channel, text));
    return true;
  }

  /** Rejects a message that is too large for the server of this session. Returns whether that was so. */
  #rejectOversize(entry: Entry): boolean {
    const { pubMsgSize, settlement } = this.#kept;
    const { maxPayload } = this.session;
    if (!pubMsgSize.exceeds(maxPayload, entry.channel, entry.size)) return false;
    settlement.reject(entry, oversize(entry, pubMsgSize.of(entry.channel, entry.size), maxPayload));
    return true;
  }

  #handOver(sending: Sending): void {
    const { channel, body, offset, size } = sending.entry;
    this.session.publish(channel, this.#kept.payloads.bytes(body, offset, size), sending);
  }

  // Finding out what was lost

  /** Sends a probe. The last one is over, if there was one. */
  #sendProbe(blocking: boolean): void {
    const entry = this.#outbox.inFlight.head;
    if (entry === undefined || !this.#live) return;
    this.#endProbe();
    const sending = new Sending(entry, ++this.#sendings, this.#clock.now(), 'all', this);
    this.#probe = { state: 'under way', sending, blocking };
    if (!blocking) this.#outbox.close(entry.channel);
    this.#outbox.sentAgain(sending);
    this.#handOver(sending);
  }

  #endProbe(): void {
    const probe = this.#probe;
    this.#probe = undefined;
    if (probe?.state !== 'under way') return;
    probe.sending.owed = false;
    if (!probe.blocking) this.#outbox.open(probe.sending.entry.channel);
  }

  /** The probe, unless it is over: nothing that was sent before it is in flight any more. */
  get #currentProbe(): Probe | undefined {
    if (this.#probe?.state !== 'under way') return this.#probe;
    const { oldest } = this.#outbox;
    if (oldest === undefined || oldest.number > this.#probe.sending.number) this.#endProbe();
    return this.#probe;
  }

  /** Whether nothing at all is handed over before the probe is answered. */
  get #blocked(): boolean {
    const probe = this.#currentProbe;
    return probe?.state === 'under way' && probe.blocking;
  }

  /** Returns when the leader was first known to have answered a question that was asked after this sending, in ms of the clock. */
  #provenAt(sending: Sending): number | undefined {
    if (sending.provenAt === undefined && this.#answered.askedAt > sending.askAfter)
      sending.provenAt = this.#answered.at;
    return sending.provenAt;
  }

  /** Makes the channel of this probe mute, and those of what was sent before it. */
  #mute(probe: Sending, now: number): void {
    this.#outbox.muteSentBefore(probe, now);
    this.#endProbe();
    this.tryMute(now);
    this.feed();
  }

  /** Sends one message of each mute channel whose time has come, or of all of them. */
  tryMute(now: number, all = false): void {
    if (this.#paused || this.#outbox.mute.size === 0) return;
    for (const queue of [...this.#outbox.mute]) {
      if (queue.mute !== undefined && (all || queue.mute.tryAt <= now)) this.#tryQueue(queue, queue.mute, now);
    }
    this.#kept.timer.setBy(this.#outbox.nextTry());
  }

  #tryQueue(queue: SendQueue, muteness: Muteness, now: number): void {
    if (!this.#live) return;
    const entry = this.#outbox.toTry(queue);
    if (entry === undefined) {
      // All its messages were given up. The next one shows whether the channel is still mute.
      this.#outbox.endMute(queue.channel);
      return;
    }
    const inFlight = entry.sending !== undefined;
    if (!inFlight && this.#rejectOversize(entry)) {
      this.#tryQueue(queue, muteness, now);
      return;
    }
    const sending = new Sending(entry, ++this.#sendings, now, inFlight ? 'channel' : false, this);
    if (inFlight) this.#outbox.sentAgain(sending);
    else this.#outbox.sentMute(queue, sending);
    // Nobody is expected to answer in a mute channel.
    sending.owed = false;
    const dropped = muteness.tried(sending, now);
    if (dropped !== undefined) {
      dropped.dropped = true;
      this.session.forget(dropped);
    }
    this.#handOver(sending);
  }

  // Hearing answers

  /** Hears the answer to a sending. */
  answered(sending: Sending, error: string | undefined, guid: string): void {
    // Only the living session is believed. An older one may still hand over what it had received.
    if (!this.#live) return;
    try {
      const { channel } = sending.entry;
      if (error !== undefined) {
        // Whatever the answer is, somebody serves the channel.
        this.#outbox.endMute(channel);
        this.#refused(sending, error);
      } else {
        this.#acked(sending, guid);
        const probe = sending.probe !== false;
        this.#outbox.endMute(channel, probe ? sending : undefined);
        if (probe) {
          // The leader works in order. An earlier probe tells what became of everything before it as well.
          this.#outbox.giveBackSentBefore(sending);
          this.session.forget(sending);
        }
      }
      this.feed();
    } catch (thrown) {
      this.#kept.bug(thrown);
    }
  }

  #acked(sending: Sending, guid: string): void {
    const { entry } = sending;
    const { refusals, ackTimeout, settlement } = this.#kept;
    if (sending.number > this.#ackedUpTo) this.#ackedUpTo = sending.number;
    this.#leaderless.acknowledged();
    refusals.acknowledged(entry.channel);
    ackTimeout.acknowledged(entry.channel);
    settlement.acknowledge(entry, guid);
  }

  #refused(sending: Sending, text: string): void {
    const { entry } = sending;
    const trouble = (entry.trouble ??= new Trouble());
    if (!maybeStored(text)) trouble.refused++;
    const kind = publishRefusal(text);
    const current = this.#currentProbe;
    const probe = current?.state === 'under way' ? current : undefined;
    if (probe?.sending === sending) {
      this.#endProbe();
      this.#probe = { state: 'to be sent again', blocking: probe.blocking };
    }
    if (kind === 'unregistered') {
      this.#unregistered(entry, trouble, text);
      return;
    }
    trouble.unregistered = 0;
    if (kind === 'refused') this.#leaderless.interrupted();
    else if (this.#leaderless.isStuck(this.#clock.now(), this.#answered.askedAt)) {
      this.session.lose(
        'refused',
        `every publish was refused with "${text}" for more than ${LEADERLESS_FOR} ms, by a leader that answers questions`,
      );
      return;
    }
    if (entry.sending === undefined) return;
    // If it was sent again later, that answer is still to come.
    const last = probe?.sending.entry === entry ? probe.sending : entry.sending;
    if (last.number > sending.number) return;
    if (kind === 'leaderless') this.#leaderlessRefused(entry);
    else this.#messageRefused(entry, trouble, text);
  }

  #unregistered(entry: Entry, trouble: Trouble, text: string): void {
    const { session } = this;
    if (entry.list !== undefined && trouble.unregisteredOn !== session.ordinal) {
      trouble.unregisteredOn = session.ordinal;
      if (++trouble.unregistered >= UNREGISTERED_SESSIONS) {
        this.#kept.settlement.reject(entry, refusedByCluster(entry, trouble, text));
        return;
      }
    }
    session.lose('replaced', `the cluster does not know this session any more: it answered a publish with "${text}"`);
  }

  #leaderlessRefused(entry: Entry): void {
    this.#outbox.giveBack(entry);
    const now = this.#clock.now();
    // All refusals of one burst count as one.
    if (this.#outbox.isHeld(now)) return;
    const until = now + this.#leaderless.backoff();
    this.#outbox.holdAll(until);
    this.#kept.timer.setBy(until);
  }

  #messageRefused(entry: Entry, trouble: Trouble, text: string): void {
    const { refusals, settlement, timer } = this.#kept;
    const now = this.#clock.now();
    const { retryIn, shownFor } = refusals.judge(entry, trouble, text, now, this.#outbox.taken);
    if (retryIn === undefined) {
      settlement.reject(entry, refusedByCluster(entry, trouble, text, shownFor));
      return;
    }
    this.#outbox.holdChannel(entry, now, retryIn);
    timer.setBy(this.#outbox.nextRelease(now));
  }
}
