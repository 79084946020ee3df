/** Durables to be dropped that are not online: the protocol can only drop what is subscribed to. */
import {
  EndRefused,
  SessionEnded,
  SubscribeRefused,
  type Session,
  type SubscribeRequest,
} from '../connection/protocol.js';
import { endRefusal, subscribeRefusal } from '../connection/server-texts.js';
import { describe, PermissionError, SubscribeError } from '../errors.js';
import type { Clock } from './clock.js';
import type { Departures } from './departures.js';

/** Delays in ms before the server is asked again after a refusal that may pass. */
const RETRIES = [100, 200, 400, 800];
/** What does not pass on so many sessions does not pass: others must not lose theirs over it for ever. */
const MOST_PUT_OFF = 8;

interface Drop {
  request: SubscribeRequest;
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
  /** Sessions that were given up over it. */
  putOff: number;
}

export class Drops {
  readonly #clock: Clock;
  readonly #departures: Departures;
  readonly #waiting = new Map<string, Drop>();

  constructor(clock: Clock, departures: Departures) {
    this.#clock = clock;
    this.#departures = departures;
  }

  /**
   * Resolves when it is dropped, on this session or a later one.
   * @throws PermissionError; SubscribeError when the server refuses it for good
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
   * Drops all that wait. Never rejects: if the session dies, the next one does it. Resolves when each has been tried; what has
   * to be tried again keeps waiting only those who want the same durable.
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

  /** @returns whether the server does not have it online any more. Never rejects. */
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
        // The next session tries.
        if (error instanceof SessionEnded || !session.alive) return true;
        const delay = RETRIES[attempt];
        switch (whatNow(error)) {
          case 'elsewhere':
            session.lose('replaced', `the cluster does not know this session any more (${describe(error)})`);
            return true;
          case 'again':
            if (delay === undefined) break;
            tried();
            await new Promise<void>((resolve) => this.#clock.after(delay, resolve));
            continue;
          case 'later':
            if (delay !== undefined && !online) {
              tried();
              await new Promise<void>((resolve) => this.#clock.after(delay, resolve));
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
    // It was there a moment ago: dropped by a request that was answered with an error, or another client has our ID now.
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
