/**
 * Appends to an open stream what reaches STAN after the cut. The stream has its own numbers by then, so such a message has its
 * number in STAN in a header only. What was appended is found in the stream itself: it is the only checkpoint.
 */
import type { Clock } from '../clock/clock.js';
import type { StanMessage } from '../subscribing/message.js';
import type { ResilientSubscription } from '../subscribing/subscription.js';
import { clusterFault, tailFault } from './anchor.js';
import { CopiedMessage } from './pipeline.js';
import type { Problem } from './report.js';
import { findSeam, stragglersIn, type Straggler } from './seam.js';
import type { Source } from './source.js';
import { messageId, STAN_SEQUENCE, STAN_TIMESTAMP } from './stan-headers.js';
import { apiCode, type Target } from './target.js';

/** The pause before a message that was not stored is sent again, in ms. */
const PAUSE = 200;

export class StragglerAppender {
  readonly channel: string;
  readonly stream: string;
  /** The last message that has the number of STAN. It is known after {@link start}. */
  seam = 0;
  /** What was appended behind the seam, by this run. */
  readonly appended: Straggler[] = [];
  /** When a message of STAN has last come, in ms of the clock. */
  heard: number;
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
    this.heard = clock.now();
  }

  /**
   * Finds what the stream has of STAN, and appends what comes after that until {@link stop}.
   * @returns what is wrong. Unless it is of messages that STAN has dropped, nothing is appended
   */
  async start(): Promise<Problem | undefined> {
    const info = await this.#target.stream(this.stream);
    if (info === undefined) throw new Error(`stream '${this.stream}' is gone`);
    this.seam = await findSeam(this.#target, info);
    let latest: Straggler = { inStan: this.seam, sequence: this.seam };
    for await (const each of stragglersIn(this.#target, this.stream, this.seam + 1, info.state.last_seq)) {
      if (each.inStan > latest.inStan) latest = each;
    }
    const fault = clusterFault(this.#source, this.channel, info) ?? (await this.#tailFault(latest));
    if (fault !== undefined && fault.code !== 'retention') return fault;
    this.heard = this.#clock.now();
    const stan = await this.#source.stan();
    this.#subscription = await stan.subscribe(this.channel, (message) => this.#append(message), {
      startAt: { sequence: latest.inStan + 1 },
      concurrency: 1,
    });
    return fault;
  }

  /** Why what STAN has does not go on behind the last message of STAN that the stream has. */
  async #tailFault({ inStan, sequence }: Straggler): Promise<Problem | undefined> {
    const { channel, stream } = this;
    const figures = await this.#source.channel(channel);
    const stored = await this.#target.message(stream, sequence);
    if (figures === undefined || stored === undefined) return undefined;
    const fault = await tailFault(this.#source, this.#target, stream, figures, stored);
    if (fault === undefined || fault.code === 'inconsistent-monitoring') return fault;
    // The stream has native messages by now, so nobody is told to delete it.
    return {
      ...fault,
      message:
        fault.code === 'retention'
          ? `messages ${fault.from} to ${fault.to} of channel '${channel}' have reached STAN after the cut, and its limits have dropped them ` +
            `before they were appended to stream '${stream}'`
          : `what STAN has of channel '${channel}' does not go on behind its message ${inStan}, which is message ${sequence} of stream ` +
            `'${stream}': STAN began anew after the cut, or this is another cluster. Nothing was appended`,
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#subscription?.close();
  }

  async #append(message: StanMessage): Promise<void> {
    this.heard = this.#clock.now();
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
        break;
      } catch (error) {
        if (apiCode(error) !== undefined && !isPassing(error)) throw error;
        await new Promise<void>((resolve) => this.#clock.after(PAUSE, resolve));
      }
    }
    this.heard = this.#clock.now();
  }
}

/** Whether JetStream refuses a message only for now. */
function isPassing(error: unknown): boolean {
  return (error as { status?: unknown }).status === 503;
}
