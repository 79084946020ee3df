/**
 * Watches over one session: asks when an answer is overdue, and tells a dead path from a slow leader. The judgement
 * itself is {@link RoundTripEstimator}; here are the timers and the questions.
 *
 *   calm ── an owed answer is overdue ──► suspect ── our own path answers ──► calm
 *                                           └── another path answers and ours does not ──► the session is lost
 *
 * A suspect session feeds no new publishes and asks the leader every 50 ms. Half-way to suspicion the attached server
 * itself was asked: no answer, and another path is tried at once (the *hedge*); an answer, and it is probably an
 * election, in which a thousand clients must not all dial: then the hedge waits for a second.
 */
import type { LossReason } from '../errors.js';
import type { Answer, Link } from './link.js';
import { RoundTripEstimator } from './round-trip-estimator.js';
import type { AwakeClock } from '../awake-clock.js';
import type { InPlaceRecovery } from './in-place-recovery.js';
import type { Participants } from './participants.js';
import { ASK_EVERY, type Found, type LeaderSearch } from './leader-search.js';
import { Rhythm } from './rhythm.js';
import type { ConnectionSettings } from './settings.js';
import { Throughput, type Line } from './throughput.js';

/** With an attached server that answers, other paths are tried only after this long, in ms. */
export const ELECTION_PATIENCE = 1000;

/** Something that the leader owes an answer for. */
export interface Owed {
  /** When it was sent. */
  readonly at: number;
  /** Where its last byte stands in all that the session has sent. */
  readonly end: number;
}

/** A publish that the leader owes an answer for. */
export interface OwedPublish extends Owed {
  /** The leader's answer to a question that is asked later than this tells that it has the message, or will never get it. */
  readonly askAfter: number;
}

/** The session's own path to the leader. */
export interface Path {
  readonly link: Link;
  /** Of the session's registration. */
  readonly connectionId: Uint8Array;
  /** Of the question that found the leader, in ms. */
  readonly roundTrip: number;
  /** What is known of the way to the servers. */
  readonly line: Line;
}

export interface FailureDetectorOptions {
  path: Path;
  settings: Pick<ConnectionSettings, 'clusterId' | 'pings' | 'logger'>;
  participants: Participants;
  /** The oldest publish that an answer is owed for, and what its answer is waited for with. */
  oldestPublish: () => OwedPublish | undefined;
  /** The oldest request of the protocol that still waits for its answer. */
  oldestRequest: () => Owed | undefined;
  /** Told when the leader is silent, and when it has answered after all. */
  recovery: Pick<InPlaceRecovery, 'begin' | 'end'>;
  /** A race for the leader on other connections. */
  race: () => LeaderSearch;
  /** Ends the session. The successor is a race that is under way, or won. */
  lose: (reason: LossReason, message: string, successor?: LeaderSearch) => void;
  clock: AwakeClock;
}

/** A question to the attached server itself. */
interface ServerCheck extends Owed {
  answered: boolean;
}

/** Nothing is overdue. */
interface Calm {
  readonly is: 'calm';
  /** Of the present silence of the leader, once it has lasted for a while. */
  server: ServerCheck | undefined;
}

/** The leader is overdue. */
interface Suspicion {
  readonly is: 'suspect';
  readonly server: ServerCheck;
  hedge: LeaderSearch | undefined;
  /** What cancels the wait for our own path, or for the second answer of another one. */
  cancelJudgement: (() => void) | undefined;
}

type State = Calm | Suspicion | { readonly is: 'stopped' };

export class FailureDetector {
  readonly #options: FailureDetectorOptions;
  readonly #clock: AwakeClock;
  readonly #roundTrips: RoundTripEstimator;
  readonly #throughput: Throughput;
  readonly #rhythm = new Rhythm();
  #state: State = { is: 'calm', server: undefined };
  /** Questions without an answer, by their instants. */
  readonly #asked = new Map<number, Owed>();
  #instant = 0;
  #cancelTick: (() => void) | undefined;
  #due = Infinity;
  #owed = false;
  /** When a part of a message came last. */
  #progressAt = -Infinity;
  /** When the question was asked that was answered last. */
  #answeredAskedAt = -Infinity;
  /** When an answer came that said that we are not registered, if the last one did. */
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

  /** The smallest silence that is suspicious at present, in ms. */
  get threshold(): number {
    return this.#roundTrips.threshold(this.#clock.now());
  }

  /**
   * The leader has answered a question that was asked later than this: whatever was sent before has arrived, and what was
   * answered before has arrived here.
   */
  hasAnsweredSince(at: number): boolean {
    return this.#answeredAskedAt > at;
  }

