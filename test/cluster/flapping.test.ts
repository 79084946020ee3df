/**
 * A slow but live cluster is not mistaken for a dead one: under each of these conditions not one session is lost, and a
 * suspicion costs one duplicate at the most. The counters show it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan } from '../../src/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';

interface Flow {
  client: ResilientStan;
  received: Set<string>;
  /** Publishes so many at once, every so many ms. */
  start: (batch: number, every: number, size?: number) => void;
  /** Stops publishing; everything acknowledged has arrived. Returns what the counters say. */
  finish: () => Promise<void>;
}

async function flow(urls: string[]): Promise<Flow> {
  const client = await ResilientStan.connect(urls, { clientId: `flow-${randomUUID().slice(0, 8)}` });
  const channel = `flow.${randomUUID().slice(0, 8)}`;
  const received = new Set<string>();
  const acknowledged: string[] = [];
  await client.subscribe(channel, (message) => void received.add(message.string().split(' ', 1)[0]!), {
    startAt: 'first',
  });
  let timer: NodeJS.Timeout | undefined;
  let count = 0;
  const failures: unknown[] = [];
  return {
    client,
    received,
    start: (batch, every, size = 16) => {
      const filler = 'x'.repeat(size);
      timer = setInterval(() => {
        for (let i = 0; i < batch; i++) {
          const value = String(count++);
          client.publish(channel, `${value} ${filler}`).then(
            () => acknowledged.push(value),
            (error: unknown) => failures.push(error),
          );
        }
      }, every);
    },
    finish: async () => {
      clearInterval(timer);
      await client.flush({ timeout: 30_000 });
      await waitFor(() => acknowledged.every((value) => received.has(value)) || undefined, {
        timeout: 30_000,
        what: () => `${acknowledged.length} acknowledged, ${received.size} received`,
      });
      const stats = client.stats();
      await client.close();
      assert.deepEqual(failures, []);
      assert.ok(count > 0 && acknowledged.length === count, `${acknowledged.length} of ${count} acknowledged`);
      assert.equal(stats.losses, 0, `sessions lost: ${JSON.stringify(stats)}`);
      assert.ok(stats.resent <= stats.suspicions, `more duplicates than suspicions: ${JSON.stringify(stats)}`);
    },
  };
}

describe('no flapping', function () {
  this.timeout(120_000);

  describe('on a direct way', () => {
    let cluster: StanCluster;
    before(async () => {
      // The default Raft timings: with fast ones the servers themselves would take a starved leader for dead.
      cluster = await StanCluster.start({ nodes: 3, raft: 'default' });
    });
    after(() => cluster.stop());

    it('our own event loop blocked for 2 s again and again', async () => {
      const { start, finish } = await flow(cluster.urls);
      start(2, 20);
      for (let i = 0; i < 3; i++) {
        await sleep(400);
        const until = performance.now() + 2000;
        while (performance.now() < until);
      }
      await sleep(300);
      await finish();
    });

    it('the CPUs starved by busy loops', async () => {
      const { start, finish } = await flow(cluster.urls);
      const loops = Array.from({ length: 4 }, () =>
        spawn(process.execPath, ['-e', 'const end = Date.now() + 6000; while (Date.now() < end);'], {
          stdio: 'ignore',
        }),
      );
      start(2, 20);
      await Promise.all(loops.map((loop) => new Promise((resolve) => loop.once('exit', resolve))));
      await finish();
    });

    it('the attached server frozen for 100 ms every second', async () => {
      const { client, start, finish } = await flow(cluster.urls);
      start(2, 20);
      const attached = cluster.nodes.find((node) => node.url === client.server)!;
      for (let i = 0; i < 5; i++) {
        await attached.pause();
        await sleep(100);
        await attached.resume();
        await sleep(900);
      }
      await finish();
    });
  });

  it('a way of 500 ms in each direction, with jitter, and the default Raft timings', async () => {
    await using cluster = await StanCluster.start({ nodes: 3, proxied: true, raft: 'default' });
    for (const node of cluster.nodes) node.proxy.add({ type: 'latency', latency: 500, jitter: 100 });
    const { start, finish } = await flow(cluster.urls);
    start(2, 20);
    await sleep(6000);
    await finish();
  });

  it('a slow disk: large batches, each synced to the disk', async () => {
    await using cluster = await StanCluster.start({
      nodes: 3,
      config: { streaming: { file_options: { sync_on_flush: true }, cluster: { sync: true } } },
    });
    const { start, finish } = await flow(cluster.urls);
    start(20, 100, 64 * 1024);
    await sleep(5000);
    await finish();
  });
});
