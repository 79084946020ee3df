/**
 * Appends to an open stream what reaches STAN after the cut. The stream has its own numbers by then, so such a message has its
 * number in STAN in a header only. What was appended is found in the stream itself: it is the only checkpoint.
 */
import type { Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { describe } from '../errors.js';
import type { StanMessage } from '../subscribing/message.js';
import type { ResilientSubscription } from '../subscribing/subscription.js';
import { clusterFault, tailFault } from './anchor.js';
import { isRefusal } from './api-errors.js';
import { MigrationTargetError } from './errors.js';
import { CopiedMessage } from './pipeline.js';
import type { Problem } from './report.js';
import { findSeam, stragglersIn, type Straggler } from './seam.js';
import type { Source } from './source.js';
import { messageId, STAN_SEQUENCE, STAN_TIMESTAMP } from './stan-headers.js';
import type { Target } from './target.js';

/** The pause before a message that was not stored is sent again, in ms. */
const PAUSE = 200;

/** A message that JetStream does not take. */
interface Delayed {
  readonly sequence: number;
  readonly reason: string;
  /** Since when it is refused, in ms of the clock. Undefined when JetStream is only away. */
  readonly refusedSince: number | undefined;
}

export class StragglerAppender {
  readonly channel: string;
  readonly stream: string;
  /** The last message that has the number of STAN. Undefined before {@link start}. */
  seam: number | undefined;
  /** What was appended behind the seam, by this run. */
  readonly appended: Straggler[] = [];
  /** All messages of STAN up to this one are in the stream, or were dropped by the limits of the channel. */
  #reached = 0;
  /** What the limits of the channel have dropped before it was appended. */
  readonly #dropped: { from: number; to: number }[] = [];
  /** When a message of STAN has last come, or was last stored, in ms of the clock. */
  #heard: number;
  #appending = false;
  #delayed: Delayed | undefined;
  readonly #source: Source;
  readonly #target: Target;
  readonly #clock: Clock;
  #subscription: ResilientSubscription | undefined;
  #stopped = false;

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

  /** Why a message is not appended at the moment. Undefined when all is well. */
  get delay(): string | undefined {
    if (this.#delayed === undefined) return undefined;
    const { sequence, reason } = this.#delayed;
    return `JetStream does not store message ${sequence} of channel '${this.channel}' in stream '${this.stream}': ${reason}`;
  }

  /**
   * Finds what the stream has of STAN, and appends what comes after that until {@link stop}.
   * @returns why nothing is appended
   */
  async start(): Promise<Problem | undefined> {
    const info = await this.#target.stream(this.stream);
    if (info === undefined) throw new MigrationTargetError(`stream '${this.stream}' is gone`);
    const seam = await findSeam(this.#target, info);
    this.seam = seam;
    let latest: Straggler = { inStan: seam, sequence: seam };
    for await (const each of stragglersIn(this.#target, this.stream, seam + 1, info.state.last_seq)) {
      if (each.inStan > latest.inStan) latest = each;
    }
    this.#reached = latest.inStan;
    const fault = clusterFault(this.#source, this.channel, info) ?? (await this.#tailFault(latest));
    if (fault !== undefined) return fault;
    this.#heard = this.#clock.now();
    const stan = await this.#source.stan();
    const startAt = { sequence: this.#reached + 1 };
    this.#subscription = await stan.subscribe(this.channel, (message) => this.#append(message), {
      startAt,
      concurrency: 1,
    });
    this.#subscription.on('gap', ({ from, to }) => this.#dropped.push({ from, to }));
    return undefined;
  }

  /** Why what STAN has does not go on behind the last message of STAN that the stream has. */
  async #tailFault({ inStan, sequence }: Straggler): Promise<Problem | undefined> {
    const { channel, stream } = this;
    const figures = await this.#source.channel(channel);
    const stored = await this.#target.message(stream, sequence);
    if (figures === undefined || stored === undefined) return undefined;
    const fault = await tailFault(this.#source, this.#target, stream, figures, stored);
    // What STAN has dropped meanwhile is told with the rest.
    if (fault === undefined || fault.code === 'retention') return undefined;
    if (fault.code !== 'source-wiped') return fault;
    // The stream has native messages by now, so nobody is told to delete it.
    return {
      ...fault,
      message:
        `what STAN has of channel '${channel}' does not go on behind its message ${inStan}, which is message ${sequence} of stream ` +
        `'${stream}': STAN began anew after the cut, or this is another cluster. Nothing was appended`,
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#subscription?.close();
  }

  /** What has reached STAN and is not in the stream, after {@link stop}. */
  async problems(): Promise<Problem[]> {
    const { channel, stream } = this;
    if (this.#subscription === undefined) {
      const message = `what has reached channel '${channel}' of STAN after the cut was not appended: it was interrupted. Run this again`;
      return [{ code: 'not-appended', channel, message }];
    }
    const problems = this.#dropped.map(({ from, to }): Problem => {
      const message =
        `messages ${from} to ${to} of channel '${channel}' reached STAN after the cut, and its limits have dropped them before they ` +
        `could be appended to stream '${stream}'`;
      return { code: 'retention', channel, from, to, message };
    });
    const from = this.#reached + 1;
    const to = (await this.#source.channel(channel))?.last ?? 0;
    if (to < from) return problems;
    const why = this.delay ?? 'it was stopped before';
    const message =
      `messages ${from} to ${to} of channel '${channel}' have reached STAN after the cut, and are not in stream '${stream}': ` +
      `${why}. Run this again`;
    return [...problems, { code: 'not-appended', channel, from, to, message }];
  }

  async #append(message: StanMessage): Promise<void> {
    this.#heard = this.#clock.now();
    this.#appending = true;
    const { client, jetstream } = this.#target;
    const { sequence, timestamp, data } = new CopiedMessage(message);
    const headers = client.core.headers();
    headers.set(STAN_SEQUENCE, String(sequence));
    headers.set(STAN_TIMESTAMP, timestamp);
    while (!this.#stopped) {
      try {
        // The ID keeps it from being stored twice: by this run, and by another one at the same time.
        const { seq } = await jetstream.publish(this.channel, data, { headers, msgID: messageId(sequence) });
        // Until a native message has come, STAN's numbers go on.
        if (seq === sequence && this.seam === sequence - 1) this.seam = sequence;
        else this.appended.push({ inStan: sequence, sequence: seq });
        this.#reached = sequence;
        this.#delayed = undefined;
        break;
      } catch (error) {
        // What comes behind it waits, because the order is STAN's.
        const now = this.#clock.now();
        const refusedSince = isRefusal(error) ? (this.#delayed?.refusedSince ?? now) : undefined;
        this.#delayed = { sequence, reason: describe(error), refusedSince };
        await pause(this.#clock, PAUSE);
      }
    }
    this.#appending = false;
    this.#heard = this.#clock.now();
  }
}
