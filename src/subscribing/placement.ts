/**
 * Where a subscription lives at the server right now. It is made, made again and given up here, one of these at a time;
 * what it must start at and what comes of its messages is the host's.
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
import type { Clock } from './clock.js';
import type { DatedPlan } from './knowledge.js';
import type { Window } from './window.js';

/** What does not pass on so many sessions in a row does not pass: others must not lose theirs over it for ever. */
const MOST_PUT_OFF = 8;
/** Between two tries for one that was there and is refused now, ms. */
const SHORTEST_DELAY = 1000;
const LONGEST_DELAY = 30_000;
/** Delays in ms before a refused request is sent again. */
const RETRIES = [100, 200, 400, 800];

/** How a subscription is made again while its session lives. */
export type Remaking =
  /** The new one first, so that there is always one. A durable has to be closed first, if it is there. */
  | 'make-first'
  /** The old one is closed first. */
  | 'close-first'
  /** The old one is dropped first, and what the server remembers of it. */
  | 'drop-first';

const STRENGTH: Record<Remaking, number> = { 'make-first': 0, 'close-first': 1, 'drop-first': 2 };

export interface PlacementHost {
  readonly channel: string;
  /** What to ask for, decided at the last moment. */
  request(): { request: SubscribeRequest; plan: DatedPlan };
  received(message: RawMessage): void;
  /**
   * The server has made it. The first messages follow at once. False: it is not wanted like that; nothing of it counts.
   * 'again': nor is it, and it is asked for once more, as `request` says by then.
   */
  made(plan: DatedPlan, again: boolean): boolean | 'again';
  /**
   * Resolves when the server has let go of what else has the durable on this session; undefined: at once.
   * @throws SessionEnded
   */
  passed(session: Session): Promise<void> | undefined;
  /** The server refuses to end the one before. */
  deaf(session: Session, error: unknown): void;
  /** Until then the server sends messages to the one before as well, and nobody listens there. Never rejects. */
  crossing(until: Promise<void>): void;
  /** It has left, and so have all others that had to: what is made now starts afresh. */
  left(): void;
  /** The session ended before the server had forgotten it. */
  undropped(): void;
  /** It could not be made again, for good. */
  impossible(error: ResilientStanError): void;
}

/** One subscription at the server. */
class Life {
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

export class Placement {
  readonly #host: PlacementHost;
  readonly #clock: Clock;
  readonly #window: Window;
  #session: Session | undefined;
  /** The current one: acks go to it, and only its messages count. */
  #life: Life | undefined;
  /** Changes with every session: what was begun for another one has no effect. */
  #turn = 0;
  /** What is under way on this session; never rejects. */
  #work: Promise<void> | undefined;
  #next: { remaking: Remaking; party: Party | undefined } | undefined;
  #ended = false;
  /** What was acknowledged while there was no session, after the end. */
  readonly #unsent: number[] = [];
  /** Called when the session is gone, by whoever waits for something before the end. */
  #onDetached: (() => void) | undefined;
  #everMade = false;
  /** Sessions in a row that were given up because the server took our own durable for another's. */
  #ghosts = 0;
  /** Sessions in a row that were given up because of a refusal that might pass, and did not. */
  #putOff = 0;
  /** How often in a row it was put off while the session lived. */
  #later = 0;

