/** The step `cut`: opens the streams for native publishers, and appends what still reaches STAN. */
import { makeClock, type Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { describe } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import { within } from '../within.js';
import { apiCode, isRefusal } from './api-errors.js';
import { copy, type WaitingChannel } from './copy.js';
import { lookAtStream } from './cut-look.js';
import { waitForServers } from './cut-servers.js';
import { isOfServers, isWell, names, ChannelCut, type CutProgress, type Step } from './cut-step.js';
import { openStreams, waitForDoors } from './cut-stream.js';
import { refuseMixedServers } from './every-server.js';
import { doorsEverywhere, fenceKind, type ServerDoors } from './fence.js';
import { GRACE, interruptiblePause, unlessTold } from './interruptible.js';
import { limitsOfStream, maxBytesAtCut, type StreamLimits } from './limits.js';
import { streamName } from './names.js';
import { MIGRATE_HINTS, MIGRATE_OPTIONS, readMigrateOptions, type MigrateOptions } from './options.js';
import { readProgress } from './progress.js';
import type { Problem, Report } from './report.js';
import type { Straggler } from './seam.js';
import { Source } from './source.js';
import { StragglerAppender, todoLines } from './stragglers.js';
import { readStreamNote } from './stream-note.js';
import { readPatiently, Target } from './target.js';

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
/** How often a stream is told what was appended to it last, in ms. */
const NOTE = 2000;
/** For how long a copy that finds no server is begun again, and the pause before, in ms. */
const PATIENCE = 15_000;
const PAUSE = 500;
/** How often the limit of a stream may be refused for now. */
const ATTEMPTS = 5;

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
  // Behind the cut plain servers may be on their way into the places of others.
  if (!(await areCut(target, channels))) await refuseMixedServers(resolved.target, signal);
  const cuts = channels.map(({ channel, limits }) => new ChannelCut(channel, limits.inactivity));
  const { follow: _, quiet: __, onProgress: ___, ...base } = options;
  const tell = teller(clock, readProgress<CutProgress>(read));
  const step: Step = {
    ...{ source, target, clock, tell, signal },
    clusterId: resolved.clusterId,
    copyAgain: (these, stop, onProgress) => copyAgain(step, base, these, stop, onProgress),
    ask: async (what, work) =>
      await unlessTold(signal, async () => await readPatiently(`${what} was cut`, signal, work)),
  };

  for (const each of cuts) await lookAtStream(step, each);
  signal.throwIfAborted();
  tell({ phase: 'copying', stragglers: 0 });
  const isPart = resolved.channels !== undefined;
  if (fenceKind(target) === 'stream') {
    await openStreams(step, cuts.filter(isWell));
    // Servers that have taken the places of others may have kept their mappings. One that is down keeps nobody out.
    await waitForDoors(step, cuts.filter(isWell), isPart, async (these) => {
      const servers = await doorsEverywhere(resolved.target, names(these), new Set(), signal);
      return servers.filter(({ doors }) => doors !== undefined);
    });
  } else {
    // In place the cluster of STAN is that of the target.
    const servers = async (): Promise<ReadonlySet<string> | undefined> =>
      resolved.inPlace ? await source.serverIds() : undefined;
    const look = async (these: readonly ChannelCut[]): Promise<ServerDoors[]> =>
      await doorsEverywhere(resolved.target, names(these), await servers(), signal);
    await waitForServers(step, cuts.filter(isWell), look, isPart);
  }

  const open = cuts.filter(({ state }) => state !== 'shut');
  const appenders = open.map(({ channel, stream }) => new StragglerAppender(source, target, clock, channel, stream));
  try {
    for (const [i, appender] of appenders.entries()) await begin(step, open[i]!, appender);
    let noted = clock.now();
    while (!signal.aborted && open.length > 0) {
      const todo = todoLines(appenders.flatMap((appender) => appender.todo ?? []));
      tell({
        phase: 'stragglers',
        ...(todo.length > 0 && { todo: todo.join('\n') }),
        stragglers: count(appenders),
      });
      if (target.isClosed) {
        const error = target.closedError(await target.connection.closed());
        problems.push({ code: 'no-answer', message: `${error.message}. Run this again` });
        break;
      }
      const alive = appenders.filter(({ fault }) => fault === undefined);
      if (alive.length === 0 || (!follow && Math.min(...alive.map(({ idleFor }) => idleFor)) >= quiet)) break;
      if (clock.now() - noted > NOTE) {
        await unlessTold(signal, () => noteAll(alive));
        noted = clock.now();
      }
      await pause(clock, Math.min(LOOK, quiet));
    }
  } finally {
    await Promise.all(appenders.map((appender) => appender.stop()));
  }
  if (open.length > 0) tell({ phase: 'stragglers', stragglers: count(appenders) });
  problems.push(...cuts.flatMap(({ problem }) => problem ?? []));
  // Each of these questions ends by itself a moment after it is told to stop, so they are asked together.
  const limits = new Map<string, StreamLimits>();
  const [lost, unknown] = await Promise.all([
    Promise.all(appenders.map((appender) => appender.problems(signal))),
    Promise.all(cuts.map((each) => readLimits(step, each, limits))),
    // The next run finds in the stream what is not noted.
    within(
      noteAll(appenders),
      GRACE,
      () => undefined,
      (ms, over) => clock.after(ms, over),
    ),
  ]);
  problems.push(...lost.flat(), ...unknown.flatMap((problem) => problem ?? []));
  const isCutShort = cuts.some((each) => each.isCutShort) || appenders.some((each) => each.isCutShort);
  if (signal.aborted && isCutShort) {
    const message = 'the cut was interrupted before it had done all: run it again, and it goes on where it was';
    problems.push({ code: 'interrupted', message });
  }
  const bySeam = new Map(appenders.map((appender) => [appender.channel, appender]));
  return {
    ok: problems.length === 0,
    problems,
    channels: cuts.map(({ channel, stream, state, last, inactivity }) => ({
      channel,
      stream,
      state,
      cutAt: bySeam.get(channel)?.seam ?? last,
      stragglers: bySeam.get(channel)?.appended ?? [],
      limits: limits.get(stream) ?? { messages: undefined, bytes: undefined, age: undefined },
      ...(inactivity !== undefined && { inactivity }),
    })),
  };
}

