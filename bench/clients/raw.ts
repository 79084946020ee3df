import { createRequire } from 'node:module';
import type { EventEmitter } from 'node:events';
import { connect as connectFacade } from '../../src/stan/index.js';
import type { BenchClient, Burst, BurstLoad, ConnectLoad, DeliverLoad, PublishLoad } from './client.js';
import { spend } from './worse.js';

interface RawSubscription extends EventEmitter {
  close(): void;
}

interface RawOptions {
  setMaxInFlight(n: number): RawOptions;
  setDeliverAllAvailable(): RawOptions;
}

interface RawStan extends EventEmitter {
  publish(channel: string, data: string | Uint8Array, onAck: (error: Error | string | undefined) => void): void;
  subscribe(channel: string, options?: RawOptions): RawSubscription;
  subscriptionOptions(): RawOptions;
}

type Connect = (this: void, clusterId: string, clientId: string, options: Record<string, unknown>) => RawStan;

const original = createRequire(import.meta.url)('node-nats-streaming') as { connect: Connect };

/** Who speaks the API of the raw client: that itself, and `resilient-stan/stan`. */
const CONNECT = { raw: original.connect, facade: connectFacade as unknown as Connect } as const;

/** The API of `node-nats-streaming`, with callbacks and its own acknowledgements, which is its quickest way. */
export class RawClient implements BenchClient {
  readonly #stan: RawStan;

  private constructor(stan: RawStan) {
    this.#stan = stan;
  }

  static connect(
    { urls, clusterId, clientId, window }: ConnectLoad,
    api: keyof typeof CONNECT = 'raw',
  ): Promise<RawClient> {
    const stan = CONNECT[api](clusterId, clientId, {
      url: urls[0],
      servers: urls,
      stanPingInterval: 1000,
      stanMaxPingOut: 3,
      maxPubAcksInflight: Math.max(window + 1, 200_000),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
    });
    return new Promise<RawClient>((resolve, reject) => {
      stan.once('error', reject);
      stan.once('connect', () => {
        stan.removeListener('error', reject);
        stan.on('error', () => {});
        resolve(new RawClient(stan));
      });
    });
  }

  publish({ channels, payload, count, window, strict }: PublishLoad): Promise<void> {
    const stan = this.#stan;
    return new Promise<void>((resolve, reject) => {
      let published = 0;
      let acknowledged = 0;
      const start = (channel: string): void => {
        const next = (): void => {
          published++;
          stan.publish(channel, payload, onAck);
        };
        const onAck = (error: Error | string | undefined): void => {
          spend();
          if (error !== undefined) reject(new Error(String(error)));
          else if (++acknowledged === count) resolve();
          else if (published < count) next();
        };
        if (published < count) next();
      };
      // Its order holds only with one message in flight for each channel, so this is the cost of strict order without a queue.
      const lanes = strict ? channels.length : window;
      for (let i = 0; i < lanes; i++) start(channels[i % channels.length]!);
    });
  }

  deliver({ channel, count, maxInFlight }: DeliverLoad): Promise<void> {
    const options = this.#stan.subscriptionOptions().setDeliverAllAvailable().setMaxInFlight(maxInFlight);
    return new Promise<void>((resolve, reject) => {
      let received = 0;
      let bytes = 0;
      const subscription = this.#stan.subscribe(channel, options);
      subscription.on('error', reject);
      subscription.on('message', (message: { getRawData(): Buffer }) => {
        spend();
        bytes += message.getRawData().length;
        if (++received === count) {
          if (bytes === 0) reject(new Error('the messages were empty'));
          // It is done after the callback, because otherwise the acknowledgement of this message would be lost.
          setImmediate(() => subscription.close());
        }
      });
      subscription.on('closed', resolve);
    });
  }

  async subscribe(channels: readonly string[], onMessage: () => void): Promise<void> {
    await Promise.all(
      channels.map(
        (channel) =>
          new Promise<void>((resolve, reject) => {
            const subscription = this.#stan.subscribe(channel, this.#stan.subscriptionOptions().setMaxInFlight(1024));
            subscription.on('message', onMessage);
            subscription.on('error', reject);
            subscription.once('ready', resolve);
          }),
      ),
    );
  }

  burst({ channel, payload, count }: BurstLoad): Burst {
    let onFirst!: () => void;
    let onAll!: () => void;
    const first = new Promise<void>((resolve) => {
      onFirst = resolve;
    });
    const all = new Promise<void>((resolve) => {
      onAll = resolve;
    });
    let answered = 0;
    const onAck = (): void => {
      if (++answered === 1) onFirst();
      if (answered === count) onAll();
    };
    for (let i = 0; i < count; i++) this.#stan.publish(channel, payload(), onAck);
    return { first, all };
  }
}
