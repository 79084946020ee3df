/**
 * Watches one session: it asks the leader when an answer is overdue, and tells a dead path from a slow leader. The judgement is
 * made by {@link RoundTripEstimator}; the timers and the questions are here.
 *
 *   calm ── an owed answer is overdue ──► suspect ── our own path answers ──► calm
 *                                           └── another path answers and ours does not ──► the session is lost
 *
 * A suspect session hands over no new publishes and asks the leader every 50 ms. Half-way to suspicion the attached server is
 * asked as well. If it does not answer, another path is tried at once (the *hedge*). If it answers, there is probably an
 * election, and the hedge waits for a second, because not all of a thousand clients must dial then.
 */
import type { LossReason } from '../errors.js';
import type { Answer, Link } from './link.js';
import { RoundTripEstimator } from './round-trip-estimator.js';
import type { Clock } from '../clock/clock.js';
import type { InPlaceRecovery } from './in-place-recovery.js';
import type { Participants } from './participants.js';
import { ASK_EVERY, type Found, type LeaderSearch } from './leader-search.js';
import { Rhythm } from './rhythm.js';
import type { ConnectionSettings } from './settings.js';
import { Throughput, type Line } from './throughput.js';

/** Time until other paths are tried although the attached server answers, in ms. */
export const ELECTION_PATIENCE = 1000;

/** Anything that the leader owes an answer for. */
export interface Owed {
  /** When it was sent, in ms of the clock. */
  readonly at: number;
  /** The position of its last byte among all bytes that the session has sent. */
  readonly end: number;
}

/** A publish that the leader owes an answer for. */
export interface OwedPublish extends Owed {
  /**
   * The time after which a question proves something about the publish, in ms of the clock. When the leader has answered such a
   * question, it has the message or will never get it.
   */
  readonly askAfter: number;
}

/** The session's own path to the leader. */
export interface Path {
  readonly link: Link;
  /** The connection ID of the session's registration. */
  readonly connectionId: Uint8Array;
  /** The round trip of the question that found the leader, in ms. */
  readonly roundTrip: number;
  /** The measured throughput of the path to the servers. */
  readonly line: Line;
}

export interface FailureDetectorOptions {
  path: Path;
  settings: Pick<ConnectionSettings, 'clusterId' | 'pings' | 'logger'>;
  participants: Participants;
  /** Returns the oldest publish that the leader owes an answer for. */
  oldestPublish: () => OwedPublish | undefined;
  /** Returns the oldest request of the protocol without an answer. */
  oldestRequest: () => Owed | undefined;
  /** Is told when the leader is silent and when it has answered after all. */
  recovery: Pick<InPlaceRecovery, 'begin' | 'end'>;
  /** Starts a search for the leader on other connections. */
  race: () => LeaderSearch;
  /** Ends the session. The successor is a search that is under way or has succeeded. */
  lose: (reason: LossReason, message: string, successor?: LeaderSearch) => void;
  clock: Clock;
}

/** A question to the attached server itself. */
interface ServerCheck extends Owed {
  answered: boolean;
}

/** The state in which nothing is overdue. */
interface Calm {
  readonly is: 'calm';
  /**
   * The question to the attached server during the present silence of the leader. It is undefined until half of the limit has
   * passed.
   */
  server: ServerCheck | undefined;
}

/** The state in which an answer of the leader is overdue. */
interface Suspicion {
  readonly is: 'suspect';
  readonly server: ServerCheck;
  hedge: LeaderSearch | undefined;
  /** Cancels the wait for our own path or for the second answer of another path. */
  cancelJudgement: (() => void) | undefined;
}

type State = Calm | Suspicion | { readonly is: 'stopped' };

