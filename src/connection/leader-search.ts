/**
 * Searches for the leader on all servers of the list at once. It opens one connection after the other, with a head start
 * between them. Each accepted connection asks until somebody answers, which only a leader does. The first answer ends the
 * search.
 *
 * It asks with pings, which register nothing and can be repeated. A connect request without a leader is lost, and the wait for
 * its timeout would be most of an outage.
 */
import { expectManyListeners } from '../abort-signal.js';
import type { Clock } from '../clock/clock.js';
import { patience } from '../clock/patience.js';
import {
  AuthorizationError,
  ConnectError,
  failureText,
  PermissionError,
  toError,
  type PlainServer,
  type ServerFailure,
} from '../errors.js';
import type { ResolvedRetryOptions } from '../retry-options.js';
import { retryDelay } from '../backoff.js';
import { noGreeting, type Answer, type Link } from './link.js';
import type { ServerAddress } from './servers.js';
import { Unreached } from './stream.js';

/** Head start of a server before the next one is dialled, in ms (RFC 8305 takes 250 for addresses). */
export const HEAD_START = 100;
/**
 * Longest head start at a first connect, in ms. Time in which our own event loop was busy does not count against a server up to
 * then.
 */
export const BUSY_HEAD_START = 1000;
/** Time between two questions for the leader on an accepted connection, in ms. */
export const ASK_EVERY = 50;
/**
 * Time without a leader after which a plain NATS server is asked whether a streaming server is connected to it, in ms. Each
 * round asks again, so that one that is just being replaced is not taken for none.
 */
export const PLAIN_AFTER = 500;
/** Time between two NATS PINGs that check an accepted connection, in ms. */
const PROVE_EVERY = 1000;

/** The result of a search. */
export interface Found {
  link: Link;
  /** The number of the question that was answered first. */
  instant: number;
  /** Whether the leader knows the connection ID of the question, so that the registration is still ours. */
  registered: boolean;
  /** The round trip of the answered question, in ms. */
  roundTrip: number;
}

export interface LeaderSearchOptions {
  /** Returns the servers in the order of dialling. It is called at the beginning of each round. */
  servers: () => readonly ServerAddress[];
  clusterId: string;
  /** The connection ID of the session that was lost, or one that nobody has. */
  connectionId: Uint8Array;
  /** Longest wait of one round for a leader, in ms. */
  connectTimeout: number;
  /** The delays before a server is dialled again while others are connected. */
  redial: ResolvedRetryOptions;
  /**
   * Dials a server.
   * @param awaits is told what has not come yet, for the error if the dial takes too long
   */
  dial: (address: ServerAddress, signal: AbortSignal, awaits: (what: string) => void) => Promise<Link>;
  /**
   * Returns the time in which our own event loop waited, in ms. It is set if no session was lost yet. Then a head start counts
   * only that time, and a server that accepts us gets another one for the leader's answer. A process that makes hundreds of
   * clients at once is slow itself and must not dial every server for each of them. After a loss it is undefined, and all time
   * counts.
   */
  idle?: (() => number) | undefined;
  /**
   * Asks a server that looks like a plain NATS server whether no streaming server of the cluster is connected to it. Undefined
   * if it is known that there is one.
   */
  standsAlone?: ((address: ServerAddress, signal: AbortSignal) => Promise<boolean>) | undefined;
  /** Is told that a server failed. */
  onFailed?: (address: ServerAddress) => void;
  clock: Clock;
}

/** One server in the search. */
interface Lane {
  readonly address: ServerAddress;
  link?: Link | undefined;
  dialling: boolean;
  /** What its dial has not received yet, as a text for the error. */
  awaits?: string;
  failure?: Error | undefined;
  /** The number of failed dials in a row. */
  failed: number;
  /** Cancels the next dial. */
  redial?: (() => void) | undefined;
  /** When its connection last proved that it lives, in ms of the clock. */
  provedAt: number;
  /** Cancels the wait for the answer to a NATS PING. */
  cancelCheck?: (() => void) | undefined;
  /** Since when it waits for a leader in this round, in ms of the clock. */
  waitsSince: number;
  /** Whether it was asked in this round if it is a plain NATS server, and what it is then. */
  askedIfPlain?: boolean;
  plain?: PlainServer | undefined;
}

