/**
 * The one owner of the session, and its one loop: reach the cluster, register, bring the session up to date, wait for its end,
 * again. Whatever ends a session, there is one way to the next, so it is exercised at every loss. (What goes on with a session
 * that was only suspected is decided in `failure-detector.ts`.)
 */
import type { AwakeClock } from '../awake-clock.js';
import {
  AuthorizationError,
  ClientIdConflictError,
  ClosedError,
  PermissionError,
  toError,
  type ConnectionLostError,
} from '../errors.js';
import { Claims } from './claims.js';
import { Dialler } from './dialler.js';
import type { Participants } from './participants.js';
import { PROVE_EVERY, type Found, type LeaderSearch } from './leader-search.js';
import { register, type Registration } from './registration.js';
import { RetryBudget, type SessionEnd } from './retry-budget.js';
import type { ResolvedRetryOptions } from './retry-options.js';
import { Fatal, retry } from './retry.js';
import { StanSession, type Loss } from './session.js';
import type { ConnectionSettings } from './settings.js';
import { StateMachine, type ConnectionState } from './states.js';
import { Suspects } from './suspects.js';
import { Line } from './throughput.js';

/** A session that lives for so long, in ms, has lasted: it was no part of the trouble before. */
const LASTING = 2000;

export interface SupervisorEvents {
  state(from: ConnectionState, to: ConnectionState): void;
  connected(server: string, attempt: number): void;
  /** The leader is overdue with an answer. */
  suspected(): void;
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

/** The search for the next session: what one attempt leaves to the next. */
interface SessionSearch {
  readonly options: ResolvedRetryOptions;
  /** Nothing is lost yet. */
  readonly first: boolean;
  /** Of the session before. */
  previous: Registration | undefined;
  /** Under way, or won. */
  race: LeaderSearch | undefined;
}

/** What there is of a session. */
type Life =
  | { readonly phase: 'none' }
  /** It is brought up to date, or up. */
  | { readonly phase: 'session'; readonly session: StanSession }
  /** It is closed in order, and there will be no other one. */
  | { readonly phase: 'leaving'; readonly session: StanSession };

const NONE: Life = { phase: 'none' };

export class Supervisor {
  readonly #settings: ConnectionSettings;
  readonly #participants: Participants;
  readonly #events: SupervisorEvents;
  readonly #states: StateMachine;
  readonly #stop = new AbortController();
  readonly #clock: AwakeClock;
  readonly #dialler: Dialler;
  readonly #claims = new Claims();
  readonly #suspects = new Suspects();
  readonly #line = new Line();
  readonly #budget: RetryBudget;
  #life: Life = NONE;
  #sessions = 0;
  /** A person was called in this outage. */
  #complained = false;

  constructor(settings: ConnectionSettings, participants: Participants, events: SupervisorEvents, clock: AwakeClock) {
    this.#settings = settings;
    this.#participants = participants;
    this.#events = events;
    this.#clock = clock;
    this.#states = new StateMachine((from, to) => events.state(from, to));
    this.#dialler = new Dialler(settings, clock, (error) => this.#complain(error));
    this.#budget = new RetryBudget(clock.now());
  }

  get state(): ConnectionState {
    return this.#states.state;
  }

  /** The live session, up or being brought up to date. */
  get session(): StanSession | undefined {
    return this.#life.phase === 'session' && this.#life.session.alive ? this.#life.session : undefined;
  }

