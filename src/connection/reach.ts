/**
 * *Reach*: a race over the server list for the leader. Connections are opened a head start apart; each that is accepted
 * keeps asking until somebody answers, which only a leader does. The first answer ends the race.
 *
 * A connect request sent while there is no leader vanishes, and waiting for its timeout used to be most of every
 * outage; a ping registers nothing and may be asked again and again.
 */
import { expectManyListeners } from '../abort-signal.js';
import { AuthorizationError, ConnectError, PermissionError, toError, type ServerFailure } from '../errors.js';
import type { ResolvedRetryOptions } from '../options.js';
import { retryDelay } from './backoff.js';
import { noGreeting, type Answer, type Link } from './link.js';
import type { ServerAddress } from './servers.js';

/** How long a server may take before the next one of the list is dialled beside it, in ms (RFC 8305 takes 250 for addresses). */
export const HEAD_START = 100;
/** How often an accepted connection asks for the leader, in ms. */
export const ASK_EVERY = 50;

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

export interface ReachOptions {
  /** In the order in which they are dialled. */
  servers: readonly ServerAddress[];
  clusterId: string;
  /** The connection ID of the session that died, or one that nobody has. */
  connectionId: Uint8Array;
  /** How long one round waits for a leader, in ms. */
  connectTimeout: number;
  /** The pace at which one server is dialled again while others are connected. */
  redial: ResolvedRetryOptions;
  dial: (address: ServerAddress, signal: AbortSignal) => Promise<Link>;
  /** A server accepted us and can be asked now. */
  onAccepted?: () => void;
  now: () => number;
}

class Latch {
  open!: () => void;
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });
}

/** One server in the race. */
interface Lane {
  readonly address: ServerAddress;
  link?: Link | undefined;
  dialling: boolean;
  failure?: Error | undefined;
  /** Dials that failed in a row. */
  failed: number;
  redial?: NodeJS.Timeout | undefined;
}

export class Reach {
  readonly #options: ReachOptions;
  readonly #lanes: Lane[];
  readonly #stop = new AbortController();
  readonly #askedAt = new Map<number, number>();
  #instant = 0;
  #asking: NodeJS.Timeout | undefined;
  #found: Found | undefined;
  /** Lanes that wait for their head start. */
  #waiting: Lane[] = [];
  #headStart: NodeJS.Timeout | undefined;
  #round:
    | {
        promise: Promise<Found>;
        resolve: (found: Found) => void;
        reject: (error: Error) => void;
        timer: NodeJS.Timeout;
      }
    | undefined;
  #victory = new Latch();
  #alone = false;

