/**
 * *LeaderSearch*: a race over the server list for the leader. Connections are opened a head start apart; each that is accepted
 * keeps asking until somebody answers, which only a leader does. The first answer ends the race.
 *
 * A connect request sent while there is no leader vanishes, and waiting for its timeout used to be most of every
 * outage; a ping registers nothing and may be asked again and again.
 */
import { expectManyListeners } from '../abort-signal.js';
import { patience, type AwakeClock } from '../awake-clock.js';
import { AuthorizationError, ConnectError, PermissionError, toError, type ServerFailure } from '../errors.js';
import type { ResolvedRetryOptions } from './retry-options.js';
import { retryDelay } from './backoff.js';
import { noGreeting, type Answer, type Link } from './link.js';
import type { ServerAddress } from './servers.js';
import { Unreached } from './stream.js';

/** How long a server may take before the next one of the list is dialled beside it, in ms (RFC 8305 takes 250 for addresses). */
export const HEAD_START = 100;
/** At a first connect, time in which our own loop was busy is not held against a server; but not for longer than this, in ms. */
export const BUSY_HEAD_START = 1000;
/** How often an accepted connection asks for the leader, in ms. */
export const ASK_EVERY = 50;
/** How often an accepted connection has to prove that it lives, by the answer to a NATS PING, in ms. */
export const PROVE_EVERY = 1000;

/** The end of the race. */
export interface Found {
  link: Link;
  /** Which question was answered first. */
  instant: number;
  /** The connection ID that was asked about is registered at the leader: the registration is still ours. */
  registered: boolean;
  /** Of the question that was answered, in ms. */
  roundTrip: number;
}

export interface LeaderSearchOptions {
  /** In the order in which they are dialled; asked at the beginning of each round. */
  servers: () => readonly ServerAddress[];
  clusterId: string;
  /** The connection ID of the session that died, or one that nobody has. */
  connectionId: Uint8Array;
  /** How long one round waits for a leader, in ms. */
  connectTimeout: number;
  /** The pace at which one server is dialled again while others are connected. */
  redial: ResolvedRetryOptions;
  /** @param awaits is told what has not come, if the dial takes too long */
  dial: (address: ServerAddress, signal: AbortSignal, awaits: (what: string) => void) => Promise<Link>;
  /**
   * Nothing is lost yet: then a server that accepts us has another head start for the leader's answer, and a head start counts
   * only time in which our own event loop waited. A process that makes hundreds of clients at once is slow itself, and must
   * not dial every server for each of them. What counts that time, in ms; absent after a loss, when all time counts.
   */
  idle?: (() => number) | undefined;
  /** A server was of no use. */
  onFailed?: (address: ServerAddress) => void;
  clock: AwakeClock;
}

/** One server in the race. */
interface Lane {
  readonly address: ServerAddress;
  link?: Link | undefined;
  dialling: boolean;
  /** What its dial waits for, in words that say that it has not come. */
  awaits?: string;
  failure?: Error | undefined;
  /** Dials that failed in a row. */
  failed: number;
  /** What cancels the next dial. */
  redial?: (() => void) | undefined;
  /** When its connection was last known to live. */
  provedAt: number;
  /** It was asked to prove it, and the answer is to come: what cancels the wait. */
  cancelCheck?: (() => void) | undefined;
}

export class LeaderSearch {
  readonly #options: LeaderSearchOptions;
  #lanes: Lane[] = [];
  readonly #stop = new AbortController();
  readonly #askedAt = new Map<number, number>();
  #instant = 0;
  #asking: NodeJS.Timeout | undefined;
  #found: Found | undefined;
  /** Lanes that wait for their head start. */
  #waiting: Lane[] = [];
  #cancelHeadStart: (() => void) | undefined;
  #round:
    | {
        promise: Promise<Found>;
        resolve: (found: Found) => void;
        reject: (error: Error) => void;
        cancel: () => void;
      }
    | undefined;
  /** Begins rounds by itself. */
  #keepsOn = false;
  #cancelPause: (() => void) | undefined;
  /** Called when the race has been won, in a round or between two. */
  onWon: ((found: Found) => void) | undefined;
  /** Called when it asks: what else is asked at the same instant is answered at the same instant, if its path lives. */
  onAsk: (() => void) | undefined;

