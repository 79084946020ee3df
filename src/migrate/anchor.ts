/**
 * The anchor of a copy: the last message of a stream has to be the one that STAN has under the same number. It tells a foreign
 * message, a STAN that began anew, and a copy that came too late.
 */
import type { StoredMsg, StreamInfo } from '@nats-io/jetstream';
import type { ResilientStan } from '../resilient-stan.js';
import { CopiedMessage } from './pipeline.js';
import type { Problem } from './report.js';
import type { Straggler } from './seam.js';
import type { Source, SourceChannel } from './source.js';
import { STAN_SEQUENCE, STAN_TIMESTAMP } from './stan-headers.js';
import type { Target } from './target.js';

/** Whether a stored message is the copy of message `sequence`, by its own word. */
export function isCopy({ header, seq }: StoredMsg): boolean {
  return header.get(STAN_SEQUENCE) === String(seq);
}

/** Whether a stored message is the copy of this one. */
export function isCopyOf(stored: StoredMsg, { sequence, timestamp, data }: CopiedMessage): boolean {
  return (
    stored.seq === sequence &&
    isCopy(stored) &&
    stored.header.get(STAN_TIMESTAMP) === timestamp &&
    data.equals(stored.data)
  );
}

/**
 * Why a stream is not the copy of what STAN has now, judged by one message of STAN in it, the last one if possible. Undefined if it is,
 * and where that message is gone from STAN or from the stream. It holds behind the cut as well.
 * @param figures of the channel, asked for after the stream has had the message
 */
export async function originFault(
  source: Source,
  target: Target,
  stream: string,
  figures: SourceChannel,
  { inStan, sequence }: Straggler,
): Promise<Problem | undefined> {
  const { channel, messages, first, last } = figures;
  if (inStan > last) return wiped(figures, stream, inStan);
  if (messages === 0 || inStan < first) return undefined;
  const stored = await target.message(stream, sequence);
  if (stored === undefined) return undefined;
  const original = await stanMessage(await source.stan(), channel, inStan);
  if (original === undefined) return undefined;
  const timestamp = stored.header.get(STAN_TIMESTAMP);
  if (original.data.equals(stored.data) && (timestamp === '' || timestamp === original.timestamp)) return undefined;
  return changed(channel, stream, inStan);
}

/** One message of a channel. Undefined when STAN does not have it. */
export async function stanMessage(
  stan: ResilientStan,
  channel: string,
  sequence: number,
): Promise<CopiedMessage | undefined> {
  for await (const message of stan.read(channel, { from: sequence, to: sequence })) {
    if (message.sequence === sequence) return new CopiedMessage(message);
  }
  return undefined;
}

/**
 * The first message of a stream that is no copy. It looks at few of them, because behind a foreign message there is nothing
 * else: a copy stops there.
 * @param from a number of which all below are copies
 * @param last a number at which no copy is
 */
export async function firstForeign(target: Target, stream: string, from: number, last: number): Promise<number> {
  let low = from;
  let high = last;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const message = await target.message(stream, middle);
    if (message !== undefined && isCopy(message)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Why nothing can be copied behind the last message of a stream. Undefined if it can. */
export async function anchorFault(
  source: Source,
  target: Target,
  stream: string,
  figures: SourceChannel,
  { state }: StreamInfo,
): Promise<Problem | undefined> {
  const { channel } = figures;
  const last = state.last_seq;
  const first = figures.messages === 0 ? figures.last + 1 : figures.first;
  if (state.messages === 0) return last > figures.last ? wiped(figures, stream, last) : undefined;
  const stored = await target.message(stream, last);
  if (stored === undefined) {
    return {
      code: 'foreign-content',
      channel,
      message:
        `message ${last}, the last one of stream '${stream}', was deleted from it, so nobody can see whether it is STAN's: delete the ` +
        `stream, and copy again`,
    };
  }
  if (!isCopy(stored))
    return foreignMessage(channel, stream, await firstForeign(target, stream, state.first_seq, last));
  if (last > figures.last) return wiped(figures, stream, last);
  if (first > last + 1) return overtaken(channel, stream, last + 1, first - 1);
  if (first === last + 1) return undefined;
  const original = await stanMessage(await source.stan(), channel, last);
  // The limits of the channel have taken it since the figures were asked for.
  if (original === undefined || isCopyOf(stored, original)) return undefined;
  return changed(channel, stream, last);
}

function changed(channel: string, stream: string, sequence: number): Problem {
  return {
    code: 'source-wiped',
    channel,
    sequence,
    message:
      `message ${sequence} of channel '${channel}' is not the one that stream '${stream}' has under this number, so STAN began anew ` +
      `after an earlier copy, or this is another STAN. Nothing was written. If the stream is of no more use, delete it, and copy again`,
  };
}

export function foreignMessage(channel: string, stream: string, sequence: number): Problem {
  return {
    code: 'foreign-message',
    channel,
    sequence,
    message:
      `message ${sequence} of stream '${stream}' is none of STAN's: somebody has published it to JetStream. Nothing of STAN is ` +
      `stored behind it. Stop that publisher, delete the stream, and copy again`,
  };
}

export function overtaken(channel: string, stream: string, from: number, to: number): Problem {
  return {
    code: 'retention',
    channel,
    from,
    to,
    message:
      `messages ${from} to ${to} of channel '${channel}' are gone from STAN, because its limits were quicker than the copy. Stream ` +
      `'${stream}' ends at ${from - 1}. Raise the limits of the channel, delete the stream, and copy again: it then begins with what ` +
      `STAN has`,
  };
}

function wiped({ channel, last }: SourceChannel, stream: string, copied: number): Problem {
  return {
    code: 'source-wiped',
    channel,
    sequence: copied,
    message:
      `channel '${channel}' ends at ${last} in STAN, and stream '${stream}' has its message ${copied}: STAN has lost messages, or began ` +
      `anew after an earlier copy. Nothing was written. If the stream is of no more use, delete it, and copy again`,
  };
}

/** Why the monitoring cannot be believed. Undefined if it can. */
export function inconsistency({ channel, messages, first, last }: SourceChannel): string | undefined {
  if (messages === 0 || first <= last) return undefined;
  return (
    `the monitoring of STAN says of channel '${channel}' that its first message is ${first} and its last ${last}, which cannot be: ` +
    'restart that server, so that it reads its store again, and look at the channel'
  );
}
