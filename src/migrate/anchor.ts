/**
 * The anchor of a copy: the last message of a stream has to be the one that STAN has under the same number. It tells a foreign
 * message, a STAN that began anew, and a copy that came too late.
 */
import type { StoredMsg, StreamInfo } from '@nats-io/jetstream';
import { makeClock } from '../clock/clock.js';
import type { ResilientStan } from '../resilient-stan.js';
import type { StanMessage } from '../subscribing/message.js';
import { CopiedMessage } from './pipeline.js';
import type { Problem } from './report.js';
import { stanSequenceOf } from './seam.js';
import type { Source, SourceChannel } from './source.js';
import { parseTimestamp, STAN_TIMESTAMP } from './stan-headers.js';
import { isCut, readStreamNote } from './stream-note.js';
import type { Target } from './target.js';

/** Whether a stored message is the copy of message `sequence`, by its own word. */
export function isCopy({ header, seq }: StoredMsg): boolean {
  return stanSequenceOf({ header }) === seq;
}

/** Whether a stored message is the copy of this one. */
export function isCopyOf(stored: StoredMsg, message: CopiedMessage): boolean {
  return stored.seq === message.sequence && holds(stored, message);
}

/** Whether a stored message is this one, under whatever number. */
function holds({ header, data }: StoredMsg, message: CopiedMessage): boolean {
  return (
    stanSequenceOf({ header }) === message.sequence &&
    header.get(STAN_TIMESTAMP) === message.timestamp &&
    message.data.equals(data)
  );
}

/** How long a subscription may take to bring the one message that it is for, in ms. */
const ONE = 2000;

/** One message of a channel. Undefined when STAN does not have it. */
export async function stanMessage(
  stan: ResilientStan,
  channel: string,
  sequence: number,
): Promise<CopiedMessage | undefined> {
  // A read asks the server for the ends of the channel as well, and many channels that are placed at once would wait for that.
  const first = await firstFrom(stan, channel, sequence);
  if (first !== undefined) return first.sequence === sequence ? new CopiedMessage(first) : undefined;
  for await (const message of stan.read(channel, { from: sequence, to: sequence })) {
    if (message.sequence === sequence) return new CopiedMessage(message);
  }
  return undefined;
}

