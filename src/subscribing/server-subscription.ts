/**
 * The subscription at the server. It is made, made again and ended here, one step at a time. The host decides where it starts
 * and what to do with its messages.
 */
import {
  EndRefused,
  SessionEnded,
  SubscribeRefused,
  type RawMessage,
  type Session,
  type SessionSubscription,
  type SubscribeRequest,
} from '../connection/protocol.js';
import { endRefusal, subscribeRefusal } from '../connection/server-texts.js';
import { describe, PermissionError, type ResilientStanError, SubscribeError } from '../errors.js';
import type { Party } from './barrier.js';
import type { Clock } from '../clock/clock.js';
import type { DatedPlan } from './delivery-state.js';
import type { Window } from './request-window.js';

/**
 * The most sessions in a row that are given up because of a refusal that may pass. Otherwise the other subscriptions would lose
 * their sessions without end.
 */
const MOST_PUT_OFF = 8;
/** Shortest and longest delay before a subscription that existed is requested again after a refusal, in ms. */
const SHORTEST_DELAY = 1000;
const LONGEST_DELAY = 30_000;
/** The delays before a refused request is sent again, in ms. */
const RETRIES = [100, 200, 400, 800];

/** How a subscription is made again while its session lives. */
export type Remaking =
  /** The new one is made before the old one is closed, so that there is always one. */
  | 'make-first'
  /** The old one is closed before the new one is made. */
  | 'close-first'
  /** The old one is unsubscribed before the new one is made, so that the server forgets its position. */
  | 'drop-first';

const STRENGTH: Record<Remaking, number> = { 'make-first': 0, 'close-first': 1, 'drop-first': 2 };

export interface ServerSubscriptionHost {
  readonly channel: string;
  /** Returns the subscribe request. It is called right before the request is sent. */
  request(): { request: SubscribeRequest; plan: DatedPlan };
  received(message: RawMessage): void;
  /**
   * Hears that the server has made the subscription, right before its first messages. Returns true if it is wanted, false if it
   * is not, and 'again' if a new request is to replace it.
   */
  made(plan: DatedPlan, again: boolean): boolean | 'again';
  /**
   * Resolves when the server has released the durable on this session. It is undefined if there is nothing to wait for.
   * @throws SessionEnded
   */
  passed(session: Session): Promise<void> | undefined;
  /** Hears that the server refuses to end the old subscription. */
  deaf(session: Session, error: unknown): void;
  /**
   * Hears that the server also sends messages to the old subscription, which nobody listens to, until the promise resolves. The
   * promise never rejects.
   */
  crossing(until: Promise<void>): void;
  /** Hears that this subscription and all others that share its state were ended, so that the next one starts anew. */
  left(): void;
  /** Hears that the server still remembers the position of the old subscription. */
  undropped(): void;
  /** Hears that the subscription can never be made again. */
  impossible(error: ResilientStanError): void;
}

/** One subscription at the server. */
class Incarnation {
  readonly session: Session;
  subscription: SessionSubscription | undefined;
  muted = false;

  constructor(session: Session) {
    this.session = session;
  }

  mute(): void {
    this.muted = true;
    this.subscription?.mute();
  }
}

export class ServerSubscription {
  readonly #host: ServerSubscriptionHost;
  readonly #clock: Clock;
  readonly #window: Window;
  #session: Session | undefined;
  /** The current subscription. Only its messages count, and acknowledgements go to it. */
  #life: Incarnation | undefined;
  /** The number of the session. Work that was begun for another session has no effect. */
  #turn = 0;
  /** The work under way on this session. It never rejects. */
  #work: Promise<void> | undefined;
  #next: { remaking: Remaking; party: Party | undefined } | undefined;
  #ended = false;
  /** The sequences that were acknowledged without a session after the end. */
  readonly #unsent: number[] = [];
  /** Is called when the session has ended, by whoever waits at the end of the subscription. */
  #onDetached: (() => void) | undefined;
  /** Whether the server has ever made the subscription. From then on only the user ends it. */
  #everMade = false;
  /**
   * The number of sessions in a row that were given up because the server took our own durable for that of another
   * subscription.
   */
  #ghosts = 0;
  /** The number of sessions in a row that were given up because of a refusal that may pass. */
  #putOff = 0;
  /** The number of delays in a row on a living session. */
  #later = 0;

