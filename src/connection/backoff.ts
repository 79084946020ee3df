/** How long to wait before the next attempt: pure. */
import type { ResolvedRetryOptions } from './retry-options.js';

/**
 * The delay in ms after the `attempt`-th failed attempt (from 1): `minTimeout · factor^(attempt − 1)`, at most
 * `maxTimeout`; with `randomize`, anything from half of that up to it, so at most `maxTimeout` all the same.
 *
 * The jitter is applied after the cap, where p-retry applies it before: there all clients of a long outage end up
 * sleeping exactly `maxTimeout`, and come back in one herd.
 *
 * @param random a number in [0, 1)
 */
export function retryDelay(
  attempt: number,
  options: Pick<ResolvedRetryOptions, 'factor' | 'minTimeout' | 'maxTimeout' | 'randomize'>,
  random: () => number = Math.random,
): number {
  // factor^n overflows to Infinity after a long outage; the minimum takes care of it.
  const delay = Math.min(options.maxTimeout, options.minTimeout * options.factor ** (Math.max(1, attempt) - 1));
  return options.randomize ? delay / 2 + (delay / 2) * random() : delay;
}
