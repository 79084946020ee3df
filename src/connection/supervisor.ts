/**
 * The one owner of the connection, and its one loop: reach the cluster, register, bring the session up to date, wait
 * for its end, again. Whatever happens, there is one way to recover, so it is exercised at every fault.
 */
import { randomBytes } from 'node:crypto';
import {
  AuthorizationError,
  ClientIdConflictError,
  ClosedError,
  PermissionError,
  describe,
  toError,
  type ConnectionLostError,
} from '../errors.js';
import type { ResolvedConnectOptions, ResolvedRetryOptions } from '../options.js';
import { dialCredentials, natsAuth, type DialCredentials } from './auth.js';
import { retryDelay } from './backoff.js';
import { Claims } from './claims.js';
import { Link } from './link.js';
import type { Session } from './protocol.js';
import { Reach } from './reach.js';
import { register, type Registration } from './registration.js';
import { Fatal, retry } from './retry.js';
import { shuffle, type ServerAddress } from './servers.js';
import { StanSession, type Loss } from './session.js';
import { StateMachine, type ConnectionState } from './states.js';
import type { Workload } from './watch.js';

/** What is carried from session to session. */
export interface Cargo extends Workload {
  /** Makes all subscriptions on it; rejects only when the session has ended. */
  bringUp(session: Session): Promise<void>;
  /** It is up: publishes may flow. */
  up(session: Session): void;
  /** It is gone. */
  down(): void;
}

export interface SupervisorEvents {
  state(from: ConnectionState, to: ConnectionState): void;
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
  readonly #options: ResolvedConnectOptions;
  readonly #cargo: Cargo;
  readonly #events: SupervisorEvents;
  readonly #states: StateMachine;
  readonly #stop = new AbortController();
  readonly #now: () => number;
  readonly #claims = new Claims();
  /** In the order in which they are dialled: one whose session was lost goes to the end. */
  #servers: ServerAddress[];
  #session: StanSession | undefined;
  #sessions = 0;

