/** What a server is asked for when a client with many subscriptions comes back, as somebody sees it who listens in. */
import assert from 'node:assert/strict';
import { connect } from 'nats';
import { ResilientStan } from '../../src/index.js';
import { Proxy, StanCluster, waitFor } from '../../src/testing/index.js';

const CHANNELS = 5;
const OF_EACH = 20;

describe('a client that comes back', function () {
  this.timeout(120_000);

  it(`looks at each of ${CHANNELS} channels once for its ${OF_EACH} durables and ${OF_EACH} groups, and gives the looks up again`, async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'file' });
    const proxy = await Proxy.listen({ target: { port: Number(new URL(cluster.urls[0]!).port) } });
    const spy = connect({ url: cluster.urls[0]!, encoding: 'binary' });
    // Subscribe requests by their channel: those that name a durable or a group make a subscription, the others look.
    const made = new Map<string, number>();
    const looks = new Map<string, number>();
    let closes = 0;
    const count = (map: Map<string, number>, channel: string): void =>
      void map.set(channel, (map.get(channel) ?? 0) + 1);
    spy.subscribe('_STAN.sub.>', (request: string) => {
      const channel = /looked-at-\d/.exec(request)?.[0];
      if (channel !== undefined) count(/member-|durable-/.test(request) ? made : looks, channel);
    });
    spy.subscribe('_STAN.subclose.>', () => closes++);
    const stan = await ResilientStan.connect(`nats://127.0.0.1:${proxy.port}`, {
      clientId: 'comes-back',
      discover: false,
    });
    try {
      const channels = Array.from({ length: CHANNELS }, (_, i) => `looked-at-${i}`);
      let received = 0;
      const handler = (): void => void received++;
      for (const channel of channels) {
        for (let i = 0; i < OF_EACH; i++) {
          await stan.subscribe(channel, handler, { durableName: `durable-${i}`, startAt: 'first' });
          await stan.subscribe(channel, handler, { queueGroup: `member-${i}`, startAt: 'first' });
        }
        await stan.publish(channel, 'x');
      }
      const wait = { timeout: 30_000 };
      await waitFor(() => received === 2 * OF_EACH * CHANNELS || undefined, {
        ...wait,
        what: () => `${received} received`,
      });
      made.clear();
      const back = new Promise((resolve) => stan.once('reconnect', resolve));
      await proxy.down({ connections: 'reset' });
      await proxy.up();
      await back;
      await waitFor(() => closes >= CHANNELS || undefined, { ...wait, what: () => `${closes} looks were given up` });
      for (const channel of channels) {
        assert.equal(made.get(channel), 2 * OF_EACH);
        assert.equal(looks.get(channel), 1, `looks at ${channel}`);
      }
      assert.equal(
        [...looks.values()].reduce((sum, n) => sum + n, 0),
        closes,
      );
    } finally {
      await stan.close({ timeout: 0 });
      spy.close();
      await proxy.down({ connections: 'reset' });
    }
  });
});