export class FailureDetector {
  readonly #options: FailureDetectorOptions;
  readonly #clock: Clock;
  readonly #roundTrips: RoundTripEstimator;
  readonly #throughput: Throughput;
  readonly #rhythm = new Rhythm();
  #state: State = { is: 'calm', server: undefined };
  /** The questions without an answer, by their numbers. */
  readonly #asked = new Map<number, Owed>();
  #instant = 0;
  #cancelTick: (() => void) | undefined;
  #due = Infinity;
  #owed = false;
  /** When a part of a message last came, in ms of the clock. */
  #progressAt = -Infinity;
  /** When the last answered question was asked, in ms of the clock. */
  #answeredAskedAt = -Infinity;
  /** When the leader first denied our registration, in ms of the clock. It is undefined after an answer that confirmed it. */
  #deniedAt: number | undefined;
  #cancelSecond: (() => void) | undefined;

  constructor(options: FailureDetectorOptions) {
    const { clock, path, settings } = options;
    const { link, roundTrip, line } = path;
    this.#options = options;
    this.#clock = clock;
    this.#throughput = new Throughput(line, roundTrip);
    const now = clock.now();
    this.#roundTrips = new RoundTripEstimator(roundTrip, now);
    link.forgetQuestions();
    link.onAnswer = (answer) => this.#answered(answer);
    link.onProgress = () => this.#progressed();
    link.onLarge = (end, bytes) => this.#throughput.sent(end, bytes, clock.now());
    this.#arm(now + settings.pings.interval);
  }

  get suspect(): boolean {
    return this.#state.is === 'suspect';
  }

