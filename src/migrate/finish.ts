/** The step `finish`: when no streaming server is left, each stream gets its replicas. It is the last one of a move in place. */
import type { StreamInfo } from '@nats-io/jetstream';
import { makeClock, type Clock } from '../clock/clock.js';
import { describe } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import { apiCode, NO_PEERS, NOT_CLUSTERED } from './api-errors.js';
import { MigrationTargetError } from './errors.js';
import { everyServer } from './every-server.js';
import { channelOf } from './names.js';
import { interruptiblePause, interruptibleStep } from './interruptible.js';
import {
  MIGRATE_HINTS,
  MIGRATE_OPTIONS,
  matches,
  readMigrateOptions,
  type MigrateOptions,
  type ResolvedMigrateOptions,
  type Side,
} from './options.js';
import { readProgress } from './progress.js';
import { Replicas } from './replicas.js';
import type { Problem, Report } from './report.js';
import { readStreamNote, type StreamNote } from './stream-note.js';
import { keepsReplicas, replicasOf } from './stream.js';
import { readPatiently, Target } from './target.js';

/**
 * Options of {@link finish}.
 * @category Migration
 */
export interface FinishOptions extends MigrateOptions {
  /** On how many servers each stream is kept, 1 to 5. Default: 3 in a cluster, else 1. */
  replicas?: number | undefined;
  /** How long the servers may take for each stream until all of them have it, in ms. Default 60 000. */
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
   * - `'raised'`: it has got more servers by this run. A problem says when not each of them has all of it;
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

/** A stream that a copy has made. */
interface Found {
  readonly info: StreamInfo;
  readonly note: StreamNote;
}

async function finishAll(
  resolved: ResolvedMigrateOptions,
  { replicas, timeout, tell }: Settings,
): Promise<FinishReport> {
  const { signal } = resolved;
  const clock = makeClock();
  await using target = await Target.open(resolved.target, signal);
  const servers = await versionsOf(resolved.target, signal);
  const { found, problems } = await find(target, resolved);
  const unfit = servers.flatMap((server) => unfitness(server) ?? []);
  problems.unshift(...unfit);
  const wanted = replicasOf(target, { replicas });
  const known = new Set(servers.map(({ version }) => version?.name));
  const comparison = new Replicas(target, clock, signal);
  const streams: FinishedStream[] = [];
  for (const { info, note } of found) {
    signal.throwIfAborted();
    const { channel } = note;
    const stream = info.config.name;
    let outcome: FinishedStream['outcome'] = 'refused';
    if (note.state === 'copied') {
      const message = `stream '${stream}' of channel '${channel}' is not cut: run 'migrate cut' first, while STAN is there`;
      problems.push({ code: 'not-cut', channel, message });
    } else if (unfit.length === 0) {
      const { isRaised, fault } = await raise(target, info, wanted, { clock, timeout, signal });
      if (isRaised) outcome = 'raised';
      else if (fault?.code !== 'stream') outcome = 'unchanged';
      if (note.state === 'being cut') problems.push(unfinishedCut(channel, stream));
      const problem = fault === undefined ? await comparison.fault(channel, stream) : { ...fault, channel };
      if (problem !== undefined) problems.push(problem);
    }
    const now = await readPatiently(`stream '${stream}' was looked at`, signal, () => target.stream(stream)).catch(
      (error: unknown) => {
        signal.throwIfAborted();
        if (!(error instanceof MigrationTargetError)) throw error;
        return undefined;
      },
    );
    if (outcome !== 'refused') problems.push(...strangers(now ?? info, channel, known));
    streams.push({ channel, stream, replicas: (now ?? info).config.num_replicas, outcome });
    tell({ done: streams.length, total: found.length, stream: streams.at(-1)! });
  }
  return { ok: problems.length === 0, problems, streams };
}

/** Finds the streams that a copy has made of the channels, and what keeps it from that. */
async function find(
  target: Target,
  { channels: wanted, clusterId, signal }: ResolvedMigrateOptions,
): Promise<{ found: Found[]; problems: Problem[] }> {
  const isMeant = (channel: string): boolean => wanted === undefined || wanted.some((given) => matches(given, channel));
  const found: Found[] = [];
  const problems: Problem[] = [];
  const others = new Set<string>();
  // Their list leaves out those whose servers are down. The names are there all the same.
  const names = await readPatiently('streams were looked for', signal, () => target.streamsOn('>'));
  for (const name of names.sort()) {
    const channel = channelOf(name);
    if (channel === undefined || !isMeant(channel)) continue;
    let info: StreamInfo | undefined;
    try {
      info = await askedTwice(() => target.stream(name));
    } catch (error) {
      signal.throwIfAborted();
      if (!target.isAnswer(error)) throw error;
      const message = `stream '${name}' does not answer (${describe(error)}): start the server that keeps it, and run this again`;
      problems.push({ code: 'no-answer', channel, message });
      continue;
    }
    const note = readStreamNote(info?.config.description);
    if (info === undefined || note === undefined) continue;
    if (note.clusterId === clusterId) found.push({ info, note });
    else others.add(note.clusterId);
  }
  const hint =
    others.size === 0 ? '' : `. There are copies of cluster ${[...others].map((id) => `'${id}'`).join(', ')}`;
  const missing = (wanted ?? []).filter(
    (given) =>
      !found.some(({ note }) => matches(given, note.channel)) &&
      !problems.some(({ channel }) => matches(given, channel!)),
  );
  for (const given of missing) {
    const message = `no stream is the copy of a channel '${given}' of cluster '${clusterId}'${hint}`;
    problems.push({ code: 'no-stream', channel: given, message });
  }
  if (wanted === undefined && found.length === 0 && problems.length === 0) {
    const message = `no stream is the copy of a channel of cluster '${clusterId}'${hint}: say with 'clusterId' which one is meant`;
    problems.push({ code: 'no-stream', message });
  }
  return { found, problems };
}

/** Asks once more when nobody has answered, because a leader may be elected at this moment. */
async function askedTwice<T>(question: () => Promise<T>): Promise<T> {
  return await question().catch(() => question());
}

/** Why nothing is done while a server is as it is. Undefined when it is a plain one. */
function unfitness({ server, version, reason }: ServerVersion): Problem | undefined {
  if (version === undefined) {
    return {
      code: 'no-answer',
      message: `${server} cannot be asked (${reason}): start it, and run this again`,
    };
  }
  if (version.isNew) return undefined;
  return {
    code: 'too-old',
    message:
      `${server} is a nats-server ${version.text}, as the streaming server contains it: put a plain nats-server of 2.10 or later in ` +
      'its place, and run this again',
  };
}

function unfinishedCut(channel: string, stream: string): Problem {
  return {
    code: 'not-cut',
    channel,
    message:
      `the cut of stream '${stream}' of channel '${channel}' did not come to its end: run 'migrate cut' again while STAN is there. If STAN ` +
      `is gone for good, look at what the stream has, and set its limit of bytes: nats stream edit ${stream} --max-bytes=…`,
  };
}

/** Servers that keep a stream, and that nobody has asked what they are. */
function strangers(
  { config, cluster }: StreamInfo,
  channel: string,
  known: ReadonlySet<string | undefined>,
): Problem[] {
  const names = [cluster?.leader, ...(cluster?.replicas ?? []).map(({ name }) => name)];
  const unknown = names.filter((name) => name !== undefined && name !== '' && !known.has(name));
  if (unknown.length === 0) return [];
  return [
    {
      code: 'no-answer',
      channel,
      message:
        `stream '${config.name}' is also on ${unknown.map((name) => `'${name}'`).join(' and ')}, which could not be reached, so nobody ` +
        "knows whether that is a plain server: name the URLs of all servers with 'to' (--to), and run this again",
    },
  ];
}

interface Patience {
  readonly clock: Clock;
  readonly timeout: number;
  readonly signal: AbortSignal;
}

/** What has become of a stream, and what keeps it from being on so many servers. */
interface Raised {
  /** Whether it has got more servers. Not each of them may have all of it yet. */
  readonly isRaised: boolean;
  readonly fault?: { readonly code: string; readonly message: string };
}

/** Gives a stream its replicas, and waits until each has all of it and of its consumers. */
async function raise(
  target: Target,
  { config: { name, num_replicas: before } }: StreamInfo,
  wanted: number,
  { clock, timeout, signal }: Patience,
): Promise<Raised> {
  const isRaised = wanted > before;
  if (isRaised) {
    try {
      await target.manager.streams.update(name, { num_replicas: wanted });
    } catch (error) {
      signal.throwIfAborted();
      if (!target.isAnswer(error)) throw error;
      const isTooMany = [NO_PEERS, NOT_CLUSTERED].includes(apiCode(error) ?? 0);
      const advice = isTooMany ? "say on how many with 'replicas' (--replicas)" : 'run this again';
      const message = `stream '${name}' was not put on ${wanted} servers (${describe(error)}): ${advice}`;
      return { isRaised: false, fault: { code: 'stream', message } };
    }
  }
  const needed = Math.max(wanted, before);
  const deadline = clock.now() + timeout;
  for (;;) {
    signal.throwIfAborted();
    // Nobody answers while a leader is elected.
    const lacking = await lackingOf(target, name, needed).catch((error: unknown) => describe(error));
    if (lacking === undefined) return { isRaised };
    if (clock.now() > deadline) {
      const message = `not all of stream '${name}' is on ${needed} servers: ${lacking}. Look whether all servers run, and run this again`;
      return { isRaised, fault: { code: 'not-replicated', message } };
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
  return `${what} is not complete on ${behind.map((replica) => `'${replica.name}'`).join(' and ')}`;
}

interface ServerVersion {
  readonly server: string;
  /** Undefined when it cannot be reached. */
  readonly version: { readonly name: string | undefined; readonly text: string; readonly isNew: boolean } | undefined;
  readonly reason?: string;
}

/** What each server is. An address that only other servers name, and that cannot be reached, may be for others than us. */
async function versionsOf(side: Side, signal: AbortSignal): Promise<ServerVersion[]> {
  const asked = await everyServer(side, signal, async (target) => ({
    name: target.connection.info?.server_name,
    text: target.version.join('.'),
    isNew: keepsReplicas(target),
  }));
  return asked
    .filter(({ answer, announced }) => answer !== undefined || !announced)
    .map(({ server, answer, reason }) => ({ server, version: answer, ...(reason !== undefined && { reason }) }));
}
