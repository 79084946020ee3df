/** Looks at one message of a channel, the oldest, say, or the newest, with a subscription that lives only for that. */
import type { Session, SessionSubscription, StartPosition } from '../connection/protocol.js';
import type { Clock } from './clock.js';
import type { Position } from './cursor.js';

/**
 * @param patience how long to wait for the message once the subscription is made, ms
 * @returns undefined when there is none, or when it could not be learned
 */
export async function lookAt(
  session: Session,
  channel: string,
  start: StartPosition,
  clock: Clock,
  patience: number,
): Promise<Position | undefined> {
  let seen: Position | undefined;
  let tell: () => void = () => undefined;
  const told = new Promise<void>((resolve) => {
    tell = resolve;
  });
  let subscription: SessionSubscription;
  try {
    subscription = await session.subscribe(
      { channel, maxInFlight: 1, ackWait: 30_000, start, optional: true },
      (message) => {
        seen ??= { sequence: message.getSequence(), time: message.getTimestampRaw() };
        tell();
      },
      () => undefined,
    );
  } catch {
    return undefined;
  }
  const cancel = clock.after(patience, tell);
  await told;
  cancel();
  // Nobody waits for it: it is of no use any more, and goes with the session at the latest.
  subscription.close().catch(() => undefined);
  return seen;
}