  constructor(options: ReachOptions) {
    this.#options = options;
    // Each dial listens to it.
    expectManyListeners(this.#stop.signal);
    this.#lanes = options.servers.map((address) => ({ address, dialling: false, failed: 0 }));
  }

  /** Cancelled. */
  get over(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Asks by itself: whoever began the race has handed it over. */
  get alone(): boolean {
    return this.#alone;
  }

  /** The winner, while it lives. */
  get found(): Found | undefined {
    if (this.#found && !this.#found.link.alive) {
      this.#found = undefined;
      this.#victory = new Latch();
    }
    return this.#found;
  }

  /** Resolves when the race has been won, in a round or between two; never rejects. */
  won(): Promise<void> {
    return this.#victory.opened;
  }

  /**
   * One round: dials what is not connected, and waits for a leader. What is connected when the round fails stays and
   * goes on asking.
   * @throws ConnectError with every server and its reason; AuthorizationError or PermissionError when that is why
   */
  round(): Promise<Found> {
    const found = this.found;
    if (found) return Promise.resolve(found);
    if (this.over) return Promise.reject(toError(this.#stop.signal.reason));
    if (this.#round) return this.#round.promise;
    let resolve!: (found: Found) => void;
    let reject!: (error: Error) => void;
    const promise = new Promise<Found>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    const timer = setTimeout(() => this.#fail(), this.#options.connectTimeout);
    this.#round = { promise, resolve, reject, timer };
    this.#waiting = this.#lanes.filter((lane) => !lane.link && !lane.dialling && !lane.redial);
    this.#dialNext();
    this.#failIfExhausted();
    return promise;
  }

  /** Asks by itself from now on, every {@link ASK_EVERY} ms. Otherwise {@link ask} is called from outside. */
  askAlone(): void {
    this.#alone = true;
    if (this.#asking || this.over || this.found) return;
    const askAll = (): void => this.ask(this.#instant + 1);
    this.#asking = setInterval(askAll, ASK_EVERY);
    askAll();
  }

  /** Asks for the leader on every accepted connection. */
  ask(instant: number): void {
    if (this.found || this.over) return;
    this.#instant = instant;
    for (const lane of this.#lanes) if (lane.link) this.#askOn(lane.link, instant);
  }

  /** Ends the race and closes everything, but for the winner if it is to be kept. */
  cancel(keepWinner = false): void {
    const winner = this.found?.link;
    if (!this.over) this.#stop.abort(new Error('the search for the leader was called off'));
    clearInterval(this.#asking);
    clearTimeout(this.#headStart);
    for (const lane of this.#lanes) {
      clearTimeout(lane.redial);
      lane.redial = undefined;
      if (lane.link && !(keepWinner && lane.link === winner)) lane.link.destroy();
      lane.link = undefined;
    }
    if (!keepWinner) winner?.destroy();
    this.#endRound()?.reject(toError(this.#stop.signal.reason));
  }

  #askOn(link: Link, instant: number): void {
    this.#askedAt.set(instant, this.#options.now());
    // Answers that are half a minute late are not waited for.
    if (this.#askedAt.size > 600) this.#askedAt.delete(this.#askedAt.keys().next().value as number);
    link.ask(this.#options.clusterId, this.#options.connectionId, instant);
  }

  #dialNext(): void {
    clearTimeout(this.#headStart);
    this.#headStart = undefined;
    const lane = this.#waiting.shift();
    if (!lane || this.over) return;
    void this.#dial(lane);
    if (this.#waiting.length > 0) this.#headStart = setTimeout(() => this.#dialNext(), HEAD_START);
  }

  async #dial(lane: Lane): Promise<void> {
    lane.dialling = true;
    try {
      const link = await this.#options.dial(lane.address, this.#stop.signal);
      lane.dialling = false;
      if (this.over || this.found) {
        link.destroy();
        return;
      }
      lane.link = link;
      lane.failed = 0;
      lane.failure = undefined;
      link.onAnswer = (answer) => this.#answered(lane, answer);
      link.onDeath = (error) => {
        lane.link = undefined;
        this.#failed(lane, error);
      };
      if (this.#asking) this.#askOn(link, this.#instant);
      this.#options.onAccepted?.();
    } catch (error) {
      lane.dialling = false;
      this.#failed(lane, toError(error));
    }
  }

  #failed(lane: Lane, error: Error): void {
    if (this.over || this.found) return;
    lane.failure = error;
    lane.failed += 1;
    // A refused lane gives its head start to the next one.
    if (this.#waiting.length > 0) this.#dialNext();
    const others = this.#lanes.some((other) => other !== lane && (other.link || other.dialling));
    if (others && !(error instanceof AuthorizationError) && !(error instanceof PermissionError)) {
      // Somebody else is being waited for, so the round goes on; this server may be back before it ends.
      lane.redial = setTimeout(
        () => {
          lane.redial = undefined;
          if (!this.over && !this.found) void this.#dial(lane);
        },
        retryDelay(lane.failed, this.#options.redial),
      );
    }
    this.#failIfExhausted();
  }

  #answered(lane: Lane, answer: Answer): void {
    const link = lane.link;
    if (!link || this.over || this.found) return;
    const now = this.#options.now();
    this.#found = {
      link,
      instant: answer.instant,
      registered: answer.registered,
      roundTrip: now - (this.#askedAt.get(answer.instant) ?? now),
    };
    link.onAnswer = undefined;
    link.onDeath = undefined;
    clearInterval(this.#asking);
    this.#asking = undefined;
    clearTimeout(this.#headStart);
    this.#waiting = [];
    for (const other of this.#lanes) {
      clearTimeout(other.redial);
      other.redial = undefined;
      if (other !== lane) other.link?.destroy();
      other.link = undefined;
    }
    this.#endRound()?.resolve(this.#found);
    this.#victory.open();
  }

  #failIfExhausted(): void {
    if (this.#waiting.length === 0 && !this.#lanes.some((lane) => lane.link || lane.dialling)) this.#fail();
  }

  #fail(): void {
    const round = this.#endRound();
    if (!round) return;
    // Without anybody to wait for, a redial is the next round's business.
    if (!this.#lanes.some((lane) => lane.link || lane.dialling)) {
      for (const lane of this.#lanes) {
        clearTimeout(lane.redial);
        lane.redial = undefined;
      }
    }
    round.reject(this.#describe());
  }

  #endRound(): { resolve: (found: Found) => void; reject: (error: Error) => void } | undefined {
    const round = this.#round;
    if (round) clearTimeout(round.timer);
    this.#round = undefined;
    return round;
  }

  #describe(): Error {
    const { clusterId, connectTimeout } = this.#options;
    const failures: ServerFailure[] = [];
    const connected: string[] = [];
    for (const { address, link, failure } of this.#lanes) {
      if (link) connected.push(address.url);
      const error =
        failure ??
        (link
          ? new Error(`connected, but no leader of cluster '${clusterId}' answered`)
          : new Error(noGreeting(connectTimeout)));
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
    return new ConnectError(
      `no server could be reached: ${list}. Is one of them running, and is the URL right?`,
      failures,
    );
  }
}
