/**
 * Asks the server for callers who wait for the answer. A question waits for a session, and is asked again on the next one if its
 * session ends first. So it works during an outage as publishing and subscribing do.
 */
import { SessionEnded, SubscribeRefused, type Session } from '../connection/protocol.js';
import { subscribeRefusal } from '../connection/server-texts.js';
import { describe, SubscribeError, type ClosedError } from '../errors.js';
import type { Clock } from '../clock/clock.js';
import type { Caller } from './caller.js';
import type { Position } from './cursor.js';
import type { Inquiries } from './inquiries.js';
import type { Urgency } from './pacing.js';

/** The delays before a refused question is asked again, in ms. A refusal that will pass is waited for with the last of them. */
const RETRIES = [100, 200, 400, 800];

export class Questions {
  readonly inquiries: Inquiries;
  readonly #clock: Clock;
  #session: Session | undefined;
  #over: ClosedError | undefined;
  /** Those who wait for a session. */
  readonly #waiting = new Set<() => void>();

  constructor(clock: Clock, inquiries: Inquiries) {
    this.#clock = clock;
    this.inquiries = inquiries;
  }

  /** Why nothing is asked any more, once the client closes. */
  get over(): ClosedError | undefined {
    return this.#over;
  }

  attach(session: Session): void {
    this.#session = session;
    for (const go of this.#waiting) go();
  }

  detach(): void {
    this.#session = undefined;
  }

  /** Ends all questions, because the client closes. */
  end(error: ClosedError): void {
    this.#over ??= error;
    this.#session = undefined;
    for (const go of this.#waiting) go();
  }

  /** The newest stored message of a channel; undefined if there is none. @throws as {@link ask} */
  newest(channel: string, caller: Caller, urgency: Urgency = 'asked'): Promise<Position | undefined> {
    return this.ask(channel, () => this.inquiries.newest(channel, urgency), caller);
  }

  /** The oldest stored message of a channel; undefined if there is none. @throws as {@link ask} */
  oldest(channel: string, caller: Caller, urgency: Urgency = 'asked'): Promise<Position | undefined> {
    return this.ask(channel, () => this.inquiries.look(channel, () => ({ at: 'first' }), { urgency }), caller);
  }

  /**
   * Asks a question until it is answered.
   * @param question is called once for each session that it is asked on
   * @throws SubscribeError or PermissionError when it is refused for good; ClosedError when the client closes; the reason for which
   *   the caller waits no more
   */
  async ask<T>(channel: string, question: () => Promise<T>, caller: Caller): Promise<T> {
    for (let refusals = 0; ;) {
      const session = await this.#next(caller);
      try {
        return await caller.wait(question());
      } catch (error) {
        if (caller.error !== undefined) throw caller.error;
        if (error instanceof SessionEnded) {
          // The inquiries may hear of the end before this does.
          if (this.#session === session && session.alive) await this.#rest(RETRIES[0]!, caller);
          continue;
        }
        if (!(error instanceof SubscribeRefused)) throw error;
        const refusal = subscribeRefusal(error.message);
        if (refusal === 'unregistered') {
          session.lose(
            'replaced',
            `the cluster does not know this session any more (asking about '${channel}': ${error.message})`,
          );
          continue;
        }
        const delay = RETRIES[refusals++] ?? (refusal === 'passing' ? RETRIES.at(-1) : undefined);
        if (refusal === 'final' || delay === undefined) throw refused(channel, error);
        await this.#rest(delay, caller);
      }
    }
  }

  /** Resolves to a living session. */
  async #next(caller: Caller): Promise<Session> {
    for (;;) {
      if (caller.error !== undefined) throw caller.error;
      if (this.#over !== undefined) throw this.#over;
      const session = this.#session;
      if (session?.alive) return session;
      let go!: () => void;
      const attached = new Promise<void>((resolve) => {
        go = resolve;
      });
      this.#waiting.add(go);
      try {
        await caller.wait(attached);
      } finally {
        this.#waiting.delete(go);
      }
    }
  }

  #rest(milliseconds: number, caller: Caller): Promise<void> {
    let cancel = (): void => undefined;
    const rest = new Promise<void>((resolve) => {
      cancel = this.#clock.after(milliseconds, resolve, { unref: true });
    });
    return caller.wait(rest).finally(cancel);
  }
}

function refused(channel: string, error: SubscribeRefused): SubscribeError {
  return new SubscribeError(
    channel,
    `the cluster refused to be asked about channel '${channel}', which takes a subscription for a moment: ${describe(error)}`,
    { cause: error, serverText: error.message },
  );
}
