/**
 * Asks the server about the channels of a client beside its subscriptions. It peeks at single messages and reads ranges, each
 * with a subscription of its own that ends right afterwards. {@link Pacing} puts the requests in order. Whether a channel is
 * still the same is asked once for all its subscriptions, see {@link Identity}. Everything ends with the session.
 */
import {
  SessionEnded,
  SubscribeRefused,
  type RawMessage,
  type Session,
  type StartPosition,
} from '../connection/protocol.js';
import { PermissionError } from '../errors.js';
import type { Clock } from '../clock/clock.js';
import type { Position } from './cursor.js';
import { Identity, type Judgement } from './identity.js';
import { moreUrgent, Pacing, type Urgency } from './pacing.js';

/** Longest wait for the next message, in ms. */
const PATIENCE = 1000;
/** Longest wait for the one message of a question until the question is asked again to be sure, in ms. */
const SOON_SILENT = 250;
/** The same as a multiple of the time that the subscribe request took, because a busy server is late with its messages as well. */
const SLOWER = 4;
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

/** How a page ended that a caller waits for. What has failed is thrown. */
export type PageEnd = Exclude<FetchEnd, 'failed'>;

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

/** A question about the newest message that several callers may wait for, as long as it is not sent. */
interface SharedQuestion {
  readonly matter: Matter;
  readonly answer: Promise<Position | undefined>;
}

/** What is read by one subscription, and how long it is waited for. */
interface Reading {
  channel: string;
  /** Is called right before the request is sent. */
  start: () => StartPosition;
  /** The most messages, which are all in flight. */
  count: number;
  matter: Matter;
  /** Returns false when no more messages are wanted. */
  take: (message: RawMessage) => boolean;
  /** Returns the longest wait for the next message, in ms. */
  patience: () => number;
  /** Whether a caller hears that it is forbidden, so that the next session is not asked the same. */
  told?: boolean;
  /** Is called when no message came in time. The messages that come until it resolves count as well. */
  confirm?: () => Promise<void>;
}

export class Inquiries {
  /** Why the server does not let us close subscriptions. Each question would leave one behind. */
  #unclosable: PermissionError | undefined;
  readonly #clock: Clock;
  readonly #crowded: () => boolean;
  #session: Session | undefined;
  readonly #pacing = new Pacing<Errand>();
  readonly #identities = new Map<string, IdentityMatter>();
  /** The functions that end the waits for the next message. */
  readonly #listening = new Set<() => void>();
  /** The peeks at the oldest message that are under way, by channel. */
  readonly #oldest = new Map<string, Promise<Position | undefined>>();
  /** The questions about the newest message that are not sent yet, by channel. */
  readonly #newest = new Map<string, SharedQuestion>();
  #cancelWake: (() => void) | undefined;

  /** @param crowded returns whether the server has no room for another subscription, so that nothing is asked */
  constructor(clock: Clock, crowded: () => boolean) {
    this.#clock = clock;
    this.#crowded = crowded;
  }

  attach(session: Session): void {
    this.detach();
    this.#unclosable = undefined;
    this.#session = session;
  }

