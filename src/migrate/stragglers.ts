/**
 * Appends to an open stream what reaches STAN after the cut. The stream has its own numbers by then, so such a message has its
 * number in STAN in a header only. What was appended is found in the stream itself, which is the only checkpoint; what its limits
 * have dropped is found in its description.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import type { Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { describe } from '../errors.js';
import type { ResilientStan } from '../resilient-stan.js';
import type { StanMessage } from '../subscribing/message.js';
import type { ResilientSubscription } from '../subscribing/subscription.js';
import { clusterFault, stanMessage, tailFault } from './anchor.js';
import { isRefusal, tooLargeFor } from './api-errors.js';
import { MigrationSourceError, MigrationTargetError } from './errors.js';
import { GRACE } from './interruptible.js';
import { NS } from './limits.js';
import { CopiedMessage } from './pipeline.js';
import type { Problem } from './report.js';
import { lookForSeam, stanSequenceOf, stragglersIn, type Straggler } from './seam.js';
import type { Source } from './source.js';
import { HEADER_BYTES, messageId, STAN_SEQUENCE, STAN_TIMESTAMP } from './stan-headers.js';
import { readStreamNote, streamNoteText, type LastOfStan, type StreamNote } from './stream-note.js';
import { isDenied, type Target } from './target.js';

/** The pause before a message that was not stored is sent again, in ms. */
const PAUSE = 200;

/** A message that JetStream does not take. */
interface Delayed {
  readonly sequence: number;
  /** Its payload, in bytes. */
  readonly size: number;
  readonly reason: string;
  /** For what it is too large. Undefined when that is not the reason. */
  readonly tooLargeFor: 'servers' | 'stream' | undefined;
  /** Since when it is refused, in ms of the clock. Undefined when JetStream is only away. */
  readonly refusedSince: number | undefined;
}

/** What is to be done about a channel of which nothing is appended. */
export interface Todo {
  readonly channel: string;
  /** Why nothing is appended, and what to do. */
  readonly text: string;
  /** The same for channels with the same reason. */
  readonly kind: string;
}

/** What is to be done about several channels, in one line for all that have the same reason. Pure. */
export function todoLines(todos: readonly Todo[]): string[] {
  const groups = new Map<string, Todo[]>();
  for (const each of todos) groups.set(each.kind, [...(groups.get(each.kind) ?? []), each]);
  return [...groups.values()].map(([first, ...others]) =>
    others.length === 0
      ? first!.text
      : `${first!.text}. It is the same with channel${others.length === 1 ? '' : 's'} ${others.map(({ channel }) => channel).join(', ')}`,
  );
}

/** The last message of STAN that the stream has got. Its time is not there when the stream has dropped it and nobody has noted it. */
type Tail = Straggler & Partial<Pick<LastOfStan, 'timestamp'>>;

export class StragglerAppender {
  readonly channel: string;
  readonly stream: string;
  /** The last message that has the number of STAN. Undefined before {@link look}. */
  seam: number | undefined;
  /** What was appended behind the seam, by this run. */
  readonly appended: Straggler[] = [];
  /** Why nothing is appended, and nothing will be. */
  fault: Problem | undefined;
  /** Whether it is sure that the seam is there. */
  #isSeamKnown = false;
  /** All messages of STAN up to this one are in the stream, or were dropped by limits. */
  #tail: Tail = { inStan: 0, sequence: 0 };
  /** The stream has no message of STAN between the tail and this one. */
  #scanned = 0;
  /** When the tail was seen last, in ms that go on while the host sleeps. */
  #seen = 0;
  /** For how long the server remembers IDs, in ms. */
  #remembers = 0;
  /** Whether a message was sent and no answer has come. */
  #isUnanswered = false;
  /** Whether STAN may have begun anew since it was looked at. */
  #isUnchecked = false;
  /** What the limits of the channel have dropped before it was appended. */
  readonly #dropped: { from: number; to: number }[] = [];
  /** When a message of STAN has last come, or was last stored, in ms of the clock. */
  #heard: number;
  #appending = false;
  #delayed: Delayed | undefined;
  /** What the description of the stream says by us. */
  #noted = '';
  readonly #source: Source;
  readonly #target: Target;
  readonly #clock: Clock;
  #stan: ResilientStan | undefined;
  #subscription: ResilientSubscription | undefined;
  #stopped = false;
  /** Gives up the answer that is waited for. */
  #giveUp: () => void = () => undefined;
  readonly #onSession = (): void => void (this.#isUnchecked = true);

  constructor(source: Source, target: Target, clock: Clock, channel: string, stream: string) {
    this.#source = source;
    this.#target = target;
    this.#clock = clock;
    this.channel = channel;
    this.stream = stream;
    this.#heard = clock.now();
  }

