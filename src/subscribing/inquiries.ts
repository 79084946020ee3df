/**
 * Asks the server about the channels of a client beside its subscriptions. It peeks at single messages and reads ranges, each
 * with a subscription of its own that ends right afterwards. {@link Pacing} puts the requests in order. Whether a channel is
 * still the same is asked once for all its subscriptions, see {@link Identity}. Everything ends with the session.
 */
import {
  SessionEnded,
  type RawMessage,
  type Session,
  type SessionSubscription,
  type StartPosition,
} from '../connection/protocol.js';
import type { Clock } from '../clock/clock.js';
import type { Position } from './cursor.js';
import { Identity, type Judgement } from './identity.js';
import { moreUrgent, Pacing, type Urgency } from './pacing.js';

/** Longest wait for the next message, in ms. */
const PATIENCE = 1000;
/** The most messages that are read at a time. They are all in flight, because none is acknowledged. */
const LIMIT = 10_000;
/** The number of peeks for a message until it counts as missing. The answer may be lost on its way. */
const INSIST = 3;
/** The `ackWait` of these subscriptions, in ms. They acknowledge nothing and want no message twice. */
const ACK_WAIT = 30_000;
/** Time until it is checked again whether the requests of the user are answered, in ms. */
const SOON = 10;
/** The number of requests waiting for messages from which on only urgent ones are sent. */
const MOST_LISTENING = 64;

/** How a fetch ended. */
export type FetchEnd =
  /** The server has gone through the range. Messages that did not come are not stored. */
  | 'through'
  /** No more messages came in time, although there may be more. */
  | 'silent'
  /** `take` wanted no more messages. */
  | 'enough'
  /** The server refused the subscription, or the session ended. */
  | 'failed';

/** A request that waits for its turn or for its answer. */
interface Errand {
  /** Sends the request. It is called without a session if the request is no longer of use. */
  go: (session: Session | undefined) => void;
}

/** A question that may take several requests, one after the other. */
interface Matter {
  /** The urgency of its next request. */
  urgency: Urgency;
  /** Its request that waits for its turn, if any. */
  errand?: Errand | undefined;
}

/** The question whether a channel is still the same. */
interface IdentityMatter extends Matter {
  identity: Identity<(judgement: Judgement | undefined) => void>;
  running: boolean;
}

export class Inquiries {
  /** Whether the server has no room for another subscription, so that nothing is asked. */
  crowded = false;
  readonly #clock: Clock;
  #session: Session | undefined;
  readonly #pacing = new Pacing<Errand>();
  readonly #identities = new Map<string, IdentityMatter>();
  /** The functions that end the waits for the next message. */
  readonly #listening = new Set<() => void>();
  /** The peeks at the oldest message that are under way, by channel. */
  readonly #oldest = new Map<string, Promise<Position | undefined>>();
  #cancelWake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  attach(session: Session): void {
    this.detach();
    this.#session = session;
  }

  /** Ends all questions without a result, because the session has ended or nobody needs them any more. */
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
   * Peeks at one message of a channel, for example the oldest or the newest.
   * @param start is called right before the request is sent, because an age grows while the request waits
   * @returns undefined when there is no message or the peek failed
   */
  peek(channel: string, start: () => StartPosition, urgency: Urgency): Promise<Position | undefined> {
    return this.#peek(channel, start, { urgency });
  }

  /** Peeks at the oldest message of a channel. Calls at the same time share one peek. */
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
   * Hands over the stored messages from `from` up to but not including `to`: in order, and at most {@link LIMIT} of them.
   * @param take returns false when it wants no more messages
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
   * Asks whether a channel is still the one in which a message was known. Each session asks it once for all subscriptions.
   * @param date the session on which the message was last known; all messages with the same date belong to the same channel
   * @returns undefined when the question failed
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

  /**
   * Peeks at the first message from a sequence on, or at the last message if there is none. Returns undefined if both peeks
   * failed.
   */
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
   * Reads messages until no more are wanted or none comes in time.
   * @param take returns false when it wants no more messages
   * @returns false when the server refused the subscription or the session ended
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
      cancel = this.#clock.after(PATIENCE, stop, { unref: true });
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
    // Nobody waits for the close, because the subscription ends with the session at the latest.
    this.#ask({ urgency: 'closing' }, () => subscription.close()).catch(() => undefined);
    return through || this.#session === session;
  }

  /**
   * Sends a request when it is its turn.
   * @throws the error of the request; SessionEnded
   */
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
            this.#pacing.answered(errand, this.#clock.elapsed());
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

  /** Sends the requests whose turn it is, and sets a timer for the next ones. */
  #pump(): void {
    const session = this.#session;
    if (session === undefined) return;
    this.#cancelWake?.();
    this.#cancelWake = undefined;
    const now = this.#clock.elapsed();
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
    if (wakeAt !== undefined) this.#cancelWake = this.#clock.after(wakeAt - now, () => this.#pump(), { unref: true });
  }
}
