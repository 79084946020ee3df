import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor, type StanCluster, type StanNode } from '../../src/testing/index.js';
import type { Worker } from '../worker-process.js';
import type { Fault } from './faults.js';
import { now, type PairAnswer, type PairCommand, type PairRecord } from './protocol.js';

export type PairProcess = Worker<PairCommand, PairAnswer>;

/** What one pair of clients has seen. Times are in ms. Infinity: not while it was watched. */
export interface Outcome {
  /** From the fault, and from the moment at which the cluster could have served, to the next acknowledged publish. */
  ackAfterFault: number;
  ackAfterReady: number;
  /** Time from the same two moments to the next delivery. */
  deliveryAfterFault: number;
  deliveryAfterReady: number;
  /** The longest pauses from before the fault to the end. */
  ackSilence: number;
  deliverySilence: number;
  duplicates: number;
  losses: number;
  suspicions: number;
  /** How many messages had no acknowledgement at the end, with an error or without an answer. */
  unacknowledged: number;
  log: string[];
}

export interface Trial {
  /** Whether the cluster changed its leader once more than the fault made it. The trial then does not count. */
  void: boolean;
  /** Time from the fault to a leader that is ready. */
  readyAfter: number;
  outcomes: Map<PairProcess, Outcome>;
}

/** Time between two publishes, in ms. */
const EVERY = 10;
/** How long it is quiet, or busy, before the fault, in ms. */
const BEFORE = 1000;
const LEAST_WATCHED = 1500;
const MOST_WATCHED = 8000;

/** Makes a fault, and tells what the clients see of it. They run side by side, so that all meet the same. */
export async function trial(fault: Fault, cluster: StanCluster, pairs: readonly PairProcess[]): Promise<Trial> {
  await cluster.settled({ timeout: 60_000 });
  const leader = await cluster.leader();
  const attached = fault.attachTo?.(cluster, leader);
  const outside = cluster.nodes.find((node) => node !== attached) as StanNode;
  const run = randomUUID().slice(0, 8);
  for (const [i, pair] of pairs.entries()) {
    const order = urlsFrom(cluster, attached ?? cluster.nodes[Math.floor(Math.random() * cluster.nodes.length)]!);
    const publisher = { urls: fault.idle ? urlsFrom(cluster, outside) : order };
    const options = {
      publisher,
      subscriber: { urls: order },
      clusterId: cluster.clusterId,
      channel: `recovery.${run}.${i}`,
      every: fault.idle ? 0 : EVERY,
    };
    await pair.ask({ do: 'start', options });
  }
  if (fault.idle) for (const pair of pairs) await pair.ask({ do: 'publish' });
  await replicated(cluster, leader, `recovery.${run}.0`);
  // An idle client is met anywhere between two of its pings.
  await sleep(fault.idle ? BEFORE * (1 + Math.random()) : BEFORE);

  const struckAt = now();
  const striking = fault.strike(cluster, leader, attached ?? leader);
  if (fault.idle) for (const pair of pairs) await pair.ask({ do: 'publish' });
  const readyAt = await striking;
  // A raw client that is not back by then is not coming back.
  const watched = pairs.length > 1 ? MOST_WATCHED : LEAST_WATCHED;
  await sleep(Math.max(0, readyAt + watched - now()));
  const endedAt = now();
  const outcomes = new Map<PairProcess, Outcome>();
  for (const pair of pairs) {
    const { record } = await pair.ask({ do: 'record' });
    if (record) outcomes.set(pair, outcome(record, struckAt, readyAt, fault.idle ? undefined : endedAt));
  }
  const offset = now() - performance.now();
  const elections = cluster.nodes.filter((node) => node.servingSince + offset > struckAt).length;
  await fault.mend(cluster);
  await Promise.all(pairs.map((pair) => pair.ask({ do: 'stop' })));
  return { void: elections !== (fault.electing ? 1 : 0), readyAfter: readyAt - struckAt, outcomes };
}

/**
 * Every node gets what is published. One that was down for long is a member again before that: the leader tries it again
 * with growing pauses, of seconds in the end. Without it, the next node that dies takes the quorum with it.
 */
async function replicated(cluster: StanCluster, leader: StanNode, channel: string): Promise<void> {
  const last = async (node: StanNode): Promise<number> => (await node.monitor.channelz(channel))?.last_seq ?? 0;
  await waitFor(
    async () => {
      const stored = await last(leader);
      if (stored === 0) return undefined;
      const others = await Promise.all(cluster.nodes.map(last));
      return others.every((each) => each >= stored) || undefined;
    },
    { timeout: 60_000, what: () => 'not every node gets what is published' },
  );
}

function urlsFrom(cluster: StanCluster, first: StanNode): string[] {
  return [first, ...cluster.nodes.filter((node) => node !== first)].map(({ url }) => url);
}

/** @param endedAt when silence after the last one ends; undefined: no more was to come, so it is none */
function outcome(record: PairRecord, struckAt: number, readyAt: number, endedAt: number | undefined): Outcome {
  const { acks, deliveries } = record;
  return {
    ackAfterFault: next(acks, struckAt) - struckAt,
    ackAfterReady: next(acks, readyAt) - readyAt,
    deliveryAfterFault: next(deliveries, struckAt) - struckAt,
    deliveryAfterReady: next(deliveries, readyAt) - readyAt,
    ackSilence: silence(acks, struckAt, endedAt),
    deliverySilence: silence(deliveries, struckAt, endedAt),
    duplicates: record.duplicates,
    losses: record.losses,
    suspicions: record.suspicions,
    // Those of the last moment may still be on their way.
    unacknowledged: record.failed + Math.max(0, record.published - record.acknowledged - record.failed - 2),
    log: [`${struckAt.toFixed(1)} FAULT`, `${readyAt.toFixed(1)} READY`, ...record.log].sort(),
  };
}

function next(times: readonly number[], after: number): number {
  return times.find((time) => time > after) ?? Infinity;
}

/** The longest pause that lasted into the time after the fault. */
function silence(times: readonly number[], struckAt: number, endedAt: number | undefined): number {
  let longest = 0;
  let last = times[0] ?? struckAt;
  if (times.every((time) => time < struckAt)) return Infinity;
  for (const time of endedAt === undefined ? times : [...times, endedAt]) {
    if (time > struckAt) longest = Math.max(longest, time - last);
    last = time;
  }
  return longest;
}