  /** For how long there was nothing to append, or nothing that JetStream takes, in ms. */
  get idleFor(): number {
    if (!this.#appending) return this.#clock.now() - this.#heard;
    const { refusedSince } = this.#delayed ?? {};
    return refusedSince === undefined ? 0 : this.#clock.now() - refusedSince;
  }

  /** What is to be done now, so that a message is appended. Undefined when all is well. */
  get todo(): Todo | undefined {
    if (this.#delayed === undefined) return undefined;
    const { reason, tooLargeFor } = this.#delayed;
    const text = `${this.#why(this.#delayed)}. ${this.#advice(this.#delayed)}`;
    // What is too large is so for itself.
    return { channel: this.channel, text, kind: tooLargeFor === undefined ? reason : text };
  }

  /** Whether it was stopped with a message that JetStream has not refused. */
  isCutShort = false;

  /**
   * Finds what the stream has of STAN, and whether STAN goes on behind it.
   * @returns why nothing can be appended
   */
  async look(): Promise<Problem | undefined> {
    const info = await this.#info();
    const { seam, isKnown } = await lookForSeam(this.#target, info);
    this.seam = seam;
    this.#isSeamKnown = isKnown;
    this.#remembers = info.config.duplicate_window / NS;
    let tail: Tail = { inStan: seam, sequence: seam };
    const noted = readStreamNote(info.config.description)?.last;
    if (noted !== undefined && noted.inStan >= seam && (await this.#isThere(noted, info))) tail = noted;
    this.#seen = this.#clock.elapsed();
    for await (const each of stragglersIn(this.#target, this.stream, tail.sequence + 1, info.state.last_seq)) {
      if (each.inStan > tail.inStan) tail = each;
    }
    this.#tail = tail;
    this.#scanned = info.state.last_seq;
    this.fault = clusterFault(this.#source, this.channel, info) ?? (await this.#tailFault());
    return this.fault;
  }

  /** Appends what has come to STAN since, and what comes, until {@link stop}. */
  async begin(): Promise<void> {
    this.#heard = this.#clock.now();
    const stan = await this.#source.stan();
    this.#stan = stan;
    // Behind a new session there may be a STAN that began anew, under the same numbers.
    stan.on('session', this.#onSession);
    this.#subscription = await stan.subscribe(this.channel, (message) => this.#append(message), {
      startAt: { sequence: this.#tail.inStan + 1 },
      concurrency: 1,
    });
    this.#subscription.on('gap', ({ from, to }) => this.#dropped.push({ from, to }));
    this.#subscription.on('reset', this.#onSession);
  }

  /** What the description of the stream is to say. */
  noteOf(clusterId: string, state: StreamNote['state']): string {
    const { channel } = this;
    const { inStan, sequence, timestamp } = this.#tail;
    return streamNoteText({
      ...{ clusterId, channel, state },
      ...(this.#isSeamKnown && { cutAt: this.seam! }),
      ...(timestamp !== undefined && { last: { inStan, sequence, timestamp } }),
    });
  }

  /**
   * Writes into the description of the stream where it was cut, and what was appended last. The limits of the stream may drop all that
   * is of STAN, and the next run has to know it then.
   */
  async note(): Promise<void> {
    const { inStan } = this.#tail;
    const text = `${this.seam} ${inStan}`;
    if (this.#noted === text || this.fault !== undefined) return;
    const info = await this.#target.stream(this.stream);
    const note = readStreamNote(info?.config.description);
    // What somebody else has written stays, and so does what another run has seen later.
    if (note !== undefined && note.state !== 'copied' && (note.last?.inStan ?? -1) <= inStan) {
      const description = this.noteOf(note.clusterId, note.state);
      if (description !== info!.config.description)
        await this.#target.manager.streams.update(this.stream, { description });
    }
    this.#noted = text;
  }

  /** Appends nothing, because a server does not answer. */
  giveUp(error: unknown): void {
    const { channel, stream } = this;
    this.fault ??= {
      code: 'not-appended',
      channel,
      message:
        `what has reached channel '${channel}' of STAN after the cut was not appended to stream '${stream}': ${describe(error)}. Run this ` +
        'again',
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const cancel = this.#clock.after(GRACE, () => this.#giveUp());
    this.#stan?.off('session', this.#onSession);
    await this.#subscription?.close();
    cancel();
  }

  /**
   * What has reached STAN and is not in the stream, after {@link stop}. That STAN does not answer is a problem as well.
   * @param signal that of the step
   */
  async problems(signal: AbortSignal): Promise<Problem[]> {
    const { channel, stream } = this;
    if (this.fault !== undefined) return [...this.#lost(), this.fault];
    if (this.#subscription === undefined) {
      this.isCutShort = true;
      const message = `what has reached channel '${channel}' of STAN after the cut was not appended: it was interrupted. Run this again`;
      return [{ code: 'not-appended', channel, message }];
    }
    const problems = this.#lost();
    const from = this.#tail.inStan + 1;
    let to: number;
    try {
      to = (await this.#source.channel(channel))?.last ?? 0;
    } catch (error) {
      if (!signal.aborted && !(error instanceof MigrationSourceError)) throw error;
      this.isCutShort = true;
      const message =
        `STAN does not say whether something has reached channel '${channel}' behind message ${from - 1}, the last one that is in ` +
        `stream '${stream}' (${describe(error)}). Run this again`;
      return [...problems, { code: 'not-appended', channel, message }];
    }
    if (to < from) return problems;
    const delayed = this.#delayed;
    this.isCutShort = delayed?.refusedSince === undefined;
    const which = from === to ? `message ${from}` : `messages ${from} to ${to}`;
    const are = from === to ? 'has reached STAN after the cut, and is' : 'have reached STAN after the cut, and are';
    const why = delayed === undefined ? 'it was stopped before' : this.#why(delayed);
    const advice = delayed?.tooLargeFor === undefined ? '' : `. ${this.#advice(delayed)}`;
    return [
      ...problems,
      {
        code: delayed?.tooLargeFor === undefined ? 'not-appended' : 'too-large',
        channel,
        ...(delayed?.tooLargeFor !== undefined && { sequence: delayed.sequence }),
        from,
        to,
        message:
          `${which} of channel '${channel}' ${are} ${this.#isUnanswered ? 'perhaps ' : ''}not in stream '${stream}': ${why}${advice}. ` +
          'Run this again',
      },
    ];
  }

  /** What the limits of the channel have dropped before it was appended. */
  #lost(): Problem[] {
    const { channel, stream } = this;
    return this.#dropped.map(({ from, to }) => ({
      ...{ code: 'retention', channel, from, to },
      message:
        `messages ${from} to ${to} of channel '${channel}' reached STAN after the cut, and its limits have dropped them before they ` +
        `could be appended to stream '${stream}'. Publish them to JetStream again, if somebody still has them`,
    }));
  }

  /** Why a message is not appended. */
  #why({ sequence, size, reason, tooLargeFor: of }: Delayed): string {
    const { channel, stream } = this;
    const what = `JetStream does not store message ${sequence} of channel '${channel}' in stream '${stream}': `;
    const most =
      of === 'servers'
        ? `the servers take at most ${this.#target.maxPayload} with its headers`
        : 'the stream takes less';
    return what + (of === undefined ? reason : `it has ${size} bytes, and ${most} (${reason})`);
  }

  /** What to do, so that a message is appended. */
  #advice({ size, tooLargeFor: of, refusedSince }: Delayed): string {
    const enough = size + HEADER_BYTES;
    if (of === 'servers') return `Set max_payload in the configuration of these servers to ${enough} or more`;
    if (of === 'stream') return `Let the stream take it: nats stream edit ${this.stream} --max-msg-size=${enough}`;
    if (refusedSince === undefined) return 'It is tried again: see that the servers of JetStream run';
    return 'Change that, and it goes on by itself';
  }

  async #info(): Promise<StreamInfo> {
    const info = await this.#target.stream(this.stream);
    if (info === undefined) throw new MigrationTargetError(`stream '${this.stream}' is gone`);
    return info;
  }

  /** Whether a stream still ends behind a message of STAN that was noted: it may have lost its end. */
  async #isThere({ inStan, sequence }: LastOfStan, { state }: StreamInfo): Promise<boolean> {
    if (sequence > state.last_seq) return false;
    if (sequence < state.first_seq) return true;
    const stored = await this.#target.message(this.stream, sequence);
    return stored === undefined || stanSequenceOf(stored) === inStan;
  }

  /** Why what STAN has does not go on behind the last message of STAN that the stream has got. */
  async #tailFault(): Promise<Problem | undefined> {
    const { channel, stream } = this;
    const { inStan, sequence, timestamp: noted } = this.#tail;
    const figures = await this.#source.channel(channel);
    if (figures === undefined || inStan === 0) return undefined;
    const stored = await this.#target.message(stream, sequence);
    if (stored !== undefined) {
      this.#tail = { inStan, sequence, timestamp: stored.header.get(STAN_TIMESTAMP) };
      const fault = await tailFault(this.#source, this.#target, stream, figures, stored);
      // What STAN has dropped meanwhile is told with the rest.
      if (fault === undefined || fault.code === 'retention') return undefined;
      return fault.code === 'source-wiped' ? this.#wiped() : fault;
    }
    // The limits of the stream have dropped it. Its number is left, and the time at which STAN has stored it.
    if (inStan > figures.last) return this.#wiped();
    if (noted === undefined || figures.messages === 0 || inStan < figures.first) return undefined;
    const original = await stanMessage(await this.#source.stan(), channel, inStan);
    return original === undefined || original.timestamp === noted ? undefined : this.#wiped();
  }

  /** The stream has native messages by now, so nobody is told to delete it. */
  #wiped(): Problem {
    const { channel, stream } = this;
    const { inStan, sequence } = this.#tail;
    return {
      code: 'source-wiped',
      channel,
      sequence: inStan,
      message:
        `what STAN has of channel '${channel}' does not go on behind its message ${inStan}, which is message ${sequence} of stream ` +
        `'${stream}': STAN began anew after the cut, or has deleted the channel meanwhile, or this is another cluster. Nothing was appended ` +
        'of it. Say which servers are meant; if these are, publish to JetStream again what was published to them since',
    };
  }

  async #append(message: StanMessage): Promise<void> {
    this.#heard = this.#clock.now();
    this.#appending = true;
    const copied = new CopiedMessage(message);
    const { sequence, timestamp, data } = copied;
    while (!this.#stopped && this.fault === undefined) {
      try {
        const place = await this.#untilOver(this.#store(copied));
        this.#delayed = undefined;
        if (place === undefined) break;
        // Until a native message has come, STAN's numbers go on.
        if (place === sequence && this.seam === sequence - 1) this.seam = sequence;
        else this.appended.push({ inStan: sequence, sequence: place });
        this.#tail = { inStan: sequence, sequence: place, timestamp };
        this.#scanned = Math.max(this.#scanned, place);
        this.#seen = this.#clock.elapsed();
        break;
      } catch (error) {
        // What comes behind it waits, because the order is STAN's.
        const now = this.#clock.now();
        const refusedSince = isRefusal(error) || isDenied(error) ? (this.#delayed?.refusedSince ?? now) : undefined;
        const reason = describe(error);
        this.#delayed = { sequence, size: data.length, reason, tooLargeFor: tooLargeFor(error), refusedSince };
        await pause(this.#clock, PAUSE);
      }
    }
    this.#appending = false;
    this.#heard = this.#clock.now();
  }

  /** Stores a message, unless the stream has it. Resolves to its place; to undefined when there is nothing to store. */
  async #store({ sequence, timestamp, data }: CopiedMessage): Promise<number | undefined> {
    const { client, jetstream } = this.#target;
    if (this.#isUnchecked) {
      const fault = await this.#tailFault();
      if (fault !== undefined) {
        this.fault = fault;
        return undefined;
      }
      this.#isUnchecked = false;
    }
    if (sequence <= this.#tail.inStan) return undefined;
    // The server may have forgotten by now the ID of a message that we, or another run, have sent.
    if (this.#isUnanswered || this.#clock.elapsed() - this.#seen > this.#remembers / 2) {
      const found = await this.#find(sequence);
      if (found !== undefined) return found;
    }
    const headers = client.core.headers();
    headers.set(STAN_SEQUENCE, String(sequence));
    headers.set(STAN_TIMESTAMP, timestamp);
    const wasUnanswered = this.#isUnanswered;
    this.#isUnanswered = true;
    try {
      // The ID keeps it from being stored twice: by this run, and by another one at the same time.
      const expect = { streamName: this.stream };
      const { seq } = await jetstream.publish(this.channel, data, { headers, expect, msgID: messageId(sequence) });
      this.#isUnanswered = false;
      return seq;
    } catch (error) {
      if (isRefusal(error) || isDenied(error)) this.#isUnanswered = wasUnanswered;
      throw error;
    }
  }

  /** The place of a message of STAN behind what was seen of the stream before. */
  async #find(sequence: number): Promise<number | undefined> {
    const { state } = await this.#info();
    const seen = this.#clock.elapsed();
    for await (const each of stragglersIn(this.#target, this.stream, this.#scanned + 1, state.last_seq)) {
      if (each.inStan === sequence) return each.sequence;
    }
    this.#scanned = Math.max(this.#scanned, state.last_seq);
    this.#seen = seen;
    return undefined;
  }

  /** Waits for a piece of work, and not much longer than until {@link stop}. */
  #untilOver<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#giveUp = () => reject(new MigrationTargetError('JetStream has not answered before this was stopped'));
      work.then(resolve, reject);
    });
  }
}