  /** Ends all questions without a result, because the session has ended or nobody needs them any more. */
  detach(): void {
    this.#session = undefined;
    this.#cancelWake?.();
    this.#cancelWake = undefined;
    this.#identities.clear();
    this.#oldest.clear();
    this.#newest.clear();
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
   * Looks at one message of a channel for a caller who has to know. That there is none is certain: a second question, which the
   * server answers behind the message of the first, has found none either.
   * @param start is called right before each request is sent
   * @returns undefined when there is no message
   * @throws SessionEnded; SubscribeRefused; PermissionError
   */
  async look(channel: string, start: () => StartPosition, matter: Matter): Promise<Position | undefined> {
    let seen: Position | undefined;
    const ask = async (confirm?: () => Promise<void>): Promise<void> => {
      let sentAt = 0;
      let took: number | undefined;
      await this.#listen({
        channel,
        count: 1,
        matter: confirm === undefined ? { urgency: 'confirming' } : matter,
        told: true,
        start: () => {
          sentAt = this.#clock.elapsed();
          return start();
        },
        take: (message) => {
          const sequence = message.getSequence();
          if (seen === undefined || sequence > seen.sequence) seen = { sequence, time: message.getTimestampRaw() };
          return false;
        },
        patience: () => Math.max(SOON_SILENT, SLOWER * (took ??= this.#clock.elapsed() - sentAt)),
        ...(confirm !== undefined && { confirm }),
      });
    };
    await ask(() => ask());
    return seen;
  }

  /**
   * Looks at the newest message of a channel, as {@link look}. Calls share a question until it is sent, so the answer includes
   * everything that was stored before the call.
   * @returns undefined when there is none
   * @throws as {@link look}
   */
  newest(channel: string, urgency: Urgency): Promise<Position | undefined> {
    const shared = this.#newest.get(channel);
    if (shared !== undefined) {
      this.#hurry(shared.matter, urgency);
      return shared.answer;
    }
    const matter: Matter = { urgency };
    let sent = false;
    const last = (): StartPosition => {
      if (!sent && this.#newest.get(channel)?.matter === matter) this.#newest.delete(channel);
      sent = true;
      return { at: 'last' };
    };
    const answer = this.look(channel, last, matter);
    if (!sent && this.#session !== undefined) {
      const shared = { matter, answer };
      this.#newest.set(channel, shared);
      // A question that could not be sent is asked anew by the next caller.
      answer.catch(() => {
        if (this.#newest.get(channel) === shared) this.#newest.delete(channel);
      });
    }
    return answer;
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
    try {
      return await this.page(channel, from, to, take, { urgency });
    } catch {
      return 'failed';
    }
  }

  /**
   * Does what {@link fetch} does, and throws what has failed.
   * @param patience longest wait for the next message, in ms
   * @throws SessionEnded; SubscribeRefused; PermissionError
   */
  async page(
    channel: string,
    from: number,
    to: number,
    take: (message: RawMessage) => boolean,
    matter: Matter,
    patience = PATIENCE,
  ): Promise<PageEnd> {
    const count = Math.min(to - from, LIMIT);
    let end: PageEnd = 'silent';
    await this.#listen({
      channel,
      start: () => ({ sequence: from }),
      count,
      matter,
      take: (message) => {
        const sequence = message.getSequence();
        if (sequence >= to) end = 'through';
        else if (!take(message)) end = 'enough';
        else if (sequence >= from + count - 1) end = 'through';
        return end === 'silent';
      },
      patience: () => patience,
      told: matter.urgency === 'asked',
    });
    return end;
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
      this.#hurry(matter, urgency);
      if (!matter.running) void this.#identify(channel, matter);
    });
  }

  /** Raises the urgency of a matter. */
  #hurry(matter: Matter, urgency: Urgency): void {
    if (!moreUrgent(urgency, matter.urgency)) return;
    matter.urgency = urgency;
    if (matter.errand !== undefined) this.#pacing.hurry(matter.errand, urgency);
    this.#pump();
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
    const take = (message: RawMessage): boolean => {
      seen = { sequence: message.getSequence(), time: message.getTimestampRaw() };
      return false;
    };
    // A peek that failed has seen nothing.
    await this.#listen({ channel, start, count: 1, matter, take, patience: () => PATIENCE }).catch(() => undefined);
    return seen;
  }

  /**
   * Reads messages until no more are wanted or none comes in time.
   * @throws SubscribeRefused; PermissionError; SessionEnded, unless all that was wanted had come before
   */
  async #listen({ channel, start, count, matter, take, patience, told, confirm }: Reading): Promise<void> {
    // The server would end the session over one more.
    if (this.#crowded()) throw new SubscribeRefused('maximum subscriptions exceeded');
    if (told === true && this.#unclosable !== undefined) throw this.#unclosable;
    const session = this.#session;
    let through = false;
    let failure: Error | undefined;
    let stop: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    let cancel: () => void = () => undefined;
    const silent = (): void => {
      if (confirm === undefined) stop();
      else
        confirm().then(stop, (error: Error) => {
          failure = error;
          stop();
        });
    };
    const wait = (): void => {
      cancel();
      cancel = this.#clock.after(patience(), silent, { unref: true });
    };
    const subscription = await this.#ask(matter, (session) =>
      session.subscribe(
        { channel, maxInFlight: count, ackWait: ACK_WAIT, start: start(), optional: true },
        (message) => {
          if (through) return;
          through = !take(message);
          if (through) stop();
          else wait();
        },
        () => undefined,
        told === true ? () => undefined : undefined,
      ),
    );
    if (!through) {
      wait();
      this.#listening.add(stop);
      await stopped;
      this.#listening.delete(stop);
    }
    cancel();
    subscription.mute();
    // Nobody waits for the close, because the subscription ends with the session at the latest.
    this.#ask({ urgency: 'closing' }, () => subscription.close()).catch((error: unknown) => {
      if (error instanceof PermissionError && this.#session === session) this.#unclosable = unclosable(error);
    });
    if (through) return;
    if (this.#session !== session) throw new SessionEnded('the session has ended');
    if (failure !== undefined) throw failure;
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

function unclosable(error: PermissionError): PermissionError {
  return new PermissionError(
    error.subject,
    `a question to the server takes a subscription for a moment, and this user must not close it, so each would leave one ` +
      `behind: allow the user to publish to '${error.subject}' (${error.message})`,
    { cause: error },
  );
}