export class LeaderSearch {
  readonly #options: LeaderSearchOptions;
  #lanes: Lane[] = [];
  readonly #stop = new AbortController();
  readonly #askedAt = new Map<number, number>();
  #instant = 0;
  #cancelAsking: (() => void) | undefined;
  #found: Found | undefined;
  /** The lanes that wait for a head start to end. */
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
  /** Whether rounds follow each other by themselves. */
  #keepsOn = false;
  #cancelPause: (() => void) | undefined;
  /** Is called when the leader is found, in a round or between two rounds. */
  onWon: (() => void) | undefined;
  /**
   * Is called with each question. Other questions that are asked at the same moment are answered at the same moment if their
   * path lives.
   */
  onAsk: (() => void) | undefined;

  constructor(options: LeaderSearchOptions) {
    this.#options = options;
    // Each dial listens to the signal.
    expectManyListeners(this.#stop.signal);
  }

  /** Whether the search was cancelled. */
  get over(): boolean {
    return this.#stop.signal.aborted;
  }

  /** The connection to the leader, while it lives. */
  get found(): Found | undefined {
    return this.#found;
  }

  /**
   * Runs one round: dials the servers that are not connected, and waits for a leader. If the round fails, the connections stay
   * and go on asking.
   * @throws ConnectError with every server and its reason; AuthorizationError or PermissionError if that is the reason
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
    for (const lane of this.#lanes) this.#waits(lane);
    this.#waiting = this.#lanes.filter((lane) => !lane.link && !lane.dialling && !lane.redial);
    this.#startAsking();
    this.#dialNext();
    this.#failIfExhausted();
    return promise;
  }

  /** Returns one lane for each server of the list. Lanes that are connected or about to be stay in any case. */
  #lanesInOrder(): Lane[] {
    const known = new Map(this.#lanes.map((lane) => [lane.address.url, lane]));
    const lanes = this.#options.servers().map((address): Lane => {
      const lane = known.get(address.url) ?? { address, dialling: false, failed: 0, provedAt: 0, waitsSince: 0 };
      known.delete(address.url);
      return lane;
    });
    return [...lanes, ...[...known.values()].filter((lane) => lane.link ?? (lane.dialling || lane.redial))];
  }

  /** Runs one round after the other until the leader is found, the search is cancelled, or {@link round} is called. */
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
    if (this.#cancelAsking) return;
    const ask = (): void => {
      this.#cancelAsking = this.#options.clock.after(ASK_EVERY, ask);
      this.#ask();
    };
    ask();
  }

  /** Asks for the leader on every accepted connection. */
  #ask(): void {
    this.#instant += 1;
    this.onAsk?.();
    for (const lane of this.#lanes) {
      if (!lane.link) continue;
      this.#askOn(lane.link, this.#instant);
      this.#prove(lane, lane.link);
      this.#askIfPlain(lane, lane.link);
    }
  }

  /** Notes that a lane begins to wait for a leader. */
  #waits(lane: Lane): void {
    lane.waitsSince = this.#options.clock.now();
    lane.askedIfPlain = false;
    lane.plain = undefined;
  }

  /** Finds out whether a leader can be behind a server at all. If none can be behind any, the round has failed. */
  #askIfPlain(lane: Lane, { plain }: Link): void {
    const { standsAlone, clock } = this.#options;
    if (plain === undefined || standsAlone === undefined || lane.askedIfPlain) return;
    if (this.#round === undefined || clock.now() - lane.waitsSince < PLAIN_AFTER) return;
    lane.askedIfPlain = true;
    const round = this.#round;
    standsAlone(lane.address, this.#stop.signal).then(
      (alone) => {
        if (!alone || this.#round !== round || !lane.link) return;
        lane.plain = plain;
        this.#failIfExhausted();
      },
      // Who cannot be asked may be anything.
      () => undefined,
    );
  }

  /**
   * Checks a connection, which may have become deaf. It is closed if it does not answer, because others may wait for it without
   * end.
   */
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

  /**
   * Notes that nobody has taken the leader's connection for so long, in ms. Nothing has checked it meanwhile, and it may have become
   * deaf. So the next round looks for the leader again.
   */
  wasIdle(duration: number): void {
    const found = this.#found;
    if (found === undefined || duration <= PROVE_EVERY) return;
    this.#found = undefined;
    found.link.onDeath = undefined;
    found.link.destroy();
  }

  /** Ends the search and closes all connections, except for that to the leader if it is to be kept. */
  cancel(keepWinner = false): void {
    const winner = this.#found?.link;
    if (!this.over) this.#stop.abort(new Error('the search for the leader was called off'));
    this.onWon = this.onAsk = undefined;
    this.#cancelAsking?.();
    this.#cancelHeadStart?.();
    this.#cancelPause?.();
    for (const lane of this.#lanes) this.#clear(lane);
    if (!keepWinner) winner?.destroy();
    this.#endRound()?.reject(toError(this.#stop.signal.reason));
  }

  /** Closes the connection of a lane and cancels its dial. */
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
    // Answers that are half a minute late do not count.
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
      this.#waits(lane);
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

  /** Notes that a dial failed or a connection ended. */
  #lost(lane: Lane, error: Error): void {
    if (this.over || this.#found) return;
    lane.failure = error;
    lane.failed += 1;
    this.#options.onFailed?.(lane.address);
    // A failed lane gives the rest of its head start to the next one.
    if (this.#waiting.length > 0) this.#dialNext();
    const others = this.#lanes.some((other) => other !== lane && (other.link || other.dialling));
    if (others && !(error instanceof AuthorizationError) && !(error instanceof PermissionError)) {
      // Other servers may still answer, so the round goes on, and this server may be back before it ends.
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
    // Some time may pass until the connection is used.
    link.onDeath = () => this.#winnerDied(lane);
    this.#cancelAsking?.();
    this.#cancelAsking = undefined;
    this.#cancelHeadStart?.();
    this.#cancelPause?.();
    this.#waiting = [];
    lane.link = undefined;
    for (const other of this.#lanes) this.#clear(other);
    this.#endRound()?.resolve(found);
    this.onWon?.();
  }

  #winnerDied(lane: Lane): void {
    this.#found = undefined;
    if (this.over) return;
    this.#options.onFailed?.(lane.address);
    this.#nextRound(1);
  }

  #failIfExhausted(): void {
    const hopeful = ({ link, dialling, plain }: Lane): boolean => dialling || (link !== undefined && !plain);
    if (this.#waiting.length === 0 && !this.#lanes.some(hopeful)) this.#fail();
  }

  #fail(): void {
    const round = this.#endRound();
    if (!round) return;
    // Without other connections, the next round dials the server again.
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
      const { address, link, failure, plain } = lane;
      if (link && !plain) connected.push(address.url);
      const error =
        failure ??
        (plain
          ? new Error(plainText(plain))
          : link
            ? new Error(`connected, but no leader of cluster '${clusterId}' answered`)
            : new Unreached(lane.awaits ?? noGreeting(connectTimeout)));
      const reached = link !== undefined;
      failures.push({ server: address.url, reason: error.message, error, reached, ...(plain && { plain }) });
    }
    const others = failures.filter(({ server }) => !connected.includes(server));
    const list = others.map(failureText).join('; ');
    if (connected.length > 0) {
      const rest = list === '' ? '' : `; the others: ${list}`;
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
    if (failures.some(({ plain }) => plain)) {
      const question = 'are the URL and the cluster ID right?';
      return new ConnectError(
        `no NATS Streaming server with cluster ID '${clusterId}' is there (${question}): ${list}`,
        failures,
      );
    }
    // A server that was reached is running and has the right URL.
    const unreached = failures.filter(({ error }) => error instanceof Unreached).length;
    const verb = unreached === failures.length ? 'reached' : 'used';
    const question = unreached > 0 ? ' (is one of them running, and is the URL right?)' : '';
    return new ConnectError(`no server could be ${verb}${question}: ${list}`, failures);
  }
}

/** What is said of a plain NATS server. */
function plainText({ version, jetStream }: PlainServer): string {
  if (!jetStream) return `a plain NATS server, version ${version}`;
  return `a plain NATS server, version ${version}, with JetStream, which is another protocol and needs the client of NATS`;
}
