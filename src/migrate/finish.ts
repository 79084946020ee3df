/** The step `finish`: when no streaming server is left, each stream gets its replicas. It is the last one of a move in place. */
import type { StreamInfo } from '@nats-io/jetstream';
import { makeClock, type Clock } from '../clock/clock.js';
import { describe } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import { everyServer } from './every-server.js';
import { interruptiblePause, interruptibleStep } from './interruptible.js';
import {
  MIGRATE_HINTS,
  MIGRATE_OPTIONS,
  matches,
  readMigrateOptions,
  type MigrateOptions,
  type ResolvedMigrateOptions,
} from './options.js';
import { readProgress } from './progress.js';
import { Replicas } from './replicas.js';
import type { Problem, Report } from './report.js';
import { readStreamNote } from './stream-note.js';
import { keepsReplicas, replicasOf } from './stream.js';
import { Target } from './target.js';

/**
 * Options of {@link finish}.
 * @category Migration
 */
export interface FinishOptions extends MigrateOptions {
  /** On how many servers each stream is kept, 1 to 5. Default: 3 in a cluster, else 1. */
  replicas?: number | undefined;
  /** How long the servers may take until each of them has a stream, in ms. Default 60 000. */
  timeout?: number | undefined;
  /** Called for each stream that is done. Default: none. */
  onProgress?: ((progress: FinishProgress) => void) | undefined;
}

/**
 * How far {@link finish} has come.
 * @category Migration
 */
export interface FinishProgress {
  /** How many streams are done. */
  readonly done: number;
  /** How many there are. */
  readonly total: number;
  /** The stream that was done last. */
  readonly stream: FinishedStream;
}

/**
 * What became of a stream.
 * @category Migration
 */
export interface FinishedStream {
  /** The channel. */
  readonly channel: string;
  /** Its stream. */
  readonly stream: string;
  /** On how many servers it is kept now. */
  readonly replicas: number;
  /**
   * - `'raised'`: it has got more servers by this run;
   * - `'unchanged'`: it had as many already, or more;
   * - `'refused'`: nothing was done. A problem says why.
   */
  readonly outcome: 'raised' | 'unchanged' | 'refused';
}

/**
 * What {@link finish} answers.
 * @category Migration
 */
export interface FinishReport extends Report {
  /** The streams, by channel. */
  readonly streams: readonly FinishedStream[];
}

const NAMES = {
  known: [...MIGRATE_OPTIONS, 'replicas', 'timeout', 'onProgress'],
  hints: MIGRATE_HINTS,
};
/** The pause between two looks at the replicas, in ms. */
const LOOK = 250;

/**
 * Ends a move in place: gives each stream as many replicas as the cluster should keep, and waits until each server has them. It needs the
 * servers with JetStream only, and all of them have to be plain ones by then, of version 2.10 or later. It may be run again.
 *
 * @param options the servers with JetStream, which are `to`, or else `from`; the channels; default: all that a copy has made
 * @returns what became of each stream. It is not rejected for a stream
 * @throws InvalidArgumentError when an option is wrong
 * @throws PeerMissingError when the official client is not installed
 * @throws MigrationTargetError when JetStream cannot be used
 * @throws AbortedError when `signal` is aborted; CallbackError when `onProgress` throws
 * @example
 * ```ts
 * const { ok, streams } = await finish({ from: 'nats://a:4222,nats://b:4222,nats://c:4222' });
 * for (const { stream, replicas } of streams) console.log(`${stream} is on ${replicas} servers`);
 * ```
 * @category Migration
 */
export async function finish(options: FinishOptions = {}): Promise<FinishReport> {
  const read = new OptionReader(options, 'options', NAMES);
  using resolved = readMigrateOptions(read);
  const replicas = read.number('replicas', undefined, { min: 1, max: 5, unit: 'servers' });
  const timeout = read.milliseconds('timeout', 60_000);
  const tell = readProgress<FinishProgress>(read);
  return await interruptibleStep(resolved.signal, () => finishAll(resolved, { replicas, timeout, tell }));
}

interface Settings {
  readonly replicas: number | undefined;
  readonly timeout: number;
  readonly tell: (progress: FinishProgress) => void;
}

