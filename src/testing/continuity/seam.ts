/** A client that moves from STAN to JetStream while a {@link ContinuityChecker} publishes and subscribes with it. */
import { InvalidArgumentError } from '../../errors.js';
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import { Anchors } from './anchors.js';
import type { CheckedClient, CheckedMessage } from './checked-client.js';

type Handler = (message: CheckedMessage) => void | Promise<void>;

/** One subscription, on either side. */
interface Crossing {
  readonly channel: string;
  readonly handler: Handler;
  readonly options: SubscribeOptions;
  /** The subscription on the side where it is now. */
  established: unknown;
  /** The highest sequence that was handed over. 0: none was. */
  highest: number;
}

/**
 * A client that publishes and subscribes at STAN first, and then at JetStream. For the checker it is one client: what it
 * publishes on either side has to arrive, and a subscription that reads STAN up to the cut and JetStream after it is judged as one.
 *
 * - A plain subscription goes on after the last message that it got. A message that comes on both sides is handled twice, and so a
 *   violation.
 * - A durable, and a member of a group, goes on at the consumer that was made of its durable. A message that comes again because
 *   its acknowledgement was lost counts as `repeated`, as in the next life of a durable.
 * - A message that has another number after the cut would look like one that was published twice. So the last messages that came
 *   before it are read again, and {@link cross} is rejected when one of them is not under its number.
 *
 * The steps are the caller's, so that what lies between them can be done and measured: {@link hold}, {@link leave}, {@link cross}.
 *
 * @example
 * ```ts
 * const seam = new Seam(await ResilientStan.connect(cluster.urls, cluster.connectOptions));
 * await checker.subscribe('reader', seam, { startAt: 'first' });
 * checker.publish('writer', seam);
 * // … the copy follows …
 * await seam.hold(); // publishers wait
 * await seam.leave(); // subscriptions have ended in good order
 * // … the last messages are copied, durables are handed over, the stream is opened …
 * await seam.cross(await JetStreamSide.connect(cluster.urls, { clientId: 'app' }));
 * const verdict = await checker.finish();
 * ```
 * @category Continuity
 */
export class Seam implements CheckedClient {
  readonly #before: CheckedClient;
  readonly #crossings: Crossing[] = [];
  readonly #anchors = new Map<string, Anchors>();
  #after: CheckedClient | undefined;
  #underWay = 0;
  /** Publishers wait for this. Undefined: they need not. */
  #gate: Promise<void> | undefined;
  #open: () => void = () => {};
  /** Who waits until no publish is under way. */
  readonly #idle: (() => void)[] = [];

  /** @param before the client for the time before the cut, as a `ResilientStan` */
  constructor(before: CheckedClient) {
    this.#before = before;
  }

  /** Publishes on the side where the client is. While the publishers are held, it waits. */
  async publish(channel: string, data: string): Promise<void> {
    while (this.#gate !== undefined) await this.#gate;
    this.#underWay++;
    try {
      await (this.#after ?? this.#before).publish(channel, data);
    } finally {
      if (--this.#underWay === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /**
   * Subscribes on the side where the client is. The subscription crosses with the client.
   * @returns the first subscription, so that the checker hears of its gaps
   */
  async subscribe(
    channel: string,
    handler: (message: CheckedMessage) => void | Promise<void>,
    options: SubscribeOptions = {},
  ): Promise<unknown> {
    const crossing: Crossing = { channel, handler, options, established: undefined, highest: 0 };
    await this.#establish(crossing, options);
    this.#crossings.push(crossing);
    return crossing.established;
  }

  /** Makes publishers wait. Resolves when every publish that was under way is settled. */
  async hold(): Promise<void> {
    this.#gate ??= new Promise((resolve) => (this.#open = resolve));
    if (this.#underWay === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /**
   * Ends the subscriptions before the cut, in good order: no message is handed over any more, and what was handled is acknowledged.
   * Durables are kept.
   * @throws InvalidArgumentError when a subscription has no `close()`
   */
  async leave(): Promise<void> {
    await Promise.all(
      this.#crossings.map(async ({ established, channel }) => {
        const { close } = (established ?? {}) as { close?: unknown };
        if (typeof close !== 'function') {
          throw new InvalidArgumentError(
            'before',
            `the subscription on '${channel}' has no close(), so it cannot be ended`,
          );
        }
        await (close.call(established) as Promise<void>);
      }),
    );
  }

  /**
   * Subscribes at JetStream, and lets the publishers go on there. When it is rejected, they still wait.
   * @param after the client for the time after the cut, as a {@link JetStreamSide}
   * @throws MigrationTargetError when one of the last messages before the cut is not under its number after it
   * @throws TimeoutError when they do not come at all
   */
  async cross(after: CheckedClient): Promise<void> {
    await Promise.all([...this.#anchors.values()].map((anchors) => anchors.check(after)));
    this.#after = after;
    await Promise.all(
      this.#crossings.map((crossing) => {
        const { options, highest } = crossing;
        const isPlain = options.durableName === undefined && options.queueGroup === undefined;
        const goesOn = isPlain && highest > 0;
        return this.#establish(crossing, goesOn ? { ...options, startAt: { sequence: highest + 1 } } : options);
      }),
    );
    this.#gate = undefined;
    this.#open();
  }

  async #establish(crossing: Crossing, options: SubscribeOptions): Promise<void> {
    const side = this.#after ?? this.#before;
    const isPlain = options.durableName === undefined && options.queueGroup === undefined;
    const life = side === this.#before || isPlain ? 0 : 1;
    const anchors = side === this.#before ? this.#anchorsOf(crossing.channel) : undefined;
    crossing.established = await side.subscribe(
      crossing.channel,
      ({ sequence, data }) => {
        crossing.highest = Math.max(crossing.highest, sequence);
        anchors?.note(sequence, data);
        return crossing.handler({ sequence, data, life });
      },
      options,
    );
  }

  #anchorsOf(channel: string): Anchors {
    let anchors = this.#anchors.get(channel);
    if (anchors === undefined) {
      anchors = new Anchors(channel);
      this.#anchors.set(channel, anchors);
    }
    return anchors;
  }
}
