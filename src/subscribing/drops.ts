/** Durables to be dropped that are not online: the protocol can only drop what is subscribed to. */
import { SubscribeRefused, type Session, type SubscribeRequest } from '../connection/protocol.js';
import { describe, PermissionError, SubscribeError } from '../errors.js';

interface Drop {
  request: SubscribeRequest;
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
}

export class Drops {
  readonly #waiting = new Map<string, Drop>();

  /** Resolves when it is dropped, on this session or a later one. */
  add(request: SubscribeRequest, session: Session | undefined): Promise<void> {
    const key = keyOf(request);
    let drop = this.#waiting.get(key);
    if (drop === undefined) {
      let settle!: Pick<Drop, 'resolve' | 'reject'>;
      const promise = new Promise<void>((resolve, reject) => {
        settle = { resolve, reject };
      });
      promise.catch(() => undefined);
      drop = { request, promise, ...settle };
      this.#waiting.set(key, drop);
      if (session?.alive) void this.#try(drop, session);
    }
    return drop.promise;
  }

  /** Drops all that wait. Never rejects: if the session dies, the next one does it. */
  async settle(session: Session): Promise<void> {
    if (this.#waiting.size > 0) await Promise.all([...this.#waiting.values()].map((drop) => this.#try(drop, session)));
  }

  close(error: Error): void {
    for (const drop of this.#waiting.values()) drop.reject(error);
    this.#waiting.clear();
  }

  async #try(drop: Drop, session: Session): Promise<void> {
    const { request } = drop;
    try {
      const subscription = await session.subscribe(
        request,
        () => undefined,
        (made) => made.mute(),
      );
      await subscription.unsubscribe();
    } catch (error) {
      // Otherwise the session has ended, and the next one tries.
      const forbidden = error instanceof PermissionError;
      if (!forbidden && !(error instanceof SubscribeRefused)) return;
      this.#waiting.delete(keyOf(request));
      const what = `the durable '${request.durableName}' on channel '${request.channel}' could not be dropped`;
      drop.reject(
        forbidden
          ? new PermissionError(error.subject, `${what}: ${error.message}`, { cause: error })
          : new SubscribeError(request.channel, `${what}: ${describe(error)}`, { cause: error }),
      );
      return;
    }
    this.#waiting.delete(keyOf(request));
    drop.resolve();
  }
}

function keyOf({ channel, queueGroup, durableName }: SubscribeRequest): string {
  return JSON.stringify([channel, queueGroup ?? null, durableName]);
}