async function finishAll(
  resolved: ResolvedMigrateOptions,
  { replicas, timeout, tell }: Settings,
): Promise<FinishReport> {
  const { signal, channels: wanted, clusterId } = resolved;
  const clock = makeClock();
  await using target = await Target.open(resolved.target, signal);
  const problems: Problem[] = [];
  for (const { server, version, reason } of await versionsOf(resolved.target, signal)) {
    if (version === undefined) {
      problems.push({
        code: 'no-answer',
        message: `${server} cannot be asked (${reason}): start it, and run this again`,
      });
    } else if (!version.isNew) {
      const message =
        `${server} is a nats-server ${version.text}, as the streaming server contains it: put a plain nats-server of 2.10 or later in ` +
        'its place, and run this again';
      problems.push({ code: 'too-old', message });
    }
  }
  const infos: { info: StreamInfo; channel: string; isCut: boolean }[] = [];
  for await (const info of target.manager.streams.list()) {
    const note = readStreamNote(info.config.description);
    if (note?.clusterId !== clusterId) continue;
    if (wanted !== undefined && !wanted.some((given) => matches(given, note.channel))) continue;
    infos.push({ info, channel: note.channel, isCut: note.state === 'cut' });
  }
  infos.sort((one, other) => (one.channel < other.channel ? -1 : 1));
  for (const given of wanted ?? []) {
    if (infos.some(({ channel }) => matches(given, channel))) continue;
    const message = `no stream is the copy of a channel '${given}' of cluster '${clusterId}'`;
    problems.push({ code: 'no-stream', channel: given, message });
  }
  const blocked = problems.some(({ code }) => code !== 'no-stream');
  const replicasOfAll = new Replicas(target, clock, signal);
  const streams: FinishedStream[] = [];
  for (const { info, channel, isCut } of infos) {
    signal.throwIfAborted();
    const stream = info.config.name;
    const before = info.config.num_replicas;
    let outcome: FinishedStream['outcome'] = 'refused';
    if (!isCut) {
      const message = `stream '${stream}' of channel '${channel}' is not cut: run 'migrate cut' first, while STAN is there`;
      problems.push({ code: 'not-cut', channel, message });
    } else if (!blocked) {
      const fault = await raise(target, info, replicasOf(target, { replicas }), { clock, timeout, signal });
      if (fault === undefined) outcome = replicasOf(target, { replicas }) > before ? 'raised' : 'unchanged';
      const problem = fault === undefined ? await replicasOfAll.fault(channel, stream) : { ...fault, channel };
      if (problem !== undefined) problems.push(problem);
    }
    const now = outcome === 'refused' ? undefined : await target.stream(stream);
    streams.push({ channel, stream, replicas: now?.config.num_replicas ?? before, outcome });
    tell({ done: streams.length, total: infos.length, stream: streams.at(-1)! });
  }
  return { ok: problems.length === 0, problems, streams };
}

interface Patience {
  readonly clock: Clock;
  readonly timeout: number;
  readonly signal: AbortSignal;
}

/** Gives a stream its replicas, and waits until each has all of it and of its consumers. Returns what keeps it from that. */
async function raise(
  target: Target,
  { config: { name, num_replicas: before } }: StreamInfo,
  wanted: number,
  { clock, timeout, signal }: Patience,
): Promise<{ code: string; message: string } | undefined> {
  if (wanted > before) {
    try {
      await target.manager.streams.update(name, { num_replicas: wanted });
    } catch (error) {
      signal.throwIfAborted();
      if (!target.isAnswer(error)) throw error;
      return {
        code: 'stream',
        message: `stream '${name}' cannot be kept on ${wanted} servers (${describe(error)}): say on how many with 'replicas'`,
      };
    }
  }
  const needed = Math.max(wanted, before);
  const deadline = clock.now() + timeout;
  for (;;) {
    signal.throwIfAborted();
    // Nobody answers while a leader is elected.
    const lacking = await lackingOf(target, name, needed).catch((error: unknown) => describe(error));
    if (lacking === undefined) return undefined;
    if (clock.now() > deadline) {
      const message = `not all of stream '${name}' is on ${needed} servers: ${lacking}. Look whether all servers run, and run this again`;
      return { code: 'not-replicated', message };
    }
    await interruptiblePause(clock, LOOK, signal);
  }
}

/** What a stream and its consumers lack to be on so many servers. Undefined when they lack nothing. */
async function lackingOf(target: Target, name: string, needed: number): Promise<string | undefined> {
  if (!target.isClustered) return undefined;
  const stream = await target.stream(name);
  if (stream === undefined) return 'it is gone';
  const lacking = replicasLacking('the stream', stream.cluster, needed);
  if (lacking !== undefined) return lacking;
  for await (const { name: consumer, config, cluster } of target.manager.consumers.list(name)) {
    // Others have chosen how many they are to be on.
    if (config.durable_name === undefined || (config.num_replicas ?? 0) > 0) continue;
    const position = replicasLacking(`the position of consumer '${consumer}'`, cluster, needed);
    if (position !== undefined) return position;
  }
  return undefined;
}

function replicasLacking(what: string, cluster: StreamInfo['cluster'], needed: number): string | undefined {
  const { leader, replicas = [] } = cluster ?? {};
  if (leader === undefined) return `${what} has no leader`;
  if (replicas.length + 1 < needed) return `${what} is on ${replicas.length + 1}`;
  const behind = replicas.filter(({ current, offline }) => !current || offline === true);
  if (behind.length === 0) return undefined;
  return `${behind.map((replica) => `'${replica.name}'`).join(' and ')} does not have all of ${what}`;
}

interface ServerVersion {
  readonly server: string;
  readonly version: { readonly text: string; readonly isNew: boolean } | undefined;
  readonly reason?: string;
}

/** What each server is. An address that only other servers name, and that cannot be reached, may be for others than us. */
async function versionsOf(side: Parameters<typeof everyServer>[0], signal: AbortSignal): Promise<ServerVersion[]> {
  const asked = await everyServer(side, signal, async (target) => ({
    text: target.version.join('.'),
    isNew: keepsReplicas(target),
  }));
  return asked
    .filter(({ answer, announced }) => answer !== undefined || !announced)
    .map(({ server, answer, reason }) => ({ server, version: answer, ...(reason !== undefined && { reason }) }));
}
