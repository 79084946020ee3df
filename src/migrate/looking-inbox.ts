/**
 * The inbox with which we look at a durable. Whoever attaches to a durable gives it his own window, and STAN forgets the one before.
 * It keeps the inbox of the same subscriber beside it, so the window from before stands there, and is never lost: neither when we are
 * killed nor when the target is wiped. The next subscriber replaces both. Pure.
 */
import type { SubscriptionMonitor } from '../monitoring/pages.js';

/**
 * Such an inbox. It has no further full stop, so that it is within the permissions that every client has.
 * @param inbox an inbox that nobody else has
 * @param maxInFlight the window that the durable had before us
 */
export function lookingInbox(inbox: string, maxInFlight: number): string {
  return `${inbox}-migrate-max-in-flight-${maxInFlight}`;
}

/** The window that the last subscriber of a durable gave it, if that was not ourselves; else the one that we found. */
export function windowOf({ inbox, max_inflight }: Pick<SubscriptionMonitor, 'inbox' | 'max_inflight'>): number {
  const found = /-migrate-max-in-flight-(\d+)$/.exec(inbox)?.[1];
  return found === undefined ? max_inflight : Number(found);
}
