/** `verify`: reads both sides, each through its own client, and compares them message by message. Nothing is written. */
import '../dispose.js';
import { createHash, type Hash } from 'node:crypto';
import type { Consumer, ConsumerMessages, JsMsg, StreamInfo } from '@nats-io/jetstream';
import { makeClock, type Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { OptionReader } from '../option-reader.js';
import type { ResilientStan } from '../resilient-stan.js';
import { foreignMessage, overtaken } from './anchor.js';
import { doorOf, hasFence } from './fence.js';
import { streamName } from './names.js';
import { interruptibleStep } from './interruptible.js';
import {
  MIGRATE_HINTS,
  MIGRATE_OPTIONS,
  readMigrateOptions,
  type MigrateOptions,
  type ResolvedMigrateOptions,
} from './options.js';
import { CopiedMessage } from './pipeline.js';
import { readProgress, throttled } from './progress.js';
import { Replicas } from './replicas.js';
import type { Problem, Report } from './report.js';
import { droppedUpTo, findSeam, originsIn } from './seam.js';
import { isCut, readStreamNote } from './stream-note.js';
import { Source, type SourceChannel } from './source.js';
import { STAN_SEQUENCE, STAN_TIMESTAMP } from './stan-headers.js';
import { readPatiently, Target } from './target.js';

/**
 * Options of {@link verify}.
 * @category Migration
 */
export interface VerifyCopyOptions extends MigrateOptions {
  /** Is called about four times a second while it runs. */
  onProgress?: ((progress: VerifyCopyProgress) => void) | undefined;
}

/**
 * How far {@link verify} is.
 * @category Migration
 */
export interface VerifyCopyProgress {
  /** Messages that are to be compared, in all channels. */
  readonly messages: number;
  /** How many of them are compared. */
  readonly messagesDone: number;
  /** The channel that is compared now. */
  readonly channel: string;
}

/**
 * One message, or several in a row, that are not the same on both sides.
 * @category Migration
 */
export interface Difference {
  /** The first message, by its number in STAN. */
  readonly from: number;
  /** The last one. The same as `from` if it is one message. */
  readonly to: number;
  /**
   * What differs. `missing`: JetStream does not have it. `extra`: JetStream has it as a message of STAN, and STAN ends before that number.
   * `doubled`: JetStream has it once more.
   */
  readonly what: 'missing' | 'bytes' | 'timestamp' | 'sequence' | 'extra' | 'doubled';
}

/**
 * What {@link verify} says of one channel.
 * @category Migration
 */
export interface VerifiedChannel {
  /** Its name. */
  readonly channel: string;
  /** The stream that it becomes. */
  readonly stream: string;
  /** The first message that was compared. */
  readonly first: number;
  /** The last message that was compared, which was the newest of STAN at that time. */
  readonly last: number;
  /** How many messages were compared. */
  readonly compared: number;
  /** Messages that STAN has dropped, and that the stream still has. They cannot be compared. */
  readonly onlyInJetStream: number;
  /** Messages behind the cut that have come from STAN. */
  readonly stragglers: number;
  /** Messages behind the cut that native publishers have stored. */
  readonly native: number;
  /** SHA-256 over number, time and bytes of each compared message, as STAN has them. */
  readonly stanDigest: string;
  /** The same, as JetStream has them. */
  readonly jetStreamDigest: string;
  /** How many messages differ. */
  readonly different: number;
  /** The first of them, at most twenty entries. */
  readonly differences: readonly Difference[];
}

/**
 * What {@link verify} answers.
 * @category Migration
 */
export interface VerifyCopyReport extends Report {
  /** The channels, by name. */
  readonly channels: readonly VerifiedChannel[];
  /** How many messages were compared. */
  readonly compared: number;
  /** How long it took, in ms. */
  readonly duration: number;
}

const NAMES = { known: [...MIGRATE_OPTIONS, 'onProgress'], hints: MIGRATE_HINTS };
/** How many differences of a channel are named. */
const NAMED = 20;
/** How often it is looked whether the limits of a stream have dropped what is missing, in ms. */
const LIMITS = 50;
/** How long a copy that follows may take to bring what was the newest message, in ms. */
const CATCH_UP = 5000;
/** What JetStream may send ahead, in bytes and in messages. */
const READ_AHEAD = 32 * 1024 * 1024;
const MOST_AHEAD = 1000;

/**
 * Compares every message of each channel that STAN has now with its copy: number, bytes and time. It may run while a copy follows, and
 * after the cut. Where several servers keep a stream, it also looks whether each of them has as many messages, and waits up to 20 s
 * in all for those that are behind.
 *
 * @returns what is the same and what differs, by channel
 * @throws as {@link copy}; AbortedError when `signal` is aborted
 *
 * @example
 * ```ts
 * const { ok, channels } = await verify({ from: 'nats://localhost:4222' });
 * for (const { channel, compared, stanDigest } of channels) console.log(channel, compared, stanDigest);
 * ```
 * @category Migration
 */
export async function verify(options: VerifyCopyOptions = {}): Promise<VerifyCopyReport> {
  const read = new OptionReader(options, 'options', NAMES);
  using resolved = readMigrateOptions(read);
  const onProgress = readProgress<VerifyCopyProgress>(read);
  return await interruptibleStep(resolved.signal, () => compareAll(resolved, onProgress));
}

async function compareAll(
  resolved: ResolvedMigrateOptions,
  onProgress: (progress: VerifyCopyProgress) => void,
): Promise<VerifyCopyReport> {
  const clock = makeClock();
  const began = clock.elapsed();
  await using source = await Source.open(resolved);
  await using target = await Target.open(resolved.target, resolved.signal);
  const { channels, problems } = await source.channels();
  const total = channels.reduce((sum, { messages }) => sum + messages, 0);
  const stan = await source.stan();
  const results: VerifiedChannel[] = [];
  let done = 0;
  const tell = throttled(clock, onProgress);
  const replicas = new Replicas(target, clock, resolved.signal);
  for (const { channel } of channels) {
    const onCompared = (): void => {
      done++;
      tell(() => ({ messages: Math.max(total, done), messagesDone: done, channel }));
    };
    const { signal } = resolved;
    const before = done;
    const { result, problems: found } = await readPatiently(`channel '${channel}' was compared`, signal, async () => {
      done = before;
      const finding = await new ChannelCheck({ stan, source, target, clock, signal, channel, onCompared }).run();
      if (finding.result === undefined) return finding;
      const fault = await replicas.fault(channel, finding.result.stream);
      return fault === undefined ? finding : { ...finding, problems: [...finding.problems, fault] };
    });
    if (result !== undefined) results.push(result);
    problems.push(...found);
  }
  onProgress({ messages: done, messagesDone: done, channel: '' });
  return {
    ok: problems.length === 0,
    problems,
    channels: results,
    compared: results.reduce((sum, { compared }) => sum + compared, 0),
    duration: Math.round(clock.elapsed() - began),
  };
}

function problemsOf({ channel, stream, different, differences, stragglers, native }: VerifiedChannel): Problem[] {
  if (different === 0) return [];
  const list = differences.map(({ from, to, what }) => `${rangeText(from, to)} (${what})`);
  const more = list.length === NAMED ? ', …' : '';
  const { from, to } = differences[0]!;
  const isCut = stragglers + native > 0;
  const advice = isCut
    ? 'The stream has messages of its own already, so do not delete it: compare these with the official client'
    : 'If they are missing at the end, copy again. Otherwise delete the stream, and copy again';
  return [
    {
      code: 'different',
      channel,
      from,
      to,
      message: `channel '${channel}' and stream '${stream}' differ in ${different} of the messages: ${list.join(', ')}${more}. ${advice}`,
    },
  ];
}

const rangeText = (from: number, to: number): string => (from === to ? String(from) : `${from} to ${to}`);

/** What is found out about one channel. */
interface Finding {
  readonly result?: VerifiedChannel;
  readonly problems: readonly Problem[];
}

/** What a stream is while it is compared. */
interface Place {
  readonly info: StreamInfo;
  /** The last message whose number is that of STAN. */
  readonly seam: number;
}

interface CheckSettings {
  readonly stan: ResilientStan;
  readonly source: Source;
  readonly target: Target;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly channel: string;
  /** Hears of each message that is compared. */
  readonly onCompared: () => void;
}

class ChannelCheck {
  readonly #stan: ResilientStan;
  readonly #source: Source;
  readonly #target: Target;
  readonly #channel: string;
  readonly #stream: string;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #onCompared: () => void;
  readonly #stanHash = createHash('sha256');
  readonly #jetStreamHash = createHash('sha256');
  /** A stream that is cut, and whose limits may drop what was copied, as it was seen last. */
  #limited: StreamInfo | undefined;
  /** When it was seen, in ms of the clock. */
  #limitedAt = -Infinity;
  #compared = 0;
  #different = 0;
  /** The highest number of STAN that the stream has a message of. */
  #highest = 0;
  /** The last messages of STAN that could not be read. */
  #unread: { from: number; to: number } | undefined;
  readonly #differences: { from: number; to: number; what: Difference['what'] }[] = [];

  constructor({ stan, source, target, clock, signal, channel, onCompared }: CheckSettings) {
    this.#stan = stan;
    this.#source = source;
    this.#target = target;
    this.#channel = channel;
    this.#stream = streamName(channel);
    this.#clock = clock;
    this.#signal = signal;
    this.#onCompared = onCompared;
  }

  async run(): Promise<Finding> {
    const figures = await this.#source.channel(this.#channel);
    if (figures === undefined) return { problems: [this.#gone()] };
    const found = await this.#place(figures);
    if (found === undefined) {
      const message = `there is no stream '${this.#stream}' for channel '${this.#channel}': copy it first`;
      return { problems: [{ code: 'no-stream', channel: this.#channel, message }] };
    }
    const { seam, info } = found;
    const { first_seq: first, last_seq: last } = info.state;
    const begin = figures.messages === 0 ? figures.last + 1 : figures.first;
    // What native messages have pushed out is not missing.
    this.#limited = hasOwnLimits(info) ? info : undefined;
    const dropped = this.#limited !== undefined ? Math.max(Math.min(first - 1, seam), droppedUpTo(info)) : 0;
    const from = Math.max(begin, dropped + 1);
    const to = figures.last;
    await this.#compare(from, Math.min(to, seam), first, seam);
    const { stragglers, native, firstNative } = await this.#behindTheCut(seam, last, from, to);
    await this.#compareEnds(to);
    const result: VerifiedChannel = {
      channel: this.#channel,
      stream: this.#stream,
      first: from,
      last: to,
      compared: this.#compared,
      onlyInJetStream: Math.max(0, Math.min(begin - 1, seam) - first + 1),
      stragglers,
      native,
      stanDigest: this.#stanHash.digest('hex'),
      jetStreamDigest: this.#jetStreamHash.digest('hex'),
      different: this.#different,
      differences: this.#differences,
    };
    const problems = [...problemsOf(result), ...(await this.#unreadProblems())];
    // Nothing of it may be left to compare, and still it is not true.
    if (info.state.messages > 0 && last < begin - 1)
      problems.push(overtaken(this.#channel, this.#stream, last + 1, begin - 1));
    if (firstNative !== undefined && (await this.#isUncut(info)))
      problems.push(foreignMessage(this.#channel, info, firstNative));
    return { result, problems };
  }

  /** Where the stream begins, ends, and where its numbers cease to be those of STAN. Waits for a copy that follows. */
  async #place({ last }: SourceChannel): Promise<Place | undefined> {
    for (let waited = 0, before = -1; ; waited += 100) {
      this.#signal.throwIfAborted();
      const info = await this.#target.stream(this.#stream);
      if (info === undefined) return undefined;
      const { state } = info;
      const enough = state.last_seq >= last || waited >= CATCH_UP || (waited >= 1000 && state.last_seq === before);
      if (!enough) {
        if (waited % 1000 === 0) before = state.last_seq;
        await pause(this.#clock, 100);
        continue;
      }
      return { info, seam: await findSeam(this.#target, info) };
    }
  }

  async #compare(from: number, to: number, first: number, seam: number): Promise<void> {
    if (to < from) return;
    const copies = new CopyReader(this.#target, this.#stream, Math.max(from, first), to);
    try {
      let copy = seam >= from ? await copies.next() : undefined;
      for await (const original of this.#originals(from, to)) {
        const { sequence } = original;
        // What STAN has dropped since the figures were asked for.
        while (copy !== undefined && copy.seq < sequence) copy = await copies.next();
        if (copy?.seq === sequence) {
          this.#check(original, copy);
          copy = await copies.next();
          // A consumer reads from one server of several, which may be behind the leader. The leader has the last word.
        } else {
          const stored = sequence < first ? undefined : await this.#stored(sequence);
          if (stored !== undefined || !(await this.#isPushedOut(sequence))) this.#check(original, stored);
        }
      }
    } finally {
      await copies.close();
    }
  }

  /** Compares what has come from STAN behind the cut. Without a cut these are messages that are missing. */
  async #behindTheCut(
    seam: number,
    last: number,
    from: number,
    to: number,
  ): Promise<{ stragglers: number; native: number; firstNative: number | undefined }> {
    const places = new Map<number, number>();
    let stragglers = 0;
    let native = 0;
    let firstNative: number | undefined;
    for await (const { inStan, sequence } of originsIn(this.#target, this.#stream, seam + 1, last)) {
      if (Number.isNaN(inStan)) {
        native++;
        firstNative ??= sequence;
        continue;
      }
      stragglers++;
      this.#highest = Math.max(this.#highest, inStan);
      if (inStan <= seam || places.has(inStan)) this.#differs(inStan, 'doubled');
      else places.set(inStan, sequence);
    }
    this.#highest = Math.max(this.#highest, seam);
    const begin = Math.max(seam + 1, from);
    if (to >= begin) {
      for await (const original of this.#originals(begin, to)) {
        const place = places.get(original.sequence);
        const stored = place === undefined ? undefined : await this.#stored(place);
        if (stored === undefined && place !== undefined && (await this.#isPushedOut(place))) continue;
        this.#check(original, stored);
      }
    }
    return { stragglers, native, firstNative };
  }

  /** The messages of STAN. It remembers which of them were not to be had. */
  async *#originals(from: number, to: number): AsyncGenerator<CopiedMessage> {
    let next = from;
    for await (const message of this.#stan.read(this.#channel, { from, to })) {
      this.#signal.throwIfAborted();
      if (message.sequence > next) this.#unread = { from: next, to: message.sequence - 1 };
      next = message.sequence + 1;
      yield new CopiedMessage(message);
    }
    if (next <= to) this.#unread = { from: next, to };
  }

  /** Whether native messages have pushed a message out of the stream since it was looked at. */
  async #isPushedOut(sequence: number): Promise<boolean> {
    if (this.#limited === undefined) return false;
    const now = this.#clock.now();
    if (sequence >= this.#limited.state.first_seq && now - this.#limitedAt > LIMITS) {
      this.#limited = (await this.#target.stream(this.#stream)) ?? this.#limited;
      this.#limitedAt = now;
    }
    return sequence < this.#limited.state.first_seq;
  }

  /** A message as the leader of the stream has it. */
  async #stored(sequence: number): Promise<Pick<JsMsg, 'headers' | 'data'> | undefined> {
    const stored = await this.#target.message(this.#stream, sequence);
    return stored && { headers: stored.header, data: stored.data };
  }

  /** Finds what the stream has as messages of STAN behind the last one of STAN. */
  async #compareEnds(to: number): Promise<void> {
    if (this.#highest <= to) return;
    // What was published meanwhile is in both.
    const last = (await this.#source.channel(this.#channel))?.last ?? 0;
    if (this.#highest > last) this.#differs(last + 1, 'extra', this.#highest);
  }

  /** Messages that STAN says it has, and that could not be read. Those that its limits have dropped meanwhile do not count. */
  async #unreadProblems(): Promise<Problem[]> {
    if (this.#unread === undefined) return [];
    const figures = await this.#source.channel(this.#channel);
    if (figures === undefined) return [this.#gone()];
    const from = Math.max(this.#unread.from, figures.messages === 0 ? figures.last + 1 : figures.first);
    const { to } = this.#unread;
    if (from > to) return [];
    return [
      {
        code: 'source-incomplete',
        channel: this.#channel,
        from,
        to,
        message:
          `the monitoring of STAN says that channel '${this.#channel}' has messages ${rangeText(from, to)}, and STAN does not send them, so ` +
          'they are not compared: run this again, and if that does not help, look at the store of the STAN servers',
      },
    ];
  }

  /** Whether all of the stream has to be of STAN. */
  async #isUncut({ config }: StreamInfo): Promise<boolean> {
    const note = readStreamNote(config.description);
    if (note !== undefined) return note.state === 'copied';
    return hasFence(config, this.#channel) || (await doorOf(this.#target, this.#channel)) === 'shut';
  }

  #gone(): Problem {
    return { code: 'no-channel', channel: this.#channel, message: `channel '${this.#channel}' is gone from STAN` };
  }

  #check(original: CopiedMessage, copy: Pick<JsMsg, 'headers' | 'data'> | undefined): void {
    this.#compared++;
    this.#onCompared();
    add(this.#stanHash, String(original.sequence), original.timestamp, original.data);
    if (copy === undefined) {
      this.#differs(original.sequence, 'missing');
      return;
    }
    const sequence = copy.headers?.get(STAN_SEQUENCE) ?? '';
    const timestamp = copy.headers?.get(STAN_TIMESTAMP) ?? '';
    add(this.#jetStreamHash, sequence, timestamp, copy.data);
    if (sequence !== String(original.sequence)) this.#differs(original.sequence, 'sequence');
    else if (!original.data.equals(copy.data)) this.#differs(original.sequence, 'bytes');
    else if (timestamp !== original.timestamp) this.#differs(original.sequence, 'timestamp');
  }

  #differs(from: number, what: Difference['what'], to = from): void {
    this.#different += to - from + 1;
    const before = this.#differences.at(-1);
    if (before?.what === what && before.to === from - 1) before.to = to;
    else if (this.#differences.length < NAMED) this.#differences.push({ from, to, what });
  }
}

/** Whether a stream is cut, and has limits, which may drop what was copied. */
function hasOwnLimits({ config }: StreamInfo): boolean {
  const { max_msgs, max_bytes, max_age } = config;
  return isCut(config) && [max_msgs, max_bytes, max_age].some((limit) => limit > 0);
}

function add(hash: Hash, sequence: string, timestamp: string, data: Uint8Array): void {
  hash.update(`${sequence} ${timestamp} ${data.length} `).update(data);
}

/** The messages of a stream in their order, through a consumer of the official client that is made again when it is lost. */
class CopyReader {
  readonly #target: Target;
  readonly #stream: string;
  readonly #from: number;
  readonly #to: number;
  #consumer: Consumer | undefined;
  #messages: ConsumerMessages | undefined;
  #iterator: AsyncIterator<JsMsg> | undefined;
  #over = false;

  constructor(target: Target, stream: string, from: number, to: number) {
    this.#target = target;
    this.#stream = stream;
    this.#from = from;
    this.#to = to;
  }

  /** Resolves to undefined behind the last one. */
  async next(): Promise<JsMsg | undefined> {
    if (this.#over) return undefined;
    if (this.#iterator === undefined) {
      const { jetstream, client } = this.#target;
      const info = await this.#target.stream(this.#stream);
      if (info === undefined || info.state.messages === 0 || info.state.last_seq < this.#from) return undefined;
      this.#consumer = await jetstream.consumers.get(this.#stream, {
        deliver_policy: client.jetstream.DeliverPolicy.StartSequence,
        opt_start_seq: this.#from,
      });
      // A server drops a client for which more than 64 MiB wait, so that large messages would never come.
      const { maxPayload } = this.#target;
      const fits = info.state.bytes <= READ_AHEAD ? MOST_AHEAD : Math.max(1, Math.floor(READ_AHEAD / maxPayload));
      this.#messages = await this.#consumer.consume({
        max_messages: Math.min(MOST_AHEAD, fits),
        abort_on_missing_resource: true,
      });
      this.#iterator = this.#messages[Symbol.asyncIterator]();
    }
    const next = await this.#iterator.next();
    if (next.done === true) this.#over = true;
    else if (next.value.seq >= this.#to || next.value.info.pending === 0) this.#over = true;
    return next.done === true || next.value.seq > this.#to ? undefined : next.value;
  }

  /**
   * Leaves nothing in the stream: the server would keep the consumer for five minutes. The official client closes an iterator only
   * when it is asked for more, so its end is not waited for.
   */
  async close(): Promise<void> {
    this.#messages?.stop();
    await this.#consumer?.delete().catch(() => false);
  }
}
