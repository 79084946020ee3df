/**
 * Owns the session and runs the one loop: it reaches the cluster, registers, brings the session up, waits for its end, and
 * begins again. Every end of a session leads to the next one in this way, so the way is well tested. (`failure-detector.ts`
 * decides about a session that is only suspected.)
 */
import type { Clock } from '../clock/clock.js';
import {
  AuthorizationError,
  ClientIdConflictError,
  ClosedError,
  ConnectError,
  PermissionError,
  toError,
  type ConnectionLostError,
} from '../errors.js';
import type { Gateway, Loss, MakeGateway, Search, SupervisedSession } from './gateway.js';
import type { Participants } from './participants.js';
import type { Registration } from './take-over.js';
import { INITIAL_CONNECT } from './retry-options.js';
import { HELD_PATIENCE, RetryBudget, type SessionEnd } from './retry-budget.js';
import type { ResolvedRetryOptions } from '../retry-options.js';
import { Fatal, retry } from './retry.js';
import type { ConnectionSettings } from './settings.js';
import { StateMachine, type ConnectionState } from './states.js';
import { Suspects } from './suspects.js';

/** Shortest life of a session that counts as lasted, in ms. Such a session had no part in earlier trouble. */
const LASTING = 2000;

export interface SupervisorEvents {
  state(from: ConnectionState, to: ConnectionState): void;
  /** Hears that an attempt of the first connect has failed, and when the next one begins. */
  connecting(attempt: number, delay: number, error: Error): void;
  connected(server: string, attempt: number): void;
  /** Hears that a session is registered, before its subscriptions are made. */
  session(server: string): void;
  /** Hears that an answer of the leader is overdue. The leader of the session at `server` has been silent for `silence` ms. */
  suspected(server: string, silence: number): void;
  /** Hears of a loss, once for each. The returned answer is obeyed. */
  lost(error: ConnectionLostError): Promise<'reconnect' | 'close'>;
  reconnecting(attempt: number, delay: number, error: Error): void;
  reconnected(server: string, downtime: number, attempts: number): void;
  /** Hears that another client has the client ID. `first` is set at the first attempt that found it so since the last session. */
  conflict(error: ClientIdConflictError, first: boolean): void;
  permission(error: PermissionError): void;
  /** Hears of an error that needs a person. */
  error(error: Error): void;
  /** Hears that there will be no further session: the retries are used up or must not be made. */
  gaveUp(error: Error): void;
}

/** The search for the next session, with the data that one attempt leaves to the next. */
interface SessionSearch {
  readonly options: ResolvedRetryOptions;
  /** Whether no session was lost yet. */
  readonly first: boolean;
  /** The registration of the previous session. */
  previous: Registration | undefined;
  /** The search for the leader that is under way or has succeeded. */
  race: Search | undefined;
}

/** The session and its state. */
type Life =
  | { readonly phase: 'none' }
  /** The session is being brought up, or is up. */
  | { readonly phase: 'session'; readonly session: SupervisedSession }
  /** The session is being closed, and no other one follows. */
  | { readonly phase: 'leaving'; readonly session: SupervisedSession };

const NONE: Life = { phase: 'none' };

export class Supervisor {
  readonly #settings: ConnectionSettings;
  readonly #participants: Participants;
  readonly #events: SupervisorEvents;
  readonly #states: StateMachine;
  readonly #stop = new AbortController();
  readonly #clock: Clock;
  readonly #gateway: Gateway;
  readonly #suspects = new Suspects();
  readonly #budget: RetryBudget;
  #life: Life = NONE;
  #sessions = 0;
  /** Whether an error that needs a person was reported in this outage. */
  #complained = false;
  /** Whether an attempt since the last session has found the client ID held by another client. */
  #conflict = false;

