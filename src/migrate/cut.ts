/** The step `cut`: opens the streams for native publishers, and appends what still reaches STAN. */
import { makeClock, type Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { CallbackError, describe } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import { within } from '../within.js';
import { CUT_ALREADY } from './anchor.js';
import { apiCode, SUBJECT_IN_USE } from './api-errors.js';
import { copy } from './copy.js';
import { doorsEverywhere, fenceKind, hasFence, openEntrance, todoOf, type Door, type ServerDoors } from './fence.js';
import { limitsOfStream, maxBytesAtCut, type StreamLimits } from './limits.js';
import { streamName } from './names.js';
import { MIGRATE_HINTS, MIGRATE_OPTIONS, readMigrateOptions, type MigrateOptions } from './options.js';
import { readProgress } from './progress.js';
import type { Problem, Report } from './report.js';
import { findSeam, lookForSeam, type Straggler } from './seam.js';
import { Source } from './source.js';
import { StragglerAppender, todoLines } from './stragglers.js';
import { readStreamNote, streamNoteText } from './stream-note.js';
import { readPatiently, Target, targetError } from './target.js';

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
/** How often a stream is told what was appended to it last, in ms. */
const NOTE = 2000;
/** How long an answer is waited for at the end, when nothing depends on it, in ms. */
const LAST_WORDS = 1000;
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
  const tell = teller(clock, readProgress<CutProgress>(read));
  const step: Step = {
    ...{ source, target, clock, tell, signal },
    clusterId: resolved.clusterId,
    copyAgain: (these, onProgress) => copyAgain(base, signal, these, onProgress),
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
    while (!signal.aborted) {
      const todo = todoLines(appenders.flatMap((appender) => appender.todo ?? []));
      tell({
        phase: 'stragglers',
        ...(todo.length > 0 && { todo: todo.join('\n') }),
        stragglers: count(appenders),
      });
      if (target.isClosed) throw target.closedError(await target.connection.closed());
      const alive = appenders.filter(({ fault }) => fault === undefined);
      if (alive.length === 0 || (!follow && Math.min(...alive.map(({ idleFor }) => idleFor)) >= quiet)) break;
      if (clock.now() - noted > NOTE) {
        for (const appender of alive) await unlessTold(signal, () => appender.note().catch(() => undefined));
        noted = clock.now();
      }
      await pause(clock, Math.min(LOOK, quiet));
    }
  } finally {
    await Promise.all(appenders.map((appender) => appender.stop()));
  }
  tell({ phase: 'stragglers', stragglers: count(appenders) });
  // The next run finds in the stream what is not noted.
  const notes = Promise.all(appenders.map((appender) => appender.note().catch(() => undefined)));
  await within(
    notes,
    LAST_WORDS,
    () => undefined,
    (ms, over) => clock.after(ms, over),
  );
  problems.push(...cuts.flatMap(({ problem }) => problem ?? []));
  for (const appender of appenders) problems.push(...(await appender.problems(signal.aborted)));
  const isCutShort = cuts.some((each) => each.isCutShort) || appenders.some((each) => each.isCutShort);
  if (signal.aborted && isCutShort) {
    const message = 'the cut was interrupted before it had done all: run it again, and it goes on where it was';
    problems.push({ code: 'interrupted', message });
  }
  const bySeam = new Map(appenders.map((appender) => [appender.channel, appender]));
  const limits = new Map<string, StreamLimits>();
  for (const { stream } of cuts) {
    const asked = target.stream(stream).catch((error: unknown) => {
      if (signal.aborted) return undefined;
      throw targetError(error, 'channels were cut');
    });
    const info = signal.aborted
      ? await within(
          asked,
          LAST_WORDS,
          () => undefined,
          (ms, over) => clock.after(ms, over),
        )
      : await asked;
    if (info !== undefined) limits.set(stream, limitsOfStream(info.config));
  }
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

/** One channel on its way to be open. */
class ChannelCut {
  readonly channel: string;
  readonly stream: string;
  state: CutChannel['state'] = 'shut';
  problem: Problem | undefined;
  /**
   * Whether an earlier run has cut it where the fence is in the servers. Then nothing is copied any more: what has come to STAN since is
   * appended.
   */
  isCut = false;
  /** Whether this run has seen a server that keeps somebody out of it. */
  wasShut = false;
  /** Whether the step was told to stop before it was done with the channel. */
  isCutShort = false;
  /** The last message of the stream, as long as nobody else publishes to it. */
  last = 0;

  /** For how long STAN keeps the channel while nobody uses it, in ms. */
  readonly inactivity: number | undefined;

  constructor(channel: string, inactivity: number | undefined) {
    this.channel = channel;
    this.stream = streamName(channel);
    this.inactivity = inactivity;
  }

  /** Says why it is not open. What was said before counts. */
  interrupted(why = 'it was interrupted'): void {
    this.isCutShort ||= this.problem === undefined;
    this.problem ??= notOpened(this, why);
  }
}

interface Step {
  readonly source: Source;
  readonly target: Target;
  readonly clock: Clock;
  readonly clusterId: string;
  /**
   * Copies what is missing of these. Returns what is wrong, by channel; undefined when it was told to stop.
   * @param onProgress hears how much it has copied, about four times a second
   */
  readonly copyAgain: (
    cuts: readonly ChannelCut[],
    onProgress?: (copied: number) => void,
  ) => Promise<ReadonlyMap<string, Problem> | undefined>;
  /** Asks a side something, and waits for servers that are away for a moment. Undefined when it is told to stop. */
  readonly ask: <T>(what: string, work: () => Promise<T>) => Promise<T | undefined>;
  readonly tell: (progress: CutProgress) => void;
  readonly signal: AbortSignal;
}

const isWell = ({ problem }: ChannelCut): boolean => problem === undefined;
const names = (cuts: readonly ChannelCut[]): string[] => cuts.map(({ channel }) => channel);
const count = (appenders: readonly StragglerAppender[]): number =>
  appenders.reduce((sum, { appended }) => sum + appended.length, 0);

/** Those of which a server has a door of some kinds. Default: any but the open one. */
function notOpen(
  servers: readonly ServerDoors[],
  cuts: readonly ChannelCut[],
  kinds: readonly Door[] = ['shut', 'closed', 'foreign'],
): ChannelCut[] {
  return cuts.filter(({ channel }) =>
    servers.some(({ doors }) => {
      const door = doors?.get(channel);
      return door !== undefined && kinds.includes(door);
    }),
  );
}

/** What a piece of work has led to. Undefined when the step is told to stop before, and then it is not waited for. */
async function unlessTold<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  const told = new AbortController();
  const aborted = new Promise<undefined>((resolve) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true, signal: told.signal });
  });
  try {
    return await Promise.race([work(), aborted]);
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  } finally {
    told.abort();
  }
}

