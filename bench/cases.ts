/** The cases of the benchmark. */
import type { Payload } from './protocol.js';

export type ServerKind = 'memory' | 'file' | 'cluster';

interface Case {
  name: string;
  server: ServerKind;
  /** Size of a payload, in bytes. */
  size: number;
  payload: Payload;
  /** What disturbs the case meanwhile. */
  disturbance?: Disturbance | undefined;
}

export interface PublishCase extends Case {
  kind: 'publish';
  /** How many messages may be unacknowledged, over all channels. */
  window: number;
  channels: number;
  strict: boolean;
}

export interface DeliverCase extends Case {
  kind: 'deliver';
  maxInFlight: number;
}

/** A case that publishes while there is no server. */
export interface BacklogCase extends Case {
  kind: 'backlog';
  count: number;
}

export interface SubscriptionsCase extends Case {
  kind: 'subscriptions';
  count: number;
}

export type BenchCase = PublishCase | DeliverCase | BacklogCase | SubscriptionsCase;

/** Disturbances that must not be taken for the death of the server, and must not cost throughput. */
export type Disturbance = 'long way' | 'pauses' | 'busy CPUs';

const DISTURBANCES: Record<Disturbance, string> = {
  'long way': '500 ± 100 ms each way',
  pauses: 'paused for 100 ms each second',
  'busy CPUs': 'CPUs starved by four busy loops',
};

const SERVERS: Record<ServerKind, string> = { memory: 'memory', file: 'file', cluster: 'three nodes' };

const bytes = (size: number): string => (size < 1024 ? `${size} B` : `${size / 1024} KiB`);

function publish(window: number, over: Partial<PublishCase> = {}): PublishCase {
  const { size = 128, server = 'memory', payload = 'bytes', strict = false, channels = 1, disturbance } = over;
  const how = strict ? `strict, ${channels} channel${channels === 1 ? '' : 's'}` : `window ${window}`;
  const name = `publish, ${how}, ${bytes(size)}${payload === 'string' ? ' string' : ''}, ${
    disturbance === undefined ? SERVERS[server] : DISTURBANCES[disturbance]
  }`;
  return { kind: 'publish', name, window, size, server, payload, strict, channels, disturbance };
}

function deliver(maxInFlight: number, over: Partial<DeliverCase> = {}): DeliverCase {
  const { size = 128, server = 'memory', payload = 'bytes' } = over;
  const name = `deliver, maxInFlight ${maxInFlight}, ${bytes(size)}, ${SERVERS[server]}`;
  return { kind: 'deliver', name, maxInFlight, size, server, payload };
}

function backlog(payload: Payload): BacklogCase {
  const name = `backlog of 100000, 128 B ${payload}`;
  return { kind: 'backlog', name, count: 100_000, size: 128, payload, server: 'memory' };
}

function subscriptions(count: number): SubscriptionsCase {
  const name = `${count} subscription${count === 1 ? '' : 's'}`;
  return { kind: 'subscriptions', name, count, size: 128, payload: 'bytes', server: 'memory' };
}

export const CASES: readonly BenchCase[] = [
  publish(1),
  publish(16),
  publish(256),
  publish(4096),
  publish(256, { payload: 'string' }),
  publish(1, { strict: true }),
  publish(16, { strict: true, channels: 16 }),
  publish(256, { size: 16 }),
  publish(256, { size: 1024 }),
  publish(64, { size: 64 * 1024 }),
  deliver(1),
  deliver(64),
  deliver(1024),
  deliver(64, { size: 16 }),
  deliver(64, { size: 1024 }),
  deliver(64, { size: 64 * 1024 }),
  publish(1, { server: 'file' }),
  publish(256, { server: 'file' }),
  deliver(64, { server: 'file' }),
  publish(1, { server: 'cluster' }),
  publish(256, { server: 'cluster' }),
  deliver(64, { server: 'cluster' }),
  publish(256, { disturbance: 'long way' }),
  publish(256, { disturbance: 'pauses' }),
  publish(256, { disturbance: 'busy CPUs' }),
  backlog('bytes'),
  backlog('string'),
  subscriptions(1),
  subscriptions(10),
  subscriptions(100),
  subscriptions(1000),
];
