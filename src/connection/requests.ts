/**
 * The requests of one session about subscriptions that have no answer yet. It knows how long each may take, who waits for it,
 * and what happens to it at the end of the session.
 */
import type { Clock } from '../clock/clock.js';
import { patience } from '../clock/patience.js';
import { SubscribeError, type LossReason, type ResilientStanError } from '../errors.js';
import { SessionEnded, type InHand } from './protocol.js';
import { ASK_EVERY } from './leader-search.js';
import type { LastWords } from './server-texts.js';
import type { Owed, FailureDetector } from './failure-detector.js';

/** The kinds of requests, named as in the protocol's subjects. */
export type RequestKind = 'sub' | 'unsub' | 'subclose';

/** A request. */
export interface Asked {
  readonly kind: RequestKind;
  readonly channel: string;
  /** The name of the requested subscription, which is the same on each session. */
  readonly name: string;
  /** Whether the request can be left out. */
  readonly optional: boolean;
  /** Is called when the session has ended. */
  readonly abandon: () => void;
  /** Is called when the request can never be granted. Returns whether somebody has given it up for good. */
  readonly deny: (error: ResilientStanError) => boolean;
}

interface Request extends Asked, Owed {}

export interface RequestsOptions {
  /** The session that sends the requests. */
  session: { readonly alive: boolean; lose(reason: LossReason, message: string): void };
  /** Returns the number of bytes that were handed over so far. */
  sent: () => number;
  detector: FailureDetector;
  /** Longest wait for an answer, in ms. */
  connectTimeout: number;
  clock: Clock;
}

/**
 * Longest wait for the answer to a request that was probably lost, in ms. It counts from the moment when that is known. A
 * leader takes a few ms.
 */
const PROBABLY_LOST = 500;

export class Requests {
  readonly #options: RequestsOptions;
  /** The open requests, the oldest first. */
  readonly #open = new Set<Request>();
  /** When the oldest request was last answered, in ms of the clock. */
  #answeredAt = -Infinity;
  /** The functions that end the pauses before a repetition when the session ends. */
  readonly #pauses = new Set<() => void>();
  /** When it was last noticed that bytes of ours were lost on their way to the leader, in ms of the clock. */
  #missedAt = -Infinity;
  #cancelTimer: (() => void) | undefined;

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  get oldest(): Owed | undefined {
    return this.#open.values().next().value;
  }

  /** Adds a request that is about to be sent. Returns a function to call at the answer, which is true the first time. */
  add(asked: Asked): () => boolean {
    const { clock, sent, detector } = this.#options;
    // The request is not sent yet. It has a few hundred bytes at most.
    const request: Request = { ...asked, at: clock.now(), end: sent() };
    this.#open.add(request);
    detector.owed();
    if (this.#cancelTimer === undefined) this.#awaitAnswers();
    return () => {
      // An answer before that of an older request says nothing about the older one, which may be lost.
      if (this.oldest === request) this.#answeredAt = clock.now();
      return this.#open.delete(request);
    };
  }

  /** Notes that bytes of ours were lost, which may have been requests. */
  missed(): void {
    this.#missedAt = this.#options.clock.now();
    this.#cancelTimer?.();
    this.#awaitAnswers();
  }

  /**
   * Resolves after a delay, in ms.
   * @throws SessionEnded as soon as the session has ended
   */
  pause(delay: number): Promise<void> {
    const { session, clock } = this.#options;
    return new Promise((resolve, reject) => {
      if (!session.alive) {
        reject(new SessionEnded('the session has ended'));
        return;
      }
      const cancel = clock.after(delay, () => {
        this.#pauses.delete(abandon);
        resolve();
      });
      const abandon = (): void => {
        cancel();
        reject(new SessionEnded('the session has ended'));
      };
      this.#pauses.add(abandon);
    });
  }

  /** Denies some requests for good. Returns whether somebody has given one up for good. */
  deny(which: (asked: Asked) => boolean, error: ResilientStanError): boolean {
    const denied = [...this.#open].filter(which);
    for (const request of denied) this.#open.delete(request);
    return denied.map(({ deny }) => deny(error)).includes(true);
  }

  /** The requests to subscribe, the oldest first. */
  get subscribing(): Asked[] {
    return [...this.#open].filter(({ kind }) => kind === 'sub');
  }

  /** The same requests in the form in which they can be given up when the server ends sessions because of them. */
  get inHand(): InHand[] {
    return this.subscribing.map(({ channel, name, deny }) => ({
      key: name,
      line: 0,
      giveUp: (words) => {
        deny(refusedWith(channel, words, `It ended each session in which only this was asked for: see its log`));
      },
    }));
  }

  /** Stops the timer. */
  stop(): void {
    this.#cancelTimer?.();
  }

  /** Notes that the session has ended, and tells whoever waits. */
  abandon(): void {
    const abandoned = [...[...this.#open].map(({ abandon }) => abandon), ...this.#pauses];
    this.#open.clear();
    this.#pauses.clear();
    for (const abandon of abandoned) abandon();
  }

  /**
   * Waits for the answer to the oldest request. The server answers one request after the other, so the time counts from the
   * previous answer. Thousands of subscriptions or a slow disk may take long in all, and that is all right as long as answers
   * come. A request that was sent before a loss on the same path was probably lost too, so it gets less time.
   */
  #awaitAnswers(): void {
    const { session, detector, connectTimeout, clock } = this.#options;
    this.#cancelTimer = undefined;
    const oldest = this.#open.values().next();
    if (!session.alive || oldest.done) return;
    const { at, end, kind, channel } = oldest.value;
    const since = Math.max(at, this.#answeredAt);
    const soon = Math.max(PROBABLY_LOST, 4 * detector.threshold);
    const hurried = at < this.#missedAt && soon <= connectTimeout;
    const due = hurried ? Math.max(since, this.#missedAt) + soon : since + connectTimeout;
    const left = due - clock.now();
    if (left > 0) {
      this.#cancelTimer = patience(clock, left, () => this.#awaitAnswers());
      return;
    }
    if (!detector.hasAnsweredSince(at) && clock.now() < detector.queuedUntil(end, since) + connectTimeout) {
      // The request or its answer may be behind other bytes. The answer to a later question shows whether that is so.
      detector.doubt();
      this.#cancelTimer = clock.after(ASK_EVERY, () => this.#awaitAnswers());
      return;
    }
    const what = { sub: 'subscribe', unsub: 'unsubscribe', subclose: 'subscription close' }[kind];
    // The server may have made the subscription all the same. Only the end of the session ends that one.
    session.lose(
      'request_timeout',
      `no answer to the ${what} request for '${channel}' within ${Math.round(clock.now() - at)} ms`,
    );
  }
}

/** Returns the error for a subscription that made a server end the session. */
export function refusedWith(channel: string, { text }: LastWords, advice: string): SubscribeError {
  return new SubscribeError(
    channel,
    `the server refused the subscription to channel '${channel}': '${text}'. ${advice}`,
    { serverText: text },
  );
}
