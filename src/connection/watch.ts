/**
 * Watches over one session: asks when an answer is overdue, and tells a dead path from a slow leader. The judgement
 * itself is {@link Liveness}; here are the timers and the questions.
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
import { Liveness } from './liveness.js';
import { ASK_EVERY, type Found, type Reach } from './reach.js';

/** With an attached server that answers, other paths are tried only after this long, in ms. */
export const ELECTION_PATIENCE = 1000;
/** A timer that fires this much late, in ms, says that our own event loop stood still. */
const STALL = 25;

/** What the watch asks of, and tells, those who use the session. */
export interface Workload {
  /** When the oldest unacknowledged publish in flight was sent. */
  oldestInFlight(): number | undefined;
  /** A publish sent later than the oldest has been acknowledged, so that one is probably lost. */
  overtaken(): boolean;
  /** Send the oldest again, to learn what is lost. */
  probe(): void;
  /** When the silence of the busiest subscription becomes surprising. */
  surprise(): number | undefined;
  /** Suspect: feed no new publishes. */
  pause(): void;
  /** The leader answered on our path. `missed`: some of what was asked before got no answer, so messages got lost, too. */
  resume(missed: boolean): void;
}

export interface WatchOptions {
  clusterId: string;
  connectionId: Uint8Array;
  link: Link;
  /** Of the question that found the leader, in ms. */
  roundTrip: number;
  pings: { interval: number; maxOut: number };
  workload: Workload;
  /** When the oldest request of the protocol that still waits for its answer was sent. */
  oldestRequest: () => number | undefined;
  /** A race for the leader on other connections, not yet begun. */
  hedge: (onAccepted: () => void) => Reach;
  /** The leader answered, but not everything that was asked: requests may be lost, too. */
  onMissed: () => void;
  /** Runs the rounds of a race until it is won or cancelled. */
  race: (reach: Reach) => void;
  /** Ends the session. The successor is a race that is under way, or won. */
  lose: (reason: LossReason, message: string, successor?: Reach) => void;
  log: (message: string) => void;
  now: () => number;
}

/** A question to the attached server itself. */
interface ServerCheck {
  askedAt: number;
  answered: boolean;
}

interface Suspicion {
  server: ServerCheck;
  hedge: Reach | undefined;
  judgement: NodeJS.Timeout | undefined;
}

