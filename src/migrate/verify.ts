/** `verify`: reads both sides, each through its own client, and compares them message by message. Nothing is written. */
import '../dispose.js';
import { createHash, type Hash } from 'node:crypto';
import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { makeClock, type Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { OptionReader } from '../option-reader.js';
import type { ResilientStan } from '../resilient-stan.js';
import { streamName } from './names.js';
import { MIGRATE_HINTS, MIGRATE_OPTIONS, readMigrateOptions, reasonOf, type MigrateOptions } from './options.js';
import { CopiedMessage } from './pipeline.js';
import { readProgress, throttled } from './progress.js';
import type { Problem, Report } from './report.js';
import { findSeam, stragglersIn } from './seam.js';
import { Source, type SourceChannel } from './source.js';
import { STAN_SEQUENCE, STAN_TIMESTAMP } from './stan-headers.js';
import { Target } from './target.js';

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
  /** What differs. `missing`: JetStream does not have it. */
  readonly what: 'missing' | 'bytes' | 'timestamp' | 'sequence';
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
/** How long a copy that follows may take to bring what was the newest message, in ms. */
const CATCH_UP = 5000;

/**
 * Compares every message of each channel that STAN has now with its copy: number, bytes and time. It may run while a copy follows, and
 * after the cut.
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
  for (const { channel } of channels) {
    const onCompared = (): void => {
      done++;
      tell(() => ({ messages: Math.max(total, done), messagesDone: done, channel }));
    };
    const { signal } = resolved;
    const check = new ChannelCheck({ stan, source, target, clock, signal, channel, onCompared });
    const result = await check.run().catch((error: unknown) => {
      throw reasonOf(error, signal);
    });
    if ('problem' in result) problems.push(result.problem);
    else {
      results.push(result);
      problems.push(...problemsOf(result));
    }
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

function problemsOf({ channel, stream, different, differences }: VerifiedChannel): Problem[] {
  if (different === 0) return [];
  const list = differences.map(({ from, to, what }) => `${from === to ? from : `${from} to ${to}`} (${what})`);
  const more = list.length === NAMED ? ', …' : '';
  const { from, to } = differences[0]!;
  return [
    {
      code: 'different',
      channel,
      from,
      to,
      message:
        `${different} messages of channel '${channel}' are not the same in stream '${stream}': ${list.join(', ')}${more}. ` +
        `If they are missing at the end, copy again. Otherwise delete the stream, and copy again`,
    },
  ];
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
  #compared = 0;
  #different = 0;
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

  async run(): Promise<VerifiedChannel | { problem: Problem }> {
    const figures = await this.#source.channel(this.#channel);
    const found = figures && (await this.#place(figures));
    if (figures === undefined || found === undefined) {
      const message =
        figures === undefined
          ? `channel '${this.#channel}' is gone from STAN`
          : `there is no stream '${this.#stream}' for channel '${this.#channel}': copy it first`;
      return { problem: { code: figures === undefined ? 'no-channel' : 'no-stream', channel: this.#channel, message } };
    }
    const { seam, first, last } = found;
    const from = figures.messages === 0 ? figures.last + 1 : figures.first;
    const to = figures.last;
    await this.#compare(from, Math.min(to, seam), first, seam);
    const { stragglers, native } = await this.#behindTheCut(seam, last, to);
    return {
      channel: this.#channel,
      stream: this.#stream,
      first: from,
      last: to,
      compared: this.#compared,
      onlyInJetStream: Math.max(0, Math.min(from - 1, seam) - first + 1),
      stragglers,
      native,
      stanDigest: this.#stanHash.digest('hex'),
      jetStreamDigest: this.#jetStreamHash.digest('hex'),
      different: this.#different,
      differences: this.#differences,
    };
  }

  /** Where the stream begins, ends, and where its numbers cease to be those of STAN. Waits for a copy that follows. */
  async #place({ last }: SourceChannel): Promise<{ first: number; seam: number; last: number } | undefined> {
    for (let waited = 0, before = -1; ; waited += 100) {
      const info = await this.#target.stream(this.#stream);
      if (info === undefined) return undefined;
      const { state } = info;
      const enough = state.last_seq >= last || waited >= CATCH_UP || (waited >= 1000 && state.last_seq === before);
      if (!enough) {
        if (waited % 1000 === 0) before = state.last_seq;
        await pause(this.#clock, 100);
        continue;
      }
      const seam = state.messages === 0 ? state.last_seq : await findSeam(this.#target, info);
      return { first: state.first_seq, seam, last: state.last_seq };
    }
  }

  async #compare(from: number, to: number, first: number, seam: number): Promise<void> {
    if (to < from) return;
    const copies = new CopyReader(this.#target, this.#stream, Math.max(from, first), to);
    try {
      let copy = seam >= from ? await copies.next() : undefined;
      for await (const message of this.#stan.read(this.#channel, { from, to })) {
        this.#signal.throwIfAborted();
        const original = new CopiedMessage(message);
        // What STAN has dropped since the figures were asked for.
        while (copy !== undefined && copy.seq < original.sequence) copy = await copies.next();
        this.#check(original, copy?.seq === original.sequence ? copy : undefined);
        if (copy?.seq === original.sequence) copy = await copies.next();
      }
    } finally {
      copies.close();
    }
  }

  /** Compares what has come from STAN behind the cut. Without a cut these are messages that are missing. */
  async #behindTheCut(seam: number, last: number, to: number): Promise<{ stragglers: number; native: number }> {
    const places = new Map<number, number>();
    for await (const { inStan, sequence } of stragglersIn(this.#target, this.#stream, seam + 1, last)) {
      places.set(inStan, sequence);
    }
    if (to > seam) {
      for await (const message of this.#stan.read(this.#channel, { from: seam + 1, to })) {
        this.#signal.throwIfAborted();
        const original = new CopiedMessage(message);
        const place = places.get(original.sequence);
        const copy = place === undefined ? undefined : await this.#target.message(this.#stream, place);
        this.#check(original, copy && { headers: copy.header, data: copy.data });
      }
    }
    return { stragglers: places.size, native: Math.max(0, last - seam - places.size) };
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

  #differs(sequence: number, what: Difference['what']): void {
    this.#different++;
    const before = this.#differences.at(-1);
    if (before?.what === what && before.to === sequence - 1) before.to = sequence;
    else if (this.#differences.length < NAMED) this.#differences.push({ from: sequence, to: sequence, what });
  }
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
      const consumer = await jetstream.consumers.get(this.#stream, {
        deliver_policy: client.jetstream.DeliverPolicy.StartSequence,
        opt_start_seq: this.#from,
      });
      this.#messages = await consumer.consume({ max_messages: 1000, abort_on_missing_resource: true });
      this.#iterator = this.#messages[Symbol.asyncIterator]();
    }
    const next = await this.#iterator.next();
    if (next.done === true) this.#over = true;
    else if (next.value.seq >= this.#to || next.value.info.pending === 0) this.#over = true;
    return next.done === true || next.value.seq > this.#to ? undefined : next.value;
  }

  /** The official client closes an iterator only when it is asked for more, so its end is not waited for. */
  close(): void {
    this.#messages?.stop();
  }
}
