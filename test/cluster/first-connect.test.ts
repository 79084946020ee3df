/** Many clients that begin at once dial one server each, and not all of them. */
import assert from 'node:assert/strict';
import { ResilientStan } from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';

const CLIENTS = 300;

describe('the first connect', function () {
  this.timeout(120_000);

  it(`${CLIENTS} clients of one process, all at once, open one connection each`, async () => {
    await using cluster = await StanCluster.start({ nodes: 3 });
    await cluster.settled();
    const connections = async (): Promise<number> => {
      let total = 0;
      for (const node of cluster.nodes) {
        const varz = await node.monitor.get<{ total_connections: number }>('/varz', { timeout: 5000 });
        assert.ok(varz, `${node.name} does not answer`);
        total += varz.total_connections;
      }
      return total;
    };
    const before = await connections();
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => ResilientStan.connect(cluster.urls)));
    try {
      const opened = (await connections()) - before;
      // On a busy machine a server may be slow indeed, and then the next one is dialled.
      assert.ok(opened <= 1.2 * CLIENTS, `${opened} connections were opened`);
    } finally {
      await Promise.all(clients.map((client) => client.close({ timeout: 5000 })));
    }
  });
});
