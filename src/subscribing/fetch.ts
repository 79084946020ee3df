/** Reads a range of a channel with a plain subscription that lives only for that. */
import type { RawMessage, Session, SessionSubscription } from '../connection/protocol.js';
import type { Clock } from './clock.js';

/** The most that is read at a time: nothing is acknowledged meanwhile, so all of it is in flight. */
const LIMIT = 10_000;

/**
 * Hands over what the server has of the sequences `from` up to, and without, `to`: in order, and at most {@link LIMIT}.
 *
 * @param patience how long to wait for the next message, ms
 * @param take false: no more is wanted
 */
export async function fetchRange(
  session: Session,
  channel: string,
  from: number,
  to: number,
  clock: Clock,
  patience: number,
  take: (message: RawMessage) => boolean,
): Promise<void> {
  const count = Math.min(to - from, LIMIT);
  let tell: () => void = () => undefined;
  const through = new Promise<void>((resolve) => {
    tell = resolve;
  });
  let over = false;
  let cancel: () => void = () => undefined;
  const wait = (): void => {
    cancel();
    cancel = clock.after(patience, tell);
  };
  let subscription: SessionSubscription;
  try {
    subscription = await session.subscribe(
      { channel, maxInFlight: count, ackWait: 30_000, start: { sequence: from }, optional: true },
      (message) => {
        if (over) return;
        const sequence = message.getSequence();
        over = sequence >= to || !take(message) || sequence >= from + count - 1;
        if (over) tell();
        else wait();
      },
      () => undefined,
    );
  } catch {
    return;
  }
  if (!over) wait();
  await through;
  over = true;
  cancel();
  subscription.close().catch(() => undefined);
}
