/** Finds the number of the newest message of a channel. */
import type { ResilientStan } from '../resilient-stan.js';
import { within } from '../within.js';
import { realTime } from '../testing/wait.js';

/**
 * How long an empty channel is asked, in ms. The server does not say that there is nothing; a message comes within a few round
 * trips.
 */
const PATIENCE = 1500;

/** The number of the newest message, by a subscription that begins with it. 0 when the channel is empty. */
export async function lastSequence(stan: ResilientStan, channel: string): Promise<number> {
  let found!: (sequence: number) => void;
  const newest = new Promise<number>((resolve) => {
    found = resolve;
  });
  const subscription = await stan.subscribe(channel, ({ sequence }) => found(sequence), {
    startAt: 'last',
    maxInFlight: 1,
  });
  try {
    return await within(newest, PATIENCE, () => 0, realTime);
  } finally {
    await subscription.close();
  }
}