async function copyAgain(
  base: MigrateOptions,
  signal: AbortSignal,
  cuts: readonly ChannelCut[],
  onProgress: (copied: number) => void = () => undefined,
): Promise<ReadonlyMap<string, Problem> | undefined> {
  if (cuts.length === 0) return new Map();
  try {
    const report = await copy({
      ...base,
      channels: names(cuts),
      onProgress: ({ messagesDone }) => onProgress(messagesDone),
    });
    return signal.aborted ? undefined : new Map(report.problems.map((problem) => [problem.channel ?? '', problem]));
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
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

/**
 * Sees whether a stream is open already. One that gets what is published to a channel, and that no copy has made, is not touched. Where
 * the fence is in the servers, they are asked later.
 */
async function lookAtStream({ target, clusterId, ask }: Step, each: ChannelCut): Promise<void> {
  const { channel, stream } = each;
  const isFencing = fenceKind(target) === 'stream';
  const found = await ask(`channel '${channel}'`, async () => {
    const info = await target.stream(stream);
    if (info === undefined || !info.config.subjects.includes(channel)) return 'shut';
    const state = readStreamNote(info.config.description)?.state;
    if (isFencing && state !== undefined) return 'open';
    if (state === 'cut') return 'cut';
    if (state === 'being cut') return (await findSeam(target, info)) < info.state.last_seq ? 'cut' : 'shut';
    if (state === 'copied') return 'shut';
    // Without a fence of its own, an empty stream with the right name is as good as one that the copy makes.
    if (info.state.messages === 0) return isFencing ? 'foreign' : 'shut';
    // Somebody may have changed its description.
    const { seam, isKnown } = await lookForSeam(target, info);
    return isKnown && seam > 0 ? 'open' : 'foreign';
  });
  if (found === 'open' && isFencing) each.state = 'open';
  each.isCut = found === 'cut';
  if (found !== 'foreign') return;
  const note = streamNoteText({ clusterId, channel, state: 'cut' });
  each.problem = {
    code: 'foreign-content',
    channel,
    message:
      `stream '${stream}' gets what is published to '${channel}', and no copy has made it: nothing was changed, and nothing was appended. ` +
      `Rename or delete it, copy the channel, and run this again; or leave the channel out with 'channels'. If it was opened by this step ` +
      `before, and has got another description since, give it back the old one: nats stream edit ${stream} --description="${note}"`,
  };
}

/** From 2.10 on: each stream is opened by one change of its configuration. */
async function openStreams(step: Step, cuts: readonly ChannelCut[]): Promise<void> {
  const { source, target, copyAgain, ask, signal } = step;
  const shut = cuts.filter(({ state }) => state === 'shut');
  const problems = await copyAgain(shut);
  for (const each of shut) {
    each.problem = problems?.get(each.channel);
    for (let round = 1; each.problem === undefined; round++) {
      const info = await ask(`channel '${each.channel}'`, () => target.stream(each.stream));
      if (signal.aborted) {
        each.interrupted();
        break;
      }
      if (info === undefined || !hasFence(info.config, each.channel)) {
        each.problem = notOpened(each, 'its stream is gone or was changed');
        break;
      }
      each.last = info.state.last_seq;
      const figures = await ask(`channel '${each.channel}'`, () => source.channel(each.channel));
      if ((figures?.last ?? 0) > each.last && round <= ROUNDS) {
        each.problem = (await copyAgain([each]))?.get(each.channel);
        continue;
      }
      if (signal.aborted) continue;
      try {
        const { subjects } = openEntrance(each.channel);
        await target.manager.streams.update(each.stream, {
          subjects,
          subject_transform: undefined as never,
          description: noteOf(step, each, each.last),
        });
        each.state = 'opened';
      } catch (error) {
        each.problem = await whyNotOpened(target, each, error);
      }
      break;
    }
  }
}

/** Waits until publishers get into streams that are open. */
async function waitForDoors(
  { tell, clock, signal }: Step,
  cuts: readonly ChannelCut[],
  isPart: boolean,
  look: (cuts: readonly ChannelCut[]) => Promise<ServerDoors[]>,
): Promise<void> {
  let todo: readonly string[] = [];
  let shut: readonly ChannelCut[] = cuts;
  while (shut.length > 0 && !signal.aborted) {
    const servers = await unlessTold(signal, () => look(cuts));
    if (servers === undefined) break;
    todo = todoOf(servers, cuts, isPart);
    shut = notOpen(servers, cuts);
    if (shut.length === 0) return;
    tell({ phase: 'waiting', todo: todo.join('\n'), stragglers: 0 });
    await unlessTold(signal, () => pause(clock, LOOK));
  }
  // Nobody has looked, or they are known to be shut.
  for (const each of todo.length === 0 ? [] : shut) {
    each.state = 'shut';
    each.interrupted(todo.join('; '));
  }
}

function notOpened({ channel, stream }: ChannelCut, why: string): Problem {
  return {
    code: 'not-opened',
    channel,
    message: `stream '${stream}' of channel '${channel}' was not opened: ${why}. Run this again`,
  };
}

async function whyNotOpened(target: Target, each: ChannelCut, error: unknown): Promise<Problem> {
  const { channel, stream } = each;
  if (apiCode(error) !== SUBJECT_IN_USE) return notOpened(each, describe(error));
  const others = (await target.streamsOn(channel).catch(() => [])).filter((name) => name !== stream);
  const which = others.length === 0 ? 'another stream' : others.map((name) => `stream '${name}'`).join(', ');
  return {
    code: 'subject-bound',
    channel,
    message:
      `stream '${stream}' was not opened: ${which} listens on '${channel}' already, and two streams cannot. Delete that one, or take the ` +
      'subject from it, and run this again',
  };
}

/** Lets stragglers be appended to a stream, when it is the right one and has its limits. */
async function begin(step: Step, each: ChannelCut, appender: StragglerAppender): Promise<void> {
  const { ask, signal } = step;
  await ask(`channel '${each.channel}'`, () => appender.look());
  if (signal.aborted || appender.fault !== undefined) return;
  await limit(step, each, appender);
  await unlessTold(signal, () => appender.begin());
}

/**
 * Gives a stream that is open the limit of bytes of its channel. It is done once: what somebody has set after the cut stays. The other
 * limits it has from the beginning.
 */
async function limit(
  { source, target, clusterId, ask }: Step,
  each: ChannelCut,
  appender: StragglerAppender,
): Promise<void> {
  const config = (await ask(`channel '${each.channel}'`, () => target.stream(each.stream)))?.config;
  const note = readStreamNote(config?.description);
  if (config === undefined || note === undefined || note.state === 'cut') return;
  const figures = await ask(`channel '${each.channel}'`, () => source.channel(each.channel));
  if (figures === undefined) return;
  const bytes = maxBytesAtCut(figures);
  try {
    await target.manager.streams.update(each.stream, {
      description: appender.noteOf(clusterId, 'cut'),
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

/** The note of a stream that is opened now. */
function noteOf({ clusterId }: Step, { channel }: ChannelCut, cutAt: number): string {
  return streamNoteText({ clusterId, channel, state: 'being cut', cutAt });
}

/**
 * Before 2.10: the servers open, when their configuration is changed. Until then it goes on copying. The stream says when all of STAN
 * was in it: native messages that come after that are in their place, and one that came before is a foreign one.
 * @param look asks each server for the doors of these
 * @param isPart whether the servers may keep publishers out of other channels, which are not cut
 */
async function waitForServers(
  step: Step,
  cuts: readonly ChannelCut[],
  look: (cuts: readonly ChannelCut[]) => Promise<ServerDoors[]>,
  isPart: boolean,
): Promise<void> {
  const { source, target, tell, clock, ask, signal } = step;
  let todo: readonly string[] = [];
  for (let round = 1; ; round++) {
    const open = cuts.filter(isWell);
    const copied = open.filter(({ isCut }) => !isCut);
    const problems = await copyWatched(step, copied, async (stuck) => {
      const servers = (await unlessTold(signal, () => look(stuck))) ?? [];
      // What keeps only native publishers out does not keep the copy out.
      const kinds: readonly Door[] = ['closed', 'foreign'];
      for (const each of notOpen(servers, stuck, kinds)) each.wasShut = true;
      todo = todoOf(servers, stuck, isPart, kinds);
      return todo;
    });
    // What replicas had to refuse while it was copied they count, and 2.9.24 may lose that count when a server is replaced.
    if (round === 1) for (const { stream } of copied) await unlessTold(signal, () => target.stepDown(stream, signal));
    const servers = await unlessTold(signal, () => look(open));
    for (const each of open) {
      if (servers === undefined || problems === undefined) break;
      const problem = problems.get(each.channel);
      // Behind the first native message nothing is copied: that is where the cut is.
      const inStan = async (): Promise<number> =>
        (await ask(`channel '${each.channel}'`, () => source.channel(each.channel)))?.last ?? Infinity;
      const isInPlace =
        problem === undefined ||
        problem.code === CUT_ALREADY ||
        (problem.code === 'foreign-message' && problem.sequence! > (await inStan()));
      if (!isInPlace) {
        if (!signal.aborted) each.problem = problem;
        continue;
      }
      await ask(`channel '${each.channel}'`, async () => {
        const info = await target.stream(each.stream);
        if (info === undefined) return;
        each.last = await findSeam(target, info);
        if (readStreamNote(info.config.description)?.state !== 'copied') return;
        await target.manager.streams.update(each.stream, { description: noteOf(step, each, each.last) });
      });
    }
    if (signal.aborted) {
      for (const each of open) each.interrupted(todo.length === 0 ? undefined : todo.join('; '));
      return;
    }
    const waiting = open.filter(isWell);
    todo = todoOf(servers ?? [], waiting, isPart);
    for (const each of notOpen(servers ?? [], waiting)) each.wasShut = true;
    if (todo.length === 0) {
      for (const each of waiting) each.state = each.wasShut ? 'opened' : 'open';
      return;
    }
    tell({ phase: 'waiting', todo: todo.join('\n'), stragglers: 0 });
    await unlessTold(signal, () => pause(clock, LOOK));
  }
}

/**
 * Copies what is missing, and tells meanwhile what keeps the copy out, when nothing gets in for a while.
 * @param look finds what is to be done, so that messages of these get in. Only streams that are there have doors
 */
async function copyWatched(
  { target, copyAgain, tell, clock, signal }: Step,
  cuts: readonly ChannelCut[],
  look: (stuck: readonly ChannelCut[]) => Promise<readonly string[]>,
): Promise<ReadonlyMap<string, Problem> | undefined> {
  let copied = 0;
  let isOver = false;
  const copying = copyAgain(cuts, (now) => (copied = now)).finally(() => (isOver = true));
  const ended = copying.catch(() => undefined);
  const watch = async (): Promise<void> => {
    let before = -1;
    let next = clock.now() + TELL;
    while (!isOver && !signal.aborted) {
      await Promise.race([pause(clock, LOOK), ended]);
      if (isOver || clock.now() < next) continue;
      next = clock.now() + TELL;
      if (copied === before) {
        const there: ChannelCut[] = [];
        for (const each of cuts) if ((await target.stream(each.stream)) !== undefined) there.push(each);
        const todo = await look(there);
        if (todo.length > 0 && !isOver) tell({ phase: 'copying', todo: todo.join('\n'), stragglers: 0 });
      }
      before = copied;
    }
  };
  // What a server does not say now is asked again, or is told by the copy.
  const watching = watch().catch((error: unknown) => {
    if (error instanceof CallbackError) throw error;
  });
  const [problems] = await Promise.all([copying, watching]);
  return problems;
}
