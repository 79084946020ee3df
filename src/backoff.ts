/** Calculates the delay before the next attempt. Pure. */
import type { ResolvedRetryOptions } from './retry-options.js';

/**
 * Returns the delay after the `attempt`-th failed attempt, counted from 1, in ms. It is `minTimeout · factor^(attempt − 1)`,
 * and at most `maxTimeout`. With `randomize` it is between half of that and all of it.
 *
 * The delay is randomised after it was limited. p-retry randomises first, so that after a long outage all clients would wait
 * for exactly `maxTimeout` and come back at the same moment.
 *
 * @param random returns a number in [0, 1)
 */
export function retryDelay(
  attempt: number,
  options: Pick<ResolvedRetryOptions, 'factor' | 'minTimeout' | 'maxTimeout' | 'randomize'>,
  random: () => number = Math.random,
): number {
  // factor^n becomes Infinity after a long outage. The minimum is still right then.
  const delay = Math.min(options.maxTimeout, options.minTimeout * options.factor ** (Math.max(1, attempt) - 1));
  return options.randomize ? delay / 2 + (delay / 2) * random() : delay;
}
