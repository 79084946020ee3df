/**
 * What a client asks about its channels beside its subscriptions: looks at single messages, and reads ranges, each with a
 * subscription that lives only for that. Here they are asked one after the other, see {@link Pacing}; whether a channel is
 * still the same is asked once for all its subscriptions, see {@link Identity}. With the session all of it ends.
 */
import {
  SessionEnded,
  type RawMessage,
  type Session,
  type SessionSubscription,
  type StartPosition,
} from '../connection/protocol.js';
import type { Clock } from './clock.js';
import type { Position } from './cursor.js';
import { Identity, type Judgement } from './identity.js';
import { moreUrgent, Pacing, type Urgency } from './pacing.js';

/** How long to wait for a message, once the subscription is made or another one has come, ms. */
const PATIENCE = 1000;
/** The most that is read at a time: nothing is acknowledged meanwhile, so all of it is in flight. */
const LIMIT = 10_000;
/** So often we look for a message before we believe that there is none: what is lost on its way may be lost again. */
const INSIST = 3;
/** Nothing is acknowledged, and nothing is wanted twice, ms. */
const ACK_WAIT = 30_000;
/** How soon it is seen that the requests of the user are answered, ms. */
const SOON = 10;
/** While so many wait for messages that do not come, none is begun that is not urgent. */
const MOST_LISTENING = 64;

/** How a fetch ended. */
export type FetchEnd =
  /** The server has gone through the range: what did not come is not there. */
  | 'through'
  /** What has come is all that came in time. There may be more. */
  | 'silent'
  /** `take` wanted no more. */
  | 'enough'
  /** The server refused it, or the session ended. */
  | 'failed';

/** A request that waits for its turn, or for its answer. */
interface Errand {
  /** It is its turn; without a session it is of no use any more. */
  go: (session: Session | undefined) => void;
}

/** What may take several requests, one after the other. */
interface Matter {
  /** Of its next request. */
  urgency: Urgency;
  /** What waits for its turn. */
  errand?: Errand | undefined;
}

/** Whether a channel is still the same. */
interface IdentityMatter extends Matter {
  identity: Identity<(judgement: Judgement | undefined) => void>;
  running: boolean;
}

