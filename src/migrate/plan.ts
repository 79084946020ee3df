/** `plan`: what a migration would do, and what keeps it from being done. Nothing is written. */
import '../dispose.js';
import type { StreamInfo } from '@nats-io/jetstream';
import { makeClock } from '../clock/clock.js';
import { OptionReader } from '../option-reader.js';
import { anchorFault, inconsistency } from './anchor.js';
import { doorOf, fenceKind, importSubject } from './fence.js';
import { maxBytesAtCut } from './limits.js';
import { consumerName, MAX_NAME, streamName } from './names.js';
import { interruptibleStep } from './interruptible.js';
import {
  MIGRATE_HINTS,
  MIGRATE_OPTIONS,
  readMigrateOptions,
  type MigrateOptions,
  type ResolvedMigrateOptions,
} from './options.js';
import { readProgress, throttled } from './progress.js';
import type { Problem, Report } from './report.js';
import { Source, type SourceChannel } from './source.js';
import type { ChannelLimits } from './stan-limits.js';
import { HEADER_BYTES } from './stan-headers.js';
import { isCut } from './stream-note.js';
import { hasEntrance, importEntrance, replicasOf } from './stream.js';
import { readPatiently, Target } from './target.js';

/**
 * Options of {@link plan}.
 * @category Migration
 */
export interface PlanOptions extends MigrateOptions {
  /** On how many servers each stream is to be kept, 1 to 5. Default: 3 in a cluster of version 2.10 or later, else 1. */
  replicas?: number | undefined;
  /**
   * Whether channels are read where a message may be too large for the target with its headers, because the monitoring does not say
   * how large the largest one is. Default true. It reads some ten thousand messages a second.
   */
  readPayloads?: boolean | undefined;
  /** Is called about four times a second while channels are read. */
  onProgress?: ((progress: PlanProgress) => void) | undefined;
}

/**
 * How far {@link plan} is with reading a channel.
 * @category Migration
 */
export interface PlanProgress {
  /** The channel that is read now. */
  readonly channel: string;
  /** How many of its messages are read. */
  readonly read: number;
  /** How many it has. */
  readonly of: number;
}

/**
 * A durable, or a durable queue group, of a channel.
 * @category Migration
 */
export interface PlannedDurable {
  /** The client ID that it belongs to. Undefined for a queue group. */
  readonly clientId?: string;
  /** Name of the durable. */
  readonly durable: string;
  /** Name of the queue group. Undefined for a durable of one client. */
  readonly group?: string;
  /** Name of the JetStream consumer that it becomes. */
  readonly consumer: string;
  /** The highest message that was sent to it. */
  readonly lastSent: number;
  /** Messages that were sent to it and are not acknowledged. */
  readonly pending: number;
  /** Whether somebody is subscribed to it. Then its position cannot be taken over yet. */
  readonly online: boolean;
  /** The clients that are subscribed to it. */
  readonly clients: readonly string[];
}

/**
 * What is planned for one channel.
 * @category Migration
 */
export interface PlannedChannel {
  /** Its name. */
  readonly channel: string;
  /** Messages that are stored. */
  readonly messages: number;
  /** Their size, in bytes. */
  readonly bytes: number;
  /** The first stored message. 0 without messages. */
  readonly first: number;
  /** The last message. */
  readonly last: number;
  /** The limits of the channel: messages, bytes, and the age and the inactivity in ms. Undefined is none. */
  readonly limits: ChannelLimits;
  /** Name of the stream that it becomes. */
  readonly stream: string;
  /** How many messages the stream has already, if it is there. */
  readonly copied: number;
  /** Its durables and durable queue groups. */
  readonly durables: readonly PlannedDurable[];
  /** Subscriptions that the server keeps no position of. They have nothing to take along. */
  readonly subscriptions: number;
}

/**
 * What {@link plan} answers.
 * @category Migration
 */