  constructor(options: LeaderSearchOptions) {
    this.#options = options;
    // Each dial listens to it.
    expectManyListeners(this.#stop.signal);
  }

  /** Cancelled. */
  get over(): boolean {
    return this.#stop.signal.aborted;
  }

  /** The winner, while it lives. */
  get found(): Found | undefined {
    return this.#found;
  }

  /**
   * One round, begun from outside: dials what is not connected, and waits for a leader. What is connected when the round fails stays and
   * goes on asking.
   * @throws ConnectError with every server and its reason; AuthorizationError or PermissionError when that is why
   */
  round(): Promise<Found> {
    if (this.#found) return Promise.resolve(this.#found);
    if (this.over) return Promise.reject(toError(this.#stop.signal.reason));
    this.#keepsOn = false;
    this.#cancelPause?.();
    return this.#beginRound();
  }

  #beginRound(): Promise<Found> {
    if (this.#round) return this.#round.promise;
    let resolve!: (found: Found) => void;
    let reject!: (error: Error) => void;
    const promise = new Promise<Found>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    const cancel = patience(this.#options.clock, this.#options.connectTimeout, () => this.#fail());
    this.#round = { promise, resolve, reject, cancel };
    this.#lanes = this.#lanesInOrder();
    this.#waiting = this.#lanes.filter((lane) => !lane.link && !lane.dialling && !lane.redial);
    this.#startAsking();
    this.#dialNext();
    this.#failIfExhausted();
    return promise;
  }

  /** One for each server there is now; those that are connected, or about to be, stay in any case. */
  #lanesInOrder(): Lane[] {
    const known = new Map(this.#lanes.map((lane) => [lane.address.url, lane]));
    const lanes = this.#options.servers().map((address): Lane => {
      const lane = known.get(address.url) ?? { address, dialling: false, failed: 0, provedAt: 0 };
      known.delete(address.url);
      return lane;
    });
    return [...lanes, ...[...known.values()].filter((lane) => lane.link ?? (lane.dialling || lane.redial))];
  }

  /** Runs one round after the other by itself, until the race is won or called off, or {@link round} is called. */
  keepOn(): void {
    this.#keepsOn = true;
    this.#nextRound(1);
  }

  #nextRound(number: number): void {
    if (!this.#keepsOn || this.over || this.#found) return;
    this.#beginRound().catch(() => {
      if (!this.#keepsOn || this.over) return;
      const { clock, redial } = this.#options;
      this.#cancelPause = clock.after(retryDelay(number, redial), () => this.#nextRound(number + 1));
    });
  }

  #startAsking(): void {
    if (this.#asking) return;
    this.#asking = setInterval(() => this.#ask(), ASK_EVERY);
    this.#ask();
  }

  /** Asks for the leader on every accepted connection. */
  #ask(): void {
    this.#instant += 1;
    this.onAsk?.();
    for (const lane of this.#lanes) {
      if (!lane.link) continue;
      this.#askOn(lane.link, this.#instant);
      this.#prove(lane, lane.link);
    }
  }

  /** What is connected may have become deaf, and who waits for it would wait for ever: it proves that it lives, or goes. */
  #prove(lane: Lane, link: Link): void {
    const { clock, connectTimeout } = this.#options;
    const now = clock.now();
    if (lane.cancelCheck !== undefined || now - lane.provedAt < PROVE_EVERY) return;
    lane.cancelCheck = patience(clock, connectTimeout, () => {
      lane.cancelCheck = undefined;
      if (lane.link !== link) return;
      lane.link = undefined;
      link.destroy();
      this.#lost(lane, new Error(`it was connected, and then did not answer a NATS PING within ${connectTimeout} ms`));
    });
    link.pingServer(() => {
      if (lane.link !== link) return;
      lane.cancelCheck?.();
      lane.cancelCheck = undefined;
      lane.provedAt = clock.now();
    });
  }

