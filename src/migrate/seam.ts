/**
 * The seam of a stream: the last message up to which the sequences are those of STAN. Behind it come messages of native publishers,
 * and stragglers, which reached STAN after the cut and have their sequence in STAN in a header only.
 */
import type { StoredMsg, StreamInfo } from '@nats-io/jetstream';
import { STAN_SEQUENCE } from './stan-headers.js';
import { readStreamNote } from './stream-note.js';
import type { Target } from './target.js';

/**
 * Finds the last message of a stream whose sequence is that of STAN, and with it all before. Takes one question for each doubling
 * of the stream's length.
 * @returns its sequence; one below the first of the stream when there is none, and nobody has noted where it was cut
 */
export async function findSeam(target: Target, info: StreamInfo): Promise<number> {
  return (await lookForSeam(target, info)).seam;
}

/**
 * As {@link findSeam}.
 * @returns `isKnown`: false when the limits of the stream have dropped all that had the sequence of STAN, and nobody has noted where
 * it was cut
 */
export async function lookForSeam(
  target: Target,
  { config, state }: StreamInfo,
): Promise<{ seam: number; isKnown: boolean }> {
  const least = Math.max(0, state.first_seq - 1);
  let low = least;
  let high = state.last_seq;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const message = await messageAt(target, config.name, middle);
    if (message !== undefined && stanSequenceOf(message) === message.seq) low = Math.max(middle, message.seq);
    else high = middle - 1;
  }
  const found = Math.min(low, state.last_seq);
  const { cutAt } = readStreamNote(config.description) ?? {};
  // A stream that has lost its end may end before the place where it was cut.
  if (cutAt === undefined || cutAt > state.last_seq) return { seam: found, isKnown: found > least || least === 0 };
  return { seam: found > least ? Math.max(found, cutAt) : cutAt, isKnown: true };
}

/** The sequence in STAN up to which the limits of a stream have dropped messages of STAN, as far as somebody has noted it; else 0. */
export function droppedUpTo({ config, state }: StreamInfo): number {
  const { last } = readStreamNote(config.description) ?? {};
  return last !== undefined && last.sequence < state.first_seq ? last.inStan : 0;
}

/** The message at a sequence, or the first behind it. */
async function messageAt({ manager }: Target, stream: string, sequence: number): Promise<StoredMsg | undefined> {
  // With a subject the server steps over a message that was deleted. The types of the client do not know that it may have both.
  const query = { seq: sequence, next_by_subj: '>' } as { seq: number };
  return (await manager.streams.getMessage(stream, query)) ?? undefined;
}

/** The sequence that a message had in STAN. NaN when it was never there. */
export function stanSequenceOf(message: {
  headers?: { get(name: string): string } | undefined;
  header?: { get(name: string): string };
}): number {
  const headers = message.headers ?? message.header;
  return Number(headers?.get(STAN_SEQUENCE) || NaN);
}

/**
 * A message that has reached STAN after the cut.
 * @category Migration
 */
export interface Straggler {
  /** Its sequence in STAN. */
  readonly inStan: number;
  /** Its sequence in the stream. */
  readonly sequence: number;
}

/** A part of a stream. It is empty when its end is below its start. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * The part of a stream that holds what was sent to a durable from its first pending message on, and perhaps other messages. Above
 * its end nothing was sent to the durable.
 * @param first the first sequence of the stream
 * @param pending the sequences in STAN that are pending, ascending
 * @param lastStraggler the sequence of the last straggler that was sent to the durable; the seam when there is none. Native
 * messages before it were never sent by STAN
 */
export function rangeOf(
  { first, seam, lastStraggler }: { first: number; seam: number; lastStraggler: number },
  lastSent: number,
  pending: readonly number[],
): Range {
  if (lastSent <= seam) {
    const start = Math.max(first, pending[0] ?? lastSent + 1);
    return { start, end: pending.length === 0 ? start - 1 : lastSent };
  }
  // The sequences of stragglers in the stream are higher than those in STAN, and lie behind the seam.
  const start = Math.max(first, Math.min(pending[0] ?? Infinity, seam + 1));
  return { start, end: Math.max(lastStraggler, start - 1) };
}

/** How long the server may take for the next messages of a scan, in ms. */
const SCAN_TIMEOUT = 10_000;
const BATCH = 1000;

/** The messages of a stream that have come from STAN, from one sequence to another. Only their headers are read. */
export async function* stragglersIn(
  target: Target,
  stream: string,
  from: number,
  to: number,
): AsyncGenerator<Straggler> {
  for await (const each of originsIn(target, stream, from, to)) if (!Number.isNaN(each.inStan)) yield each;
}

/** All messages of a stream from one sequence to another. Of those that were never in STAN, the sequence there is NaN. */
export async function* originsIn(target: Target, stream: string, from: number, to: number): AsyncGenerator<Straggler> {
  if (to < from) return;
  const { manager, jetstream, client } = target;
  const { name, num_pending } = await manager.consumers.add(stream, {
    ack_policy: client.jetstream.AckPolicy.None,
    deliver_policy: client.jetstream.DeliverPolicy.StartSequence,
    opt_start_seq: from,
    headers_only: true,
    inactive_threshold: 30 * 1e9,
    mem_storage: true,
    num_replicas: 1,
  });
  try {
    const pull = await jetstream.consumers.get(stream, name);
    // The last ones may be deleted, so the server says when nothing is left.
    for (let next = from, left = num_pending > 0; left && next <= to;) {
      const before = next;
      const batch = await pull.fetch({ max_messages: Math.min(BATCH, to - next + 1), expires: SCAN_TIMEOUT });
      for await (const message of batch) {
        next = message.seq + 1;
        if (message.info.pending === 0) left = false;
        if (message.seq <= to) yield { inStan: stanSequenceOf(message), sequence: message.seq };
        if (!left) break;
      }
      if (next === before) left = (await pull.info()).num_pending > 0;
    }
  } finally {
    await manager.consumers.delete(stream, name).catch(() => false);
  }
}
