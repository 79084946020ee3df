/** `copy`: all channels, each into its stream, once or for as long as it is told to. */
import '../dispose.js';
import { makeClock, type Clock } from '../clock/clock.js';
import { every } from '../clock/pause.js';
import { describe, toOurs } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import { ChannelCopier, type CopyContext } from './copy-channel.js';
import { MIGRATE_HINTS, MIGRATE_OPTIONS, readMigrateOptions, type MigrateOptions } from './options.js';
import { PROGRESS, readProgress } from './progress.js';
import type { Problem, Report } from './report.js';
import { Slots } from './slots.js';
import { Source } from './source.js';
import { Target, targetError } from './target.js';

/**
 * Options of {@link copy}.
 * @category Migration
 */
export interface CopyOptions extends MigrateOptions {
  /**
   * Whether to go on with what is published, and with channels that come, until `signal` is aborted. Default false: it ends
   * with what is the newest message at the call.
   */
  follow?: boolean | undefined;
  /** On how many servers each stream is kept, 1 to 5. Default: 3 in a cluster of version 2.10 or later, else 1. */
  replicas?: number | undefined;
  /** How many channels are copied at a time. Those that are followed do not count. Default 4. */
  concurrency?: number | undefined;
  /** Is called about four times a second while it runs. */
  onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/**
 * How far a copy is.
 * @category Migration
 */
export interface CopyProgress {
  /** How many channels there are. */
  readonly channels: number;
  /** How many of them are copied, or followed. */
  readonly channelsDone: number;
  /** Messages that STAN has. */
  readonly messages: number;
  /** How many of them the streams have. */
  readonly messagesDone: number;
  /** Messages that were stored by this copy, and those that another copy at the same time has stored while this one sent them. */
  readonly copied: number;
  /** The size of their payloads, in bytes. */
  readonly copiedBytes: number;
  /** Messages that STAN has and the streams have not. With `follow` this is how far the streams are behind. */
  readonly lag: number;
  /** Whether it goes on with what is published. */
  readonly following: boolean;
  /** Why nothing goes on at the moment, by channel. Empty when all is well. */
  readonly waiting: readonly WaitingChannel[];
  /** What has ended the copy of channels up to now. The others go on. */
  readonly problems: readonly Problem[];
}

/** A channel of which nothing is copied at the moment. @category Migration */
export interface WaitingChannel {
  /** The name of the channel. */
  readonly channel: string;
  /** Why it waits. */
  readonly reason: string;
}

/**
 * What became of one channel.
 * @category Migration
 */
export interface CopiedChannel {
  /** Its name. */
  readonly channel: string;
  /** The stream that it becomes. */
  readonly stream: string;
  /** The first message of the stream. */
  readonly first: number;
  /** The last message that is copied: all of the stream up to it is STAN's, under the same numbers. */
  readonly last: number;
  /** Messages that were stored by this copy, and those that another copy at the same time has stored while this one sent them. */
  readonly copied: number;
  /** The size of their payloads, in bytes. */
  readonly copiedBytes: number;
  /** Messages that STAN had at the end, and the stream had not. */
  readonly lag: number;
  /** Whether all is copied that was there at the call. */
  readonly complete: boolean;
  /** Whether native publishers were kept out of the stream meanwhile. */
  readonly fenced: boolean;
  /** Whether a copy that follows has ended because the channel is cut. What still reaches STAN is appended by `cut`. */
  readonly cut: boolean;
}

/**
 * What {@link copy} answers.
 * @category Migration
 */
export interface CopyReport extends Report {
  /** The channels, by name. */
  readonly channels: readonly CopiedChannel[];
  /** Messages that this copy has stored, in all channels. */
  readonly copied: number;
  /** The size of their payloads, in bytes. */
  readonly copiedBytes: number;
  /** How long it took, in ms. */
  readonly duration: number;
}

const NAMES = {
  known: [...MIGRATE_OPTIONS, 'follow', 'replicas', 'concurrency', 'onProgress'],
  hints: MIGRATE_HINTS,
};

/** How often channels are looked for while it follows, and how far behind it is, in ms. */
const LOOK = 1000;
/** How many channels look at both sides at a time, when all of them have to: at the beginning, and behind each session with STAN. */
const PLACING = 64;

/**
 * Copies channels into streams: message n of a channel becomes message n of its stream, with the same bytes, and with the
 * headers `Stan-Sequence` and `Stan-Timestamp`. It may be killed anywhere and run again: it goes on behind the last message
 * of each stream. A foreign message in a stream stops the copy of that channel exactly there.
 *
 * @returns what became of each channel. What is wrong with one does not stop the others
 * @throws InvalidArgumentError; PeerMissingError when the official client is not installed; MigrationSourceError
 * when STAN cannot be reached; MigrationTargetError when JetStream cannot be used; AbortedError when `signal` was aborted
 * before it has begun; CallbackError when `onProgress` throws
 *
 * @example
 * ```ts
 * const { ok, problems, copied } = await copy({ from: 'nats://localhost:4222', channels: ['orders'] });
 * for (const { message } of problems) console.error(message);
 * ```
 * @category Migration
 */
export async function copy(options: CopyOptions = {}): Promise<CopyReport> {
  const read = new OptionReader(options, 'options', NAMES);
  using resolved = readMigrateOptions(read);
  const follow = read.boolean('follow', false);
  const replicas = read.number('replicas', undefined, { min: 1, max: 5, unit: 'servers' });
  const concurrency = read.number('concurrency', 4, { min: 1, max: 100, unit: 'channels' });
  const onProgress = readProgress<CopyProgress>(read);
  const clock = makeClock();
  await using source = await Source.open(resolved);
  await using target = await Target.open(resolved.target, resolved.signal, { inGoodOrder: true });
  const work = new Copying({
    source,
    target,
    clock,
    clusterId: resolved.clusterId,
    follow,
    replicas,
    concurrency,
    onProgress,
    signal: resolved.signal,
  });
  return await work.run();
}

interface Settings {
  readonly source: Source;
  readonly target: Target;
  readonly clock: Clock;
  readonly clusterId: string;
  readonly follow: boolean;
  readonly replicas: number | undefined;
  readonly concurrency: number;
  readonly onProgress: (progress: CopyProgress) => void;
  readonly signal: AbortSignal;
}

/** One channel at work. */
interface Work {
  readonly copier: ChannelCopier;
  /** The last message of STAN, as far as we know. */
  newest: number;
  /** The first message of STAN, as far as we know. */
  oldest: number;
  complete: boolean;
  problem: Problem | undefined;
  ended: Promise<void>;
}

class Copying {
  readonly #settings: Settings;
  readonly #context: CopyContext;
  readonly #channels = new Map<string, Work>();
  readonly #problems: Problem[] = [];
  readonly #waiting = new Map<string, string>();
  readonly #slots: Slots;
  #copied = 0;
  #copiedBytes = 0;
  #stopped = false;
  #looking = false;
  /** The channels that were not up to date when it was told to stop, because one of the sides was away. */
  #unfinished: readonly WaitingChannel[] = [];
  #failure: unknown;
  /** Resolves when there is a channel, or nothing is to be done any more. */
  readonly #somethingToDo: Promise<void>;
  #begun: () => void = () => undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#somethingToDo = new Promise((resolve) => (this.#begun = resolve));
    this.#slots = new Slots(settings.concurrency);
    const { source, target, clock, clusterId, follow, replicas, signal } = settings;
    this.#context = {
      source,
      target,
      clock,
      clusterId,
      follow,
      settings: { replicas },
      placing: new Slots(PLACING),
      stopping: () => this.#stopped || signal.aborted,
      onWaiting: (channel, reason) => {
        if (reason === undefined) this.#waiting.delete(channel);
        else this.#waiting.set(channel, reason);
      },
      onStored: (channel, sequence, bytes) => {
        this.#hasAtLeast(channel, sequence);
        this.#copied++;
        this.#copiedBytes += bytes;
      },
      onPlaced: (channel, sequence) => this.#hasAtLeast(channel, sequence),
      newest: (channel) => this.#channels.get(channel)?.newest ?? 0,
    };
  }

  /** STAN has what a stream has. */
  #hasAtLeast(channel: string, sequence: number): void {
    const work = this.#channels.get(channel);
    if (work !== undefined) work.newest = Math.max(work.newest, sequence);
  }

  async run(): Promise<CopyReport> {
    const { clock, source, follow, signal, onProgress } = this.#settings;
    const began = clock.elapsed();
    const { channels, problems } = await source.channels();
    this.#problems.push(...problems);
    for (const { channel, first, last } of channels) this.#begin(channel, first, last);
    const ends = [
      this.#settings.target.onDisconnect(() => {
        for (const { copier } of this.#channels.values()) copier.disconnected();
      }),
      every(clock, PROGRESS, () => this.#tell()),
    ];
    if (follow) {
      ends.push(every(clock, LOOK, () => void this.#look()));
      ends.push(this.#settings.target.onStreamChange((stream) => this.#changed(stream)));
      const onAbort = (): void => {
        this.#unfinished = this.#waitingChannels();
        this.#stop();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      // A copy that follows nothing any more has nothing to wait for; one that finds no channel waits for the first.
      if (channels.length === 0 && problems.length === 0 && !signal.aborted) await this.#somethingToDo;
    }
    await this.#allEnded();
    for (const end of ends) end();
    if (this.#failure !== undefined) throw toOurs(targetError(this.#failure, 'channels were copied'), 'copy()');
    // Without an answer the lag is the one that was last known.
    await this.#figures().catch(() => undefined);
    onProgress(this.#progress());
    const works = [...this.#channels.values()].sort((a, b) => (a.copier.channel < b.copier.channel ? -1 : 1));
    if (works.some(({ copier, complete, problem }) => !complete && !copier.cut && problem === undefined)) {
      this.#problems.push({
        code: 'interrupted',
        message: 'the copy was interrupted before it had all that was there: run it again, and it goes on where it was',
      });
    }
    for (const { copier, complete, problem } of works) {
      const { channel } = copier;
      const reason =
        this.#unfinished.find((each) => each.channel === channel)?.reason ??
        (copier.owes ? `JetStream has not said whether it has stored message ${copier.stored + 1}` : undefined);
      if (!complete || problem !== undefined || copier.cut || reason === undefined) continue;
      this.#problems.push({
        code: 'interrupted',
        channel,
        message: `the copy was told to stop, and channel '${channel}' was not up to date (${reason}): run it again, and it goes on where it was`,
      });
    }
    const all = this.#allProblems();
    return {
      ok: all.length === 0,
      problems: all,
      channels: works.map(({ copier, newest, complete }) => ({
        channel: copier.channel,
        stream: copier.stream,
        first: copier.first,
        last: copier.stored,
        copied: copier.copied,
        copiedBytes: copier.copiedBytes,
        lag: Math.max(0, newest - copier.stored),
        complete,
        fenced: copier.fenced,
        cut: copier.cut,
      })),
      copied: this.#copied,
      copiedBytes: this.#copiedBytes,
      duration: Math.round(clock.elapsed() - began),
    };
  }

  /** Somebody has changed a stream. */
  #changed(stream: string): void {
    for (const { copier } of this.#channels.values()) if (copier.stream === stream) copier.changed();
  }

  #begin(channel: string, oldest: number, newest: number): void {
    const copier = new ChannelCopier(this.#context, channel);
    const work: Work = { copier, oldest, newest, complete: false, problem: undefined, ended: Promise.resolve() };
    this.#channels.set(channel, work);
    work.ended = this.#work(work);
    this.#begun();
  }

  #waitingChannels(): WaitingChannel[] {
    return [...this.#waiting].map(([channel, reason]) => ({ channel, reason }));
  }

  #allProblems(): Problem[] {
    return [...this.#problems, ...[...this.#channels.values()].flatMap(({ problem }) => problem ?? [])];
  }

  async #work(work: Work): Promise<void> {
    await this.#slots.take();
    let holds = true;
    const release = (): void => {
      if (holds) this.#slots.give();
      holds = false;
    };
    try {
      work.problem = await work.copier.run(() => {
        work.complete = true;
        release();
      });
      if (work.problem !== undefined) work.complete = false;
    } catch (error) {
      // What ends one ends all: the target or STAN cannot be used. When it is aborted, the client of STAN is closed.
      if (!this.#settings.signal.aborted) this.#fail(error);
    } finally {
      this.#waiting.delete(work.copier.channel);
      release();
    }
  }

  /** Resolves when no channel is at work any more, those that came meanwhile included. */
  async #allEnded(): Promise<void> {
    for (let known = -1; known < this.#channels.size;) {
      known = this.#channels.size;
      await Promise.all([...this.#channels.values()].map(({ ended }) => ended));
    }
  }

  /** Ends the copy for a reason that it rejects with. */
  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#stopped = true;
    this.#stop();
  }

  /** Lets the channels end, each at its next safe point. */
  #stop(): void {
    for (const { copier } of this.#channels.values()) copier.stop();
    this.#begun();
  }

  /** Finds channels that are new, and how far behind the others are. */
  async #look(): Promise<void> {
    if (this.#looking || this.#context.stopping()) return;
    this.#looking = true;
    await this.#figures().catch((error: unknown) => this.#waiting.set('', describe(error)));
    this.#looking = false;
  }

  #tell(): void {
    try {
      this.#settings.onProgress(this.#progress());
    } catch (error) {
      this.#fail(error);
    }
  }

  async #figures(): Promise<void> {
    const { channels } = await this.#settings.source.channels();
    this.#waiting.delete('');
    for (const { channel, first, last } of channels) {
      const work = this.#channels.get(channel);
      if (work !== undefined) {
        work.newest = Math.max(work.newest, last);
        work.oldest = Math.max(work.oldest, first);
      } else if (this.#settings.follow && !this.#context.stopping()) this.#begin(channel, first, last);
    }
  }

  #progress(): CopyProgress {
    const works = [...this.#channels.values()];
    const sum = (of: (work: Work) => number): number => works.reduce((total, work) => total + of(work), 0);
    const count = ({ oldest, newest }: Work): number => (oldest === 0 ? 0 : Math.max(0, newest - oldest + 1));
    const lag = ({ copier, newest, oldest }: Work): number => {
      const behind = Math.max(copier.stored, oldest - 1, copier.first - 1);
      return oldest === 0 ? 0 : Math.max(0, newest - behind);
    };
    return {
      channels: works.length,
      channelsDone: works.filter(({ complete }) => complete).length,
      messages: sum(count),
      messagesDone: sum((work) => Math.max(0, count(work) - lag(work))),
      copied: this.#copied,
      copiedBytes: this.#copiedBytes,
      lag: sum(lag),
      following: this.#settings.follow,
      waiting: this.#waitingChannels(),
      problems: this.#allProblems(),
    };
  }
}