const count = (appenders: readonly StragglerAppender[]): number =>
  appenders.reduce((sum, { appended }) => sum + appended.length, 0);

/** Writes into the streams what was appended last. What cannot be written is found in the stream. */
async function noteAll(appenders: readonly StragglerAppender[]): Promise<void> {
  await Promise.all(appenders.map((appender) => appender.note().catch(() => undefined)));
}

/**
 * Finds the limits that a stream has at the end.
 * @returns a problem when the servers do not say them. None when it was told to stop: nothing depends on them
 */
async function readLimits(
  { target, signal }: Step,
  { channel, stream }: ChannelCut,
  limits: Map<string, StreamLimits>,
): Promise<Problem | undefined> {
  const ask = async (): Promise<void> => {
    const info = await target.stream(stream);
    if (info !== undefined) limits.set(stream, limitsOfStream(info.config));
  };
  try {
    // Nobody answers over a connection that is closed for good, and there it is told already.
    if (target.isClosed) return undefined;
    await (signal.aborted ? ask() : readPatiently(`channel '${channel}' was cut`, signal, ask));
    return undefined;
  } catch (error) {
    if (signal.aborted) return undefined;
    if (!isOfServers({ target }, error)) throw error;
    const message = `the limits of stream '${stream}' of channel '${channel}' are not known: ${describe(error)}`;
    return { code: 'no-answer', channel, message };
  }
}

