/**
 * Where a subscription starts at the server, the first time and every time it is made again. Pure.
 *
 * A durable is asked for like any other: the server goes by its own memory, and only if it has lost that does the start
 * matter; then it must be the right one.
 */
import type { StartPosition } from '../connection/protocol.js';
import type { ResolvedSubscribeOptions, StartAt } from './subscribe-options.js';
import type { Position } from './cursor.js';

export interface Plan {
  start: StartPosition;
  /** The sequence asked for, if one is. */
  at: Position | undefined;
  /** It is an age that must not be too young when it gets to the server, and has no more to spare than `transit`. */
  tight?: true;
}

/** What the user asked for, and when, by our clock. */
export interface Beginning {
  readonly startAt: Exclude<StartAt, { time: Date }>;
  /** When `subscribe()` was called. */
  readonly askedAt: number;
  /** When the first request went out; undefined: none yet. */
  readonly requestedAt: number | undefined;
  /** How much longer than the first one a later request takes to the server, ms: by so much younger its age gets there. */
  readonly transit: number;
}

/**
 * A time is turned into an age once, at the call: from then on only our own clock counts.
 * @param early how much too old that age is to be, ms: what is from before the time is dropped
 */
export function beginning(startAt: StartAt, now: number, wallClock: number, early = 0): Beginning {
  const start =
    typeof startAt === 'object' && 'time' in startAt
      ? { ago: Math.max(0, wallClock - startAt.time.getTime() + early) }
      : startAt;
  return { startAt: start, askedAt: now, requestedAt: undefined, transit: 0 };
}

/**
 * By so much the way to the server, and the server's clock, may make a time later than it is, ms, and nothing is missed. A second
 * of messages that are dropped is not much.
 */
export const EARLY_TIME = 1000;

/**
 * What is stored before this is dropped, in nanoseconds since the epoch by the leader's clock. A time is an age to the server, and of
 * one that is yet to come it would give all that is stored before. What a durable or a queue group gets is up to the server.
 */
export function notBefore({ startAt, durableName, queueGroup }: ResolvedSubscribeOptions): number {
  const seesAll = durableName === undefined && queueGroup === undefined;
  return seesAll && typeof startAt === 'object' && 'time' in startAt ? startAt.time.getTime() * 1e6 : -Infinity;
}

/**
 * The start of a subscription that has received nothing. At the first request what the user asked for; later 'new' and
 * 'last' would skip what was published since, so it is the time since the first request: an age, by which the server's
 * clock counts back from its own present, so no clocks are compared. Its present is that of the arrival, hence `transit`.
 */
export function planFirst({ startAt, askedAt, requestedAt, transit }: Beginning, now: number): Plan {
  if (typeof startAt === 'object') {
    if ('ago' in startAt) {
      const ago = startAt.ago + (now - askedAt);
      return requestedAt === undefined ? { start: { ago }, at: undefined } : tight(ago + transit);
    }
    return { start: startAt, at: { sequence: startAt.sequence, time: NaN } };
  }
  if (startAt === 'first' || requestedAt === undefined) return { start: { at: startAt }, at: undefined };
  return planSince(requestedAt, transit, now);
}

/** With what was stored since the first request. */
export function planSince(requestedAt: number, transit: number, now: number): Plan {
  return tight(now - requestedAt + transit);
}

function tight(ago: number): Plan {
  return { start: { ago }, at: undefined, tight: true };
}

function startsAtAnAge({ startAt }: Beginning): boolean {
  return startAt === 'new' || startAt === 'last' || (typeof startAt === 'object' && 'ago' in startAt);
}

/** Plain and durable: at the cursor, see `ContiguousCursor.resumePoint`. */
export function planContiguous(start: Beginning, resumePoint: Position | undefined, now: number): Plan {
  if (resumePoint === undefined) return planFirst(start, now);
  return { start: { sequence: resumePoint.sequence }, at: resumePoint };
}

/** What the members of a queue group in this client know together. Times are of our clock, in ms. */
export interface GroupPosition {
  /** They have received something, ever. */
  received: boolean;
  /** The leader has answered since the group was made first, so that nothing can be lost from before its first message. */
  proven: boolean;
  /** The lowest of the latest messages that is not processed. */
  unfinished: number | undefined;
  /** From here on the server may yet have to send something again that was leapt over. */
  missing: number | undefined;
  /** What was sent before this moment has arrived. */
  arrivedUpTo: number;
  /** From here on, something may have been lost that was sent since that moment. */
  recent: number | undefined;
  /** When the last receipt was. */
  lastReceipt: number;
  /** Back to when a start was asked for that has brought nothing yet; Infinity: none. */
  since: number;
}

/** How much later than it happened a death may be noticed, ms: what the server sent meanwhile is lost, too. */
export const NOTICE = 5000;

/**
 * A queue group: if we are its last member the server forgets it, and the first one to come back sets its position. What was on
 * its way to us when the session died was sent after the last proof of the whole way.
 */
export function planGroup(start: Beginning, known: GroupPosition, now: number): Plan {
  if (!known.received) return planFirst(start, now);
  if (!known.proven && startsAtAnAge(start)) return planFirst(start, now);
  const recent = known.lastReceipt >= known.arrivedUpTo ? known.recent : undefined;
  const sequence = Math.min(recent ?? Infinity, known.unfinished ?? Infinity, known.missing ?? Infinity);
  if (sequence !== Infinity) return { start: { sequence }, at: { sequence, time: NaN } };
  return { start: { ago: now - Math.min(known.since, known.arrivedUpTo) }, at: undefined };
}