/** The first message that STAN has from a number on. Undefined when none comes, as from an empty channel. */
async function firstFrom(stan: ResilientStan, channel: string, sequence: number): Promise<StanMessage | undefined> {
  let came: (message?: StanMessage) => void = () => undefined;
  const first = new Promise<StanMessage | undefined>((resolve) => (came = resolve));
  const subscription = await stan.subscribe(channel, (message) => came(message), {
    startAt: { sequence },
    maxInFlight: 1,
    manualAck: true,
  });
  subscription.on('closed', () => came());
  const cancel = makeClock().after(ONE, () => came());
  const message = await first;
  cancel();
  await subscription.close();
  return message;
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

/**
 * The first foreign message of a stream that is copied: from there on nothing of STAN is in it. Undefined when there is none, and
 * when native messages have their place in it, because it is cut.
 */
export async function foreignIn(target: Target, { config, state }: StreamInfo): Promise<number | undefined> {
  if (state.messages === 0 || readStreamNote(config.description)?.state !== 'copied') return undefined;
  const last = await target.message(config.name, state.last_seq);
  if (last === undefined || isCopy(last)) return undefined;
  return await firstForeign(target, config.name, state.first_seq, state.last_seq);
}

/** How often the figures of a channel are asked for again when its limits take just what they tell of. */
const LOOKS = 5;
/** The pause before the next look, in ms. */
const PAUSE = 500;
/** How much older than the message before it a message may be, in ns: the clocks of leaders differ. */
const SKEW = 60n * 1_000_000_000n;

/** Why a stream is not that of a channel of this cluster. Undefined if it is, or if nobody knows. */
export function clusterFault(source: Source, channel: string, { config }: StreamInfo): Problem | undefined {
  const of = readStreamNote(config.description)?.clusterId;
  const { cluster_id: clusterId } = source.server;
  return of === undefined || of === clusterId ? undefined : wrongCluster(channel, config.name, of, clusterId);
}

/** Why nothing can be copied behind the last message of a stream. Undefined if it can. */
export async function anchorFault(
  source: Source,
  target: Target,
  stream: string,
  figures: SourceChannel,
  info: StreamInfo,
): Promise<Problem | undefined> {
  const { channel } = figures;
  const { last_seq: last, messages, first_seq } = info.state;
  const elsewhere = clusterFault(source, channel, info);
  if (elsewhere !== undefined) return elsewhere;
  if (messages === 0) {
    const see = (now: SourceChannel): Seen => emptyFault(now, stream, last);
    return await looked(source, target, figures, see, (now) => vanished(now, stream, last));
  }
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
  // What native messages have pushed out of a cut stream is not lost.
  const lacking = isCut(info.config) ? undefined : await lackingIn(source, stream, figures, info.state);
  if (lacking !== undefined) return lacking;
  if (!isCopy(stored)) return foreignMessage(channel, info, await firstForeign(target, stream, first_seq, last));
  return await tailFault(source, target, stream, figures, stored);
}

/**
 * Why nothing can be added behind the last message of STAN that a stream has. Undefined if it can.
 * @param stored that message
 */
export async function tailFault(
  source: Source,
  target: Target,
  stream: string,
  figures: SourceChannel,
  stored: StoredMsg,
): Promise<Problem | undefined> {
  return await looked(source, target, figures, (now) => storedFault(source, now, stream, stored), unreadable);
}

/** What a look at the figures of a channel has shown. `again`: its limits have taken what they tell of. */
type Seen = Problem | 'again' | undefined;

async function looked(
  source: Source,
  target: Target,
  figures: SourceChannel,
  see: (now: SourceChannel) => Seen | Promise<Seen>,
  otherwise: (now: SourceChannel) => Problem,
): Promise<Problem | undefined> {
  let now: SourceChannel | undefined = figures;
  for (let look = 1; now !== undefined; look++) {
    const seen = await see(now);
    if (seen !== 'again') return seen;
    if (look === LOOKS) return otherwise(now);
    await target.pause(PAUSE);
    now = await source.channel(figures.channel);
  }
  return undefined;
}

/**
 * Of a stream without messages. What it had up to its last number, its limits have dropped, and those of the channel have dropped
 * it before that.
 */
function emptyFault(now: SourceChannel, stream: string, last: number): Seen {
  if (last > now.last) return wiped(now, stream, last);
  return now.messages > 0 && now.first <= last ? 'again' : undefined;
}

/** Of a stream with messages of STAN, of which this is the last one. */
async function storedFault(source: Source, now: SourceChannel, stream: string, stored: StoredMsg): Promise<Seen> {
  const { channel } = now;
  const last = stanSequenceOf(stored);
  if (last > now.last) return wiped(now, stream, last);
  const first = now.messages === 0 ? now.last + 1 : now.first;
  if (first > last + 1) return overtaken(channel, stream, last + 1, first - 1);
  if (first > now.last) return undefined;
  // When STAN has nothing any more that the stream has, only the numbers and the order in time are left.
  const sequence = first === last + 1 ? first : last;
  const original = await stanMessage(await source.stan(), channel, sequence);
  // The limits of the channel have taken it since the figures were asked for.
  if (original === undefined) return 'again';
  const fits = sequence === last ? holds(stored, original) : !isOlder(original, stored);
  return fits ? undefined : anotherStan(channel, stream, sequence);
}

/** Whether a message of STAN is older than a stored one, by more than the clocks of two leaders may differ. */
function isOlder({ timestamp }: CopiedMessage, { header }: StoredMsg): boolean {
  const [original, stored] = [parseTimestamp(timestamp), parseTimestamp(header.get(STAN_TIMESTAMP))];
  return original !== undefined && stored !== undefined && original + SKEW < stored;
}

/** A message in a stream that is none of STAN's. After the cut that is no fault, and yet nothing more can be copied by its number. */
export function foreignMessage(channel: string, { config }: StreamInfo, sequence: number): Problem {
  const { name: stream } = config;
  const isInPlace = isCut(config);
  return {
    code: isInPlace ? CUT_ALREADY : 'foreign-message',
    channel,
    sequence,
    message: isInPlace
      ? `stream '${stream}' of channel '${channel}' is cut, and message ${sequence} is the first one of a native publisher: nothing more ` +
        `can be copied under its number. 'migrate cut' appends what still reaches STAN`
      : `message ${sequence} of stream '${stream}' is none of STAN's: somebody has published it to JetStream. Nothing of STAN is ` +
        `stored behind it. Stop that publisher, delete the stream, and copy again`,
  };
}

/** The messages that were copied, are gone from the beginning of the stream, and are still in STAN. The stream has the limits of STAN. */
async function lackingIn(
  source: Source,
  stream: string,
  figures: SourceChannel,
  state: StreamInfo['state'],
): Promise<Problem | undefined> {
  const isLacking = ({ messages, first, last }: SourceChannel): boolean =>
    messages > 0 && first < state.first_seq && state.last_seq >= first && last >= state.first_seq - 1;
  if (!isLacking(figures)) return undefined;
  const now = await source.channel(figures.channel);
  if (now === undefined || !isLacking(now)) return undefined;
  const { channel, first: from, limits } = now;
  const to = state.first_seq - 1;
  if (limits.age !== undefined) {
    // One side may drop what is too old a little sooner than the other.
    const newest = await stanMessage(await source.stan(), channel, to);
    if (newest === undefined || makeClock().wall() - Date.parse(newest.timestamp) > limits.age / 2) return undefined;
  }
  return {
    code: 'target-lost',
    channel,
    from,
    to,
    message:
      `stream '${stream}' has lost messages ${from} to ${to} of channel '${channel}', which were copied: it was purged, or has smaller limits ` +
      'than the channel. Delete the stream, and copy again',
  };
}

/** The code of the problem that a stream has native messages, as it should, because it is cut. */
export const CUT_ALREADY = 'cut-already';

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

function wrongCluster(channel: string, stream: string, of: string, clusterId: string): Problem {
  return {
    code: 'wrong-cluster',
    channel,
    message:
      `stream '${stream}' is the copy of channel '${channel}' of cluster '${of}', and these servers are cluster '${clusterId}'. ` +
      `Nothing was written. Say which servers are meant, or leave the channel out`,
  };
}

function anotherStan(channel: string, stream: string, sequence: number): Problem {
  return {
    code: 'source-wiped',
    channel,
    sequence,
    message:
      `message ${sequence} of channel '${channel}' does not fit what stream '${stream}' has, so STAN began anew after an earlier copy, or ` +
      `this is another cluster. Nothing was written. If the stream is of no more use, delete it, and copy again`,
  };
}

function vanished({ channel, first, last: newest }: SourceChannel, stream: string, last: number): Problem {
  const to = Math.min(last, newest);
  return {
    code: 'source-wiped',
    channel,
    from: first,
    to,
    message:
      `channel '${channel}' has messages ${first} to ${to} in STAN, and stream '${stream}', which was copied up to ${last}, does not have ` +
      `them: STAN began anew after an earlier copy, or somebody has purged the stream. Nothing was written. Delete the stream, and ` +
      `copy again`,
  };
}

function unreadable({ channel, first, last }: SourceChannel): Problem {
  return {
    code: 'inconsistent-monitoring',
    channel,
    message:
      `the monitoring of STAN says that channel '${channel}' has messages ${first} to ${last}, and who reads it does not get them: run ` +
      `this again, and if that does not help, restart the server that leads`,
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
