import assert from 'node:assert/strict';
import { once } from 'node:events';
import nodeNatsStreaming from 'node-nats-streaming';
import { StanCluster, waitFor } from '../../src/testing/index.js';

/** Publishes through the raw client: the harness is to be seen by itself here. */
async function publish(url: string, data: string): Promise<void> {
  const stan = nodeNatsStreaming.connect('test-cluster', `publisher-${data}`, { url });
  await once(stan, 'connect');
  await new Promise<void>((resolve, reject) => {
    stan.publish('foo', data, (error) => (error ? reject(new Error(String(error))) : resolve()));
  });
  stan.close();
  await once(stan, 'close');
}

describe('testing: StanCluster, fault-tolerant', () => {
  for (const proxied of [false, true]) {
    it(`has one active node, whose store the next one takes over${proxied ? ' (proxied)' : ''}`, async () => {
      await using cluster = await StanCluster.start({ mode: 'fault-tolerant', proxied });
      assert.equal(cluster.nodes.length, 2);
      const active = await cluster.active();
      const [standby] = cluster.nodes.filter((node) => node !== active);
      assert.ok(standby);
      assert.equal(active.serving, true);
      assert.equal(standby.standby, true);
      assert.equal((await active.monitor.serverz())?.state, 'FT_ACTIVE');
      assert.equal((await standby.monitor.serverz())?.state, 'FT_STANDBY');

      await publish(active.url, 'one');
      await publish(standby.url, 'two'); // through the standby's NATS
      assert.equal((await active.monitor.channelz('foo'))?.last_seq, 2);

      await active.kill();
      assert.equal(await cluster.active(), standby);
      assert.equal(standby.standby, false);
      await publish(standby.url, 'three');
      assert.equal((await standby.monitor.channelz('foo'))?.last_seq, 3, 'the messages are still there');

      await active.start();
      await cluster.settled();
      assert.equal(active.standby, true);
      await standby.stop();
      assert.equal(await cluster.active(), active);
      assert.equal((await active.monitor.channelz('foo'))?.last_seq, 3);
    });
  }

  it('does not call a frozen node active, and no other takes over: the store is locked', async () => {
    await using cluster = await StanCluster.start({ mode: 'fault-tolerant', nodes: 3 });
    const active = await cluster.active();
    await active.pause();
    assert.equal(await cluster.findLeader(), undefined);
    await active.resume();
    assert.equal(await cluster.active(), active);
    await assert.rejects(active.wipe(), /runs/);
    await active.kill();
    await assert.rejects(active.wipe(), /in fault-tolerant mode all nodes share one/);
  });

  it('says so when the shared store cannot be had', async () => {
    // Two clusters that share a directory: the first has the lock.
    await using first = await StanCluster.start({ mode: 'fault-tolerant', nodes: 1 });
    await assert.rejects(
      StanCluster.start({ mode: 'fault-tolerant', nodes: 1, dir: first.dir, startTimeout: 1500 }),
      /no node leads|not every node is in the cluster\. a: standing by/,
    );
    await waitFor(async () => ((await first.findLeader()) ? true : undefined), { timeout: 5000, what: () => 'gone' });
  });
});