  /** Ends the race and closes everything, but for the winner if it is to be kept. */
  cancel(keepWinner = false): void {
    const winner = this.#found?.link;
    if (!this.over) this.#stop.abort(new Error('the search for the leader was called off'));
    this.onWon = this.onAsk = undefined;
    clearInterval(this.#asking);
    this.#cancelHeadStart?.();
    this.#cancelPause?.();
    for (const lane of this.#lanes) this.#clear(lane);
    if (!keepWinner) winner?.destroy();
    this.#endRound()?.reject(toError(this.#stop.signal.reason));
  }

  /** It neither has a connection nor waits for one. */
  #clear(lane: Lane): void {
    lane.cancelCheck?.();
    lane.cancelCheck = undefined;
    lane.redial?.();
    lane.redial = undefined;
    lane.link?.destroy();
    lane.link = undefined;
  }

  #askOn(link: Link, instant: number): void {
    this.#askedAt.set(instant, this.#options.clock.now());
    // Answers that are half a minute late are not waited for.
    if (this.#askedAt.size > 600) this.#askedAt.delete(this.#askedAt.keys().next().value as number);
    link.ask(this.#options.clusterId, this.#options.connectionId, instant);
  }

  #dialNext(): void {
    this.#cancelHeadStart?.();
    this.#cancelHeadStart = undefined;
    const lane = this.#waiting.shift();
    if (!lane || this.over) return;
    void this.#dial(lane);
    this.#giveHeadStart();
  }

  #giveHeadStart(): void {
    if (this.#waiting.length === 0) return;
    const { clock, idle = () => clock.now() } = this.#options;
    const latest = clock.now() + BUSY_HEAD_START;
    const end = idle() + HEAD_START;
    const wait = (duration: number): void => {
      this.#cancelHeadStart = clock.after(duration, () => {
        const left = Math.min(end - idle(), latest - clock.now());
        // Timers have whole milliseconds.
        if (left >= 1) wait(left);
        else this.#dialNext();
      });
    };
    wait(HEAD_START);
  }

  async #dial(lane: Lane): Promise<void> {
    lane.dialling = true;
    try {
      const awaits = (what: string): void => void (lane.awaits = what);
      const link = await this.#options.dial(lane.address, this.#stop.signal, awaits);
      lane.dialling = false;
      if (this.over || this.#found) {
        link.destroy();
        return;
      }
      lane.link = link;
      lane.failed = 0;
      lane.failure = undefined;
      lane.provedAt = this.#options.clock.now();
      lane.cancelCheck?.();
      lane.cancelCheck = undefined;
      link.onAnswer = (answer) => this.#answered(lane, answer);
      link.onDeath = (error) => {
        lane.link = undefined;
        this.#lost(lane, error);
      };
      this.#instant += 1;
      this.onAsk?.();
      this.#askOn(link, this.#instant);
      if (this.#options.idle !== undefined) {
        this.#cancelHeadStart?.();
        this.#giveHeadStart();
      }
    } catch (error) {
      lane.dialling = false;
      this.#lost(lane, toError(error));
    }
  }

  /** A dial or a connection has failed. */
  #lost(lane: Lane, error: Error): void {
    if (this.over || this.#found) return;
    lane.failure = error;
    lane.failed += 1;
    this.#options.onFailed?.(lane.address);
    // A refused lane gives its head start to the next one.
    if (this.#waiting.length > 0) this.#dialNext();
    const others = this.#lanes.some((other) => other !== lane && (other.link || other.dialling));
    if (others && !(error instanceof AuthorizationError) && !(error instanceof PermissionError)) {
      // Somebody else is being waited for, so the round goes on; this server may be back before it ends.
      lane.redial = this.#options.clock.after(retryDelay(lane.failed, this.#options.redial), () => {
        lane.redial = undefined;
        if (!this.over && !this.#found) void this.#dial(lane);
      });
    }
    this.#failIfExhausted();
  }

  #answered(lane: Lane, answer: Answer): void {
    const link = lane.link;
    if (!link || this.over || this.#found) return;
    const now = this.#options.clock.now();
    const found: Found = {
      link,
      instant: answer.instant,
      registered: answer.registered,
      roundTrip: now - (this.#askedAt.get(answer.instant) ?? now),
    };
    this.#found = found;
    link.onAnswer = undefined;
    // It may be a while before anybody makes use of it.
    link.onDeath = () => this.#winnerDied(lane);
    clearInterval(this.#asking);
    this.#asking = undefined;
    this.#cancelHeadStart?.();
    this.#cancelPause?.();
    this.#waiting = [];
    lane.link = undefined;
    for (const other of this.#lanes) this.#clear(other);
    this.#endRound()?.resolve(found);
    this.onWon?.(found);
  }

  #winnerDied(lane: Lane): void {
    this.#found = undefined;
    if (this.over) return;
    this.#options.onFailed?.(lane.address);
    this.#nextRound(1);
  }

  #failIfExhausted(): void {
    if (this.#waiting.length === 0 && !this.#lanes.some((lane) => lane.link || lane.dialling)) this.#fail();
  }

  #fail(): void {
    const round = this.#endRound();
    if (!round) return;
    // Without anybody to wait for, a redial is the next round's business.
    if (!this.#lanes.some((lane) => lane.link || lane.dialling)) {
      for (const lane of this.#lanes) this.#clear(lane);
    }
    round.reject(this.#describe());
  }

  #endRound(): { resolve: (found: Found) => void; reject: (error: Error) => void } | undefined {
    const round = this.#round;
    round?.cancel();
    this.#round = undefined;
    return round;
  }

  #describe(): Error {
    const { clusterId, connectTimeout } = this.#options;
    const failures: ServerFailure[] = [];
    const connected: string[] = [];
    for (const lane of this.#lanes) {
      const { address, link, failure } = lane;
      if (link) connected.push(address.url);
      const error =
        failure ??
        (link
          ? new Error(`connected, but no leader of cluster '${clusterId}' answered`)
          : new Unreached(lane.awaits ?? noGreeting(connectTimeout)));
      failures.push({ server: address.url, reason: error.message, error });
    }
    const others = failures.filter(({ server }) => !connected.includes(server));
    const list = others.map(({ server, reason }) => `${server} (${reason})`).join('; ');
    if (connected.length > 0) {
      const rest = list === '' ? '' : `; not reached: ${list}`;
      return new ConnectError(
        `connected to ${connected.join(', ')}, but no leader of cluster '${clusterId}' answered within ` +
          `${connectTimeout} ms: is the cluster ID right?${rest}`,
        failures,
      );
    }
    const refused = failures.find(({ error }) => error instanceof AuthorizationError)?.error;
    if (refused instanceof AuthorizationError) {
      return new AuthorizationError(
        refused.server,
        `the credentials were refused: ${list}. Check user, pass, token, nkey or userCreds`,
        { cause: refused },
      );
    }
    const forbidden = failures.find(({ error }) => error instanceof PermissionError)?.error;
    if (forbidden instanceof PermissionError) {
      return new PermissionError(
        forbidden.subject,
        `the permissions of this user are not enough to look for the leader: ${list}`,
        { cause: forbidden },
      );
    }
    // Who was reached runs, and has the right URL.
    const unreached = failures.filter(({ error }) => error instanceof Unreached).length;
    const verb = unreached === failures.length ? 'reached' : 'used';
    const question = unreached > 0 ? '. Is one of them running, and is the URL right?' : '';
    return new ConnectError(`no server could be ${verb}: ${list}${question}`, failures);
  }
}
