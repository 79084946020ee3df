/**
 * The one owner of the connection, and its one loop: reach the cluster, register, bring the session up to date, wait
 * for its end, again. Whatever ends a session, there is one way to the next, so it is exercised at every loss. (What goes on
 * with a session that was only suspected is decided in `watch.ts`.)
 */
import { randomBytes } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { patience, type AwakeClock } from '../awake-clock.js';
import {
  AuthorizationError,
  ClientIdConflictError,
  ClosedError,
  PermissionError,
  describe,
  toError,
  type ConnectionLostError,
} from '../errors.js';
import { dialCredentials, dialTls, natsAuth } from './auth.js';
import { retryDelay } from './backoff.js';
import { Claims } from './claims.js';
import type { DialCredentials } from './credentials.js';
import { Link, noGreeting } from './link.js';
import type { InHand, Session } from './protocol.js';
import { PROVE_EVERY, Reach } from './reach.js';
import { register, type Registration } from './registration.js';
import type { ResolvedRetryOptions } from './retry-options.js';
import { Fatal, retry, type Spent } from './retry.js';
import { MOST_ANNOUNCED, ServerList } from './server-list.js';
import { announcedServers, shuffle, type ServerAddress } from './servers.js';
import { StanSession, type Loss } from './session.js';
import { Line } from './throughput.js';
import type { ConnectionSettings } from './settings.js';
import { StateMachine, type ConnectionState } from './states.js';
import { longestOf, Suspects } from './suspects.js';
import type { Workload } from './watch.js';

/** What is carried from session to session. */
export interface Cargo extends Workload {
  /**
   * Makes all subscriptions on it; rejects only when the session has ended.
   * @param careful one at a time
   */
  bringUp(session: Session, careful: boolean): Promise<void>;
  /**
   * It is up: publishes may flow.
   * @param careful one at a time
   */
  up(session: Session, careful: boolean): void;
  /** No longer one at a time. */
  relax(): void;
  /** The server has no room for subscriptions that can be done without. */
  crowded(): void;
  /** The publishes that the session has not answered. Called when it has ended, before {@link down}. */
  inHand(): InHand[];
  /** It is gone. */
  down(): void;
}

/** A session that lives for so long, in ms, has lasted: it was no part of the trouble before. */
const LASTING = 2000;

export interface SupervisorEvents {
  state(from: ConnectionState, to: ConnectionState): void;
  /** The first connect is tried again. */
  connecting(attempt: number, delay: number, error: Error): void;
  connected(server: string, attempt: number): void;
  /** The loss, once. The answer is obeyed. */
  lost(error: ConnectionLostError): Promise<'reconnect' | 'close'>;
  reconnecting(attempt: number, delay: number, error: Error): void;
  reconnected(server: string, downtime: number, attempts: number): void;
  conflict(error: ClientIdConflictError): void;
  permission(error: PermissionError): void;
  /** Needs a person. */
  error(error: Error): void;
  /** It will not come back: the retries are used up, or must not be made. */
  gaveUp(error: Error): void;
}

export class Supervisor {
  readonly #options: ConnectionSettings;
  readonly #cargo: Cargo;
  readonly #events: SupervisorEvents;
  readonly #states: StateMachine;
  readonly #stop = new AbortController();
  readonly #clock: AwakeClock;
  readonly #claims = new Claims();
  readonly #suspects = new Suspects();
  readonly #line = new Line();
  readonly #servers: ServerList;
  #session: StanSession | undefined;
  /** It is being closed. */
  #leaving: StanSession | undefined;
  #sessions = 0;
  /** Since the last session that lasted. */
  #spent: Spent;
  /** A person was called in this outage. */
  #complained = false;
  /** The session before has not lasted. */
  #young = false;
  /** One thing at a time: what is in hand when the session ends is known to be the reason. */
  #careful = false;

  constructor(options: ConnectionSettings, cargo: Cargo, events: SupervisorEvents, clock: AwakeClock) {
    this.#options = options;
    this.#cargo = cargo;
    this.#events = events;
    this.#clock = clock;
    this.#states = new StateMachine((from, to) => events.state(from, to));
    this.#servers = new ServerList(options.randomize ? shuffle(options.servers) : options.servers);
    this.#spent = this.#nothingSpent();
  }

  get state(): ConnectionState {
    return this.#states.state;
  }

  /** The live session, up or being brought up to date. */
  get session(): StanSession | undefined {
    return this.#session?.alive ? this.#session : undefined;
  }

