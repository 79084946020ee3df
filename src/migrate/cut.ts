/** The step `cut`: opens the streams for native publishers, and appends what still reaches STAN. */
import { makeClock, type Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { describe } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import { CUT_ALREADY } from './anchor.js';
import { copy } from './copy.js';
import { doorsEverywhere, fenceKind, hasFence, NO_MAPPINGS, openEntrance } from './fence.js';
import { limitsOfStream, maxBytesAtCut, type StreamLimits } from './limits.js';
import { streamName } from './names.js';
import { MIGRATE_HINTS, MIGRATE_OPTIONS, readMigrateOptions, type MigrateOptions } from './options.js';
import { readProgress } from './progress.js';
import type { Problem, Report } from './report.js';
import type { Straggler } from './seam.js';
import { Source } from './source.js';
import { StragglerAppender } from './stragglers.js';
import { readStreamNote, streamNoteText, type StreamNote } from './stream-note.js';
import { Target } from './target.js';

/**
 * Options of {@link cut}.
 * @category Migration
 */
export interface CutOptions extends MigrateOptions {
  /** Whether to go on appending what reaches STAN until `signal` is aborted. Default false: until STAN is {@link quiet}. */
  follow?: boolean | undefined;
  /** How long STAN has to be silent until the cut is over, in ms. Default 10 000. */
  quiet?: number | undefined;
  /** Called when something changes, and about once a second. Default: none. */
  onProgress?: ((progress: CutProgress) => void) | undefined;
}

/**
 * How far {@link cut} has come.
 * @category Migration
 */
export interface CutProgress {
  /**
   * - `'copying'`: what is missing is copied;
   * - `'waiting'`: the servers still keep native publishers out, by their configuration;
   * - `'stragglers'`: the streams are open, and what reaches STAN is appended.
   */
  readonly phase: 'copying' | 'waiting' | 'stragglers';
  /** What has to be done now by a person. Undefined when there is nothing. */
  readonly todo?: string;
  /** How many messages were appended so far. */
  readonly stragglers: number;
}

/**
 * One channel after the cut.
 * @category Migration
 */
export interface CutChannel {
  /** The channel. */
  readonly channel: string;
  /** Its stream. */
  readonly stream: string;
  /**
   * - `'opened'`: this run has opened it, or has seen how the servers did;
   * - `'open'`: it was open before;
   * - `'shut'`: it is not open. A problem says why.
   */
  readonly state: 'opened' | 'open' | 'shut';
  /** The last message whose number is that of STAN. The first native message has a higher one: the next, if nothing was late. */
  readonly cutAt: number;
  /** What has reached STAN after the cut, and was appended by this run: its number in STAN, and its number in the stream. */
  readonly stragglers: readonly Straggler[];
  /** The limits of the stream: messages, bytes, and the age in ms. Undefined is none. */
  readonly limits: StreamLimits;
  /**
   * For how long STAN keeps the channel while nobody uses it, in ms. JetStream has no such limit: a stream that is of no use has to be
   * deleted. Undefined when STAN keeps it for good.
   */
  readonly inactivity?: number;
}

/**
 * What {@link cut} answers.
 * @category Migration
 */
export interface CutReport extends Report {
  /** The channels, by name. */
  readonly channels: readonly CutChannel[];
}

const NAMES = {
  known: [...MIGRATE_OPTIONS, 'follow', 'quiet', 'onProgress'],
  hints: { ...MIGRATE_HINTS, timeout: "did you mean 'quiet'?" },
};

/** The pause between two looks at the servers' fences and at STAN's silence, in ms. */
const LOOK = 250;
/** How often nothing new is told all the same, in ms. */
const TELL = 1000;
/** How often a channel is copied again because STAN has gone on. What comes after that is a straggler. */
const ROUNDS = 3;

/**
 * Cuts over: copies what is still missing, opens each stream for native publishers, and goes on to append what reaches STAN late,
 * in its order and with its number in the header `Stan-Sequence`. The first native message has the number after the last one of
 * STAN. Stop STAN's publishers first, and start the new ones after it: what is published in between is kept in its order.
 *
 * Before 2.10, as in place, the fence is in the configuration of the servers. There the cut waits until all servers have opened,
 * and says what to do.
 *
 * It may be run again: what was appended is not appended again.
 *
 * @returns where each channel was cut, and what came late. It is not rejected for a channel
 * @throws InvalidArgumentError when an option is wrong
 * @throws PeerMissingError when the official client is not installed
 * @throws MigrationSourceError when STAN cannot be read
 * @throws MigrationTargetError when JetStream cannot be used
 * @throws AbortedError when `signal` was aborted before it has begun; CallbackError when `onProgress` throws
 * @example
 * ```ts
 * const { ok, channels } = await cut({ from: 'nats://a:4222', channels: ['orders'] });
 * for (const { channel, cutAt, stragglers } of channels) console.log(channel, cutAt, stragglers.length);
 * ```
 * @category Migration
 */
export async function cut(options: CutOptions = {}): Promise<CutReport> {
  const read = new OptionReader(options, 'options', NAMES);
  using resolved = readMigrateOptions(read);
  const follow = read.boolean('follow', false);
  const quiet = read.milliseconds('quiet', 10_000);
  const { signal } = resolved;
  const clock = makeClock();
  await using source = await Source.open(resolved);
  await using target = await Target.open(resolved.target, signal, { inGoodOrder: true });
  const { channels, problems } = await source.channels();
  const cuts = channels.map(({ channel, limits }) => new ChannelCut(channel, limits.inactivity));
  const { follow: _, quiet: __, onProgress: ___, ...base } = options;
  const copyAgain = async (these: readonly ChannelCut[]): Promise<ReadonlyMap<string, Problem>> => {
    if (these.length === 0) return new Map();
    const report = await copy({ ...base, channels: these.map(({ channel }) => channel) });
    return new Map(report.problems.map((problem) => [problem.channel ?? '', problem]));
  };
  const tell = teller(clock, readProgress<CutProgress>(read));
  const step: Step = { source, target, clock, clusterId: resolved.clusterId, copyAgain, tell, signal };

  if (fenceKind(target) === 'stream') await openStreams(step, cuts);
  else {
    // In place the cluster of STAN is that of the target.
    const servers = async (): Promise<ReadonlySet<string> | undefined> =>
      resolved.inPlace ? await source.serverIds() : undefined;
    await waitForServers(step, cuts, async () =>
      doorsEverywhere(resolved.target, names(cuts), await servers(), signal),
    );
  }

  const open = cuts.filter(({ state }) => state !== 'shut');
  for (const each of open) await limit(step, each);
  const appenders: StragglerAppender[] = [];
  try {
    for (const each of open) {
      if (signal.aborted) break;
      const appender = new StragglerAppender(source, target, clock, each.channel, each.stream);
      appenders.push(appender);
      try {
        const fault = await appender.start();
        each.problem ??= fault;
        // It has said why it appends nothing.
        if (fault !== undefined) appenders.pop();
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
    while (!signal.aborted) {
      const delays = appenders.flatMap(({ delay }) => delay ?? []);
      const todo = delays.length === 0 ? {} : { todo: delays.map((delay) => `${delay}. Mend that`).join('\n') };
      tell({ phase: 'stragglers', ...todo, stragglers: count(appenders) });
      if (!follow && Math.min(...appenders.map(({ idleFor }) => idleFor)) >= quiet) break;
      await pause(clock, Math.min(LOOK, quiet));
    }
  } finally {
    await Promise.all(appenders.map((appender) => appender.stop()));
  }
  tell({ phase: 'stragglers', stragglers: count(appenders) });
  problems.push(...cuts.flatMap(({ problem }) => problem ?? []));
  for (const appender of appenders) problems.push(...(await appender.problems()));
  const cutAt = new Map(appenders.map(({ channel, seam }) => [channel, seam]));
  const late = new Map(appenders.map(({ channel, appended }) => [channel, appended]));
  const limits = new Map<string, StreamLimits>();
  for (const { stream } of cuts) {
    const info = await target.stream(stream);
    if (info !== undefined) limits.set(stream, limitsOfStream(info.config));
  }
  return {
    ok: problems.length === 0,
    problems,
    channels: cuts.map(({ channel, stream, state, last, inactivity }) => ({
      channel,
      stream,
      state,
      cutAt: cutAt.get(channel) ?? last,
      stragglers: late.get(channel) ?? [],
      limits: limits.get(stream) ?? { messages: undefined, bytes: undefined, age: undefined },
      ...(inactivity !== undefined && { inactivity }),
    })),
  };
}

/** One channel on its way to be open. */
class ChannelCut {
  readonly channel: string;
  readonly stream: string;
  state: CutChannel['state'] = 'shut';
  problem: Problem | undefined;
  /** The last message of the stream, as long as nobody else publishes to it. */
  last = 0;

  /** For how long STAN keeps the channel while nobody uses it, in ms. */
  readonly inactivity: number | undefined;

  constructor(channel: string, inactivity: number | undefined) {
    this.channel = channel;
    this.stream = streamName(channel);
    this.inactivity = inactivity;
  }
}

interface Step {
  readonly source: Source;
  readonly target: Target;
  readonly clock: Clock;
  readonly clusterId: string;
  /** Copies what is missing of these. Returns what is wrong, by channel. */
  readonly copyAgain: (cuts: readonly ChannelCut[]) => Promise<ReadonlyMap<string, Problem>>;
  readonly tell: (progress: CutProgress) => void;
  readonly signal: AbortSignal;
}

const names = (cuts: readonly ChannelCut[]): string[] => cuts.map(({ channel }) => channel);
const count = (appenders: readonly StragglerAppender[]): number =>
  appenders.reduce((sum, { appended }) => sum + appended.length, 0);

/** Tells what is new, and what is not new once a second. */
function teller(clock: Clock, onProgress: (progress: CutProgress) => void): (progress: CutProgress) => void {
  let last = '';
  let at = -Infinity;
  return (progress) => {
    const now = clock.now();
    const text = JSON.stringify(progress);
    if (text === last && now - at < TELL) return;
    last = text;
    at = now;
    onProgress(progress);
  };
}

/** From 2.10 on: each stream is opened by one change of its configuration. */
async function openStreams(step: Step, cuts: readonly ChannelCut[]): Promise<void> {
  const { source, target, copyAgain, tell, signal } = step;
  const shut: ChannelCut[] = [];
  for (const each of cuts) {
    const info = await target.stream(each.stream);
    if (info !== undefined && info.config.subjects.includes(each.channel)) each.state = 'open';
    else shut.push(each);
  }
  tell({ phase: 'copying', stragglers: 0 });
  const problems = await copyAgain(shut);
  for (const each of shut) {
    each.problem = problems.get(each.channel);
    for (let round = 1; each.problem === undefined; round++) {
      const info = await target.stream(each.stream);
      if (signal.aborted || info === undefined || !hasFence(info.config, each.channel)) {
        each.problem = notOpened(each, signal.aborted ? 'it was interrupted' : 'its stream is gone or was changed');
        break;
      }
      each.last = info.state.last_seq;
      const inStan = (await source.channel(each.channel))?.last ?? 0;
      if (inStan > each.last && round <= ROUNDS) {
        each.problem = (await copyAgain([each])).get(each.channel);
        continue;
      }
      try {
        const { subjects } = openEntrance(each.channel);
        await target.manager.streams.update(each.stream, {
          subjects,
          subject_transform: undefined as never,
          description: noteOf(step, each, 'being cut'),
        });
        each.state = 'opened';
      } catch (error) {
        each.problem = notOpened(each, `${describe(error)}`);
      }
      break;
    }
  }
}

function notOpened({ channel, stream }: ChannelCut, why: string): Problem {
  return {
    code: 'not-opened',
    channel,
    message: `stream '${stream}' of channel '${channel}' was not opened: ${why}. Run this again`,
  };
}

/**
 * Gives a stream that is open the limit of bytes of its channel. It is done once: what somebody has set after the cut stays. The other
 * limits it has from the beginning.
 */
async function limit(step: Step, each: ChannelCut): Promise<void> {
  const { source, target } = step;
  const config = (await target.stream(each.stream))?.config;
  const note = readStreamNote(config?.description);
  if (config === undefined || note === undefined || note.state === 'cut') return;
  const figures = await source.channel(each.channel);
  const bytes = figures && maxBytesAtCut(figures);
  try {
    await target.manager.streams.update(each.stream, {
      description: noteOf(step, each, 'cut'),
      ...(bytes !== undefined && config.max_bytes <= 0 && { max_bytes: bytes }),
    });
  } catch (error) {
    each.problem ??= {
      code: 'not-limited',
      channel: each.channel,
      message:
        `stream '${each.stream}' is open, and did not get the limit of its channel, which would be ${bytes} bytes: ${describe(error)}. ` +
        `Run this again when there is room, or set another one: nats stream edit ${each.stream} --max-bytes=…`,
    };
  }
}

function noteOf({ clusterId }: Step, { channel }: ChannelCut, state: StreamNote['state']): string {
  return streamNoteText({ clusterId, channel, state });
}

/**
 * Before 2.10: the servers open, when their configuration is changed. Until then it goes on copying. The stream says when all of STAN
 * was in it: native messages that come after that are in their place, and one that came before is a foreign one.
 */
async function waitForServers(
  step: Step,
  cuts: readonly ChannelCut[],
  look: () => ReturnType<typeof doorsEverywhere>,
): Promise<void> {
  const { source, target, copyAgain, tell, clock, signal } = step;
  const isTold = (): boolean => signal.aborted;
  let todo: string[] = [];
  tell({ phase: 'copying', stragglers: 0 });
  for (let round = 1; ; round++) {
    if (isTold()) {
      const why = todo.length === 0 ? 'it was interrupted' : todo.join('; ');
      for (const each of cuts) each.problem ??= notOpened(each, why);
      return;
    }
    const problems = await copyAgain(cuts.filter(({ problem }) => problem === undefined));
    if (isTold()) continue;
    // What replicas had to refuse while it was copied they count, and 2.9.24 may lose that count when a server is replaced.
    if (round === 1) for (const { stream } of cuts) await target.stepDown(stream, signal);
    const servers = await look();
    todo = [];
    for (const each of cuts) {
      if (each.problem !== undefined) continue;
      const problem = problems.get(each.channel);
      // Behind the first native message nothing is copied: that is where the cut is.
      const isInPlace =
        problem === undefined ||
        problem.code === CUT_ALREADY ||
        (problem.code === 'foreign-message' &&
          problem.sequence! > ((await source.channel(each.channel))?.last ?? Infinity));
      if (!isInPlace) {
        each.problem = problem;
        continue;
      }
      const info = await target.stream(each.stream);
      each.last = info?.state.last_seq ?? 0;
      if (readStreamNote(info?.config.description)?.state === 'copied') {
        await target.manager.streams.update(each.stream, { description: noteOf(step, each, 'being cut') });
      }
    }
    for (const { server, doors, reason } of servers) {
      if (doors === undefined) {
        todo.push(`${server} cannot be asked (${reason}): start it, or leave it out of the cluster`);
        continue;
      }
      const shut = cuts.filter(({ channel, problem }) => problem === undefined && doors.get(channel) === 'shut');
      if (shut.length === 0) continue;
      todo.push(
        `${server} keeps publishers of ${names(shut).join(', ')} out: write '${NO_MAPPINGS}' in the place of its mappings, or ` +
          `leave out the lines of these channels, and let it read the file again ('nats-streaming-server --signal reload', or SIGHUP)`,
      );
    }
    if (todo.length === 0) {
      for (const each of cuts) if (each.problem === undefined) each.state = round === 1 ? 'open' : 'opened';
      return;
    }
    tell({ phase: 'waiting', todo: todo.join('\n'), stragglers: 0 });
    await pause(clock, LOOK);
  }
}
