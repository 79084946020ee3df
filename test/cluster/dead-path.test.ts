/** A path that dies is noticed by what is owed, however much went over it before. */
import assert from 'node:assert/strict';
import { StanCluster } from '../../src/testing/index.js';
import { Clients, Recorder, uniqueName, until } from '../support/clients.js';

describe('a path that dies', function () {
  this.timeout(120_000);
  const clients = new Clients();
  let cluster: StanCluster;
  before(async () => {
    cluster = await StanCluster.start({ nodes: 3, proxied: true });
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await clients.closeAll();
    await cluster.heal();
  });

  const attachedProxy = (server: string | undefined) => cluster.nodes.find(({ url }) => url === server)!.proxy;

  it('after twenty thousand deliveries, whose acknowledgements nobody answers', async () => {
    const channel = uniqueName('busy');
    const publisher = await clients.connect(cluster.urls, cluster.connectOptions);
    const consumer = await clients.connect(cluster.urls, cluster.connectOptions);
    const recorder = new Recorder(consumer);
    // By their texts, because a message that a slow leader did not acknowledge in time is stored twice.
    const got = new Set<string>();
    await consumer.subscribe(channel, (message) => void got.add(message.string()));
    let next = 0;
    const publish = (count: number): Promise<unknown> =>
      Promise.all(Array.from({ length: count }, () => publisher.publish(channel, `${next++}`)));
    for (let n = 0; n < 20; n++) await publish(1000);
    await until(
      () => got.size === 20_000,
      () => `${got.size} of 20000`,
      60_000,
    );
    // Publisher and consumer may be attached to the same node.
    attachedProxy(consumer.server).add({ type: 'stall' });
    await publish(100);
    await recorder.until('reconnect', 1, 60_000);
    await until(
      () => got.size === 20_100,
      () => `${got.size} of 20100`,
    );
    // Not by its last resort, when nothing at all was heard for three seconds.
    assert.ok(
      recorder.of('connection_lost').every(({ reason }) => reason === 'path'),
      recorder
        .of('connection_lost')
        .map(({ reason }) => reason)
        .join(),
    );
  });

  it('under five hundred messages of 10 KB, none of them acknowledged', async () => {
    const channel = uniqueName('full');
    const stan = await clients.connect(cluster.urls, cluster.connectOptions);
    const recorder = new Recorder(stan);
    attachedProxy(stan.server).add({ type: 'stall' });
    const published = Array.from({ length: 500 }, () => stan.publish(channel, Buffer.alloc(10_000)));
    await recorder.until('reconnect', 1, 60_000);
    await Promise.all(published);
    assert.deepEqual(
      recorder.of('connection_lost').map(({ reason }) => reason),
      ['path'],
    );
  });
});
