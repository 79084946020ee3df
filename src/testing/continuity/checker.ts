/** Publishers and subscribers that write what happens into a {@link History}. */
import { randomBytes } from 'node:crypto';
import { InvalidArgumentError, type Delivery } from '../../errors.js';
import type { CheckedClient, CheckedMessage } from './checked-client.js';
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import { sleep } from '../wait.js';
import { History, type HistoryOptions, type Outcome } from './history.js';
import { onGap } from './gaps.js';
import { encodeValue } from './value.js';
import type { JudgeOptions, SubscriptionKind, Verdict } from './verdict.js';

/**
 * Options of {@link ContinuityChecker}.
 * @category Continuity
 */
export interface CheckerOptions extends JudgeOptions, HistoryOptions {
  /** Name of the channel. Default: `continuity.` and a random word. */
  channel?: string;
  /** The clock of the run, in ms. Default `performance.now`. */
  now?: () => number;
  /** Called at each acknowledgement. `took` is the time since the publish, and `at` the clock, in ms. */
  onAcknowledged?: (publisher: string, took: number, at: number) => void;
  /** Called at each publish that was rejected. `at` is the clock, in ms. */
  onRejected?: (publisher: string, error: unknown, at: number) => void;
  /** Called at each message that is handed to a handler. `at` is the clock, in ms. */
  onDelivered?: (subscription: string, message: CheckedMessage, at: number) => void;
}

/**
 * Options of {@link ContinuityChecker.publish}.
 * @category Continuity
 */
export interface PublisherOptions {
  /** How many messages a second, at most. Default 100. */
  rate?: number;
  /** How many messages may be unacknowledged at a time. With 1 they are published one after the other. Default 256. */
  window?: number;
  /** Size of a message, in bytes. Default: the size of its value. */
  size?: number;
}

/**
 * Options of {@link ContinuityChecker.subscribe}.
 * @category Continuity
 */
export interface CheckedSubscribeOptions extends SubscribeOptions {
  /** The work of the handler for each message. What it throws goes to the client. Default: none. */
  work?: (message: CheckedMessage) => void | Promise<void>;
}

/**
 * Options of {@link ContinuityChecker.finish}.
 * @category Continuity
 */
export interface FinishOptions {
  /** How long publishes may take to settle, and then deliveries to arrive, in ms each. Default 30 000. */
  timeout?: number;
  /** How long to listen on when everything has arrived, in ms. What must not come may still come then. Default 0. */
  linger?: number;
}

/**
 * Checks that a client loses nothing: it publishes and subscribes with the client, and judges what has arrived.
 *
 * @example
 * ```ts
 * const checker = new ContinuityChecker({ ordering: 'strict' });
 * await checker.subscribe('reader', stan);
 * checker.publish('writer', stan, { rate: 200 });
 * const fault = checker.fault('leader killed');
 * await (await cluster.leader()).kill();
 * await cluster.leader();
 * fault.mended();
 * const verdict = await checker.finish();
 * assert.deepEqual(verdict.violations, []);
 * ```
 * @category Continuity
 */
export class ContinuityChecker {
  /** Name of the channel that is used. */
  readonly channel: string;
  /** The record of the run. Publishers and subscribers of your own may write to it. */
  readonly history: History;
  readonly #options: CheckerOptions;
  readonly #now: () => number;
  readonly #loops: PublisherLoop[] = [];
  /** How many lives each subscription has had. */
  readonly #lives = new Map<string, number>();

  /**
   * @param options all optional
   * @throws InvalidArgumentError when `retention` is wrong
   */
  constructor(options: CheckerOptions = {}) {
    this.#options = options;
    this.history = new History(options);
    this.#now = options.now ?? (() => performance.now());
    this.channel = options.channel ?? `continuity.${randomBytes(6).toString('hex')}`;
  }

  /**
   * Starts a publisher. It publishes until it is stopped or {@link finish} is called.
   *
   * @param name name of the publisher: letters, digits, `_`, `-` and `.`
   * @param client the client that publishes
   * @throws InvalidArgumentError (at once) when the name or an option is wrong
   */
  publish(
    name: string,
    client: CheckedClient,
    options: PublisherOptions = {},
  ): {
    /** Stops the publisher. */
    stop(): void;
  } {
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
   * Adds a subscriber. The promise resolves when the client has subscribed. The same name again is another member of the
   * group, or the next life of the subscription. With `startAt: 'first'` it has to see every message, else those that are
   * published after the client has subscribed.
   *
   * @param name name of the subscription, in the verdict
   * @param client the client that subscribes
   * @throws whatever `client.subscribe()` rejects with
   */
  async subscribe(name: string, client: CheckedClient, options: CheckedSubscribeOptions = {}): Promise<void> {
    const { work, ...subscribeOptions } = options;
    /** The lives of this call, by what the client calls them. */
    const lives = new Map<number, number>();
    const lifeOf = (own: number): number => {
      let life = lives.get(own);
      if (life === undefined) {
        life = (this.#lives.get(name) ?? 0) + 1;
        this.#lives.set(name, life);
        lives.set(own, life);
      }
      return life;
    };
    lifeOf(0);
    const subscription = this.history.subscription(name, {
      kind: kindOf(options),
      from: options.startAt === 'first' ? 'all' : 'ready',
    });
    const { onDelivered } = this.#options;
    const established = await client.subscribe(
      this.channel,
      (message) => {
        const at = this.#now();
        subscription.receive({ data: message.data, sequence: message.sequence, life: lifeOf(message.life ?? 0) }, at);
        onDelivered?.(name, message, at);
        return work?.(message);
      },
      subscribeOptions,
    );
    onGap(established, (gap) => subscription.gap({ ...gap, life: lifeOf(0) }, this.#now()));
    subscription.ready(this.#now());
  }

  /**
   * Notes that a fault begins now. The verdict tells how long it took until the next acknowledgement and delivery: from now, or
   * from when `struck` was called last.
   * @param name what happened, for the verdict
   */
  fault(name: string): {
    /** Notes that the last blow of the fault has fallen now, for a fault that takes its time. Default: it has none but its beginning. */
    struck(): void;
    /** Notes that the fault is over now. */
    mended(): void;
  } {
    const fault = this.history.fault(name, this.#now());
    return { struck: () => fault.struck(this.#now()), mended: () => fault.mended(this.#now()) };
  }

  /**
   * Stops the publishers, waits until each publish is settled and each acknowledged message has arrived, and judges. After
   * the timeout it judges what is there.
   */
  async finish(options: FinishOptions = {}): Promise<Verdict> {
    const { timeout = 30_000, linger = 0 } = options;
    for (const loop of this.#loops) loop.stop();
    await this.#until(() => this.history.pending === 0, timeout);
    await this.#until(() => this.history.owed === 0, timeout);
    if (linger > 0) await sleep(linger);
    return this.verdict();
  }

  /** The verdict of now. A publish that is under way counts as unsettled, and a delivery that is under way as lost. */
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

/** Publishes at a rate, while the window has room. */
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
    // What could not be published in an outage is not made up for, because a burst would be another load.
    if (this.#due < now) this.#due = now;
    if (this.#stopped || this.#inFlight >= this.#window) return;
    this.#timer = setTimeout(() => this.#turn(), Math.max(this.#due - now, 1));
  }

  #done(): void {
    const wasFull = this.#inFlight-- >= this.#window;
    if (wasFull) this.#turn();
  }
}
