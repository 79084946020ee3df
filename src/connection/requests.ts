/**
 * The requests of one session about subscriptions that have no answer yet: how long each may take, who waits for it, and what
 * becomes of it when the session ends.
 */
import { patience, type AwakeClock } from '../awake-clock.js';
import { SubscribeError, type LossReason, type ResilientStanError } from '../errors.js';
import { SessionEnded, type InHand } from './protocol.js';
import { ASK_EVERY } from './leader-search.js';
import type { LastWords } from './server-texts.js';
import type { Owed, FailureDetector } from './failure-detector.js';

/** The protocol's requests, by the name they have in its subjects. */
export type RequestKind = 'sub' | 'unsub' | 'subclose';

/** What is asked for. */
export interface Asked {
  readonly kind: RequestKind;
  readonly channel: string;
  /** Of what is asked for, the same from session to session. */
  readonly name: string;
  /** It can be done without. */
  readonly optional: boolean;
  /** The session has ended. */
  readonly abandon: () => void;
  /** It can never be. @returns whether somebody has given it up for good */
  readonly deny: (error: ResilientStanError) => boolean;
}

interface Request extends Asked, Owed {}

export interface RequestsOptions {
  /** The session that sends them. */
  session: { readonly alive: boolean; lose(reason: LossReason, message: string): void };
  /** How many bytes were handed over so far. */
  sent: () => number;
  detector: FailureDetector;
  /** How long an answer may take, in ms. */
  connectTimeout: number;
  clock: AwakeClock;
}

/** How long a request is waited for that was probably lost, ms, from when that is known. A leader takes a few. */
const PROBABLY_LOST = 500;

export class Requests {
  readonly #options: RequestsOptions;
  /** The oldest first. */
  readonly #open = new Set<Request>();
  /** When the oldest of them was answered last. */
  #answeredAt = -Infinity;
  /** Requests that wait to be sent again: what to do if the session ends. */
  readonly #pauses = new Set<() => void>();
  /** When it was noticed last that some of what we sent had been lost on its way to the leader. */
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

  /** Of a request that is about to be sent. @returns a function to call at the answer, true the first time */
  add(asked: Asked): () => boolean {
    const { clock, sent, detector } = this.#options;
    // Not sent yet: what is sent now is a few hundred bytes at most.
    const request: Request = { ...asked, at: clock.now(), end: sent() };
    this.#open.add(request);
    detector.owed();
    if (this.#cancelTimer === undefined) this.#awaitAnswers();
    return () => {
      // One that is answered before an older one says nothing of that: it may be lost.
      if (this.oldest === request) this.#answeredAt = clock.now();
      return this.#open.delete(request);
    };
  }

  /** Some of what was sent before is lost, and requests may be among it. */
  missed(): void {
    this.#missedAt = this.#options.clock.now();
    this.#cancelTimer?.();
    this.#awaitAnswers();
  }

  /** @throws SessionEnded, as soon as it has */
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

  /** These can never be. @returns whether somebody has given one up for good */
  deny(which: (asked: Asked) => boolean, error: ResilientStanError): boolean {
    const denied = [...this.#open].filter(which);
    for (const request of denied) this.#open.delete(request);
    return denied.map(({ deny }) => deny(error)).includes(true);
  }

  /** The subscriptions that are asked for, the oldest request first. */
  get subscribing(): Asked[] {
    return [...this.#open].filter(({ kind }) => kind === 'sub');
  }

  /** The same, as what can be given up when the server ends sessions over it. */
  get inHand(): InHand[] {
    return this.subscribing.map(({ channel, name, deny }) => ({
      key: name,
      line: 0,
      giveUp: (words) => {
        deny(refusedWith(channel, words, `It ended each session in which only this was asked for: see its log`));
      },
    }));
  }

  /** No timer runs any more. */
  stop(): void {
    this.#cancelTimer?.();
  }

  /** The session has ended: whoever waits is told. */
  abandon(): void {
    const abandoned = [...[...this.#open].map(({ abandon }) => abandon), ...this.#pauses];
    this.#open.clear();
    this.#pauses.clear();
    for (const abandon of abandoned) abandon();
  }

  /**
   * The server answers one request after the other. So the time for an answer counts from the answer before: thousands of
   * subscriptions, or a slow disk, may take long in all, and as long as they come there is no reason to begin anew.
   * One that was sent before something else was lost on the same way is probably lost with it: it gets less.
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
      // The request may be on its way, behind other bytes, or its answer. A later question shows whether that is so.
      detector.doubt();
      this.#cancelTimer = clock.after(ASK_EVERY, () => this.#awaitAnswers());
      return;
    }
    const what = { sub: 'subscribe', unsub: 'unsubscribe', subclose: 'subscription close' }[kind];
    // The server may have done it all the same: a ghost subscription goes away with the session only.
    session.lose(
      'request_timeout',
      `no answer to the ${what} request for '${channel}' within ${Math.round(clock.now() - at)} ms`,
    );
  }
}

/** The error for a subscription that a server ended the session over. */
export function refusedWith(channel: string, { text }: LastWords, advice: string): SubscribeError {
  return new SubscribeError(
    channel,
    `the server refused the subscription to channel '${channel}': '${text}'. ${advice}`,
  );
}