  get #stopped(): boolean {
    return this.#state.is === 'stopped';
  }

  /** The shortest silence that is suspicious at present, in ms. */
  get threshold(): number {
    return this.#roundTrips.threshold(this.#clock.now());
  }

  /**
   * Whether the leader has answered a question that was asked after this time. If so, everything that was sent before has
   * arrived there, and everything that was answered before has arrived here.
   */
  hasAnsweredSince(at: number): boolean {
    return this.#answeredAskedAt > at;
  }

  /**
   * Returns until when something may have stood in a queue: behind bytes of ours on its way to the leader, or behind a message
   * on the way back. The result is not earlier than `since`.
   */
  queuedUntil(end: number, since: number): number {
    return Math.max(since, this.#throughput.excusedUpTo(end), this.#progressAt);
  }

  /** Notes that a request about a subscription was answered, which is a sign of life. */
  heard(): void {
    this.#roundTrips.heard(this.#clock.now());
  }

  /** Notes that a message came, which is a sign of life and a beat of the rhythm. */
  heardMessage(): void {
    const now = this.#clock.now();
    this.#roundTrips.heard(now);
    this.#rhythm.heard(now);
  }

  /** Notes that a publish was answered, which is a sign of life and a sample of the round trip. */
  heardAnswer(publish: Owed): void {
    this.#sample(publish, this.#clock.now());
  }

  /** Notes that something was sent that the leader owes an answer for. */
  owed(): void {
    if (this.#owed || this.#stopped) return;
    this.#owed = true;
    const now = this.#clock.now();
    this.#arm(now + this.#roundTrips.threshold(now) / 2);
  }

  /** Asks the leader at once, unless a question has no answer yet. */
  doubt(): void {
    if (this.#asked.size === 0) this.#ask();
  }

  /** Stops the failure detector. Returns the search that is under way, which goes on. */
  stop(): LeaderSearch | undefined {
    const state = this.#state;
    this.#state = { is: 'stopped' };
    this.#cancelTick?.();
    this.#cancelSecond?.();
    if (state.is !== 'suspect') return undefined;
    const { hedge } = state;
    state.cancelJudgement?.();
    if (hedge !== undefined) hedge.onAsk = undefined;
    return hedge;
  }

  /** Notes that a part of a message came. The leader and our path live, and all answers come behind that message. */
  #progressed(): void {
    if (this.#stopped) return;
    this.#progressAt = this.#clock.now();
    this.#roundTrips.heard(this.#progressAt);
  }

  /** Samples a round trip without the time in queues: behind our own bytes, or behind those of a message that is coming in. */
  #sample({ at, end }: Owed, now: number): void {
    const behindOurs = this.#throughput.arrived(end, at, now);
    const since = Math.max(at, Math.min(this.#progressAt, now));
    this.#roundTrips.sample(Math.max(0, now - since - behindOurs), now);
  }

  #arm(at: number): void {
    if (this.#stopped) return;
    if (this.#cancelTick !== undefined) {
      if (at >= this.#due) return;
      this.#cancelTick();
    }
    this.#due = at;
    this.#cancelTick = this.#clock.after(at - this.#clock.now(), this.#tick);
  }

  readonly #tick = (): void => {
    this.#cancelTick = undefined;
    this.#due = Infinity;
    if (this.#stopped) return;
    const now = this.#clock.now();
    this.#tickAs(this.#state, now);
  };

  #tickAs(state: State, now: number): void {
    if (state.is === 'calm') this.#tickCalm(state, now);
    else if (state.is === 'suspect') this.#tickSuspect(state, now);
  }

  #oldestOwed(): Owed | undefined {
    let oldest: Owed | undefined = this.#options.oldestRequest();
    const asked = this.#asked.values().next();
    if (!asked.done && (oldest === undefined || asked.value.at < oldest.at)) oldest = asked.value;
    const publish = this.#options.oldestPublish();
    return publish !== undefined && (oldest === undefined || publish.at < oldest.at) ? publish : oldest;
  }

  /** Returns how long the leader may be silent although it owes this answer, in ms. */
  #limit({ at, end }: Owed, now: number): number {
    const threshold = this.#roundTrips.threshold(now);
    const since = Math.max(at, this.#roundTrips.lastHeard);
    return Math.max(threshold, this.#throughput.excusedUpTo(end) + threshold - since);
  }

  #tickCalm(calm: Calm, now: number): void {
    const { oldestPublish, participants, settings } = this.#options;
    const threshold = this.#roundTrips.threshold(now);
    // The review comes first, because it may send or give up publishes and so change what is owed.
    const oldest = oldestPublish();
    let next = oldest === undefined ? Infinity : participants.publishing.review(this.#limit(oldest, now));
    if (this.#stopped) return;

    const owed = this.#oldestOwed();
    this.#owed = owed !== undefined;
    if (owed !== undefined) {
      const limit = this.#limit(owed, now);
      const silence = this.#roundTrips.silence(owed.at, now);
      if (silence >= limit) {
        this.#suspect(calm, now, silence);
        return;
      }
      // The attached server is asked half-way to suspicion, so that by then it is known whether it lives.
      const halfWay = silence >= limit / 2;
      calm.server = halfWay ? (calm.server ?? this.#checkServer(now)) : undefined;
      next = Math.min(next, now + Math.max(5, (halfWay ? limit : limit / 2) - silence));
    } else calm.server = undefined;

    if (this.#asked.size === 0) {
      const pingAt = this.#roundTrips.lastHeard + settings.pings.interval;
      const surpriseAt = this.#rhythm.surpriseAt ?? Infinity;
      const wantedAt = this.#wantsAnswerSince() + threshold / 2;
      const askAt = Math.min(pingAt, surpriseAt, wantedAt);
      if (now >= askAt) {
        if (now >= surpriseAt) this.#rhythm.asked();
        this.#ask();
        next = Math.min(next, now + threshold);
      } else next = Math.min(next, askAt);
    }
    this.#arm(next);
  }

  /** Returns the time from which on a question to the leader would tell something; Infinity if none would. */
  #wantsAnswerSince(): number {
    const { oldestPublish, participants } = this.#options;
    const askAfter = oldestPublish()?.askAfter ?? Infinity;
    // An answered question has told it already.
    const publishing = this.hasAnsweredSince(askAfter) ? Infinity : askAfter;
    return Math.min(publishing, participants.subscribing.wantsAnswerSince ?? Infinity);
  }

  #suspect(calm: Calm, now: number, silence: number): void {
    this.#options.settings.logger.debug?.(`no sign of life from the leader for ${Math.round(silence)} ms: asking`);
    const server = calm.server ?? this.#checkServer(now);
    this.#state = { is: 'suspect', server, hedge: undefined, cancelJudgement: undefined };
    this.#options.recovery.begin(silence);
    // The call may have ended the session.
    this.#tickAs(this.#state, now);
  }

  #checkServer(now: number): ServerCheck {
    const { link } = this.#options.path;
    const check = { at: now, end: link.sent, answered: false };
    link.pingServer(() => {
      check.answered = true;
    });
    return check;
  }

  #tickSuspect(suspicion: Suspicion, now: number): void {
    const { pings } = this.#options.settings;
    const first = this.#asked.values().next().value;
    const patience = pings.interval * pings.maxOut;
    const { excusedUntil } = this.#throughput;
    const margin = this.#roundTrips.margin(now);
    if (first !== undefined && this.#roundTrips.silence(first.at, now) >= patience && now >= excusedUntil + margin) {
      this.#options.lose('pings', `no answer to STAN pings for ${patience} ms`, suspicion.hedge);
      return;
    }
    let next = now + ASK_EVERY;
    if (!suspicion.hedge) {
      const { server } = suspicion;
      const waited = this.#roundTrips.silence(server.at, now);
      const limit = server.answered ? ELECTION_PATIENCE : Math.max(margin, excusedUntil + margin - server.at);
      if (waited >= limit) this.#startHedge(suspicion);
      else next = Math.min(next, now + limit - waited);
    }
    // Another path is asked at the same moments as ours, so that the answers can be compared.
    if (suspicion.hedge === undefined || suspicion.hedge.found !== undefined) this.#ask();
    this.#arm(next);
  }

  #startHedge(suspicion: Suspicion): void {
    this.#options.settings.logger.debug?.(
      suspicion.server.answered
        ? 'the attached server lives, but no leader answers'
        : 'the attached server is mute, too',
    );
    const hedge = this.#options.race();
    suspicion.hedge = hedge;
    hedge.onWon = () => this.#hedgeAnswered(suspicion, hedge.found!);
    hedge.onAsk = () => this.#ask();
    hedge.keepOn();
  }

  #hedgeAnswered(suspicion: Suspicion, found: Found): void {
    if (this.#state !== suspicion) return;
    const now = this.#clock.now();
    if (found.registered) this.#judgeLater(suspicion, found, now);
    else this.#deniedElsewhere(suspicion, found, now - found.roundTrip);
  }

  /**
   * Judges our own path when the leader has answered on another one. Our path gets a margin and the time for the bytes that are
   * on it, because the other path is empty. It is not judged while it brings anything.
   */
  #judgeLater(suspicion: Suspicion, found: Found, foundAt: number): void {
    const wait = (): void => {
      const now = this.#clock.now();
      const from = Math.max(foundAt, this.#roundTrips.lastHeard, this.#throughput.excusedUntil);
      const left = from + this.#roundTrips.margin(now) - now;
      if (left > 0) suspicion.cancelJudgement = this.#clock.after(left, wait);
      else this.#judge(suspicion, found);
    };
    wait();
  }

  #judge(suspicion: Suspicion, found: Found): void {
    // An answer on our own path would have ended the suspicion. Another path that has died meanwhile proves nothing.
    if (this.#state !== suspicion || suspicion.hedge?.found !== found) return;
    const [own, other] = [this.#options.path.link.address.url, found.link.address.url];
    this.#options.lose(
      'path',
      own === other
        ? `the leader answers on a new connection to ${own}, and not on this one: the way it took is cut`
        : `the leader answers through ${other}, and not through ${own}: that server is frozen, or the way to it is cut`,
      suspicion.hedge,
    );
  }

  /**
   * Handles an answer of a leader that does not know our session. It may be wrong: a former leader may not have stepped down
   * yet, or may answer old questions after it was frozen. So it counts only if its question was asked after an earlier denial
   * came.
   * @returns whether it counts; the session has ended then
   */
  #denied(askedAt: number): boolean {
    if (this.#deniedAt === undefined) this.#deniedAt = this.#clock.now();
    if (askedAt <= this.#deniedAt) return false;
    this.#options.lose(
      'replaced',
      'the leader does not know this session any more: it was replaced, it expired, or its store was lost',
      this.#state.is === 'suspect' ? this.#state.hedge : undefined,
    );
    return true;
  }

  #deniedHere(instant: number, askedAt: number): void {
    this.#asked.delete(instant);
    if (this.#denied(askedAt)) return;
    this.#cancelSecond?.();
    this.#cancelSecond = this.#clock.after(ASK_EVERY, () => this.#ask());
  }

  /** Handles a denial on another path, which is asked once more. */
  #deniedElsewhere(suspicion: Suspicion, found: Found, askedAt: number): void {
    if (this.#denied(askedAt)) return;
    const { link } = found;
    const { clusterId } = this.#options.settings;
    const { connectionId } = this.#options.path;
    const ask = (): void => {
      if (this.#state !== suspicion || !link.alive) return;
      const at = this.#clock.now();
      link.onAnswer = ({ registered }) => {
        link.onAnswer = undefined;
        if (this.#state !== suspicion) return;
        suspicion.cancelJudgement?.();
        if (registered) this.#judgeLater(suspicion, found, this.#clock.now());
        else if (!this.#denied(at)) again();
      };
      link.ask(clusterId, connectionId, found.instant);
      // The answer may be lost.
      suspicion.cancelJudgement = this.#clock.after(Math.max(this.#roundTrips.threshold(at), 4 * found.roundTrip), ask);
    };
    const again = (): void => {
      suspicion.cancelJudgement = this.#clock.after(ASK_EVERY, ask);
    };
    again();
  }

  #ask(): void {
    if (this.#stopped) return;
    this.#instant += 1;
    const { link, connectionId } = this.#options.path;
    link.ask(this.#options.settings.clusterId, connectionId, this.#instant);
    this.#asked.set(this.#instant, { at: this.#clock.now(), end: link.sent });
    if (this.#state.is === 'calm') this.owed();
  }

  #answered({ instant, registered }: Answer): void {
    if (this.#stopped) return;
    const now = this.#clock.now();
    const asked = this.#asked.get(instant);
    // A leader that was frozen answers old questions when it goes on, so these do not count.
    if (asked === undefined) return;
    if (!registered) {
      this.#deniedHere(instant, asked.at);
      return;
    }
    this.#deniedAt = undefined;
    this.#answeredAskedAt = Math.max(this.#answeredAskedAt, asked.at);
    // Questions are answered in order, so earlier ones without an answer will never get one.
    let missed = false;
    for (const earlier of this.#asked.keys()) {
      if (earlier > instant) break;
      if (earlier < instant) missed = true;
      this.#asked.delete(earlier);
    }
    this.#sample(asked, now);
    this.#options.participants.leaderAnswered(asked.at);
    // The call may have ended the session.
    if (this.#stopped) return;
    const state = this.#state;
    if (state.is === 'suspect') {
      this.#state = { is: 'calm', server: undefined };
      state.cancelJudgement?.();
      state.hedge?.cancel();
      // Later questions of this suspicion are under way. Their answers say nothing about a new one.
      this.#asked.clear();
      this.#options.settings.logger.debug?.(
        `the leader answered${missed ? ', but not everything that was asked' : ''}`,
      );
      this.#options.recovery.end(missed);
      this.#owed = false;
      this.owed();
    } else if (this.#oldestOwed() === undefined) {
      // An idle client wakes up as rarely as possible, so the timer is not kept only to find that all is well.
      this.#cancelTick?.();
      this.#cancelTick = undefined;
      this.#due = Infinity;
      this.#tickAs(state, now);
    }
  }
}
