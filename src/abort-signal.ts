import { getMaxListeners, setMaxListeners } from 'node:events';

const MANY = 10_000;

/**
 * One signal may end a hundred subscriptions, or the dials to a dozen servers. Node takes more than ten listeners for a
 * leak, and says so on the user's stderr.
 */
export function expectManyListeners(signal: AbortSignal): void {
  try {
    const limit = getMaxListeners(signal);
    if (limit !== 0 && limit < MANY) setMaxListeners(MANY, signal);
  } catch {
    // Not one of Node's own: then Node does not count, either.
  }
}
