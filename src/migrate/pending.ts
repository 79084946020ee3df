/**
 * Asks STAN which messages of an offline durable are not acknowledged. The monitoring tells only their number, and the server tells
 * which ones they are by sending them: to whoever attaches to the durable, all of them, however few may be in flight. Nothing is
 * acknowledged here, and with no more in flight than are pending the server sends nothing new. So the durable stays where it is.
 */
import { createInbox } from '../connection/wire.js';
import { MigrationSourceError } from './errors.js';
import { interruptiblePause } from './interruptible.js';
import { lookingInbox } from './looking-inbox.js';
import type { ResolvedMigrateOptions } from './options.js';
import type { Position, StanDurable } from './stan-durables.js';
import { withSession } from './stan-session.js';

/** How long the server may send nothing that is missing, in ms. */
const PATIENCE = 30_000;
/** The pause between two looks at the monitoring, in ms. */
const PAUSE = 20;

/**
 * Returns the sequences of the pending messages, ascending. The durable has to exist and to be offline, with messages pending:
 * a name that the server does not know would make a new durable, and without pending messages it would send a new one.
 * @param position asks the monitoring of the leader for the position of the durable now
 * @throws MigrationSourceError when they do not come
 */
export async function readPending(
  durable: StanDurable,
  options: ResolvedMigrateOptions,
  position: () => Promise<Position | undefined>,
): Promise<number[]> {
  const { channel, id, ackWait, maxInFlight } = durable;
  return await withSession(options, id.clientId, async (session, clock) => {
    const sequences = new Set<number>();
    let heard = clock.now();
    const request = {
      channel,
      durableName: id.durable,
      ...(id.group !== undefined && { queueGroup: id.group }),
      // The server takes this for the durable's window, so its own one is in the inbox.
      maxInFlight: 1,
      inbox: lookingInbox(createInbox(), maxInFlight),
      ackWait: Math.max(1, ackWait) * 1000,
      start: { at: 'new' },
    } as const;
    const subscription = await session.subscribe(
      request,
      (message) => {
        sequences.add(message.getSequence());
        heard = clock.now();
      },
      () => undefined,
    );
    for (;;) {
      const now = await position();
      // Messages that the channel does not have any more are not sent, and the server strikes them off.
      if (now !== undefined && now.pending === sequences.size) break;
      if (clock.now() - heard > PATIENCE) {
        throw new MigrationSourceError(
          `STAN says that ${now?.pending} messages of '${channel}' are pending, and has sent ${sequences.size} of them in ` +
            `${PATIENCE / 1000} s. Run it again when the servers are less busy`,
        );
      }
      await interruptiblePause(clock, PAUSE, options.signal);
    }
    await subscription.close();
    return [...sequences].sort((one, other) => one - other);
  });
}
