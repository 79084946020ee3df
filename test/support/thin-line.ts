/**
 * A thin line before a cluster, and what two clients do over it: node-nats-streaming by itself, with its own settings, and
 * this library. Those who store beforehand and read back go around the line.
 */
import { randomUUID } from 'node:crypto';
import { connect, type Message, type Stan } from 'node-nats-streaming';
import { ResilientStan } from '../../src/index.js';
import type { StanCluster, Toxic } from '../../src/testing/index.js';

/** ms of the line's rate that wait before it, as in a router's queue. */
const BUFFER_MS = 80;

/** A line of so many Mbit/s in both directions. `shared`: one for all connections, else one for each. */
export function thinLine(mbits: number, shared = false): Toxic {
  const rate = mbits * 125;
  return { type: 'bandwidth', rate, buffer: (rate * BUFFER_MS) / 1000, shared };
}

/** Puts the same line before every node. */
export function makeThin(cluster: StanCluster, line: Toxic): void {
  for (const node of cluster.nodes) node.proxy.add(line);
}

/** The way around the line: the nodes behind their proxies. */
export function fastUrls(cluster: StanCluster): string[] {
  return cluster.nodes.map(({ ports }) => `nats://127.0.0.1:${ports.client}`);
}

/** A payload of so many bytes that says which one it is. */
export function payload(index: number, bytes: number): Buffer {
  const data = Buffer.alloc(bytes, '.');
  data.write(`${index} `);
  return data;
}

export function indexOf(data: Uint8Array): number {
  return Number.parseInt(Buffer.from(data.buffer, data.byteOffset, Math.min(data.length, 16)).toString(), 10);
}

/** How often each number came. */
export class Tally {
  readonly times = new Map<number, number>();

  add(number: number): void {
    this.times.set(number, (this.times.get(number) ?? 0) + 1);
  }

  /** How many came more often than once, each counted once for every time too many. */
  get twice(): number {
    return [...this.times.values()].reduce((sum, times) => sum + times - 1, 0);
  }
}

/** What a case needs of a client. */
export interface ThinClient {
  publish(channel: string, data: Buffer): Promise<unknown>;
  /** From the first message on. */
  subscribe(channel: string, received: (data: Buffer, sequence: number) => void): Promise<unknown>;
  /** Sessions lost, and suspicions, so far. */
  readonly trouble: { losses: number; suspicions: number };
  close(): Promise<void>;
}

export type OpenClient = (urls: readonly string[]) => Promise<ThinClient>;

export const openRaw: OpenClient = (urls) =>
  new Promise((resolve, reject) => {
    const stan: Stan = connect('test-cluster', `raw-${randomUUID()}`, {
      // With `servers` alone, it would dial localhost:4222 first.
      url: urls[0]!,
      servers: [...urls],
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
    let losses = 0;
    let over = false;
    const lost = (): void => void (losses += over ? 0 : 1);
    stan.once('error', reject);
    stan.on('disconnect', lost);
    stan.on('connection_lost', lost);
    stan.once('connect', () => {
      stan.off('error', reject);
      stan.on('error', () => {});
      resolve({
        publish: (channel, data) =>
          new Promise<void>((acknowledged, failed) => {
            stan.publish(channel, data, (error) =>
              error ? failed(error instanceof Error ? error : new Error(String(error))) : acknowledged(),
            );
          }),
        subscribe: (channel, received) =>
          new Promise((ready, failed) => {
            const options = stan.subscriptionOptions().setDeliverAllAvailable();
            const subscription = stan.subscribe(channel, options);
            subscription.on('message', (message: Message) => received(message.getRawData(), message.getSequence()));
            subscription.once('error', failed);
            subscription.once('ready', ready);
          }),
        get trouble() {
          return { losses, suspicions: 0 };
        },
        close: () => {
          over = true;
          return new Promise((closed) => {
            stan.once('close', closed);
            stan.close();
          });
        },
      });
    });
  });

export const openResilient: OpenClient = async (urls) => {
  const stan = await ResilientStan.connect(urls);
  return {
    publish: (channel, data) => stan.publish(channel, data),
    subscribe: (channel, received) =>
      stan.subscribe(channel, (message) => received(message.data, message.sequence), { startAt: 'first' }),
    get trouble() {
      const { losses, suspicions } = stan.stats();
      return { losses, suspicions };
    },
    // What it has not finished by now has failed already.
    close: () => stan.close({ timeout: 0 }),
  };
};
