/** One case: the same work, over the same line, for one client after the other. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan } from '../../src/index.js';
import type { StanCluster } from '../../src/testing/index.js';
import { readBack } from '../support/clients.js';
import { fastUrls, indexOf, openRaw, openResilient, payload, Tally, type OpenClient } from '../support/thin-line.js';

export type Work = 'deliver' | 'publish';

export interface Case {
  work: Work;
  /** Mbit/s. */
  rate: number;
  /** Bytes of a message. */
  size: number;
  /** Messages. */
  count: number;
}

/** What one client did. */
export interface Outcome {
  /** ms until everything was there, or acknowledged; Infinity: not within the limit. */
  time: number;
  /** Why not, if it is known. */
  failure: string | undefined;
  missing: number;
  storedTwice: number;
  handedOverTwice: number;
  losses: number;
  suspicions: number;
}

const CLIENTS: Readonly<Record<'raw' | 'ours', OpenClient>> = { raw: openRaw, ours: openResilient };

/** A duplicate comes at once if it comes, except one after `ackWait`, which no case is long enough for. */
const GRACE = 300;

/** How long a case may take, in ms: several times what the line needs for its bytes. */
function limitOf({ rate, size, count }: Case): number {
  return 20_000 + 4 * ((count * size) / (rate * 125));
}

/** The raw client's outcome, and ours. */
export async function measure(
  cluster: StanCluster,
  urls: readonly string[],
  work: Case,
): Promise<Record<'raw' | 'ours', Outcome>> {
  const stored = work.work === 'deliver' ? await store(cluster, work) : undefined;
  const run = (open: OpenClient): Promise<Outcome> =>
    stored === undefined ? publishing(cluster, urls, work, open) : delivery(urls, work, stored, open);
  return { raw: await run(CLIENTS.raw), ours: await run(CLIENTS.ours) };
}

const newChannel = (): string => `thin.${randomUUID().slice(0, 8)}`;

/** A channel with everything in it. */
async function store(cluster: StanCluster, { count, size }: Case): Promise<string> {
  const channel = newChannel();
  await using writer = await ResilientStan.connect(fastUrls(cluster));
  for (let i = 0; i < count; i++) await writer.publish(channel, payload(i, size));
  return channel;
}

async function delivery(urls: readonly string[], work: Case, channel: string, open: OpenClient): Promise<Outcome> {
  const client = await open(urls);
  const there = new Set<number>();
  const sequences = new Tally();
  const before = performance.now();
  const { time, failure } = await within(limitOf(work), async () => {
    await new Promise<void>((resolve, reject) => {
      client
        .subscribe(channel, (data, sequence) => {
          there.add(indexOf(data));
          sequences.add(sequence);
          if (there.size === work.count) resolve();
        })
        .catch(reject);
    });
    return performance.now() - before;
  });
  await sleep(GRACE);
  const { trouble } = client;
  await closeSoon(client);
  return {
    time,
    failure,
    missing: work.count - there.size,
    storedTwice: 0,
    handedOverTwice: sequences.twice,
    ...trouble,
  };
}

async function publishing(
  cluster: StanCluster,
  urls: readonly string[],
  work: Case,
  open: OpenClient,
): Promise<Outcome> {
  const channel = newChannel();
  const client = await open(urls);
  const before = performance.now();
  const { time, failure } = await within(limitOf(work), async () => {
    await Promise.all(Array.from({ length: work.count }, (_, i) => client.publish(channel, payload(i, work.size))));
    return performance.now() - before;
  });
  await sleep(GRACE);
  const { trouble } = client;
  await closeSoon(client);
  const tally = new Tally();
  for (const value of await readBack(fastUrls(cluster), channel)) tally.add(Number.parseInt(value, 10));
  return {
    time,
    failure,
    missing: work.count - tally.times.size,
    storedTwice: tally.twice,
    handedOverTwice: 0,
    ...trouble,
  };
}

async function within(
  limit: number,
  act: () => Promise<number>,
): Promise<{ time: number; failure: string | undefined }> {
  const late = new AbortController();
  const tooLate = sleep(limit, undefined, { signal: late.signal }).then(
    () => ({ time: Infinity, failure: `not done within ${Math.round(limit / 1000)} s` }),
    () => ({ time: Infinity, failure: undefined }),
  );
  const done = act().then(
    (time) => ({ time, failure: undefined }),
    (error: unknown) => ({ time: Infinity, failure: error instanceof Error ? error.message : String(error) }),
  );
  const result = await Promise.race([done, tooLate]);
  late.abort();
  return result;
}

/** One that has failed may not come to its end. */
async function closeSoon(client: { close(): Promise<void> }): Promise<void> {
  await Promise.race([client.close().catch(() => {}), sleep(5000, undefined, { ref: false })]);
}