export interface PlanReport extends Report {
  /** The STAN side. */
  readonly source: {
    /** The cluster ID. */
    readonly clusterId: string;
    /** Version of the streaming server. */
    readonly version: string;
    /** URL of the monitoring that was asked. */
    readonly monitor: string;
  };
  /** The JetStream side. */
  readonly target: {
    /** Version of the server. */
    readonly version: string;
    /** Whether it is the same servers as STAN's. */
    readonly inPlace: boolean;
    /** On how many servers a stream is kept. */
    readonly replicas: number;
    /** The largest message with headers, in bytes. */
    readonly maxPayload: number;
    /** What follows from the version. */
    readonly consequences: readonly string[];
  };
  /** The channels, by name. */
  readonly channels: readonly PlannedChannel[];
}

const NAMES = { known: [...MIGRATE_OPTIONS, 'replicas', 'readPayloads', 'onProgress'], hints: MIGRATE_HINTS };

/**
 * Looks at both sides, and says what a copy would do: which channel becomes which stream, which durable which consumer, and what
 * keeps it from that. It writes nothing, and may run at any time.
 *
 * @throws as {@link copy}; AbortedError when `signal` is aborted
 *
 * @example
 * ```ts
 * const { ok, problems, channels } = await plan({ from: 'nats://localhost:4222' });
 * for (const { channel, stream, messages } of channels) console.log(`${channel} → ${stream}: ${messages}`);
 * ```
 * @category Migration
 */
export async function plan(options: PlanOptions = {}): Promise<PlanReport> {
  const read = new OptionReader(options, 'options', NAMES);
  using resolved = readMigrateOptions(read);
  const replicas = read.number('replicas', undefined, { min: 1, max: 5, unit: 'servers' });
  const readPayloads = read.boolean('readPayloads', true);
  const tell = throttled(makeClock(), readProgress<PlanProgress>(read));
  return await interruptibleStep(resolved.signal, () => planAll(resolved, { replicas, readPayloads, tell }));
}

interface PlanSettings {
  readonly replicas: number | undefined;
  readonly readPayloads: boolean;
  readonly tell: (progress: () => PlanProgress) => void;
}

async function planAll(
  resolved: ResolvedMigrateOptions,
  { replicas, readPayloads, tell }: PlanSettings,
): Promise<PlanReport> {
  await using source = await Source.open(resolved);
  await using target = await Target.open(resolved.target, resolved.signal);
  const { channels, problems } = await source.channels();
  problems.push(...collisions(channels));
  const wanted = replicasOf(target, { replicas });
  problems.push(...tooFewServers(wanted, await serversOf(source, target, resolved.inPlace)));
  const planned: PlannedChannel[] = [];
  for (const figures of channels) {
    resolved.signal.throwIfAborted();
    const { info, found } = await readPatiently(
      `channel '${figures.channel}' was planned`,
      resolved.signal,
      async () => {
        const info = await target.stream(streamName(figures.channel));
        // A copy that follows may have stored more since the channels were listed.
        const now = info === undefined ? figures : ((await source.channel(figures.channel)) ?? figures);
        return { info, found: await channelProblems(source, target, now, info) };
      },
    );
    problems.push(...found);
    const { channel, messages } = figures;
    const large = readPayloads
      ? await tooLarge(source, target, figures, (seen) => tell(() => ({ channel, read: seen, of: messages })))
      : undefined;
    if (large !== undefined) problems.push(large);
    planned.push(plannedChannel(figures, info));
  }
  return {
    ok: problems.length === 0,
    problems,
    source: { clusterId: resolved.clusterId, version: source.server.version, monitor: source.monitorUrl },
    target: {
      version: target.version.join('.'),
      inPlace: resolved.inPlace,
      replicas: wanted,
      maxPayload: target.maxPayload,
      consequences: await consequences(target, channels),
    },
    channels: planned,
  };
}

