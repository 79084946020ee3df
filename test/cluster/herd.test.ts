/** An election on a healthy path opens no connection: a thousand clients must not dial at each one. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { MIN_THRESHOLD } from '../../src/connection/round-trip-estimator.js';
import { ELECTION_PATIENCE } from '../../src/connection/failure-detector.js';
import { ResilientStan } from '../../src/index.js';
import { StanCluster, waitFor, type StanNode } from '../../src/testing/index.js';

const CLIENTS = 200;

describe('no herd', function () {
  this.timeout(180_000);

  it(`${CLIENTS} clients open no connection while five leaders die under them, but those that were attached to one`, async function () {
    await using cluster = await StanCluster.start({ nodes: 3 });
    const connections = async (nodes: StanNode[]): Promise<number> => {
      let total = 0;
      for (const node of nodes) {
        const varz = await node.monitor.get<{ total_connections: number }>('/varz', { timeout: 5000 });
        assert.ok(varz, `${node.name} does not answer`);
        total += varz.total_connections;
      }
      return total;
    };
    const run = randomUUID().slice(0, 8);
    const clients: ResilientStan[] = [];
    for (let i = 0; i < CLIENTS; i += 20) {
      clients.push(
        ...(await Promise.all(
          Array.from({ length: 20 }, (_, k) =>
            ResilientStan.connect(cluster.urls, { clientId: `herd-${run}-${i + k}` }),
          ),
        )),
      );
    }
    let elections = 0;
    try {
      for (let kill = 0; elections < 5; kill++) {
        // Nothing to judge on a machine so busy that the servers take longer than that every time.
        if (kill === 12) this.skip();
        await cluster.settled();
        const leader = await cluster.leader();
        const survivors = cluster.nodes.filter((node) => node !== leader);
        const onLeader = clients.filter((client) => client.server === leader.url);
        const elsewhere = clients.filter((client) => client.server !== leader.url);
        const before = await connections(survivors);
        const losses = elsewhere.map((client) => client.stats().losses);
        // All of them have something in flight, so all of them are in doubt.
        const acks = clients.map((client) => client.publish('herd', 'x'));
        const killedAt = performance.now();
        await leader.kill();
        const more = clients.map((client) => client.publish('herd', 'y'));
        await Promise.all([...acks, ...more]);
        const took = performance.now() - killedAt;
        await waitFor(() => clients.every((client) => client.state === 'connected') || undefined, {
          timeout: 30_000,
          what: () => 'not all are connected',
        });
        const after = await connections(survivors);
        await leader.start();
        assert.deepEqual(
          elsewhere.map((client) => client.stats().losses),
          losses,
          'a session on a healthy path was lost',
        );
        // After a second without a leader it is no election any more, and other paths are tried.
        if (took >= ELECTION_PATIENCE + MIN_THRESHOLD || onLeader.length === CLIENTS) continue;
        const opened = after - before;
        // Who was attached to the dead leader races for the new one, over the two that are left.
        assert.ok(
          opened <= 2 * onLeader.length,
          `${opened} connections opened, and ${onLeader.length} clients were attached to the dead leader`,
        );
        elections += 1;
      }
      assert.ok(
        clients.some((client) => client.stats().suspicions > 0),
        'nobody was ever in doubt: nothing was shown',
      );
    } finally {
      await Promise.all(clients.map((client) => client.close({ timeout: 5000 })));
    }
  });
});
