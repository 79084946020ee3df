/** Reads a range of a channel with a plain subscription that lives only for that. */
import type { RawMessage, Session, SessionSubscription } from '../connection/protocol.js';
import type { Clock } from './clock.js';

/** The most that is read at a time: nothing is acknowledged meanwhile, so all of it is in flight. */
const LIMIT = 10_000;

/** How a fetch ended. */
export type FetchEnd =
  /** The server has gone through the range: what did not come is not there. */
  | 'through'
  /** What has come is all that came in time. There may be more. */
  | 'silent'
  /** `take` wanted no more. */
  | 'enough'
  /** The server refused it, or the session ended. */
  | 'failed';

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
): Promise<FetchEnd> {
  const count = Math.min(to - from, LIMIT);
  let tell: () => void = () => undefined;
  const through = new Promise<void>((resolve) => {
    tell = resolve;
  });
  let end: FetchEnd | undefined;
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
        if (end !== undefined) return;
        const sequence = message.getSequence();
        if (sequence >= to) end = 'through';
        else if (!take(message)) end = 'enough';
        else if (sequence >= from + count - 1) end = 'through';
        if (end !== undefined) tell();
        else wait();
      },
      () => undefined,
    );
  } catch {
    return 'failed';
  }
  if (end === undefined) wait();
  await through;
  end ??= session.alive ? 'silent' : 'failed';
  cancel();
  subscription.close().catch(() => undefined);
  return end;
}