  constructor(host: PlacementHost, clock: Clock, window: Window) {
    this.#host = host;
    this.#clock = clock;
    this.#window = window;
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** Resolves when nothing is under way. */
  get settled(): Promise<void> {
    return this.#work ?? Promise.resolve();
  }

  /** The server has it, and we listen. */
  get live(): boolean {
    return this.#life !== undefined && !this.#life.muted;
  }

  /**
   * Makes it on a new session.
   * @throws SessionEnded; SubscribeError or PermissionError when it can never be
   */
  attach(session: Session): Promise<void> {
    this.detach();
    if (this.#ended) return Promise.resolve();
    this.#session = session;
    const making = this.#make(session, this.#turn);
    this.#working(making);
    return making;
  }

  /** The session is gone, and with it all that was under way. */
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

  /** Something was acknowledged when there was no session, after it has been stopped. */
  get hasUnsent(): boolean {
    return this.#unsent.length > 0;
  }

  /**
   * It was stopped, and handlers still run: makes it on a new session for their acknowledgements only. Never rejects, unless
   * the session has ended.
   * @throws SessionEnded
   */
  async linger(session: Session): Promise<void> {
    this.detach();
    this.#session = session;
    const turn = this.#turn;
    const life = new Life(session);
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

  /** Nothing is delivered any more until it is made again; acks still go out. */
  mute(): void {
    this.#life?.mute();
  }

  /** Makes it again on the same session. Several wishes at a time are one. */
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
   * Gives it up for good: at the server too, if there is a session.
   * @param ready resolves when the last ack has been given
   * @returns whether the server has confirmed it; false also as soon as the session is gone
   * @throws PermissionError or EndRefused when the server still has it
   */
  async end(drop: boolean, ready: Promise<void>): Promise<boolean> {
    this.stop();
    if (drop && this.#session === undefined) return false;
    const detached = new Promise<void>((resolve) => {
      this.#onDetached = resolve;
    });
    // What is to be dropped is dropped on the next session. What is kept is made there once more for what still runs.
    await (drop ? Promise.race([ready, detached]) : ready);
    // A request on its way cannot be taken back; what it makes is given up below.
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

  /** It is not made again from now on, and delivers nothing; acks still go out. */
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
          // There may be room for one, and not for two at a time.
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
      // The session ended: the next one follows, with all subscriptions.
      if (error instanceof SessionEnded || !session.alive || turn !== this.#turn || this.#ended) return;
      this.#host.impossible(permanent(this.#host.channel, error));
    } finally {
      party?.arrive();
    }
  }

  async #end(life: Life | undefined, how: 'close' | 'unsubscribe'): Promise<void> {
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
          // With one that still lives, a second is for a moment only.
          if (this.live) request.optional = true;
          const life = new Life(session);
          return session.subscribe(
            request,
            (message) => {
              if (!life.muted) this.#host.received(message);
            },
            (made) => {
              again = this.#made(life, turn, asked.plan, made);
            },
            (error) => {
              // The session is about to end over it, so this is the last chance to tell.
              if (turn === this.#turn && !this.#ended) this.#host.impossible(error);
            },
          );
        });
        if (subscription === undefined || !again) return;
        // Before the next one, because the last member of a queue group takes the position of the group with it.
        await subscription.close().catch((error: unknown) => {
          // Where that is forbidden or refused, it stays, and nobody listens to it.
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
    this.#clock.after(delay, () => {
      if (turn === this.#turn && !this.live) this.remake('make-first');
    });
  }

  /** The server has it still, and would refuse another of its name: only the end of the session ends it. */
  #unclosed(session: Session, error: unknown): never {
    if (error instanceof PermissionError || error instanceof EndRefused) {
      const reason = error instanceof PermissionError ? 'permission' : 'request_timeout';
      session.lose(reason, `the durable on '${this.#host.channel}' cannot be closed: ${error.message}`);
      throw new SessionEnded(error.message);
    }
    throw error;
  }

  /** True: it is to be made once more. */
  #made(life: Life, turn: number, plan: DatedPlan, subscription: SessionSubscription): boolean {
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
        // If the session has died, so has the old one. One that is refused stays, and nobody listens to it.
        if (!(error instanceof SessionEnded)) this.#host.deaf(old.session, error);
      });
      this.#host.crossing(closed ?? Promise.resolve());
    }
    return wanted === 'again';
  }

  /**
   * Waits if the refusal may pass, and throws if not.
   * @returns when it is to be asked for again; later, when nobody shall wait for that
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
      await new Promise<void>((resolve) => this.#clock.after(delay, resolve));
      return 'again';
    }
    if (refusal === 'passing' && ++this.#putOff <= MOST_PUT_OFF) {
      session.lose('request_timeout', `'${channel}' cannot be subscribed to: ${error.message}`);
      throw new SessionEnded(error.message);
    }
    if (this.#everMade && (refusal === 'passing' || refusal === 'unknown')) {
      // It was there, so it can be: nobody but the user ends it.
      this.#tryLater();
      return 'later';
    }
    if (refusal === 'duplicate' && this.#everMade && this.#ghosts === 0) {
      // It is ours: a ghost of a request whose answer was lost. It goes away with the session, and only with it.
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
        { cause: error, serverText: error.message },
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