  constructor(options: ResolvedConnectOptions, cargo: Cargo, events: SupervisorEvents, now: () => number) {
    this.#options = options;
    this.#cargo = cargo;
    this.#events = events;
    this.#now = now;
    this.#states = new StateMachine((from, to) => events.state(from, to));
    this.#servers = options.randomize ? shuffle(options.servers) : [...options.servers];
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
      (attempt) => {
        attempts = attempt + 1;
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
    if (session?.alive && timeout > 0) await session.close(timeout).catch(() => {});
    else session?.destroy();
    this.#states.to('closed');
  }

  async #run(first: StanSession): Promise<void> {
    let session = first;
    for (;;) {
      const loss = await session.lost;
      if (this.#stop.signal.aborted) {
        loss.successor?.cancel();
        return;
      }
      try {
        session = await this.#recover(loss);
      } catch (error) {
        if (!this.#stop.signal.aborted) this.#events.gaveUp(toError(error));
        return;
      }
    }
  }

  async #recover(loss: Loss): Promise<StanSession> {
    const lostAt = this.#now();
    this.#session = undefined;
    this.#cargo.down();
    this.#servers = demote(this.#servers, loss.error.server);
    if (this.state === 'connected') this.#states.to('reconnecting');
    if (loss.error.cause instanceof PermissionError) this.#events.permission(loss.error.cause);
    let attempts = 1;
    let session: StanSession;
    try {
      const answer = await this.#events.lost(loss.error);
      this.#stop.signal.throwIfAborted();
      const { reconnect } = this.#options;
      if (answer === 'close' || reconnect === false) throw loss.error;
      this.#events.reconnecting(1, 0, loss.error);
      session = await this.#establish(
        reconnect,
        (attempt, delay, error) => {
          attempts = attempt + 1;
          this.#events.reconnecting(attempts, delay, error);
        },
        false,
        loss,
      );
    } catch (error) {
      loss.successor?.cancel();
      throw error;
    }
    this.#isUp(session);
    this.#events.reconnected(session.server, this.#now() - lostAt, attempts);
    return session;
  }

  #isUp(session: StanSession): void {
    if (this.state !== 'closing') this.#states.to('connected');
    if (session.alive) this.#cargo.up(session);
  }

  /** Reach, take over, register, make the subscriptions: until it is up, or the retries are used up. */
  async #establish(
    options: ResolvedRetryOptions,
    onWait: (attempt: number, delay: number, error: Error) => void,
    first: boolean,
    loss?: Loss,
  ): Promise<StanSession> {
    const { signal } = this.#stop;
    let previous = loss?.registration;
    let reach = loss?.successor;
    let session: StanSession | undefined;
    let complained = false;
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
          reach ??= this.#reach(previous, () => {});
          reach.askAlone();
          const found = await reach.round().catch(hopeless);
          reach.cancel(true);
          reach = undefined;
          const { clusterId, clientId, pings, connectTimeout } = this.#options;
          const claims = this.#claims;
          const stan = await register(
            found,
            { clusterId, clientId, pings, connectTimeout, previous, claims, now: this.#now },
            signal,
          ).catch((error: unknown) => {
            if (error instanceof ClientIdConflictError) {
              if (this.#options.clientIdConflict === 'close') throw new Fatal(error);
              this.#events.conflict(error);
            }
            return hopeless(error);
          });
          session = new StanSession(found.link, stan, {
            ordinal: ++this.#sessions,
            clusterId,
            clientId,
            connectTimeout,
            pings,
            roundTrip: found.roundTrip,
            workload: this.#cargo,
            hedge: (registration, onAccepted) => this.#hedge(registration, onAccepted),
            race: (race) => void this.#race(race),
            log: (message) => this.#log(message),
            now: this.#now,
          });
          this.#session = session;
          previous = session.registration;
          const up = await Promise.race([this.#cargo.bringUp(session), session.lost]);
          if (up !== undefined) {
            // It died before it was up: a failed attempt, not a loss.
            this.#session = undefined;
            this.#cargo.down();
            reach = up.successor;
            if (up.error.cause instanceof PermissionError) this.#events.permission(up.error.cause);
            throw up.error;
          }
          return session;
        },
        {
          options,
          signal,
          onWait: (attempt, delay, error) => {
            if (!complained && (error instanceof AuthorizationError || error instanceof PermissionError)) {
              complained = true;
              this.#events.error(error);
            }
            this.#log(`attempt ${attempt} failed, next one in ${delay} ms: ${error.message}`);
            onWait(attempt, delay, error);
          },
          wake: () => reach?.won() ?? new Promise(() => {}),
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

  #reach(previous: Registration | undefined, onAccepted: () => void, servers = this.#servers): Reach {
    const { clusterId, connectTimeout, initialConnect, reconnect } = this.#options;
    return new Reach({
      servers,
      clusterId,
      // One that nobody has is answered, too, with an error, which is all that is needed to find the leader.
      connectionId: previous?.connectionId ?? Buffer.from(randomBytes(11).toString('hex')),
      connectTimeout,
      redial: reconnect === false ? initialConnect : reconnect,
      dial: (address, signal) => this.#dial(address, signal),
      onAccepted,
      now: this.#now,
    });
  }

  /** Through the other servers first, and once more through the attached one. */
  #hedge(registration: Registration, onAccepted: () => void): Reach {
    const attached = this.#session?.server;
    return this.#reach(
      registration,
      onAccepted,
      attached === undefined ? this.#servers : demote(this.#servers, attached),
    );
  }

  async #race(reach: Reach): Promise<void> {
    const options = this.#options.reconnect === false ? this.#options.initialConnect : this.#options.reconnect;
    for (let failed = 1; !reach.over && !reach.alone && !reach.found; failed++) {
      try {
        await reach.round();
      } catch {
        let timer: NodeJS.Timeout | undefined;
        const pause = new Promise<void>((resolve) => {
          timer = setTimeout(resolve, retryDelay(failed, options));
        });
        await Promise.race([pause, reach.won()]);
        clearTimeout(timer);
      }
    }
  }

  async #dial(address: ServerAddress, signal: AbortSignal): Promise<Link> {
    const { connectTimeout, name } = this.#options;
    let credentials: DialCredentials;
    try {
      credentials = await within(connectTimeout, signal, dialCredentials(this.#options, address));
    } catch (error) {
      throw new Error(`no credentials for the dial: ${describe(error)}`, { cause: error });
    }
    return await Link.dial(address, { ...natsAuth(this.#options, address, credentials), name }, connectTimeout, signal);
  }

  #log(message: string): void {
    this.#options.logger.debug(message);
  }
}

/** The same servers, one of them last. */
function demote(servers: readonly ServerAddress[], url: string): ServerAddress[] {
  return [...servers.filter((server) => server.url !== url), ...servers.filter((server) => server.url === url)];
}

function within<T>(timeout: number, signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const end = (error: Error): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      reject(error);
    };
    const onAbort = (): void => end(toError(signal.reason));
    const timer = setTimeout(() => end(new Error(`no answer within ${timeout} ms`)), timeout);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(
      (value) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        resolve(value);
      },
      (error: unknown) => end(toError(error)),
    );
  });
}