  constructor(host: ServerSubscriptionHost, clock: Clock, window: Window) {
    this.#host = host;
    this.#clock = clock;
    this.#window = window;
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** Resolves when no work is under way. */
  get settled(): Promise<void> {
    return this.#work ?? Promise.resolve();
  }

  /** Whether the server has the subscription and its messages are listened to. */
  get live(): boolean {
    return this.#life !== undefined && !this.#life.muted;
  }

  /**
   * Makes the subscription on a new session.
   * @throws SessionEnded; SubscribeError or PermissionError when it can never be made
   */
  attach(session: Session): Promise<void> {
    this.detach();
    if (this.#ended) return Promise.resolve();
    this.#session = session;
    const making = this.#make(session, this.#turn);
    this.#working(making);
    return making;
  }

  /** Forgets the session and all work that was under way on it. */
  detach(): void {
    this.#turn++;
    this.#session = undefined;
    this.#life?.mute();
    this.#life = undefined;
    this.#work = undefined;
    this.#onDetached?.();
    const next = this.#next;
    this.#next = undefined;
    next?.party?.arrive();
    if (next?.remaking === 'drop-first') this.#host.undropped();
  }

  ack(sequence: number): void {
    if (this.#life?.subscription !== undefined) this.#life.subscription.ack(sequence);
    else if (this.#ended) this.#unsent.push(sequence);
  }

  /** Whether messages were acknowledged without a session after the end. */
  get hasUnsent(): boolean {
    return this.#unsent.length > 0;
  }

  /**
   * Makes the subscription on a new session only to send the acknowledgements of handlers that still run. It rejects only if
   * the session has ended.
   * @throws SessionEnded
   */
  async linger(session: Session): Promise<void> {
    this.detach();
    this.#session = session;
    const turn = this.#turn;
    const life = new Incarnation(session);
    life.muted = true;
    try {
      await session.subscribe(
        this.#host.request().request,
        () => undefined,
        (made) => {
          made.mute();
          life.subscription = made;
          if (turn !== this.#turn) return;
          this.#life = life;
          for (const sequence of this.#unsent.splice(0)) made.ack(sequence);
        },
      );
    } catch (error) {
      if (error instanceof SessionEnded) throw error;
    }
  }

  /** Stops the delivery until the subscription is made again. Acknowledgements are still sent. */
  mute(): void {
    this.#life?.mute();
  }

  /** Makes the subscription again on the same session. Calls that come while work is under way are joined into one. */
  remake(remaking: Remaking, party?: Party): void {
    if (this.#session === undefined || this.#ended) {
      party?.arrive();
      if (remaking === 'drop-first' && !this.#ended) this.#host.undropped();
      return;
    }
    const next = this.#next;
    if (next === undefined) {
      this.#next = { remaking, party };
    } else {
      if (STRENGTH[remaking] > STRENGTH[next.remaking]) next.remaking = remaking;
      if (party !== undefined) {
        next.party?.arrive();
        next.party = party;
      }
    }
    if (this.#work === undefined) this.#startNext();
  }

  /**
   * Ends the subscription for good, at the server as well if there is a session.
   * @param ready resolves when the last acknowledgement was given
   * @returns whether the server has confirmed the end; false also if the session has ended
   * @throws PermissionError or EndRefused when the server still has the subscription
   */
  async end(drop: boolean, ready: Promise<void>): Promise<boolean> {
    this.stop();
    if (drop && this.#session === undefined) return false;
    const detached = new Promise<void>((resolve) => {
      this.#onDetached = resolve;
    });
    // If the session ends meanwhile, a durable that is to be dropped is dropped on the next one. A subscription that is kept is
    // made there again for the handlers that still run.
    await (drop ? Promise.race([ready, detached]) : ready);
    // A sent request cannot be taken back. The subscription that it makes is ended below.
    await this.#work;
    const life = this.#life;
    this.#life = undefined;
    if (life?.subscription === undefined || !life.session.alive) return false;
    try {
      await (drop ? life.subscription.unsubscribe() : life.subscription.close());
      return true;
    } catch (error) {
      if (error instanceof PermissionError) throw error;
      if (error instanceof EndRefused && endRefusal(error.message) !== 'unknown-subscription') throw error;
      return false;
    }
  }

  /** Stops the delivery and makes the subscription never again. Acknowledgements are still sent. */
  stop(): void {
    this.#ended = true;
    this.#next?.party?.arrive();
    this.#next = undefined;
    this.#life?.mute();
  }

  #working(work: Promise<void>): void {
    const turn = this.#turn;
    const settled = work.then(
      () => undefined,
      () => undefined,
    );
    const tracked = settled.then(() => {
      if (turn !== this.#turn) return;
      this.#work = undefined;
      if (this.#next !== undefined) this.#startNext();
    });
    this.#work = tracked;
  }

  #startNext(): void {
    const next = this.#next;
    const session = this.#session;
    if (next === undefined || session === undefined) return;
    this.#next = undefined;
    this.#working(this.#remake(session, this.#turn, next.remaking, next.party));
  }

  async #remake(session: Session, turn: number, remaking: Remaking, party: Party | undefined): Promise<void> {
    try {
      if (remaking === 'make-first') {
        try {
          await this.#make(session, turn);
          return;
        } catch (error) {
          // The server may have room for one subscription and not for two at a time.
          if (!(error instanceof SubscribeError) || turn !== this.#turn || this.#ended) throw error;
        }
      }
      const old = this.#life;
      this.#life = undefined;
      old?.mute();
      if (remaking === 'drop-first') {
        await this.#end(old, 'unsubscribe').catch((error: unknown) => {
          this.#host.undropped();
          this.#unclosed(session, error);
        });
      } else {
        await this.#end(old, 'close').catch((error: unknown) => this.#unclosed(session, error));
      }
      party?.arrive();
      await party?.passed;
      if (party !== undefined && turn === this.#turn) this.#host.left();
      if (turn !== this.#turn || this.#ended) return;
      await this.#make(session, turn);
    } catch (error) {
      // The next session makes all subscriptions.
      if (error instanceof SessionEnded || !session.alive || turn !== this.#turn || this.#ended) return;
      this.#host.impossible(permanent(this.#host.channel, error));
    } finally {
      party?.arrive();
    }
  }

  async #end(life: Incarnation | undefined, how: 'close' | 'unsubscribe'): Promise<void> {
    const subscription = life?.subscription;
    if (subscription !== undefined) await this.#window.pass(() => subscription[how]());
  }

  async #make(session: Session, turn: number): Promise<void> {
    const passed = this.#host.passed(session);
    if (passed !== undefined) {
      await passed;
      if (!session.alive || turn !== this.#turn) throw new SessionEnded('the session has ended');
      if (this.#ended) return;
    }
    for (let refusals = 0; ;) {
      let request!: SubscribeRequest;
      let again = false;
      try {
        const subscription = await this.#window.pass(() => {
          if (!session.alive || turn !== this.#turn) throw new SessionEnded('the session has ended');
          if (this.#ended) return undefined;
          const asked = this.#host.request();
          request = asked.request;
          // The second of two subscriptions exists only for a moment, so the server's room for it is not essential.
          if (this.live) request.optional = true;
          const life = new Incarnation(session);
          return session.subscribe(
            request,
            (message) => {
              if (!life.muted) this.#host.received(message);
            },
            (made) => {
              again = this.#made(life, turn, asked.plan, made);
            },
            (error) => {
              // The session ends because of this error, so this is the last chance to report it.
              if (turn === this.#turn && !this.#ended) this.#host.impossible(error);
            },
          );
        });
        if (subscription === undefined || !again) return;
        // The close comes before the next request, because the end of the last member of a queue group makes the server forget
        // the position of the group.
        await subscription.close().catch((error: unknown) => {
          // A subscription that cannot be closed stays, and nobody listens to it.
          if (error instanceof SessionEnded) throw error;
        });
      } catch (error) {
        if (error instanceof SessionEnded) throw error;
        if (!session.alive || turn !== this.#turn) throw new SessionEnded('the session has ended');
        if (!(error instanceof SubscribeRefused)) throw permanent(this.#host.channel, error);
        if ((await this.#refused(error, session, request, refusals++)) === 'later') return;
      }
      if (!session.alive || turn !== this.#turn) throw new SessionEnded('the session has ended');
      if (this.#ended) return;
    }
  }

  #tryLater(): void {
    const turn = this.#turn;
    const delay = Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** this.#later++);
    this.#clock.after(
      delay,
      () => {
        if (turn === this.#turn && !this.live) this.remake('make-first');
      },
      { unref: true },
    );
  }

  /** Ends the session because of an error in ending a durable, which the server would otherwise keep and refuse to make again. */
  #unclosed(session: Session, error: unknown): never {
    if (error instanceof PermissionError || error instanceof EndRefused) {
      const reason = error instanceof PermissionError ? 'permission' : 'request_timeout';
      session.lose(reason, `the durable on '${this.#host.channel}' cannot be closed: ${error.message}`);
      throw new SessionEnded(error.message);
    }
    throw error;
  }

  /** Takes the new subscription. Returns whether it has to be requested once more. */
  #made(life: Incarnation, turn: number, plan: DatedPlan, subscription: SessionSubscription): boolean {
    life.subscription = subscription;
    const old = this.#life;
    if (turn !== this.#turn) {
      life.mute();
      return false;
    }
    this.#life = life;
    this.#ghosts = 0;
    this.#putOff = 0;
    this.#later = 0;
    const again = this.#everMade;
    this.#everMade = true;
    const wanted = this.#ended ? false : this.#host.made(plan, again);
    if (wanted !== true) life.mute();
    if (old !== undefined) {
      old.mute();
      const closed = old.subscription?.close().catch((error: unknown) => {
        // The end of the session ends the old subscription as well. One that the server refuses to end stays, and nobody
        // listens to it.
        if (!(error instanceof SessionEnded)) this.#host.deaf(old.session, error);
      });
      this.#host.crossing(closed ?? Promise.resolve());
    }
    return wanted === 'again';
  }

  /**
   * Handles a refused request: waits if the refusal may pass, and throws if it is final.
   * @returns 'again' when the request is to be sent again; 'later' when a timer does that and nobody waits
   */
  async #refused(
    error: SubscribeRefused,
    session: Session,
    request: SubscribeRequest,
    attempt: number,
  ): Promise<'again' | 'later'> {
    const refusal = subscribeRefusal(error.message);
    const channel = this.#host.channel;
    if (refusal === 'unregistered') {
      session.lose(
        'replaced',
        `the cluster does not know this session any more (subscribing to '${channel}': ${error.message})`,
      );
      throw new SessionEnded(error.message);
    }
    const delay = RETRIES[attempt];
    if (refusal !== 'final' && delay !== undefined) {
      await new Promise<void>((resolve) => this.#clock.after(delay, resolve, { unref: true }));
      return 'again';
    }
    if (refusal === 'passing' && ++this.#putOff <= MOST_PUT_OFF) {
      session.lose('request_timeout', `'${channel}' cannot be subscribed to: ${error.message}`);
      throw new SessionEnded(error.message);
    }
    if (this.#everMade && (refusal === 'passing' || refusal === 'unknown')) {
      this.#tryLater();
      return 'later';
    }
    if (refusal === 'duplicate' && this.#everMade && this.#ghosts === 0) {
      // The durable is our own, made by a request whose answer was lost. Only the end of the session ends it.
      this.#ghosts++;
      session.lose(
        'request_timeout',
        `the durable '${request.durableName}' on '${channel}' is still held by this session`,
      );
      throw new SessionEnded(error.message);
    }
    if (refusal === 'duplicate') {
      throw new SubscribeError(
        channel,
        `durable '${request.durableName}' on channel '${channel}' is already in use by a subscription of this client ID: ` +
          `close that one first, or take another durableName`,
        { cause: error, serverText: error.message, durableInUse: true },
      );
    }
    throw permanent(channel, error);
  }
}

function permanent(channel: string, error: unknown): ResilientStanError {
  if (error instanceof PermissionError || error instanceof SubscribeError) return error;
  return new SubscribeError(
    channel,
    `the cluster refused the subscription to channel '${channel}': ${describe(error)}`,
    { cause: error, ...(error instanceof SubscribeRefused && { serverText: error.message }) },
  );
}