  constructor(
    settings: ConnectionSettings,
    participants: Participants,
    events: SupervisorEvents,
    clock: Clock,
    makeGateway: MakeGateway,
  ) {
    this.#settings = settings;
    this.#participants = participants;
    this.#events = events;
    this.#clock = clock;
    this.#states = new StateMachine((from, to) => events.state(from, to));
    this.#gateway = makeGateway({
      settings,
      participants,
      clock,
      suspected: (server, silence) => events.suspected(server, silence),
      denied: (error) => events.permission(error),
      complain: (error) => this.#complain(error),
    });
    this.#budget = new RetryBudget(clock.now());
  }

  get state(): ConnectionState {
    return this.#states.state;
  }

  /** The live session, which is up or being brought up. */
  get session(): SupervisedSession | undefined {
    return this.#life.phase === 'session' && this.#life.session.alive ? this.#life.session : undefined;
  }

  /**
   * Connects for the first time.
   * @throws the error of the last attempt
   */
  async connect(): Promise<void> {
    let attempts = 1;
    const search: SessionSearch = {
      options: this.#settings.initialConnect,
      first: true,
      previous: undefined,
      race: undefined,
    };
    const session = await this.#find(search, 0, (attempt, delay, error) => {
      attempts = attempt + 1;
      this.#events.connecting(attempts, delay, error);
    });
    this.#isUp(session);
    this.#events.connected(session.server, attempts);
    void this.#run(session);
  }

  /** Notes that the client is closing. A session that is lost while the client drains is still replaced. */
  closing(): void {
    this.#states.to('closing');
  }

  /**
   * Ends everything at once. A live session is closed in order first.
   * @param timeout longest wait for the server's answer, in ms
   */
  async close(timeout: number): Promise<void> {
    this.#stop.abort(new ClosedError());
    const { session } = this;
    if (session !== undefined && timeout > 0) {
      this.#life = { phase: 'leaving', session };
      await session.close(timeout).catch(() => {});
    } else session?.destroy();
    this.#life = NONE;
    this.#states.to('closed');
  }

  /** Shortens a `close` that is under way to this time from now, in ms. */
  hurry(timeout: number): void {
    if (this.#life.phase === 'leaving') this.#life.session.hurry(timeout);
  }

  /** Replaces each lost session until none follows. */
  async #run(first: SupervisedSession): Promise<void> {
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
        loss.successor?.cancel();
        if (!this.#stop.signal.aborted) this.#events.gaveUp(toError(error));
        return;
      }
    }
  }

  /**
   * Replaces a lost session.
   * @throws the error that says why no session follows
   */
  async #recover(loss: Loss, lasted: boolean): Promise<SupervisedSession> {
    const lostAt = this.#clock.elapsed();
    this.#ended(loss, lasted ? 'lasted' : 'young');
    if (this.state === 'connected') this.#states.to('reconnecting');
    const options = await this.#mayReconnect(loss);
    const delay = this.#budget.firstDelay(options);
    this.#events.reconnecting(1, Math.round(delay), loss.error);
    let attempts = 1;
    const search: SessionSearch = { options, first: false, previous: loss.registration, race: loss.successor };
    const session = await this.#find(search, delay, (attempt, wait, error) => {
      attempts = attempt + 1;
      this.#events.reconnecting(attempts, wait, error);
    });
    this.#isUp(session);
    this.#events.reconnected(session.server, this.#clock.elapsed() - lostAt, attempts);
    return session;
  }

  /**
   * Asks the user and checks the rest of the retries.
   * @throws the loss if no session follows
   */
  async #mayReconnect(loss: Loss): Promise<ResolvedRetryOptions> {
    const askedAt = this.#clock.now();
    const answer = await this.#events.lost(loss.error);
    this.#stop.signal.throwIfAborted();
    const took = this.#clock.now() - askedAt;
    // The time of the user's handler does not count, because nothing was tried in it.
    this.#budget.excuse(took);
    loss.successor?.wasIdle(took);
    const { reconnect } = this.#settings;
    if (answer === 'close' || reconnect === false || this.#budget.isSpent(reconnect, this.#clock.now()))
      throw loss.error;
    return reconnect;
  }

  /** Makes attempts until a session is up or the retries are used up. */
  async #find(
    search: SessionSearch,
    firstDelay: number,
    onWait: (attempt: number, delay: number, error: Error) => void,
  ): Promise<SupervisedSession> {
    const { signal } = this.#stop;
    const cancel = (): void => search.race?.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await retry(() => this.#attempt(search), {
        options: search.options,
        signal,
        budget: this.#budget,
        firstDelay,
        clock: this.#clock,
        patience: (error) => this.#patience(search, error),
        onWait: (attempt, delay, error) => {
          if (error instanceof AuthorizationError || error instanceof PermissionError) this.#complain(error);
          this.#settings.logger.debug?.(`attempt ${attempt} failed, next one in ${delay} ms: ${error.message}`);
          onWait(attempt, delay, error);
        },
        onWake: (callback) => {
          const { race } = search;
          if (race) race.onWon = callback;
          return () => {
            if (race?.onWon === callback) race.onWon = undefined;
          };
        },
      });
    } catch (error) {
      cancel();
      this.session?.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  /** Returns how long to wait for what an attempt has found, in ms. Undefined if there is nothing to wait for. */
  #patience({ first }: SessionSearch, error: Error): number | undefined {
    if (error instanceof ClientIdConflictError) return HELD_PATIENCE;
    const plain = error instanceof ConnectError && error.failures.some((failure) => failure.plain !== undefined);
    if (!first || !plain) return undefined;
    // A streaming server may be about to connect to a plain NATS server. Attempts there end early, so for a user who wants to wait they
    // are made for as long as his attempts would take where nobody answers. Without that wish it is more likely that there is none.
    const { retries, maxRetryTime } = this.#settings.initialConnect;
    const wantsToWait = retries > INITIAL_CONNECT.retries || maxRetryTime !== INITIAL_CONNECT.maxRetryTime;
    return wantsToWait ? (retries + 1) * this.#settings.connectTimeout : undefined;
  }

  /**
   * Makes one attempt: reaches the leader, takes over, registers, and makes the subscriptions.
   * @throws Fatal if no other attempt makes sense
   */
  async #attempt(search: SessionSearch): Promise<SupervisedSession> {
    try {
      const session = await this.#register(await this.#reach(search), search);
      search.previous = session.registration;
      const loss = await this.#bringUp(session);
      if (loss === undefined) return session;
      // The session ended before it was up. That is a failed attempt and not a loss.
      this.#ended(loss, 'never up');
      search.race = loss.successor;
      throw loss.error;
    } catch (error) {
      // A repetition does not help against wrong credentials. Credentials that were right once may be right again.
      const hopeless = error instanceof AuthorizationError || error instanceof PermissionError;
      throw search.first && hopeless ? new Fatal(error) : error;
    }
  }

  /** Returns the way to a leader, for the gateway. */
  async #reach(search: SessionSearch): Promise<unknown> {
    const race = (search.race ??= this.#gateway.search(search.previous?.connectionId, search.first));
    const found = await race.round();
    race.cancel(true);
    search.race = undefined;
    return found;
  }

  async #register(found: unknown, { previous }: SessionSearch): Promise<SupervisedSession> {
    const { signal } = this.#stop;
    const ordinal = this.#sessions + 1;
    const session = await this.#gateway.register(found, { ordinal, previous, signal }).catch((error: unknown) => {
      if (error instanceof ClientIdConflictError) {
        if (this.#settings.clientIdConflict === 'close') throw new Fatal(error);
        this.#events.conflict(error, !this.#conflict);
        this.#conflict = true;
      }
      throw error;
    });
    if (signal.aborted) session.destroy();
    signal.throwIfAborted();
    this.#sessions = ordinal;
    this.#conflict = false;
    this.#life = { phase: 'session', session };
    return session;
  }

  /** Brings a session up, after the user was told of it. Returns the loss if the session ended before all subscriptions were made. */
  async #bringUp(session: SupervisedSession): Promise<Loss | undefined> {
    this.#events.session(session.server);
    try {
      // It does not matter which of the two ends first.
      await Promise.race([this.#participants.subscribing.attach(session, this.#suspects.careful), session.lost]);
    } catch (error) {
      if (session.alive) {
        session.destroy();
        throw error;
      }
    }
    if (session.alive) return undefined;
    if (this.#stop.signal.aborted) {
      // A session that we have closed has no loss. One that was lost just before may have left a search for the leader.
      void session.lost.then(({ successor }) => successor?.cancel());
      this.#stop.signal.throwIfAborted();
    }
    return await session.lost;
  }

  /** Starts to publish after all subscriptions are made. */
  #isUp(session: SupervisedSession): void {
    this.#complained = false;
    if (this.state !== 'closing') this.#states.to('connected');
    if (session.alive) this.#participants.publishing.attach(session, this.#suspects.careful);
  }

  /** Notes that the session has lasted, so that earlier trouble is over. */
  #lasts(server: string): void {
    this.#gateway.served(server);
    if (this.#suspects.acquit()) this.#participants.publishing.relax();
  }

  /** Handles the end of a session, up or not: finds what caused it, and counts it. */
  #ended(loss: Loss, end: SessionEnd): void {
    this.#life = NONE;
    this.#gateway.failed(loss.error.server);
    const settled = this.#blame(loss) || loss.settled;
    this.#participants.detach();
    if (loss.error.cause instanceof PermissionError) this.#events.permission(loss.error.cause);
    this.#budget.ended(end, settled, this.#clock.now());
  }

  /**
   * Gives up the request that ended the session, if it is known. Returns whether the next session will not end because of it as
   * well.
   */
  #blame({ complaint, requests }: Loss): boolean {
    if (complaint === undefined) return false;
    const inHand = [...requests, ...this.#participants.publishing.inHand()];
    const culprit = this.#suspects.judge(complaint.complaint, inHand, this.#clock.now());
    culprit?.giveUp(complaint);
    return culprit !== undefined;
  }

  /** Reports an error that needs a person, once in an outage. */
  #complain(error: Error): void {
    if (this.#complained) return;
    this.#complained = true;
    this.#events.error(error);
  }
}