/** Copies what is missing. Both sides were there a moment ago, so servers that are away are waited for. */
async function copyAgain(
  { source, target, clock, signal }: Step,
  base: MigrateOptions,
  cuts: readonly ChannelCut[],
  stop: AbortSignal,
  onProgress: (copied: number, waiting: readonly WaitingChannel[]) => void,
): Promise<ReadonlyMap<string, Problem> | undefined> {
  if (cuts.length === 0) return new Map();
  const ended = new AbortController();
  const end = (): void => ended.abort();
  for (const each of [signal, stop]) {
    each.addEventListener('abort', end, { once: true });
    if (each.aborted) end();
  }
  const deadline = clock.now() + PATIENCE;
  try {
    for (;;) {
      try {
        const report = await copy({
          ...base,
          signal: ended.signal,
          channels: names(cuts),
          onProgress: ({ messagesDone, waiting }) => onProgress(messagesDone, waiting),
        });
        if (ended.signal.aborted) return undefined;
        return new Map(report.problems.map((problem) => [problem.channel ?? '', problem]));
      } catch (error) {
        if (ended.signal.aborted) return undefined;
        if (!isOfServers({ target }, error) || target.isClosed || clock.now() > deadline) throw error;
        onProgress(0, [{ channel: '', reason: describe(error) }]);
        // It has patience of its own, and ends at once when another cluster answers.
        await source.channel(cuts[0]!.channel);
        await interruptiblePause(clock, PAUSE, ended.signal).catch(() => undefined);
      }
    }
  } catch (error) {
    if (ended.signal.aborted) return undefined;
    throw error;
  } finally {
    for (const each of [signal, stop]) each.removeEventListener('abort', end);
  }
}

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

/** Whether the streams of all channels are cut. */
async function areCut(target: Target, channels: readonly { readonly channel: string }[]): Promise<boolean> {
  for (const { channel } of channels) {
    const info = await target.stream(streamName(channel)).catch(() => undefined);
    if (readStreamNote(info?.config.description)?.state !== 'cut') return false;
  }
  return true;
}

/** Lets stragglers be appended to a stream, when it is the right one and has its limits. Its servers may not answer: it is open all the same. */
async function begin(step: Step, each: ChannelCut, appender: StragglerAppender): Promise<void> {
  const { ask, signal } = step;
  try {
    await ask(`channel '${each.channel}'`, () => appender.look());
    if (signal.aborted || appender.fault !== undefined) return;
    await limit(step, each, appender);
    await unlessTold(signal, () => appender.begin());
  } catch (error) {
    if (!isOfServers(step, error)) throw error;
    appender.giveUp(error);
  }
}

/**
 * Gives a stream that is open the limit of bytes of its channel, and notes that it is cut. It is done once: what somebody has set after the
 * cut stays. The other limits it has from the beginning.
 */
async function limit(
  { source, target, clusterId, ask }: Step,
  each: ChannelCut,
  appender: StragglerAppender,
): Promise<void> {
  const { channel, stream } = each;
  const config = (await ask(`channel '${channel}'`, () => target.stream(stream)))?.config;
  const note = readStreamNote(config?.description);
  if (config === undefined || note === undefined || note.state === 'cut') return;
  const figures = await ask(`channel '${channel}'`, () => source.channel(channel));
  if (figures === undefined) return;
  const bytes = config.max_bytes > 0 ? undefined : maxBytesAtCut(figures);
  const description = appender.noteOf(clusterId, 'cut');
  let refused: unknown;
  let attempts = 0;
  try {
    await ask(`channel '${channel}'`, async () => {
      refused = undefined;
      if (bytes !== undefined) {
        try {
          await target.manager.streams.update(stream, { description, max_bytes: bytes });
          return;
        } catch (error) {
          const isPassing = apiCode(error) === undefined || (!isRefusal(error) && ++attempts < ATTEMPTS);
          if (isPassing) throw error;
          refused = error;
        }
      }
      // Without the limit it is cut as well, and `finish` has to know that.
      await target.manager.streams.update(stream, { description });
    });
  } catch (error) {
    if (!isOfServers({ target }, error)) throw error;
    const lacks = bytes === undefined ? '' : `, nor the limit of its channel, which would be ${bytes} bytes`;
    each.problem ??= {
      code: 'not-limited',
      channel,
      message:
        `stream '${stream}' of channel '${channel}' is open, and its description could not be written, which says that it is cut${lacks}: ` +
        `${describe(error)}. Run this again`,
    };
    return;
  }
  if (refused === undefined) return;
  each.problem ??= {
    code: 'not-limited',
    channel,
    message:
      `stream '${stream}' of channel '${channel}' is open and cut, and did not get the limit of its channel, which would be ${bytes} bytes: ` +
      `${describe(refused)}. Set it when there is room, or another one: nats stream edit ${stream} --max-bytes=${bytes}`,
  };
}
