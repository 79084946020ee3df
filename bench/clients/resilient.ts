import { ResilientStan } from '../../src/index.js';
import type { BenchClient, Burst, BurstLoad, ConnectLoad, DeliverLoad, PublishLoad } from './client.js';
import { spend } from './worse.js';

/** This library. */
export class ResilientClient implements BenchClient {
  readonly #stan: ResilientStan;
  readonly downtimes: number[] = [];

  private constructor(stan: ResilientStan) {
    this.#stan = stan;
    stan.on('reconnect', ({ downtime }) => this.downtimes.push(downtime));
  }

  static async connect({ urls, clusterId, clientId, ordering, window }: ConnectLoad): Promise<ResilientClient> {
    const stan = await ResilientStan.connect(urls, {
      clusterId,
      clientId,
      publishing: { ordering, maxInFlight: window, maxPending: 1_000_000 },
    });
    return new ResilientClient(stan);
  }

  publish({ channels, payload, count, window }: PublishLoad): Promise<void> {
    const stan = this.#stan;
    return new Promise<void>((resolve, reject) => {
      let published = 0;
      let acknowledged = 0;
      const next = (): void => {
        const channel = channels[published % channels.length]!;
        published++;
        stan.publish(channel, payload).then(onAck, reject);
      };
      const onAck = (): void => {
        spend();
        if (++acknowledged === count) resolve();
        else if (published < count) next();
      };
      while (published < Math.min(window, count)) next();
    });
  }

  async deliver({ channel, count, maxInFlight }: DeliverLoad): Promise<void> {
    let received = 0;
    let bytes = 0;
    let done!: () => void;
    const all = new Promise<void>((resolve) => {
      done = resolve;
    });
    const subscription = await this.#stan.subscribe(
      channel,
      (message) => {
        spend();
        bytes += message.data.length;
        if (++received === count) done();
      },
      { startAt: 'first', maxInFlight },
    );
    await all;
    if (bytes === 0) throw new Error('the messages were empty');
    await subscription.close();
  }

  async subscribe(channels: readonly string[], onMessage: () => void): Promise<void> {
    await Promise.all(channels.map((channel) => this.#stan.subscribe(channel, onMessage)));
  }

  burst({ channel, payload, count }: BurstLoad): Burst {
    const first = this.#stan.publish(channel, payload()).then(() => undefined);
    // Their promises are dropped at once, so that only the memory of the client itself is measured.
    for (let i = 1; i < count; i++) void this.#stan.publish(channel, payload());
    return { first, all: this.#stan.flush() };
  }
}