  /**
   * How long something may have stood in a queue: on its way to the leader behind bytes of ours, or its answer on the way to us
   * behind a message. Later than `since` in any case.
   */
  queuedUntil(end: number, since: number): number {
    return Math.max(since, this.#throughput.excusedUpTo(end), this.#progressAt);
  }

  /** A request about a subscription was answered: evidence. */
  heard(): void {
    this.#roundTrips.heard(this.#clock.now());
  }

  /** A message came: evidence, and a beat of the rhythm. */
  heardMessage(): void {
    const now = this.#clock.now();
    this.#roundTrips.heard(now);
    this.#rhythm.heard(now);
  }

  /** A publish was answered: evidence, and a sample. */
  heardAnswer(publish: Owed): void {
    this.#sample(publish, this.#clock.now());
  }

  /** Something was sent that is owed an answer. */
  owed(): void {
    if (this.#owed || this.#stopped) return;
    this.#owed = true;
    const now = this.#clock.now();
    this.#arm(now + this.#roundTrips.threshold(now) / 2);
  }

  /** Asks at once, unless a question is open. */
  doubt(): void {
    if (this.#asked.size === 0) this.#ask();
  }

  /** Ends it. A race under way is handed over, not ended. */
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

  /** A message is on its way to us, so that the leader lives, and our path: what else comes, comes behind it. */
  #progressed(): void {
    if (this.#stopped) return;
    this.#progressAt = this.#clock.now();
    this.#roundTrips.heard(this.#progressAt);
  }

  /** A round trip, less what of it was a queue: behind our own bytes, or behind those of a message on its way to us. */
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

  /** For how long, in ms, the leader may be silent although it owes an answer to this. */
  #limit({ at, end }: Owed, now: number): number {
    const threshold = this.#roundTrips.threshold(now);
    const since = Math.max(at, this.#roundTrips.lastHeard);
    return Math.max(threshold, this.#throughput.excusedUpTo(end) + threshold - since);
  }

  #tickCalm(calm: Calm, now: number): void {
    const { oldestPublish, participants, settings } = this.#options;
    const threshold = this.#roundTrips.threshold(now);
    // First: what it sends or gives up changes what is owed.
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
      // Half-way to suspicion the attached server is asked as well, so that by then it is known whether it lives.
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

  /** The answer to a question that is asked later than this would tell something; Infinity if none would. */
  #wantsAnswerSince(): number {
    const { oldestPublish, participants } = this.#options;
    const askAfter = oldestPublish()?.askAfter ?? Infinity;
    // One that was answered already has told it.
    const publishing = this.hasAnsweredSince(askAfter) ? Infinity : askAfter;
    return Math.min(publishing, participants.subscribing.wantsAnswerSince ?? Infinity);
  }

  #suspect(calm: Calm, now: number, silence: number): void {
    this.#log(`no sign of life from the leader for ${Math.round(silence)} ms: asking`);
    const server = calm.server ?? this.#checkServer(now);
    this.#state = { is: 'suspect', server, hedge: undefined, cancelJudgement: undefined };
    this.#options.recovery.begin();
    // It may have ended the session.
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
    // While another path is asked, ours is asked at the same instants, so that their answers can be compared.
    if (suspicion.hedge === undefined || suspicion.hedge.found !== undefined) this.#ask();
    this.#arm(next);
  }

  #startHedge(suspicion: Suspicion): void {
    this.#log(
      suspicion.server.answered
        ? 'the attached server lives, but no leader answers'
        : 'the attached server is mute, too',
    );
    const hedge = this.#options.race();
    suspicion.hedge = hedge;
    hedge.onWon = (found) => this.#hedgeAnswered(suspicion, found);
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
   * The leader answers on another path. Ours is given a margin, and the time that it needs for what is on it: the other one
   * is empty. As long as it brings something, it is not judged at all.
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
    // An answer on our own path would have ended the suspicion. A path that has died meanwhile proves nothing.
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
   * A leader said that it does not know us. A former one that has not stepped down yet, or that was frozen and answers all it
   * was asked before, may say so wrongly: it counts only for a question that was asked after an earlier denial came.
   * @returns whether that is so; the session has then ended
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

  /** The same, on another path, which then is asked once more. */
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
      // Its answer may be lost.
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
    // Not a question of this moment: a leader that was frozen answers what it was asked before when it thaws.
    if (asked === undefined) return;
    if (!registered) {
      this.#deniedHere(instant, asked.at);
      return;
    }
    this.#deniedAt = undefined;
    this.#answeredAskedAt = Math.max(this.#answeredAskedAt, asked.at);
    // Questions are answered in order: one that was asked earlier and is still open will never be answered.
    let missed = false;
    for (const earlier of this.#asked.keys()) {
      if (earlier > instant) break;
      if (earlier < instant) missed = true;
      this.#asked.delete(earlier);
    }
    this.#sample(asked, now);
    this.#options.participants.leaderAnswered(asked.at);
    // It may have ended the session.
    if (this.#stopped) return;
    const state = this.#state;
    if (state.is === 'suspect') {
      this.#state = { is: 'calm', server: undefined };
      state.cancelJudgement?.();
      state.hedge?.cancel();
      // Later questions of this suspicion are under way; their answers are no evidence of a new one.
      this.#asked.clear();
      this.#log(`the leader answered${missed ? ', but not everything that was asked' : ''}`);
      this.#options.recovery.end(missed);
      this.#owed = false;
      this.owed();
    } else if (this.#oldestOwed() === undefined) {
      // An idle client wakes up as rarely as can be: not once more only to see that all is well.
      this.#cancelTick?.();
      this.#cancelTick = undefined;
      this.#due = Infinity;
      this.#tickAs(state, now);
    }
  }

  #log(message: string): void {
    this.#options.settings.logger.debug(message);
  }
}