export class Watch {
  readonly #options: WatchOptions;
  readonly #liveness: Liveness;
  /** Questions without an answer: instant -> when. */
  readonly #asked = new Map<number, number>();
  #instant = 0;
  #suspicion: Suspicion | undefined;
  /** Of the present silence of the leader. */
  #serverCheck: ServerCheck | undefined;
  #timer: NodeJS.Timeout | undefined;
  #due = Infinity;
  #armedAt = 0;
  #owed = false;
  /** Answers in a row that said that we are not registered. */
  #denials = 0;
  #stopped = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#liveness = new Liveness(options.roundTrip, options.now());
    options.link.forgetQuestions();
    options.link.onAnswer = (answer) => this.#answered(answer);
    this.#arm(options.now() + options.pings.interval);
  }

  get suspect(): boolean {
    return this.#suspicion !== undefined;
  }

  /** The smallest silence that is suspicious at present, in ms. */
  get threshold(): number {
    return this.#liveness.threshold(this.#options.now());
  }

  /** A message came: evidence. */
  heard(): void {
    this.#liveness.heard(this.#options.now());
  }

  /** An ack came: evidence, and a sample. */
  heardAck(roundTrip: number): void {
    const now = this.#options.now();
    // Our own timer is overdue: the loop stood still, and what it stood is not the leader's.
    const standing = Math.max(0, now - this.#due - STALL);
    this.#liveness.sample(Math.max(0, roundTrip - standing), now);
  }

  /** Something was sent that is owed an answer. */
  owed(): void {
    if (this.#owed || this.#stopped) return;
    this.#owed = true;
    const now = this.#options.now();
    this.#arm(now + this.#liveness.threshold(now) / 2);
  }

  /** Asks at once, unless a question is open. */
  doubt(): void {
    if (this.#stopped || this.#asked.size > 0) return;
    this.#ask();
  }

  /** Ends the watch. A race under way is handed over, not ended. */
  stop(): Reach | undefined {
    this.#stopped = true;
    clearTimeout(this.#timer);
    const suspicion = this.#suspicion;
    clearTimeout(suspicion?.judgement);
    this.#suspicion = undefined;
    return suspicion?.hedge;
  }

  #arm(at: number): void {
    if (this.#stopped) return;
    if (this.#timer !== undefined) {
      if (at >= this.#due) return;
      clearTimeout(this.#timer);
    }
    this.#due = at;
    this.#armedAt = this.#options.now();
    this.#timer = setTimeout(this.#tick, Math.max(1, Math.ceil(at - this.#armedAt)));
  }

  readonly #tick = (): void => {
    this.#timer = undefined;
    const now = this.#options.now();
    const late = now - this.#due;
    if (late > STALL) {
      // A short lateness is taken off. After a long one it is unknown for how long we had stood before the timer was
      // due, or whether what is owed an answer has even left: the whole wait does not count.
      const long = late > this.#liveness.threshold(now) / 2;
      this.#liveness.stalled(long ? this.#armedAt : this.#due, now);
    }
    this.#due = Infinity;
    if (this.#suspicion) this.#tickSuspect(this.#suspicion, now);
    else this.#tickCalm(now);
  };

  #oldestOwed(): number | undefined {
    const publish = this.#options.workload.oldestInFlight() ?? Infinity;
    const request = this.#options.oldestRequest() ?? Infinity;
    const ping = this.#asked.values().next().value ?? Infinity;
    const oldest = Math.min(publish, request, ping);
    return oldest === Infinity ? undefined : oldest;
  }

  #tickCalm(now: number): void {
    const { workload, pings } = this.#options;
    const threshold = this.#liveness.threshold(now);
    let next = Infinity;

    const owedSince = this.#oldestOwed();
    this.#owed = owedSince !== undefined;
    if (owedSince !== undefined) {
      const silence = this.#liveness.silence(owedSince, now);
      if (silence >= threshold) {
        this.#afterPoll(() => this.#suspectIfStillOverdue());
        return;
      }
      // Half-way to suspicion the attached server is asked as well, so that by then it is known whether it lives.
      const halfWay = silence >= threshold / 2;
      this.#serverCheck = halfWay ? (this.#serverCheck ?? this.#checkServer(now)) : undefined;
      next = now + Math.max(5, (halfWay ? threshold : threshold / 2) - silence);
      const oldest = workload.oldestInFlight();
      if (oldest !== undefined && workload.overtaken() && now - oldest > 2 * threshold) workload.probe();
    } else this.#serverCheck = undefined;

    if (this.#asked.size === 0) {
      const pingAt = this.#liveness.lastHeard + pings.interval;
      const surpriseAt = workload.surprise() ?? Infinity;
      if (now >= pingAt || now >= surpriseAt) {
        this.#ask();
        next = Math.min(next, now + threshold);
      } else next = Math.min(next, pingAt, surpriseAt);
    }
    this.#arm(next);
  }

  #suspectIfStillOverdue(): void {
    const now = this.#options.now();
    const owedSince = this.#oldestOwed();
    if (owedSince === undefined || this.#liveness.silence(owedSince, now) < this.#liveness.threshold(now)) {
      this.#tickCalm(now);
      return;
    }
    this.#options.log(
      `no sign of life from the leader for ${Math.round(this.#liveness.silence(owedSince, now))} ms: asking`,
    );
    const server = this.#serverCheck ?? this.#checkServer(now);
    this.#serverCheck = undefined;
    const suspicion: Suspicion = { server, hedge: undefined, judgement: undefined };
    this.#suspicion = suspicion;
    this.#options.workload.pause();
    if (!this.#stopped) this.#tickSuspect(suspicion, now);
  }

  #checkServer(now: number): ServerCheck {
    const check: ServerCheck = { askedAt: now, answered: false };
    this.#options.link.pingServer(() => {
      check.answered = true;
    });
    return check;
  }

  #tickSuspect(suspicion: Suspicion, now: number): void {
    const { pings } = this.#options;
    const firstAsked = this.#asked.values().next().value;
    if (firstAsked !== undefined && this.#liveness.silence(firstAsked, now) >= pings.interval * pings.maxOut) {
      this.#afterPoll(() => {
        if (this.#suspicion !== suspicion) return;
        this.#options.lose('pings', `no answer to STAN pings for ${pings.interval * pings.maxOut} ms`, suspicion.hedge);
      });
      return;
    }
    let next = now + ASK_EVERY;
    if (!suspicion.hedge) {
      const { askedAt, answered } = suspicion.server;
      const waited = this.#liveness.silence(askedAt, now);
      const patience = answered ? ELECTION_PATIENCE : this.#liveness.margin(now);
      if (waited >= patience) this.#startHedge(suspicion);
      else next = Math.min(next, now + patience - waited);
    }
    // On both paths at the same instants, so that their answers can be compared.
    this.#ask();
    suspicion.hedge?.ask(this.#instant);
    this.#arm(next);
  }

  #startHedge(suspicion: Suspicion): void {
    this.#options.log(
      suspicion.server.answered
        ? 'the attached server lives, but no leader answers'
        : 'the attached server is mute, too',
    );
    const hedge = this.#options.hedge(() => {
      if (this.#suspicion !== suspicion) return;
      this.#ask();
      hedge.ask(this.#instant);
    });
    suspicion.hedge = hedge;
    void hedge.won().then(() => this.#hedgeAnswered(suspicion));
    this.#options.race(hedge);
  }

  #hedgeAnswered(suspicion: Suspicion): void {
    const found = suspicion.hedge?.found;
    if (this.#suspicion !== suspicion || !found) return;
    if (!found.registered) {
      this.#options.lose('replaced', 'the leader does not know this session any more', suspicion.hedge);
      return;
    }
    suspicion.judgement = setTimeout(
      () => this.#afterPoll(() => this.#judge(suspicion, found)),
      this.#liveness.margin(this.#options.now()),
    );
  }

  #judge(suspicion: Suspicion, found: Found): void {
    // An answer on our own path would have ended the suspicion.
    if (this.#suspicion !== suspicion) return;
    const { link } = this.#options;
    this.#options.lose(
      'path',
      `the leader answers through ${found.link.address.url}, and not through ${link.address.url}: ` +
        'that server is frozen, or the way to it is cut',
      suspicion.hedge,
    );
  }

  /** A former leader that has not stepped down yet may not know us, so it takes two answers in a row. */
  #denied(instant: number): void {
    this.#denials += 1;
    this.#asked.delete(instant);
    if (this.#denials > 1) {
      this.#options.lose(
        'replaced',
        'the leader does not know this session any more: it was replaced, it expired, or its store was lost',
        this.#suspicion?.hedge,
      );
      return;
    }
    setTimeout(() => {
      if (!this.#stopped) this.#ask();
    }, ASK_EVERY);
  }

  #ask(): void {
    this.#instant += 1;
    const now = this.#options.now();
    this.#asked.set(this.#instant, now);
    this.#options.link.ask(this.#options.clusterId, this.#options.connectionId, this.#instant);
    if (!this.#suspicion) this.owed();
  }

  #answered({ instant, registered }: Answer): void {
    if (this.#stopped) return;
    const now = this.#options.now();
    const askedAt = this.#asked.get(instant);
    // Not a question of this moment: a leader that was frozen answers what it was asked before when it thaws.
    if (askedAt === undefined) return;
    if (!registered) {
      this.#denied(instant);
      return;
    }
    this.#denials = 0;
    // Questions are answered in order: one that was asked earlier and is still open will never be answered.
    let missed = false;
    for (const earlier of this.#asked.keys()) {
      if (earlier > instant) break;
      if (earlier < instant) missed = true;
      this.#asked.delete(earlier);
    }
    this.heardAck(now - askedAt);
    const suspicion = this.#suspicion;
    if (suspicion) {
      this.#suspicion = undefined;
      clearTimeout(suspicion.judgement);
      suspicion.hedge?.cancel();
      // Later questions of this suspicion are under way; their answers are no evidence of a new one.
      this.#asked.clear();
      this.#options.log(`the leader answered${missed ? ', but not everything that was asked' : ''}`);
      this.#options.workload.resume(missed);
      if (missed) this.#options.onMissed();
      this.#owed = false;
      this.owed();
    } else if (this.#oldestOwed() === undefined) {
      // An idle client wakes up as rarely as can be: not once more only to see that all is well.
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#due = Infinity;
      this.#tickCalm(now);
    }
  }

  /** Lets the event loop take in what has already arrived before anything is judged by its absence. */
  #afterPoll(judge: () => void): void {
    setImmediate(() =>
      setImmediate(() => {
        if (this.#stopped) return;
        judge();
      }),
    );
  }
}
