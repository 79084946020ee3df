/** Durables to be dropped that are not online: the protocol can only drop what is subscribed to. */
import { SubscribeRefused, type Session, type SubscribeRequest } from '../connection/protocol.js';
import { describe, SubscribeError } from '../errors.js';

interface Drop {
  request: SubscribeRequest;
  resolve: () => void;
  reject: (error: Error) => void;
}

export class Drops {
  readonly #waiting = new Set<Drop>();

  /** Resolves when it is dropped, on this session or a later one. */
  add(request: SubscribeRequest, session: Session | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const drop = { request, resolve, reject };
      this.#waiting.add(drop);
      if (session?.alive) void this.#try(drop, session);
    });
  }

  /** Drops all that wait. Never rejects: if the session dies, the next one does it. */
  async settle(session: Session): Promise<void> {
    if (this.#waiting.size > 0) await Promise.all([...this.#waiting].map((drop) => this.#try(drop, session)));
  }

  close(error: Error): void {
    for (const drop of this.#waiting) drop.reject(error);
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
      if (!(error instanceof SubscribeRefused)) return;
      this.#waiting.delete(drop);
      drop.reject(
        new SubscribeError(
          request.channel,
          `the durable '${request.durableName}' on channel '${request.channel}' could not be dropped: ${describe(error)}`,
          { cause: error },
        ),
      );
      return;
    }
    this.#waiting.delete(drop);
    drop.resolve();
  }
}
