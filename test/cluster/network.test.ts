/** Strict and pipelined traffic while the network between clients, and between nodes, is slow, cut, or a black hole. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Traffic } from '../support/traffic.js';
import { until } from '../support/clients.js';

describe('the network of a three-node cluster', function () {
  this.timeout(120_000);
  let cluster: StanCluster;

  before(async () => {
    cluster = await StanCluster.start({ nodes: 3, proxied: true });
  });
  after(() => cluster.stop());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') {
      await cluster.writeLogs(`reports/${this.currentTest.title.replace(/\W+/g, '-')}`);
    }
    await cluster.heal();
    await cluster.settled();
  });

  const nodeAt = (url: string | undefined): StanNode => {
    const node = cluster.nodes.find((candidate) => candidate.url === url);
    assert.ok(node, `attached to ${url}`);
    return node;
  };

  async function underTraffic(fault: (all: Traffic[]) => Promise<void>): Promise<Traffic[]> {
    const all = [
      await Traffic.start(cluster.urls, { ordering: 'strict' }),
      await Traffic.start(cluster.urls, { ordering: 'pipelined' }),
    ];
    try {
      await moves(all);
      await fault(all);
      await cluster.heal();
      await moves(all);
      for (const traffic of all) await traffic.verify();
    } finally {
      await Promise.all(all.map((traffic) => traffic.stop()));
    }
    return all;
  }
  const moves = (all: Traffic[]): Promise<unknown> => Promise.all(all.map((traffic) => traffic.moves()));

  it('the way to the attached node stands still for 3 s, and then delivers all it held back', async () => {
    const all = await underTraffic(async (traffic) => {
      for (let i = 0; i < 2; i++) {
        const stall = nodeAt(traffic[0]!.attached).proxy.add({ type: 'stall' });
        // It goes on by another way, long before this one is mended.
        await moves(traffic);
        await sleep(3000);
        stall.remove();
        await moves(traffic);
      }
    });
    assert.ok(all[0]!.losses >= 2, `${all[0]!.losses} losses`);
  });

  it('300 ms of latency each way: slow is not dead, nothing is declared lost', async () => {
    let leading = 0;
    const all = await underTraffic(async (traffic) => {
      leading = (await cluster.leader()).servingSince;
      const before = traffic.map(({ losses }) => losses);
      for (const node of cluster.nodes) node.proxy.add({ type: 'latency', latency: 300 });
      await sleep(2000);
      await moves(traffic);
      for (const node of cluster.nodes) node.proxy.clear();
      await moves(traffic);
      assert.deepEqual(
        traffic.map(({ losses }) => losses),
        before,
        'a slow cluster was declared dead',
      );
    });
    // A suspicion costs a duplicate, and not a window of them; but for an election, which a busy machine holds any time.
    const sameLeader = (await cluster.leader()).servingSince === leading;
    for (const client of sameLeader ? all.flatMap(({ clients }) => clients) : []) {
      const stats = client.stats();
      assert.ok(stats.resent <= stats.suspicions, `more duplicates than suspicions: ${JSON.stringify(stats)}`);
    }
  });

  it('latency that comes and goes, with jitter', async () => {
    const all = await underTraffic(async (traffic) => {
      for (const latency of [50, 300, 10]) {
        for (const node of cluster.nodes) node.proxy.add({ type: 'latency', latency, jitter: latency / 4 });
        await sleep(500);
        await moves(traffic);
        for (const node of cluster.nodes) node.proxy.clear();
      }
    });
    for (const traffic of all) assert.equal(traffic.losses, 0);
  });

  it('the leader cut off from the others, its clients not: they see silence on a living connection', async () => {
    await underTraffic(async (traffic) => {
      const leader = await cluster.leader();
      const cut = await cluster.isolate(leader);
      await until(
        async () => {
          const now = await cluster.findLeader();
          return now !== undefined && now !== leader;
        },
        'nobody else leads',
        30_000,
      );
      await moves(traffic);
      cut.heal();
    });
  });

  it('a follower cut off from the others, with the client attached to it', async () => {
    await underTraffic(async (traffic) => {
      const cut = await cluster.isolate(nodeAt(traffic[0]!.attached));
      await moves(traffic);
      await sleep(1000);
      cut.heal();
    });
  });

  it('connections that are reset, sliced and closed at any byte', async () => {
    await underTraffic(async (traffic) => {
      for (const node of cluster.nodes) node.proxy.add({ type: 'slicer', average_size: 20, size_variation: 15 });
      await moves(traffic);
      for (let i = 0; i < 10; i++) {
        const { proxy } = nodeAt(traffic[i % 2]!.attached ?? cluster.urls[0]);
        const limit = proxy.add({ type: 'limit_data', bytes: 300 + 217 * i });
        await sleep(100);
        limit.remove();
        if (i % 5 === 0) proxy.resetConnections();
        await moves(traffic);
      }
    });
  });
});
