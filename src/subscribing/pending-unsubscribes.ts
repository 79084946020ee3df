/**
 * Drops durables that no subscription has at the moment. The protocol can only drop a subscribed durable, so each is subscribed
 * to first.
 */
import {
  EndRefused,
  SessionEnded,
  SubscribeRefused,
  type Session,
  type SubscribeRequest,
} from '../connection/protocol.js';
import { endRefusal, subscribeRefusal } from '../connection/server-texts.js';
import { describe, PermissionError, SubscribeError } from '../errors.js';
import type { Clock } from '../clock/clock.js';
import type { Departures } from './departures.js';

/** The delays before a request is sent again after a refusal that may pass, in ms. */
const RETRIES = [100, 200, 400, 800];
/**
 * The most sessions that are given up because of one durable. Otherwise other subscriptions would lose their sessions without
 * end.
 */
const MOST_PUT_OFF = 8;

interface Drop {
  request: SubscribeRequest;
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
  /** The number of sessions that were given up because of this durable. */
  putOff: number;
}

export class PendingUnsubscribes {
  readonly #clock: Clock;
  readonly #departures: Departures;
  readonly #waiting = new Map<string, Drop>();

  constructor(clock: Clock, departures: Departures) {
    this.#clock = clock;
    this.#departures = departures;
  }

  /**
   * Resolves when the durable is dropped, on this session or a later one.
   * @throws PermissionError; SubscribeError when the server refuses the drop for good
   */
  add(request: SubscribeRequest, session: Session | undefined): Promise<void> {
    const key = keyOf(request);
    let drop = this.#waiting.get(key);
    if (drop === undefined) {
      let settle!: Pick<Drop, 'resolve' | 'reject'>;
      const promise = new Promise<void>((resolve, reject) => {
        settle = { resolve, reject };
      });
      promise.catch(() => undefined);
      drop = { request, promise, putOff: 0, ...settle };
      this.#waiting.set(key, drop);
      if (session?.alive) this.#begin(drop, session, () => undefined);
    }
    return drop.promise;
  }

  /**
   * Tries to drop all waiting durables on a session. It resolves when each has been tried once, and never rejects, because the
   * next session tries again. A durable that has to be tried again holds up only subscriptions to the same durable.
   */
  async settle(session: Session): Promise<void> {
    if (this.#waiting.size === 0) return;
    await Promise.all(
      [...this.#waiting.values()].map((drop) => new Promise<void>((tried) => this.#begin(drop, session, tried))),
    );
  }

  close(error: Error): void {
    for (const drop of this.#waiting.values()) drop.reject(error);
    this.#waiting.clear();
  }

  #begin(drop: Drop, session: Session, tried: () => void): void {
    const passed = this.#departures.passed(session, drop.request);
    const trying = this.#try(drop, session, passed, tried).finally(tried);
    this.#departures.add(session, drop.request, trying);
  }

  /**
   * Tries to drop a durable on one session. It never rejects.
   * @returns whether no subscription has the durable at the server any more
   */
  async #try(drop: Drop, session: Session, passed: Promise<void> | undefined, tried: () => void): Promise<boolean> {
    const { request } = drop;
    for (let attempt = 0; this.#waiting.get(keyOf(request)) === drop; attempt++) {
      let online = false;
      try {
        await passed;
        const subscription = await session.subscribe(
          request,
          () => undefined,
          (made) => made.mute(),
        );
        online = true;
        await subscription.unsubscribe();
        this.#waiting.delete(keyOf(request));
        drop.resolve();
        return true;
      } catch (error) {
        // The next session tries again.
        if (error instanceof SessionEnded || !session.alive) return true;
        const delay = RETRIES[attempt];
        switch (whatNow(error)) {
          case 'elsewhere':
            session.lose('replaced', `the cluster does not know this session any more (${describe(error)})`);
            return true;
          case 'again':
            if (delay === undefined) break;
            tried();
            await new Promise<void>((resolve) => this.#clock.after(delay, resolve, { unref: true }));
            continue;
          case 'later':
            if (delay !== undefined && !online) {
              tried();
              await new Promise<void>((resolve) => this.#clock.after(delay, resolve, { unref: true }));
              continue;
            }
            if (++drop.putOff > MOST_PUT_OFF) break;
            session.lose('request_timeout', `${notDropped(request)}: ${describe(error)}`);
            return true;
          case 'never':
        }
        this.#waiting.delete(keyOf(request));
        drop.reject(refused(request, error));
        return !online;
      }
    }
    return true;
  }
}

function whatNow(error: unknown): 'again' | 'later' | 'elsewhere' | 'never' {
  if (error instanceof SubscribeRefused) {
    const refusal = subscribeRefusal(error.message);
    if (refusal === 'unregistered') return 'elsewhere';
    if (refusal === 'passing') return 'later';
    return refusal === 'final' ? 'never' : 'again';
  }
  if (error instanceof EndRefused) {
    const refusal = endRefusal(error.message);
    // The durable existed a moment ago. Either a request that was answered with an error has dropped it, or another client has
    // our client ID now.
    if (refusal === 'unknown-subscription') return 'again';
    return refusal === 'passing' ? 'later' : 'never';
  }
  return 'never';
}

function refused(request: SubscribeRequest, error: unknown): Error {
  const what = notDropped(request);
  if (error instanceof PermissionError) {
    return new PermissionError(error.subject, `${what}: ${error.message}`, { cause: error });
  }
  const { message } = error as Error;
  const advice =
    subscribeRefusal(message) === 'duplicate'
      ? 'it is in use again by a subscription of this client ID. Unsubscribe that one'
      : `the server still keeps it (${message}). Call unsubscribe() again when the cluster is well`;
  return new SubscribeError(request.channel, `${what}: ${advice}`, { cause: error, serverText: message });
}

function notDropped({ channel, durableName }: SubscribeRequest): string {
  return `the durable '${durableName}' on channel '${channel}' could not be dropped`;
}

function keyOf({ channel, queueGroup, durableName }: SubscribeRequest): string {
  return JSON.stringify([channel, queueGroup ?? null, durableName]);
}
