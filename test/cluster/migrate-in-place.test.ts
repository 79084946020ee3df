/** The whole way in place, in a cluster of three: the plan of the configuration, copy, durables, cut, and plain servers afterwards. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { copy, cut, durables, planInPlace, streamName, type InPlaceReport } from '../../src/migrate/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, until } from '../support/clients.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('leaving in place', function () {
  this.timeout(120_000);
  const clients = new Clients();
  let cluster: StanCluster;
  afterEach(async () => {
    await clients.closeAll();
    await cluster?.stop();
  });

  const plan = (): Promise<InPlaceReport> =>
    planInPlace({ from: cluster.urls, monitor: cluster.nodes.map(({ monitor }) => monitor.url) });
  const needed = ({ servers }: InPlaceReport): string[][] =>
    servers.map(({ add }) => add.map(({ needs, lines }) => `${needs} ${lines[0]}`));

  /** As a person does: adds lines to the file of a server, and lets it read them again. */
  async function add(node: StanNode, lines: readonly string[]): Promise<void> {
    const file = join(node.dir, 'server.conf');
    await writeFile(file, `${await readFile(file, 'utf8')}\n${lines.join('\n')}\n`);
    const reloads = (): number => node.log().filter((line) => line.includes('Reloaded server configuration')).length;
    const before = reloads();
    process.kill(node.pid!, 'SIGHUP');
    await until(() => reloads() > before, 'the server has not read its configuration again');
  }

  it('a server by itself needs no restart: the lines of the plan, read again, and it is ready', async () => {
    cluster = await StanCluster.start({ mode: 'single' });
    const [node] = cluster.nodes as [StanNode];
    const stan = await clients.connect(cluster.urls);
    await stan.publish('orders', '1');
    const before = await plan();
    assert.deepEqual([before.ok, needed(before)], [true, [['reload jetstream: {', 'reload mappings: {']]]);
    const lines = before.servers[0]!.add.flatMap((each) => each.lines);
    await add(
      node,
      lines.map((line) => line.replace('/var/lib/nats/jetstream', 'jetstream')),
    );
    const after = await plan();
    assert.deepEqual([after.servers[0]?.jetstream, after.servers[0]?.fenced, needed(after)], [true, true, [[]]]);
    const { ok, channels } = await copy({ from: cluster.urls, monitor: node.monitor.url });
    assert.deepEqual([ok, channels[0]?.fenced, channels[0]?.last], [true, true, 1]);
  });

  it('a cluster without names: each server is told what it lacks', async () => {
    cluster = await StanCluster.start({ nodes: 2, config: { server_name: undefined, cluster: { name: undefined } } });
    const report = await plan();
    assert.deepEqual(
      needed(report),
      ['a', 'b'].map((name) => [
        `restart server_name: "${name}"`,
        'restart name: "test-cluster"',
        'restart jetstream: {',
      ]),
    );
    assert.deepEqual(
      report.servers.map(({ name }) => name),
      ['a', 'b'],
    );
    const few = await planInPlace({ from: cluster.urls, monitor: (await cluster.leader()).monitor.url });
    assert.deepEqual(
      few.problems.map(({ code }) => code),
      ['servers-missing'],
    );
  });

  it('three servers, from the plan to plain servers on the same store: every message, and a durable with holes', async () => {
    cluster = await StanCluster.start({ jetstream: true });
    const stan = await clients.connect(cluster.urls);
    await Promise.all(Array.from({ length: 30 }, (_, i) => stan.publish('orders', `order ${i + 1}`)));
    const worker = await clients.connect(cluster.urls, { clientId: 'worker' });
    let sent = 0;
    const subscription = await worker.subscribe(
      'orders',
      (message) => {
        sent++;
        if (message.sequence % 2 === 0) message.ack();
      },
      { durableName: 'reader', startAt: 'first', manualAck: true, maxInFlight: 10 },
    );
    await until(() => sent >= 19, 'the durable gets nothing');
    await subscription.close();
    await worker.close();

    const { servers } = await plan();
    assert.deepEqual(
      servers.map(({ add: [only, ...more] }) => [only?.needs, more.length]),
      Array(3).fill(['reload', 0]),
    );
    for (const [i, node] of cluster.nodes.entries()) await add(node, servers[i]!.add[0]!.lines);
    assert.ok((await plan()).servers.every(({ fenced }) => fenced));

    const options = { from: cluster.urls, monitor: cluster.nodes.map(({ monitor }) => monitor.url) };
    assert.deepEqual((await copy(options)).problems, []);
    const moved = await durables(options);
    assert.deepEqual([moved.problems, moved.durables.length], [[], 1]);
    const { lastSent, pending, consumer } = moved.durables[0]!;

    let asked = false;
    const cutting = cut({ ...options, quiet: 300, onProgress: ({ phase }) => (asked ||= phase === 'waiting') });
    await until(() => asked, 'the cut does not wait for the servers');
    for (const node of cluster.nodes) await add(node, ['mappings: {}']);
    const { problems, channels } = await cutting;
    assert.deepEqual([problems, channels[0]?.state, channels[0]?.cutAt], [[], 'opened', 30]);
    await clients.closeAll();

    const plain = await cluster.natsServers();
    await plain.takeOver({ timeout: 60_000 });
    const js = await JetStreamSide.open(plain.urls);
    try {
      // Stream and consumer elect leaders of their own after the servers are replaced.
      await until(
        async () =>
          await Promise.all([js.manager.streams.info('orders'), js.manager.consumers.info('orders', consumer)]).then(
            () => true,
            () => false,
          ),
        'stream and consumer have no leader',
        60_000,
      );
      const stream = await js.manager.streams.info(streamName('orders'));
      assert.deepEqual([stream.state.first_seq, stream.state.last_seq, stream.config.num_replicas], [1, 30, 3]);
      assert.equal((await js.jetstream.publish('orders', 'order 31')).seq, 31);
      const got = await js.drain('orders', consumer);
      const expected = Array.from({ length: 31 }, (_, i) => i + 1).filter((n) => n > lastSent || n % 2 === 1);
      assert.deepEqual([expected.length, pending], [pending + 31 - lastSent, pending]);
      assert.deepEqual(
        got.sort((one, other) => one.sequence - other.sequence),
        expected.map((sequence) => ({ sequence, text: `order ${sequence}` })),
      );
    } finally {
      await js.close();
    }
  });
});
