/** The client's own way to the cluster: slow, swallowing everything, or ending at a server that is frozen. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan } from '../../src/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';
import { Traffic } from '../support/traffic.js';

describe('the way to the cluster', function () {
  this.timeout(120_000);
  let cluster: StanCluster;

  before(async () => {
    cluster = await StanCluster.start({ nodes: 3, proxied: true });
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await cluster.heal();
    for (const node of cluster.nodes) {
      node.proxy.clear();
      if (node.paused) await node.resume();
    }
    await cluster.settled();
  });

  const at = (url: string | undefined): (typeof cluster.nodes)[number] => {
    const node = cluster.nodes.find((candidate) => candidate.url === url);
    assert.ok(node, `no node at ${url}`);
    return node;
  };

  for (const ordering of ['strict', 'pipelined'] as const) {
    it(`swallows everything, three times (${ordering})`, async () => {
      const traffic = await Traffic.start(cluster.urls, { ordering });
      try {
        await traffic.moves();
        for (let i = 0; i < 3; i++) {
          const { proxy } = at(traffic.attached);
          proxy.add({ type: 'timeout', timeout: 0 });
          await sleep(1500);
          await traffic.moves();
          proxy.clear();
        }
        await traffic.verify();
        assert.ok(traffic.losses >= 3, 'a black hole was not noticed');
      } finally {
        await traffic.stop();
      }
    });

    it(`is 300 ms long in each direction: no loss (${ordering})`, async () => {
      for (const node of cluster.nodes) node.proxy.add({ type: 'latency', latency: 300 });
      const traffic = await Traffic.start(cluster.urls, { ordering, rate: ordering === 'strict' ? 1 : 60 });
      try {
        await sleep(5000);
        await traffic.verify();
        assert.equal(traffic.losses, 0);
        assert.ok(traffic.attempted > 5);
      } finally {
        await traffic.stop();
      }
    });
  }

  it('ends at a frozen node: the registration is taken over, and not waited for', async () => {
    const downtimes: number[] = [];
    for (let i = 0; i < 5; i++) {
      const leader = await cluster.leader();
      // Followers first: the leader of the list is asked only when none of them answers at once.
      const urls = [...cluster.nodes].sort((a, b) => Number(a === leader) - Number(b === leader)).map(({ url }) => url);
      const client = await ResilientStan.connect(urls, {
        clientId: `over-${randomUUID().slice(0, 8)}`,
        randomize: false,
      });
      try {
        client.on('reconnect', ({ downtime }) => void downtimes.push(downtime));
        if (client.server === leader.url) continue;
        const frozen = at(client.server);
        await frozen.pause();
        await client.publish('over', 'x');
        await frozen.resume();
        await cluster.settled();
      } finally {
        await client.close();
      }
    }
    assert.ok(downtimes.length > 0, 'no client was attached to a follower');
    // The server itself waits 500 ms for the answer of a mute predecessor before it lets a successor in.
    assert.ok(Math.min(...downtimes) < 250, `downtimes: ${downtimes.map(Math.round).join()} ms`);
  });

  it('leads to a leader that freezes with a request in its hands: that is asked again, long before its time', async () => {
    const leader = await cluster.leader();
    const follower = cluster.nodes.find((node) => node !== leader)!;
    const client = await ResilientStan.connect([follower.url], {
      clientId: `asks-${randomUUID().slice(0, 8)}`,
      connectTimeout: 90_000,
    });
    try {
      await leader.pause();
      const subscription = await client.subscribe('asked', () => {});
      assert.equal(client.stats().subscriptions, 1);
      await subscription.close();
    } finally {
      await leader.resume();
      await client.close();
    }
  }).timeout(30_000);

  it('idle, and mute: noticed by the pings', async () => {
    const client = await ResilientStan.connect(cluster.urls, { clientId: `idle-${randomUUID().slice(0, 8)}` });
    try {
      const { proxy } = at(client.server);
      proxy.add({ type: 'timeout', timeout: 0 });
      await waitFor(() => client.stats().reconnects === 1 || undefined, {
        timeout: 10_000,
        what: () => `not reconnected: ${JSON.stringify(client.health())}`,
      });
      assert.notEqual(client.server, undefined);
    } finally {
      await client.close();
    }
  });
});