  /** The first connect. @throws what made the last attempt fail */
  async connect(): Promise<void> {
    let attempts = 1;
    const session = await this.#establish(
      this.#options.initialConnect,
      (attempt, delay, error) => {
        attempts = attempt + 1;
        this.#events.connecting(attempts, delay, error);
      },
      true,
    );
    this.#isUp(session);
    this.#events.connected(session.server, attempts);
    void this.#run(session);
  }

  /** No loss counts from now on, but what is lost while the client drains is still reconnected. */
  closing(): void {
    this.#states.to('closing');
  }

  /**
   * Ends everything at once; a live session is first closed in order.
   * @param timeout ms for the server's answer
   */
  async close(timeout: number): Promise<void> {
    this.#stop.abort(new ClosedError());
    const session = this.#session;
    this.#session = undefined;
    this.#leaving = session;
    if (session?.alive && timeout > 0) await session.close(timeout).catch(() => {});
    else session?.destroy();
    this.#leaving = undefined;
    this.#states.to('closed');
  }

  /** A `close` that is under way takes no longer than this, in ms, from now on. */
  hurry(timeout: number): void {
    this.#leaving?.hurry(timeout);
  }

  async #run(first: StanSession): Promise<void> {
    let session = first;
    for (;;) {
      const upAt = this.#clock.now();
      const { server } = session;
      const cancel = this.#clock.after(LASTING, () => this.#lasts(server), { unref: true });
      const loss = await session.lost;
      cancel();
      if (this.#stop.signal.aborted) {
        loss.successor?.cancel();
        return;
      }
      try {
        session = await this.#recover(loss, this.#clock.now() - upAt >= LASTING);
      } catch (error) {
        if (!this.#stop.signal.aborted) this.#events.gaveUp(toError(error));
        return;
      }
    }
  }

  async #recover(loss: Loss, lasted: boolean): Promise<StanSession> {
    const lostAt = performance.now();
    this.#ended(loss, lasted ? 'lasted' : 'young');
    if (this.state === 'connected') this.#states.to('reconnecting');
    let attempts = 1;
    let session: StanSession;
    try {
      const askedAt = this.#clock.now();
      const answer = await this.#events.lost(loss.error);
      this.#stop.signal.throwIfAborted();
      const took = this.#clock.now() - askedAt;
      // The time of the user's own handler is none in which we tried.
      this.#spent.since += took;
      if (took > PROVE_EVERY) {
        // What has not been heard of for so long may be deaf.
        loss.successor?.cancel();
        loss.successor = undefined;
      }
      const { reconnect } = this.#options;
      if (answer === 'close' || reconnect === false) throw loss.error;
      if (this.#isSpent(reconnect)) throw loss.error;
      const delay = this.#spent.young > 0 ? retryDelay(this.#spent.young, reconnect) : 0;
      this.#events.reconnecting(1, Math.round(delay), loss.error);
      session = await this.#establish(
        reconnect,
        (attempt, delay, error) => {
          attempts = attempt + 1;
          this.#events.reconnecting(attempts, delay, error);
        },
        false,
        loss,
        delay,
      );
    } catch (error) {
      loss.successor?.cancel();
      throw error;
    }
    this.#isUp(session);
    this.#events.reconnected(session.server, performance.now() - lostAt, attempts);
    return session;
  }

  /** The session has lasted: whatever was wrong before is over. */
  #lasts(server: string): void {
    this.#servers.served(server);
    this.#suspects.acquit();
    if (!this.#careful) return;
    this.#careful = false;
    this.#cargo.relax();
  }

  #nothingSpent(): Spent {
    return { failures: 0, young: 0, since: this.#clock.now() };
  }

  #isSpent({ retries, maxRetryTime }: ResolvedRetryOptions): boolean {
    const { failures, since } = this.#spent;
    return failures > retries || this.#clock.now() - since >= maxRetryTime;
  }

  /** A session has ended, up or not: who is to blame, and what does it count? */
  #ended(loss: Loss, life: 'lasted' | 'young' | 'never up'): void {
    this.#session = undefined;
    this.#servers.failed(loss.error.server);
    const settled = this.#blame(loss) || loss.settled;
    this.#cargo.down();
    if (loss.error.cause instanceof PermissionError) this.#events.permission(loss.error.cause);
    // The backoff is reset by a session that lasted, not by one that began. But one alone says nothing: a node was killed
    // soon after we came to it.
    if (life === 'lasted' || (life === 'young' && !this.#young)) {
      this.#spent = this.#nothingSpent();
      this.#young = life === 'young';
    } else if (!settled) {
      this.#spent.young += 1;
      // One that was never up is a failed attempt, and counted as such.
      if (life === 'young') this.#spent.failures += 1;
    }
  }

  /** @returns whether something was given up for good, so that it does not end the next session as well */
  #blame({ complaint, requests }: Loss): boolean {
    if (complaint === undefined) return false;
    const { kind } = complaint.complaint;
    if (kind !== 'unknown' && kind !== 'control-line' && kind !== 'payload') return false;
    const inHand = [...requests, ...this.#cargo.inHand()];
    let culprit: InHand | undefined;
    if (kind === 'control-line') culprit = longestOf(inHand);
    else if (this.#careful) culprit = this.#suspects.accuse(inHand, this.#clock.now());
    // Known by its words, or in hand alone; otherwise the next session takes one thing at a time.
    if (culprit === undefined && inHand.length > 0) this.#careful = true;
    culprit?.giveUp(complaint);
    return culprit !== undefined;
  }

  /** Needs a person, and one call in an outage is enough. */
  #complain(error: Error): void {
    if (this.#complained) return;
    this.#complained = true;
    this.#events.error(error);
  }

  #isUp(session: StanSession): void {
    this.#complained = false;
    if (this.state !== 'closing') this.#states.to('connected');
    if (session.alive) this.#cargo.up(session, this.#careful);
  }

  /** Reach, take over, register, make the subscriptions: until it is up, or the retries are used up. */
  async #establish(
    options: ResolvedRetryOptions,
    onWait: (attempt: number, delay: number, error: Error) => void,
    first: boolean,
    loss?: Loss,
    firstDelay = 0,
  ): Promise<StanSession> {
    const { signal } = this.#stop;
    let previous = loss?.registration;
    let reach = loss?.successor;
    let session: StanSession | undefined;
    const hopeless = (error: unknown): never => {
      // Wrong credentials do not get better by trying; once they were right, they may be again.
      if (first && (error instanceof AuthorizationError || error instanceof PermissionError)) throw new Fatal(error);
      throw error;
    };
    const cancel = (): void => reach?.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await retry(
        async () => {
          reach ??= this.#reach(previous, () => {}, undefined, first);
          reach.askAlone();
          const found = await reach.round().catch(hopeless);
          reach.cancel(true);
          reach = undefined;
          const { clusterId, clientId, pings, connectTimeout } = this.#options;
          const claims = this.#claims;
          const { stan, continued } = await register(
            found,
            { clusterId, clientId, pings, connectTimeout, previous, claims, clock: this.#clock },
            signal,
          ).catch((error: unknown) => {
            this.#servers.failed(found.link.address.url);
            if (error instanceof ClientIdConflictError) {
              if (this.#options.clientIdConflict === 'close') throw new Fatal(error);
              this.#events.conflict(error);
            }
            return hopeless(error);
          });
          session = new StanSession(found.link, stan, {
            ordinal: ++this.#sessions,
            continued,
            clusterId,
            clientId,
            connectTimeout,
            pings,
            roundTrip: found.roundTrip,
            line: this.#line,
            workload: this.#cargo,
            hedge: (registration, onAccepted) => this.#hedge(registration, onAccepted),
            crowded: () => this.#cargo.crowded(),
            denied: (error) => this.#events.permission(error),
            log: (message) => this.#log(message),
            clock: this.#clock,
          });
          this.#session = session;
          previous = session.registration;
          const lost = await this.#bringUp(session);
          if (lost !== undefined) {
            // It died before it was up: a failed attempt, not a loss.
            this.#ended(lost, 'never up');
            reach = lost.successor;
            throw lost.error;
          }
          return session;
        },
        {
          options,
          signal,
          spent: this.#spent,
          firstDelay,
          now: () => this.#clock.now(),
          onWait: (attempt, delay, error) => {
            if (error instanceof AuthorizationError || error instanceof PermissionError) this.#complain(error);
            this.#log(`attempt ${attempt} failed, next one in ${delay} ms: ${error.message}`);
            onWait(attempt, delay, error);
          },
          onWake: (callback) => {
            const race = reach;
            if (race) race.onWon = callback;
            return () => {
              if (race?.onWon === callback) race.onWon = undefined;
            };
          },
        },
      );
    } catch (error) {
      cancel();
      session?.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  /** @returns its loss, if it has ended before all subscriptions were made */
  async #bringUp(session: StanSession): Promise<Loss | undefined> {
    try {
      // Which of the two is heard of first when it ends does not matter.
      await Promise.race([this.#cargo.bringUp(session, this.#careful), session.lost]);
    } catch (error) {
      if (session.alive) throw error;
    }
    return session.alive ? undefined : await session.lost;
  }

  #reach(
    previous: Registration | undefined,
    onAccepted: () => void,
    servers: () => readonly ServerAddress[] = () => this.#servers.inOrder,
    first = false,
  ): Reach {
    const { clusterId, connectTimeout, initialConnect, reconnect } = this.#options;
    return new Reach({
      servers,
      clusterId,
      // One that nobody has is answered, too, with an error, which is all that is needed to find the leader.
      connectionId: previous?.connectionId ?? Buffer.from(randomBytes(11).toString('hex')),
      connectTimeout,
      redial: reconnect === false ? initialConnect : reconnect,
      dial: (address, signal, awaits) => this.#dial(address, signal, awaits),
      idle: first ? () => performance.eventLoopUtilization().idle : undefined,
      onAccepted,
      onFailed: ({ url }) => this.#servers.failed(url),
      clock: this.#clock,
    });
  }

  /** Through the other servers first, and once more through the attached one. */
  #hedge(registration: Registration, onAccepted: () => void): Reach {
    const attached = this.#session?.server;
    const othersFirst = (): ServerAddress[] => {
      const servers = this.#servers.inOrder;
      return [...servers.filter(({ url }) => url !== attached), ...servers.filter(({ url }) => url === attached)];
    };
    const reach = this.#reach(registration, onAccepted, othersFirst);
    // Not before its maker knows it: it may be won at once.
    queueMicrotask(() => reach.keepOn());
    return reach;
  }

  async #dial(address: ServerAddress, signal: AbortSignal, awaits: (what: string) => void): Promise<Link> {
    const { connectTimeout, name } = this.#options;
    const ask = async <T>(what: string, answer: Promise<T>): Promise<T> => {
      awaits(
        `no ${what} for the dial within ${connectTimeout} ms: the function that is asked for them does not answer`,
      );
      try {
        return await within(this.#clock, connectTimeout, signal, answer);
      } catch (error) {
        throw new Error(`no ${what} for the dial: ${describe(error)}`, { cause: error });
      }
    };
    const credentials: DialCredentials = await ask('credentials', dialCredentials(this.#options, address));
    const tls = await ask(
      'TLS options',
      dialTls(this.#options, (error) => this.#complain(error)),
    );
    const auth = natsAuth({ tls }, address, credentials, (error) => this.#complain(error));
    const identity = { ...auth, name };
    awaits(noGreeting(connectTimeout));
    const link = await Link.dial(address, identity, connectTimeout, signal, this.#clock);
    this.#announced(link, link.announced, ownCa(tls));
    // What comes later comes through the stream as it was verified.
    link.onAnnounced = (announced) => this.#announced(link, announced, link.secure);
    return link;
  }

  /**
   * @param ownNames certificates of these servers may be for their own names: nobody on the way has put them there, or nobody
   *   else could have a certificate that we accept
   */
  #announced({ address, secure }: Link, announced: readonly string[], ownNames: boolean): void {
    if (!this.#options.discover) return;
    // Where this server insists on encryption, the credentials go nowhere without.
    const by = { ...address, tls: address.tls || secure };
    this.#servers.announce(announcedServers(announced, by, { most: MOST_ANNOUNCED, ownNames }), address);
  }

  #log(message: string): void {
    this.#options.logger.debug(message);
  }
}

/** Certificates are accepted from authorities of the user's own only. */
function ownCa(tls: boolean | ConnectionOptions): boolean {
  return typeof tls === 'object' && tls.ca !== undefined;
}

function within<T>(clock: AwakeClock, timeout: number, signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const settle = (): void => {
      cancel();
      signal.removeEventListener('abort', onAbort);
    };
    const end = (error: Error): void => {
      settle();
      reject(error);
    };
    const onAbort = (): void => end(toError(signal.reason));
    const cancel = patience(clock, timeout, () => end(new Error(`no answer within ${timeout} ms`)));
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(
      (value) => {
        settle();
        resolve(value);
      },
      (error: unknown) => end(toError(error)),
    );
  });
}
