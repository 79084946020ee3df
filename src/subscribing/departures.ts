/**
 * Durables on their way out. A server takes a durable from one subscription at a time, so one that is subscribed to again
 * waits until the server has let go of it.
 */
import { SessionEnded, type Session } from '../connection/protocol.js';

/** What is waited for: true, the server has let go of it; false, it keeps it until the session ends. */
type Leaving = Promise<boolean>;

interface Durable {
  channel: string;
  durableName?: string | undefined;
  queueGroup?: string | undefined;
}

export class Departures {
  /** What is on its way out on one session is nothing to the next one: the server has ended all of them with it. */
  readonly #of = new WeakMap<Session, Map<string, Leaving>>();

  /** @param left must not reject */
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
   * Resolves when it may be subscribed to again on this session; undefined: at once.
   * @throws SessionEnded when it never may; the session ends over that
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

/** Undefined: several may have it at a time. */
function keyOf({ channel, durableName, queueGroup }: Durable): string | undefined {
  return durableName === undefined || queueGroup !== undefined ? undefined : JSON.stringify([channel, durableName]);
}