function plannedChannel(figures: SourceChannel, info: StreamInfo | undefined): PlannedChannel {
  const { channel, messages, bytes, first, last, limits, subscriptions } = figures;
  return {
    channel,
    messages,
    bytes,
    first,
    last,
    limits,
    stream: streamName(channel),
    copied: info?.state.messages ?? 0,
    durables: subscriptions.flatMap(({ durable, group, clients, lastSent, pending, offline }): PlannedDurable[] => {
      if (durable === undefined) return [];
      const id = group === undefined ? { clientId: clients[0]!, durable } : { durable, group };
      return [
        { ...id, consumer: consumerName(id), lastSent, pending, online: !offline, clients: offline ? [] : clients },
      ];
    }),
    subscriptions: subscriptions.filter(({ durable }) => durable === undefined).length,
  };
}

/** How many servers there are to keep a stream. Undefined when nobody says so: the monitoring of the target is not known. */
async function serversOf(source: Source, target: Target, inPlace: boolean): Promise<number | undefined> {
  if (!target.isClustered) return 1;
  return inPlace ? (await source.serverIds()).size : undefined;
}

function tooFewServers(replicas: number, servers = Infinity): Problem[] {
  if (replicas <= servers) return [];
  const there = servers === 1 ? 'one server is' : `${servers} servers are`;
  const message = `each stream is to be kept on ${replicas} servers, and ${there} there: start the others, or say by 'replicas' on how many`;
  return [{ code: 'replicas', message }];
}

/** Names that two channels, or two durables of one, would share, and names that are too long. */
function collisions(channels: readonly SourceChannel[]): Problem[] {
  const problems: Problem[] = [];
  const seen = new Map<string, string>();
  for (const { channel, subscriptions } of channels) {
    const stream = streamName(channel);
    // Stores may be on file systems that do not tell capitals from small letters.
    const key = stream.toLowerCase();
    const other = seen.get(key);
    if (other !== undefined) {
      problems.push({
        code: 'colliding-names',
        channel,
        message:
          `channels '${other}' and '${channel}' become streams whose names differ in capitals only, and on some file systems these are ` +
          `one: move one of them to a server of its own, or leave it out with 'channels'`,
      });
    }
    seen.set(key, channel);
    const names = subscriptions.flatMap(({ durable, group, clients }) =>
      durable === undefined
        ? []
        : [consumerName(group === undefined ? { clientId: clients[0] ?? '', durable } : { durable, group })],
    );
    for (const name of [stream, ...names]) {
      if (Buffer.byteLength(name) <= MAX_NAME) continue;
      problems.push({
        code: 'name-too-long',
        channel,
        message: `'${name}' of channel '${channel}' has ${name.length} characters, and JetStream takes ${MAX_NAME}: leave the channel out`,
      });
    }
  }
  return problems;
}

async function channelProblems(
  source: Source,
  target: Target,
  figures: SourceChannel,
  info: StreamInfo | undefined,
): Promise<Problem[]> {
  const { channel } = figures;
  const stream = streamName(channel);
  const problems: Problem[] = [];
  const add = (code: string, message: string): void => void problems.push({ code, channel, message });
  const unusable = inconsistency(figures);
  if (unusable !== undefined) add('inconsistent-monitoring', unusable);
  for (const subject of [channel, importSubject(channel)]) {
    const others = (await target.streamsOn(subject)).filter((name) => name !== stream);
    if (others.length > 0) {
      add(
        'subject-bound',
        `stream ${others.map((name) => `'${name}'`).join(', ')} listens on '${subject}' already, and two streams cannot: delete it, or ` +
          `take the subject from it`,
      );
    }
  }
  if (info === undefined) {
    const door = await doorOf(target, channel);
    if (door === 'foreign') {
      add(
        'subject-bound',
        `somebody who is no stream replies to what is published on '${channel}' (a subscriber on '>' may be the one): stop it before the copy`,
      );
    }
    return problems;
  }
  // What is cut is as it should be, and nothing is copied into it any more.
  if (isCut(info.config) && info.config.subjects.includes(channel)) return problems;
  if (!hasEntrance(info.config, importEntrance(target, channel))) {
    add(
      'foreign-content',
      info.config.subjects?.includes(channel)
        ? `stream '${stream}' is open for native publishers already (cut), or was not made by a copy`
        : `stream '${stream}' is there, and was not made by a copy: rename or delete it, or leave the channel out`,
    );
  } else if (unusable === undefined) {
    const fault = await anchorFault(source, target, stream, figures, info);
    if (fault !== undefined) problems.push(fault);
  }
  return problems;
}