  /** The first connect. @throws what made the last attempt fail */
  async connect(): Promise<void> {
    let attempts = 1;
    const search: SessionSearch = {
      options: this.#settings.initialConnect,
      first: true,
      previous: undefined,
      race: undefined,
    };
    const session = await this.#find(search, 0, (attempt) => {
      attempts = attempt + 1;
    });
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
    const { session } = this;
    if (session !== undefined && timeout > 0) {
      this.#life = { phase: 'leaving', session };
      await session.close(timeout).catch(() => {});
    } else session?.destroy();
    this.#life = NONE;
    this.#states.to('closed');
  }

  /** A `close` that is under way takes no longer than this, in ms, from now on. */
  hurry(timeout: number): void {
    if (this.#life.phase === 'leaving') this.#life.session.hurry(timeout);
  }

  /** From loss to loss. */
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
        loss.successor?.cancel();
        if (!this.#stop.signal.aborted) this.#events.gaveUp(toError(error));
        return;
      }
    }
  }

  /** From a loss to the next session. @throws what says that there will be none */
  async #recover(loss: Loss, lasted: boolean): Promise<StanSession> {
    const lostAt = performance.now();
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
    this.#events.reconnected(session.server, performance.now() - lostAt, attempts);
    return session;
  }

  /** Asks the user, and looks at what is left. @throws the loss, if that was the end */
  async #mayReconnect(loss: Loss): Promise<ResolvedRetryOptions> {
    const askedAt = this.#clock.now();
    const answer = await this.#events.lost(loss.error);
    this.#stop.signal.throwIfAborted();
    const took = this.#clock.now() - askedAt;
    // The time of the user's own handler is none in which we tried.
    this.#budget.excuse(took);
    if (took > PROVE_EVERY) {
      // What has not been heard of for so long may be deaf.
      loss.successor?.cancel();
      loss.successor = undefined;
    }
    const { reconnect } = this.#settings;
    if (answer === 'close' || reconnect === false || this.#budget.isSpent(reconnect, this.#clock.now()))
      throw loss.error;
    return reconnect;
  }

  /** Makes attempts until a session is up, or the retries are used up. */
  async #find(
    search: SessionSearch,
    firstDelay: number,
    onWait: (attempt: number, delay: number, error: Error) => void,
  ): Promise<StanSession> {
    const { signal } = this.#stop;
    const cancel = (): void => search.race?.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await retry(() => this.#attempt(search), {
        options: search.options,
        signal,
        budget: this.#budget,
        firstDelay,
        now: () => this.#clock.now(),
        onWait: (attempt, delay, error) => {
          if (error instanceof AuthorizationError || error instanceof PermissionError) this.#complain(error);
          this.#log(`attempt ${attempt} failed, next one in ${delay} ms: ${error.message}`);
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

  /** One attempt: reach, take over, register, make the subscriptions. @throws Fatal when no other one makes sense */
  async #attempt(search: SessionSearch): Promise<StanSession> {
    try {
      const session = await this.#register(await this.#reach(search), search);
      search.previous = session.registration;
      const loss = await this.#bringUp(session);
      if (loss === undefined) return session;
      // It died before it was up: a failed attempt, not a loss.
      this.#ended(loss, 'never up');
      search.race = loss.successor;
      throw loss.error;
    } catch (error) {
      // Wrong credentials do not get better by trying; once they were right, they may be again.
      const hopeless = error instanceof AuthorizationError || error instanceof PermissionError;
      throw search.first && hopeless ? new Fatal(error) : error;
    }
  }

  /** A connection whose other end knows the leader. */
  async #reach(search: SessionSearch): Promise<Found> {
    const race = (search.race ??= this.#dialler.race(search.previous?.connectionId, { first: search.first }));
    const found = await race.round();
    race.cancel(true);
    search.race = undefined;
    return found;
  }

  async #register(found: Found, { previous }: SessionSearch): Promise<StanSession> {
    const { clusterId, clientId, pings, connectTimeout, clientIdConflict } = this.#settings;
    const { signal } = this.#stop;
    const options = { clusterId, clientId, pings, connectTimeout, previous, claims: this.#claims, clock: this.#clock };
    const { stan, continued } = await register(found, options, signal).catch((error: unknown) => {
      this.#dialler.failed(found.link.address.url);
      if (error instanceof ClientIdConflictError) {
        if (clientIdConflict === 'close') throw new Fatal(error);
        this.#events.conflict(error);
      }
      throw error;
    });
    const session = new StanSession(found.link, stan, {
      ordinal: ++this.#sessions,
      continued,
      settings: this.#settings,
      roundTrip: found.roundTrip,
      line: this.#line,
      participants: this.#participants,
      // Through the other servers first, and then once more through the attached one.
      race: () => this.#dialler.race(stan.connId, { last: found.link.address.url }),
      suspected: () => this.#events.suspected(),
      denied: (error) => this.#events.permission(error),
      clock: this.#clock,
    });
    this.#life = { phase: 'session', session };
    return session;
  }

  /** @returns its loss, if it has ended before all subscriptions were made */
  async #bringUp(session: StanSession): Promise<Loss | undefined> {
    try {
      // Which of the two is heard of first when it ends does not matter.
      await Promise.race([this.#participants.subscribing.attach(session, this.#suspects.careful), session.lost]);
    } catch (error) {
      if (session.alive) {
        session.destroy();
        throw error;
      }
    }
    if (session.alive) return undefined;
    if (this.#stop.signal.aborted) {
      // One that we have closed ourselves has no loss. One that was lost just before may have left a race.
      void session.lost.then(({ successor }) => successor?.cancel());
      this.#stop.signal.throwIfAborted();
    }
    return await session.lost;
  }

  /** All subscriptions are made. The publishes go last. */
  #isUp(session: StanSession): void {
    this.#complained = false;
    if (this.state !== 'closing') this.#states.to('connected');
    if (session.alive) this.#participants.publishing.attach(session, this.#suspects.careful);
  }

  /** The session has lasted: whatever was wrong before is over. */
  #lasts(server: string): void {
    this.#dialler.served(server);
    if (this.#suspects.acquit()) this.#participants.publishing.relax();
  }

  /** A session has ended, up or not: who is to blame, and what does it count? */
  #ended(loss: Loss, end: SessionEnd): void {
    this.#life = NONE;
    this.#dialler.failed(loss.error.server);
    const settled = this.#blame(loss) || loss.settled;
    this.#participants.detach();
    if (loss.error.cause instanceof PermissionError) this.#events.permission(loss.error.cause);
    this.#budget.ended(end, settled, this.#clock.now());
  }

  /** @returns whether something was given up for good, so that it does not end the next session as well */
  #blame({ complaint, requests }: Loss): boolean {
    if (complaint === undefined) return false;
    const inHand = [...requests, ...this.#participants.publishing.inHand()];
    const culprit = this.#suspects.judge(complaint.complaint, inHand, this.#clock.now());
    culprit?.giveUp(complaint);
    return culprit !== undefined;
  }

  /** Needs a person, and one call in an outage is enough. */
  #complain(error: Error): void {
    if (this.#complained) return;
    this.#complained = true;
    this.#events.error(error);
  }

  #log(message: string): void {
    this.#settings.logger.debug(message);
  }
}
