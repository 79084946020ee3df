/** Publishers and subscribers that keep book: thin, over a {@link History}. */
import { randomBytes } from 'node:crypto';
import { InvalidArgumentError, type Delivery } from '../../errors.js';
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import { sleep } from '../wait.js';
import { History, type HistoryOptions, type Outcome } from './history.js';
import { onGap } from './gaps.js';
import { encodeValue } from './value.js';
import type { JudgeOptions, SubscriptionKind, Verdict } from './verdict.js';

/** What is asked of a message. */
export interface CheckedMessage {
  readonly sequence: number;
  readonly data: Uint8Array;
}

/** What is asked of a client: `ResilientStan` does it, and an adapter of a few lines for any other. */
export interface CheckedClient {
  /** Resolves when the cluster has acknowledged it. A rejection may say in `delivery` what is known of the message. */
  publish(channel: string, data: string): Promise<unknown>;
  /**
   * Resolves when the subscription is established, best to an emitter of `gap` with `{ from, to }`: what it tells of is
   * gone, where messages may be. A message is acknowledged when its handler is through.
   */
  subscribe(
    channel: string,
    handler: (message: CheckedMessage) => void | Promise<void>,
    options?: SubscribeOptions,
  ): Promise<unknown>;
}

export interface CheckerOptions extends JudgeOptions, HistoryOptions {
  /** Default: one of its own, `continuity.` and something random. */
  channel?: string;
  /** The clock, in ms. Default `performance.now`. */
  now?: () => number;
  /** Is told of every acknowledgement and of how long it took, in ms: for a view of the run while it lasts. */
  onAcknowledged?: (publisher: string, took: number, at: number) => void;
  /** Is told of every rejection. */
  onRejected?: (publisher: string, error: unknown, at: number) => void;
  /** Is told of everything that is handed to a handler. */
  onDelivered?: (subscription: string, message: CheckedMessage, at: number) => void;
}

export interface PublisherOptions {
  /** How many a second, at most. Default 100. */
  rate?: number;
  /** How many may be unacknowledged at a time: 1 is one after the other. Default 256. */
  window?: number;
  /** Bytes of a message. Default: no more than its value. */
  size?: number;
}

export interface CheckedSubscribeOptions extends SubscribeOptions {
  /** Work to do for each message before it counts as processed. */
  work?: (message: CheckedMessage) => void | Promise<void>;
}

export interface FinishOptions {
  /** How long publishes may take to settle, and after that deliveries to arrive, in ms each. Default 30 000. */
  timeout?: number;
  /** How long to go on listening when everything is there, in ms: for what comes that should not. Default 0. */
  linger?: number;
}

/**
 * ```ts
 * const checker = new ContinuityChecker({ ordering: 'strict' });
 * await checker.subscribe('reader', stan);
 * checker.publish('writer', stan, { rate: 200 });
 * const fault = checker.fault('leader killed');
 * await (await cluster.leader()).kill();
 * …
 * const verdict = await checker.finish();
 * assert.deepEqual(verdict.violations, []);
 * ```
 */
export class ContinuityChecker {
  /** Everything goes through this one. */
  readonly channel: string;
  /** The book. May be written to directly, for publishers and subscribers of your own. */
  readonly history: History;
  readonly #options: CheckerOptions;
  readonly #now: () => number;
  readonly #loops: PublisherLoop[] = [];
  readonly #lives = new Map<string, number>();

  /** @throws InvalidArgumentError */
  constructor(options: CheckerOptions = {}) {
    this.#options = options;
    this.history = new History(options);
    this.#now = options.now ?? (() => performance.now());
    this.channel = options.channel ?? `continuity.${randomBytes(6).toString('hex')}`;
  }

