/** A thousand losses in a row leave nothing behind: no listener, no timer, no socket, no memory. */
import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ResilientStan } from '../../src/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';

const LOSSES = 1000;

// The heap is only worth comparing when what is garbage is gone.
setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

interface Footprint {
  resources: string;
  listeners: number;
  heap: number;
}

function footprint(stan: ResilientStan): Footprint {
  gc();
  const counts = new Map<string, number>();
  for (const name of process.getActiveResourcesInfo()) counts.set(name, (counts.get(name) ?? 0) + 1);
  const sockets = ['TCPSocketWrap', 'TCPServerWrap', 'Timeout'].map((name) => `${name}: ${counts.get(name) ?? 0}`);
  const listeners =
    process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0) +
    stan.eventNames().reduce((sum, name) => sum + stan.listenerCount(name), 0);
  return { resources: sockets.join(', '), listeners, heap: process.memoryUsage().heapUsed };
}

describe('a thousand losses in a row', function () {
  this.timeout(180_000);

  it('leave listeners, timers, sockets and heap as they were', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory', proxied: true });
    const proxy = cluster.nodes[0]!.proxy;
    const stan = await ResilientStan.connect(cluster.urls, {
      clientId: 'thousand',
      // Sessions that die young are followed by growing pauses.
      reconnect: { minTimeout: 1, maxTimeout: 1 },
    });
    try {
      const received: string[] = [];
      await stan.subscribe('thousand', (message) => void received.push(message.string()));
      await stan.subscribe('thousand', () => {}, { durableName: 'd' });
      const loseOnce = async (): Promise<void> => {
        const { reconnects } = stan.stats();
        const acknowledged = stan.publish('thousand', 'x');
        proxy.resetConnections();
        await waitFor(() => (stan.stats().reconnects > reconnects && stan.state === 'connected') || undefined, {
          timeout: 10_000,
          interval: 1,
          what: () => `not back: ${JSON.stringify(stan.health())}`,
        });
        await acknowledged;
      };
      const settled = async (): Promise<Footprint> => {
        // Closed sockets go a moment later, on both sides of the proxy.
        let before = '';
        await waitFor(
          () => {
            const { resources } = footprint(stan);
            const same = resources === before;
            before = resources;
            return same || undefined;
          },
          { timeout: 10_000, interval: 200, what: () => `resources keep changing: ${before}` },
        );
        return footprint(stan);
      };
      // What V8 compiles and learns meanwhile is no leak.
      for (let i = 0; i < 500; i++) await loseOnce();
      received.length = 0;
      const before = await settled();
      for (let i = 0; i < LOSSES; i++) await loseOnce();
      received.length = 0;
      const after = await settled();
      assert.ok(stan.stats().losses >= LOSSES);
      assert.equal(after.resources, before.resources);
      assert.equal(after.listeners, before.listeners);
      // A leak of one small object a loss would be 100 kB; a session that stayed, many MB.
      assert.ok(
        after.heap - before.heap < 1_500_000,
        `the heap grew by ${after.heap - before.heap} bytes in ${LOSSES} losses`,
      );
    } finally {
      await stan.close();
    }
  });
});