export class Inquiries {
  /** The server has room for no more subscriptions than there are: nothing is asked. */
  crowded = false;
  readonly #clock: Clock;
  #session: Session | undefined;
  readonly #pacing = new Pacing<Errand>();
  readonly #identities = new Map<string, IdentityMatter>();
  /** What wait for their next message: how that is ended. */
  readonly #listening = new Set<() => void>();
  /** Looks at the oldest message that are under way. */
  readonly #oldest = new Map<string, Promise<Position | undefined>>();
  #cancelWake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  attach(session: Session): void {
    this.detach();
    this.#session = session;
  }

  /** The session is gone, or nobody wants to know any more: whoever waits learns nothing. */
  detach(): void {
    this.#session = undefined;
    this.#cancelWake?.();
    this.#cancelWake = undefined;
    this.#identities.clear();
    this.#oldest.clear();
    for (const errand of this.#pacing.clear()) errand.go(undefined);
    for (const stop of [...this.#listening]) stop();
  }

  /**
   * One message of a channel: the oldest, say, or the newest.
   * @param start asked for at the last moment: an age grows while it waits for its turn
   * @returns undefined when there is none, or when it could not be learned
   */
  peek(channel: string, start: () => StartPosition, urgency: Urgency): Promise<Position | undefined> {
    return this.#peek(channel, start, { urgency });
  }

  /** The oldest message of a channel. Asked once for all who want to know at a time. */
  oldest(channel: string, urgency: Urgency): Promise<Position | undefined> {
    let asked = this.#oldest.get(channel);
    if (asked === undefined) {
      asked = this.peek(channel, () => ({ at: 'first' }), urgency);
      this.#oldest.set(channel, asked);
      const forget = (): void => {
        if (this.#oldest.get(channel) === asked) this.#oldest.delete(channel);
      };
      asked.then(forget, forget);
    }
    return asked;
  }

  /**
   * Hands over what the server has of the sequences `from` up to, and without, `to`: in order, and at most {@link LIMIT}.
   * @param take false: no more is wanted
   */
  async fetch(
    channel: string,
    from: number,
    to: number,
    take: (message: RawMessage) => boolean,
    urgency: Urgency = 'held',
  ): Promise<FetchEnd> {
    const count = Math.min(to - from, LIMIT);
    let end: FetchEnd = 'silent';
    const read = await this.#read(
      channel,
      () => ({ sequence: from }),
      count,
      { urgency },
      (message) => {
        const sequence = message.getSequence();
        if (sequence >= to) end = 'through';
        else if (!take(message)) end = 'enough';
        else if (sequence >= from + count - 1) end = 'through';
        return end === 'silent';
      },
    );
    return read ? end : 'failed';
  }

  /**
   * Whether a channel is still the one in which a message was known. Asked once on a session for all who want to know.
   * @param date on which session it was known last: what was known on the same one is known of the same channel
   * @returns undefined when it could not be learned
   */
  identify(channel: string, known: Position, date: unknown, urgency: Urgency): Promise<Judgement | undefined> {
    return new Promise((resolve) => {
      let matter = this.#identities.get(channel);
      if (matter === undefined) {
        matter = { identity: new Identity(), urgency: 'routine', running: false };
        this.#identities.set(channel, matter);
      }
      const judgement = matter.identity.ask(resolve, known, date);
      if (judgement !== undefined) {
        resolve(judgement);
        return;
      }
      if (moreUrgent(urgency, matter.urgency)) {
        matter.urgency = urgency;
        if (matter.errand !== undefined) this.#pacing.hurry(matter.errand, urgency);
        this.#pump();
      }
      if (!matter.running) void this.#identify(channel, matter);
    });
  }

  async #identify(channel: string, matter: IdentityMatter): Promise<void> {
    const { identity } = matter;
    matter.running = true;
    for (let next = identity.next(); next !== undefined; next = identity.next()) {
      const seen = await this.#peekFrom(channel, next.position.sequence, matter);
      for (const [tell, judgement] of identity.saw(next, seen)) tell(judgement);
    }
    matter.running = false;
    matter.urgency = 'routine';
  }

  /** The first message from a sequence on, or, if there is none, the last one; undefined if neither could be learned. */
  async #peekFrom(channel: string, sequence: number, matter: Matter): Promise<Position | undefined> {
    const session = this.#session;
    for (let attempt = 0; attempt < INSIST && this.#session === session; attempt++) {
      const seen = await this.#peek(channel, () => ({ sequence }), matter);
      if (seen !== undefined) return seen;
      const last = await this.#peek(channel, () => ({ at: 'last' }), matter);
      if (last !== undefined && last.sequence < sequence) return last;
    }
    return undefined;
  }

  async #peek(channel: string, start: () => StartPosition, matter: Matter): Promise<Position | undefined> {
    let seen: Position | undefined;
    await this.#read(channel, start, 1, matter, (message) => {
      seen = { sequence: message.getSequence(), time: message.getTimestampRaw() };
      return false;
    });
    return seen;
  }

  /**
   * Reads messages until no more are wanted, or none comes any more.
   * @param take false: no more are wanted
   * @returns false when the server refused it, or the session ended
   */
  async #read(
    channel: string,
    start: () => StartPosition,
    count: number,
    matter: Matter,
    take: (message: RawMessage) => boolean,
  ): Promise<boolean> {
    if (this.crowded) return false;
    const session = this.#session;
    let through = false;
    let stop: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    let cancel: () => void = () => undefined;
    const wait = (): void => {
      cancel();
      cancel = this.#clock.after(PATIENCE, stop);
    };
    let subscription: SessionSubscription;
    try {
      subscription = await this.#ask(matter, (session) =>
        session.subscribe(
          { channel, maxInFlight: count, ackWait: ACK_WAIT, start: start(), optional: true },
          (message) => {
            if (through) return;
            through = !take(message);
            if (through) stop();
            else wait();
          },
          () => undefined,
        ),
      );
    } catch {
      return false;
    }
    if (!through) {
      wait();
      this.#listening.add(stop);
      await stopped;
      this.#listening.delete(stop);
    }
    cancel();
    subscription.mute();
    // Nobody waits for it: it is of no use any more, and goes with the session at the latest.
    this.#ask({ urgency: 'closing' }, () => subscription.close()).catch(() => undefined);
    return through || this.#session === session;
  }

  /** Sends a request when it is its turn. @throws what it rejects with; SessionEnded */
  #ask<T>(matter: Matter, request: (session: Session) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const errand: Errand = {
        go: (session) => {
          matter.errand = undefined;
          if (session === undefined) {
            reject(new SessionEnded('the session has ended'));
            return;
          }
          const answered = (): void => {
            this.#pacing.answered(errand, this.#clock.now());
            this.#pump();
          };
          request(session).then(resolve, reject).then(answered, answered);
        },
      };
      if (this.#session === undefined) {
        errand.go(undefined);
        return;
      }
      matter.errand = errand;
      this.#pacing.add(errand, matter.urgency);
      this.#pump();
    });
  }

  /** Sends what it is the turn of, and comes back when that may be so of something else. */
  #pump(): void {
    const session = this.#session;
    if (session === undefined) return;
    this.#cancelWake?.();
    this.#cancelWake = undefined;
    const now = this.#clock.now();
    for (;;) {
      const hindrances = {
        busy: session.pendingRequests > this.#pacing.asked,
        full: this.#listening.size >= MOST_LISTENING,
      };
      const errand = this.#pacing.next(now, hindrances);
      if (errand === undefined) break;
      errand.go(session);
    }
    const wakeAt = this.#pacing.wakeAt(now + SOON);
    if (wakeAt !== undefined) this.#cancelWake = this.#clock.after(wakeAt - now, () => this.#pump());
  }
}
