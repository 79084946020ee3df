/** Two streaming servers of one cluster ID that share the channels between them: one that is down holds up only its own. */
import assert from 'node:assert/strict';
import { StanCluster } from '../../src/testing/index.js';
import { releasePorts, takePorts } from '../../src/testing/ports.js';
import { Clients, readBack, until } from '../support/clients.js';

describe('a partitioned set-up', function () {
  this.timeout(60_000);
  const clients = new Clients();
  const clusters: StanCluster[] = [];
  let routes: number[] = [];

  before(async () => {
    routes = await takePorts(2);
    for (const [n, channel] of ['live', 'dead'].entries()) {
      const cluster = await StanCluster.start({
        mode: 'single',
        config: {
          // Servers of the same name do not talk to each other.
          server_name: channel,
          cluster: {
            name: 'partitioned',
            listen: `127.0.0.1:${routes[n]}`,
            routes: [`nats://127.0.0.1:${routes[1 - n]}`],
          },
          streaming: { partitioning: true, store_limits: { channels: { [channel]: {} } } },
        },
      });
      clusters.push(cluster);
    }
  });
  after(async () => {
    await clients.closeAll();
    await Promise.all(clusters.map((cluster) => cluster.stop()));
    releasePorts(routes);
  });

  it('goes on with the channels of the servers that are up, names the others, and delivers all when they are back', async () => {
    const [live, dead] = clusters as [StanCluster, StanCluster];
    const stan = await clients.connect(live.urls);
    // The second one may have to wait for the route between the servers, or for a session that both of them know.
    await Promise.all([stan.publish('live', 'first'), stan.publish('dead', 'first')]);
    const { losses } = stan.stats();
    await dead.nodes[0]?.kill();
    let open = 0;
    const toDead = Array.from({ length: 20 }, async (_, n) => {
      open++;
      await stan.publish('dead', `d${n}`);
      open--;
    });
    await until(
      () => stan.health().unacknowledgedChannels.includes('dead'),
      () => `health() does not name the channel: ${JSON.stringify(stan.health())}`,
    );
    assert.equal(stan.health().healthy, false);
    // One after the other: each is acknowledged although the others never are.
    for (let n = 0; n < 300; n++) await stan.publish('live', `l${n}`);
    assert.equal(open, 20);
    assert.deepEqual(stan.health().unacknowledgedChannels, ['dead']);
    assert.equal(stan.stats().losses, losses);
    await dead.nodes[0]?.start();
    await Promise.all(toDead);
    await until(
      () => stan.health().healthy,
      () => `it is not healthy: ${JSON.stringify(stan.health())}`,
    );
    const stored = await readBack(live.urls, 'dead');
    assert.deepEqual(new Set(stored), new Set(['first', ...Array.from({ length: 20 }, (_, n) => `d${n}`)]));
    assert.deepEqual([...new Set(await readBack(live.urls, 'live'))].length, 301);
  });
});