/** A message that the target would refuse. The channel is read only where there may be one. */
async function tooLarge(
  source: Source,
  target: Target,
  { channel, messages, bytes }: SourceChannel,
  onRead: (seen: number) => void,
): Promise<Problem | undefined> {
  const limit = target.maxPayload - HEADER_BYTES;
  // The monitoring counts some bytes more than the payload, so no payload is larger than all bytes together.
  if (messages === 0 || bytes <= limit) return undefined;
  const stan = await source.stan();
  let seen = 0;
  let count = 0;
  let largest = { sequence: 0, size: 0 };
  for await (const { sequence, data } of stan.read(channel)) {
    onRead(++seen);
    if (data.length <= limit) continue;
    count++;
    if (data.length > largest.size) largest = { sequence, size: data.length };
  }
  if (count === 0) return undefined;
  return {
    code: 'too-large',
    channel,
    sequence: largest.sequence,
    message:
      `${count === 1 ? '1 message' : `${count} messages`} of channel '${channel}' ${count === 1 ? 'is' : 'are'} too large for the target, which takes ${target.maxPayload} bytes with headers (up to ` +
      `${HEADER_BYTES}); the largest is message ${largest.sequence} with ${largest.size} bytes: set max_payload there to ` +
      `${largest.size + HEADER_BYTES} or more`,
  };
}

async function consequences(target: Target, channels: readonly SourceChannel[]): Promise<string[]> {
  const lines: string[] = [];
  if (fenceKind(target) === 'stream') {
    lines.push('native publishers are kept out by the stream itself until the cut (subject transform)');
  } else {
    const doors = await Promise.all(channels.map(({ channel }) => doorOf(target, channel)));
    lines.push(
      doors.every((door) => door === 'shut')
        ? 'native publishers are kept out by the mappings of the servers until the cut'
        : 'this version cannot keep native publishers out of a stream by itself: a native message stops the copy of its channel. ' +
            "'plan --in-place' says which mappings in the servers' configuration keep them out",
    );
    if (target.isClustered) {
      lines.push(
        'a stream is on one server, because the JetStream of this version loses streams with several replicas when servers die: until the ' +
          "cut STAN has all of it, and 'migrate finish' raises the number when plain servers of 2.10 or later are in the places of these",
      );
    }
    lines.push('a channel that does not begin with message 1 gets its first number by a purge of the empty stream');
    const [major, minor, patch] = target.version;
    if (major === 2 && minor === 9 && patch < 24) {
      lines.push('releases of 2.9 before 2.9.24 count wrong after such a purge: use 2.9.24 or later');
    }
  }
  if (!target.isAtLeast(2, 11)) lines.push('a consumer has no holder: two readers of one consumer share its messages');
  const some = (limit: keyof ChannelLimits): boolean => channels.some(({ limits }) => limits[limit] !== undefined);
  if (some('age')) lines.push('max_age begins anew with the copy: a message is kept for so long from then on');
  if (some('bytes')) {
    const total = channels.reduce((sum, channel) => sum + (maxBytesAtCut(channel) ?? 0), 0);
    lines.push(
      'max_bytes is set at the cut, and until then a stream has none: it is that of the channel, and what the headers of the copied ' +
        `messages take besides. A server may refuse it, because it sets so much room aside: together ${total} bytes`,
    );
  }
  if (some('inactivity')) {
    lines.push(
      'max_inactivity has nothing like it in JetStream: delete a stream that is of no more use (nats stream rm NAME)',
    );
  }
  return lines;
}
