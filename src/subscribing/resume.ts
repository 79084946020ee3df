/**
 * Decides where a server subscription starts, the first time and each time it is made again. Pure.
 *
 * A durable is requested like any other subscription. The server uses its own memory of a durable, and the start matters only
 * if that memory is lost.
 */
import type { StartPosition } from '../connection/protocol.js';
import type { ResolvedSubscribeOptions, StartAt } from './subscribe-options.js';
import type { Position } from './cursor.js';

export interface Plan {
  start: StartPosition;
  /** The requested sequence, if there is one. */
  at: Position | undefined;
  /** Whether the start is an age that leaves out messages if the request takes longer than `transit` allows. */
  tight?: true;
}

/** The start that the user asked for, and when. Times are in ms of the clock. */
export interface Beginning {
  readonly startAt: Exclude<StartAt, { time: Date }>;
  /** When `subscribe()` was called. */
  readonly askedAt: number;
  /** When the first request was sent; undefined if none was. */
  readonly requestedAt: number | undefined;
  /** How much longer than the first request a later one takes to reach the server, in ms. Its age is increased by as much. */
  readonly transit: number;
}

/**
 * Turns the start of the user into a beginning. A time becomes an age at once, so that from then on only our own clock counts.
 * @param early the increase of that age, in ms; older messages are dropped later
 */
export function beginning(startAt: StartAt, now: number, wallClock: number, early = 0): Beginning {
  const start =
    typeof startAt === 'object' && 'time' in startAt
      ? { ago: Math.max(0, wallClock - startAt.time.getTime() + early) }
      : startAt;
  return { startAt: start, askedAt: now, requestedAt: undefined, transit: 0 };
}

/**
 * How much a time is moved back so that no message is missed, in ms. The delay to the server and its clock may make a start
 * later. The extra messages are dropped.
 */
export const EARLY_TIME = 1000;

/**
 * Returns the timestamp from which on messages are wanted, in ns since the epoch by the clock of the leader. The server gets a
 * time as an age, and a time in the future cannot be one, so the server also sends older messages. A durable or a queue group
 * gets what the server chooses.
 */
export function notBefore({ startAt, durableName, queueGroup }: ResolvedSubscribeOptions): number {
  const seesAll = durableName === undefined && queueGroup === undefined;
  return seesAll && typeof startAt === 'object' && 'time' in startAt ? startAt.time.getTime() * 1e6 : -Infinity;
}

/**
 * Returns the start of a subscription that has received nothing. The first request uses the start of the user. Later, 'new' and
 * 'last' would skip messages that were published since, so the start is the age of the first request. The server counts an age
 * back from the arrival of the request, hence `transit`. No clocks are compared.
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

/** Returns a start with the messages that were stored since the first request. */
export function planSince(requestedAt: number, transit: number, now: number): Plan {
  return tight(now - requestedAt + transit);
}

function tight(ago: number): Plan {
  return { start: { ago }, at: undefined, tight: true };
}

function startsAtAnAge({ startAt }: Beginning): boolean {
  return startAt === 'new' || startAt === 'last' || (typeof startAt === 'object' && 'ago' in startAt);
}

/** Returns the start of a plain or durable subscription: at the cursor, see `ContiguousCursor.resumePoint`. */
export function planContiguous(start: Beginning, resumePoint: Position | undefined, now: number): Plan {
  if (resumePoint === undefined) return planFirst(start, now);
  return { start: { sequence: resumePoint.sequence }, at: resumePoint };
}

/** The common knowledge of the members of a queue group in this client. Times are in ms of the clock. */
export interface GroupPosition {
  /** Whether any message was received. */
  received: boolean;
  /**
   * Whether the leader has answered since the group was first made, so that no message before the first received one can be
   * lost.
   */
  proven: boolean;
  /** The lowest of the recent sequences that are not processed. */
  unfinished: number | undefined;
  /** The lowest sequence of a leap that the server may still send again. */
  missing: number | undefined;
  /** The number after the highest received one, if the group surely has no members in other processes. */
  next: number | undefined;
  /** The time up to which all sent messages have arrived. */
  arrivedUpTo: number;
  /** The lowest sequence that may have been lost since that time. */
  recent: number | undefined;
  /** When the last message was received. */
  lastReceipt: number;
  /** The time that the last start by age reached back to, if it has brought nothing yet; otherwise Infinity. */
  since: number;
}

/** Longest delay until the end of a connection is noticed, in ms. Messages that the server sends in that time are lost as well. */
export const NOTICE = 5000;

/**
 * Returns the start of a queue group. The server forgets a group without members, and the first member that is back sets its
 * position. The lost messages were sent after the last question that the leader answered.
 */
export function planGroup(start: Beginning, known: GroupPosition, now: number): Plan {
  if (!known.received) return planFirst(start, now);
  if (!known.proven && startsAtAnAge(start)) return planFirst(start, now);
  const recent = known.lastReceipt >= known.arrivedUpTo ? known.recent : undefined;
  // An age counts from when a message was stored. A busy leader may send it later than the answer that proves the way, so where
  // all messages come to this client the number after the highest one is the safer start.
  const sequence = Math.min(...[recent, known.unfinished, known.missing, known.next].map((from) => from ?? Infinity));
  if (sequence !== Infinity) return { start: { sequence }, at: { sequence, time: NaN } };
  return { start: { ago: now - Math.min(known.since, known.arrivedUpTo) }, at: undefined };
}