  /**
   * Starts a publisher: it publishes until it is stopped, or {@link finish} is called.
   * @throws InvalidArgumentError
   */
  publish(name: string, client: CheckedClient, options: PublisherOptions = {}): { stop(): void } {
    const { rate = 100, window = 256, size = 0 } = options;
    if (!(rate > 0)) throw new InvalidArgumentError('rate', `rate must be a positive number, not ${String(rate)}`);
    if (!(window >= 1)) throw new InvalidArgumentError('window', `window must be 1 or more, not ${String(window)}`);
    const publisher = this.history.publisher(name);
    const { onAcknowledged, onRejected } = this.#options;
    const publishOne = async (): Promise<void> => {
      const counter = publisher.attempt(this.#now());
      let outcome: Outcome = 'acknowledged';
      try {
        await client.publish(this.channel, encodeValue({ publisher: name, counter }, size));
      } catch (error) {
        outcome = (error as { delivery?: Delivery } | undefined)?.delivery ?? 'unknown';
        onRejected?.(name, error, this.#now());
      }
      const at = this.#now();
      const took = publisher.settle(counter, outcome, at);
      if (outcome === 'acknowledged') onAcknowledged?.(name, took, at);
    };
    const loop = new PublisherLoop(publishOne, 1000 / rate, window);
    this.#loops.push(loop);
    return loop;
  }

  /**
   * Adds a subscriber, and resolves when it is established. The same name again is another member of the same group, or
   * another life of the same subscription. From `startAt: 'first'` on it has to see everything, else what is published
   * after it is established.
   */
  async subscribe(name: string, client: CheckedClient, options: CheckedSubscribeOptions = {}): Promise<void> {
    const { work, ...subscribeOptions } = options;
    const life = (this.#lives.get(name) ?? 0) + 1;
    this.#lives.set(name, life);
    const subscription = this.history.subscription(name, {
      kind: kindOf(options),
      from: options.startAt === 'first' ? 'all' : 'ready',
    });
    const { onDelivered } = this.#options;
    const established = await client.subscribe(
      this.channel,
      (message) => {
        const at = this.#now();
        subscription.receive({ data: message.data, sequence: message.sequence, life }, at);
        onDelivered?.(name, message, at);
        return work?.(message);
      },
      subscribeOptions,
    );
    onGap(established, (gap) => subscription.gap({ ...gap, life }, this.#now()));
    subscription.ready(this.#now());
  }

  /** Notes that a fault begins now; the verdict tells how long it took to the next acknowledgement and delivery. */
  fault(name: string): { mended(): void } {
    const fault = this.history.fault(name, this.#now());
    return { mended: () => fault.mended(this.#now()) };
  }

  /**
   * Stops the publishers, waits until every publish has settled and everything acknowledged has arrived, or for as long
   * as is allowed, and judges.
   */
  async finish(options: FinishOptions = {}): Promise<Verdict> {
    const { timeout = 30_000, linger = 0 } = options;
    for (const loop of this.#loops) loop.stop();
    await this.#until(() => this.history.pending === 0, timeout);
    await this.#until(() => this.history.owed === 0, timeout);
    if (linger > 0) await sleep(linger);
    return this.verdict();
  }

  /** The verdict as of now: what is under way counts as unsettled, and as lost. */
  verdict(): Verdict {
    return this.history.judge(this.#now(), this.#options);
  }

  async #until(condition: () => boolean, timeout: number): Promise<void> {
    const deadline = performance.now() + timeout;
    while (!condition() && performance.now() < deadline) await sleep(10);
  }
}

function kindOf({ durableName, queueGroup }: SubscribeOptions): SubscriptionKind {
  if (queueGroup !== undefined) return durableName === undefined ? 'queue' : 'durable-queue';
  return durableName === undefined ? 'plain' : 'durable';
}

/** Publishes at a rate, as long as the window allows. */
class PublisherLoop {
  readonly #publishOne: () => Promise<void>;
  readonly #interval: number;
  readonly #window: number;
  #inFlight = 0;
  #due = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(publishOne: () => Promise<void>, interval: number, window: number) {
    this.#publishOne = publishOne;
    this.#interval = interval;
    this.#window = window;
    this.#turn();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #turn(): void {
    clearTimeout(this.#timer);
    const now = performance.now();
    while (!this.#stopped && this.#inFlight < this.#window && this.#due <= now) {
      this.#due += this.#interval;
      this.#inFlight++;
      void this.#publishOne().then(() => this.#done());
    }
    // What an outage has kept from being published is not made up for: a burst would be another load.
    if (this.#due < now) this.#due = now;
    if (this.#stopped || this.#inFlight >= this.#window) return;
    this.#timer = setTimeout(() => this.#turn(), Math.max(this.#due - now, 1));
  }

  #done(): void {
    const wasFull = this.#inFlight-- >= this.#window;
    if (wasFull) this.#turn();
  }
}
