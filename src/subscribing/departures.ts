/**
 * Remembers durables that are being ended. The server gives a durable to one subscription at a time, so a new one waits until
 * the server has released it.
 */
import { SessionEnded, type Session } from '../connection/protocol.js';

/** Resolves with true when the server has released the durable, and with false when it keeps it until the session ends. */
type Leaving = Promise<boolean>;

interface Durable {
  channel: string;
  durableName?: string | undefined;
  queueGroup?: string | undefined;
}

export class Departures {
  /**
   * The durables that are being ended, by session. They do not matter to the next session, because the end of a session ends
   * them.
   */
  readonly #of = new WeakMap<Session, Map<string, Leaving>>();

  /** @param left resolves when the server has answered; it must not reject */
  add(session: Session, durable: Durable, left: Leaving): void {
    const key = keyOf(durable);
    if (key === undefined) return;
    let leaving = this.#of.get(session);
    if (leaving === undefined) this.#of.set(session, (leaving = new Map<string, Leaving>()));
    leaving.set(key, left);
    void left.then((gone) => {
      if (gone && leaving.get(key) === left) leaving.delete(key);
    });
  }

  /**
   * Resolves when the durable may be subscribed to again on this session. It is undefined if there is nothing to wait for.
   * @throws SessionEnded when the server keeps the durable, and the session ends because of that
   */
  passed(session: Session, durable: Durable): Promise<void> | undefined {
    const key = keyOf(durable);
    const left = key === undefined ? undefined : this.#of.get(session)?.get(key);
    if (left === undefined) return undefined;
    return left.then((gone) => {
      if (gone) return;
      const what = `the server keeps the durable '${durable.durableName}' on '${durable.channel}' for as long as the session lives`;
      session.lose('request_timeout', `${what}, and it is wanted again`);
      throw new SessionEnded(what);
    });
  }
}

/** Returns undefined if several subscriptions may have it at a time. */
function keyOf({ channel, durableName, queueGroup }: Durable): string | undefined {
  return durableName === undefined || queueGroup !== undefined ? undefined : JSON.stringify([channel, durableName]);
}
