/** Servers with JetStream: streaming servers that have it, plain ones, and plain ones in the places of streaming servers. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  jetstream as jetStreamOf,
  jetstreamManager,
  type JetStreamClient,
  type JetStreamManager,
} from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { ResilientStan } from '../../src/index.js';
import {
  describeFault,
  JetStreamCluster,
  Nemesis,
  resolveServer,
  StanCluster,
  type JetStreamNode,
  type PlannedFault,
} from '../../src/testing/index.js';
import { waitFor } from '../../src/testing/wait.js';

/** A connection of the official client, and what it makes of it. */
interface Client extends AsyncDisposable {
  nats: NatsConnection;
  manager: JetStreamManager;
  js: JetStreamClient;
}

async function clientOf(cluster: { urls: string[] }): Promise<Client> {
  const nats = await connect({ servers: cluster.urls, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  return {
    nats,
    manager: await jetstreamManager(nats, { timeout: 20_000 }),
    js: jetStreamOf(nats, { timeout: 5000 }),
    [Symbol.asyncDispose]: () => nats.close(),
  };
}

/** Publishes until it is stored: while a leader is elected, nobody answers. */
const store = ({ js }: Client, subject: string, data: string, msgID: string) =>
  waitFor(
    async () => {
      try {
        return await js.publish(subject, data, { msgID });
      } catch {
        return undefined;
      }
    },
    { timeout: 30_000, what: () => `'${data}' could not be stored` },
  );

describe('testing: JetStream', function () {
  this.timeout(120_000);

  before(async function () {
    this.timeout(15 * 60_000); // the first time, it is built
    await resolveServer({ program: 'nats-server' });
  });

  describe('a JetStreamCluster of one', () => {
    let dir: string;
    beforeEach(async () => {
      dir = await mkdtemp(join(tmpdir(), 'jetstream-test-'));
    });
    afterEach(() => rm(dir, { recursive: true, force: true }));

    it('keeps its streams through kills and in a directory that was given, and loses them by wipe', async () => {
      {
        await using cluster = await JetStreamCluster.start({ nodes: 1, dir, config: { max_payload: 4096 } });
        assert.equal(cluster.mode, 'single');
        await using client = await clientOf(cluster);
        assert.equal(client.nats.info?.max_payload, 4096);
        await client.manager.streams.add({ name: 'orders', subjects: ['orders'] });
        await client.js.publish('orders', 'one');
        const node = await cluster.leader({ stream: 'orders' });
        await node.kill();
        assert.equal(await cluster.findLeader(), undefined);
        await node.start();
        assert.equal((await store(client, 'orders', 'two', '2')).seq, 2);
      }
      await using cluster = await JetStreamCluster.start({ nodes: 1, dir });
      const node = cluster.node('a');
      const page = await node.monitor.jsz({ streams: true });
      assert.equal(page?.account_details?.[0]?.stream_detail?.[0]?.state.last_seq, 2);
      assert.equal(await cluster.findLeader('nothing'), undefined);
      await node.stop();
      await node.wipe();
      await node.start();
      await cluster.settled();
      assert.equal((await node.monitor.jsz())?.streams, 0);
    });

    it('is refused with the words of the server, or ours, when it cannot be', async () => {
      await assert.rejects(JetStreamCluster.start({ nodes: 1, config: { max_payload: 'plenty' } }), {
        code: 'ERR_STAN_SERVER_START',
        message: /node 'a' did not start: the server refused to run\. .*nats-server\.conf/s,
      });
      const start = (options: object) => JetStreamCluster.start(options);
      await assert.rejects(start({ clusterId: 'x' }), /there is no option 'clusterId': it is called 'name'/);
      await assert.rejects(start({ port: 4222, proxied: true }), /'port' cannot be combined with 'proxied'/);
      await assert.rejects(start({ nodes: 0 }), /whole number from 1 to 25, not 0/);
      await assert.rejects(start({ version: 'newest' }), /three numbers, as '2\.12\.15', not 'newest'/);
    });

    it('wants the credentials and the certificates that were asked for', async () => {
      await using cluster = await JetStreamCluster.start({ nodes: 1, tls: true, auth: { user: 'u', pass: 'p' } });
      await assert.rejects(connect({ servers: cluster.urls, tls: { ca: cluster.connectOptions.tls!.ca } }));
      const nats = await connect({ servers: cluster.urls, ...cluster.connectOptions });
      assert.equal((await (await jetstreamManager(nats)).getAccountInfo()).streams, 0);
      await nats.close();
    });
  });

  describe('a JetStreamCluster of three', () => {
    it('goes on without the leader of a stream, and a wiped node gets everything again', async () => {
      await using cluster = await JetStreamCluster.start({ proxied: true });
      await using client = await clientOf(cluster);
      await client.manager.streams.add({ name: 'orders', subjects: ['orders'], num_replicas: 3 });
      const stored = async (n: number): Promise<void> =>
        assert.equal((await store(client, 'orders', `message ${n}`, String(n))).seq, n);
      await stored(1);

      const leader = await cluster.leader({ stream: 'orders' });
      await leader.kill();
      assert.notEqual(await cluster.leader({ stream: 'orders', timeout: 30_000 }), leader);
      await stored(2);
      await leader.start();
      await cluster.settled();

      // By a plan, the leader of the stream and no other node is meant.
      const plan = [
        { id: 1, kind: 'wipe', target: 'leader', duration: 0, gap: 0, overlaps: false, choice: 0 },
        { id: 2, kind: 'pause', target: 'leader', duration: 300, gap: 0, overlaps: false, choice: 0 },
        { id: 3, kind: 'reset', target: 'all', duration: 0, gap: 0, overlaps: false, choice: 0 },
      ] satisfies PlannedFault[];
      const led: (JetStreamNode | undefined)[] = [];
      const nemesis = new Nemesis(cluster, {
        findLeader: async () => {
          led.push(await cluster.leader({ stream: 'orders' }));
          return led.at(-1);
        },
      });
      await nemesis.run(plan);
      const hit = nemesis.timeline.filter(({ event }) => event === 'begin').map(({ text, whom }) => [text, whom]);
      assert.deepEqual(hit, [
        [`${describeFault(plan[0]!)}: ${led[0]?.name}`, [led[0]?.name]],
        [`${describeFault(plan[1]!)}: ${led[1]?.name}`, [led[1]?.name]],
        [`${describeFault(plan[2]!)}: a, b, c`, ['a', 'b', 'c']],
      ]);
      await cluster.replicated();
      for (const node of cluster.nodes) {
        const page = await node.monitor.jsz({ streams: true });
        assert.equal(page?.account_details?.[0]?.stream_detail?.[0]?.state.messages, 2, node.name);
      }
      await stored(3);
    });
  });

  describe('a StanCluster with JetStream', () => {
    it('has streams beside channels, and plain servers go on with them in its place, one after the other', async () => {
      await using cluster = await StanCluster.start({ jetstream: true });
      assert.equal(cluster.jetstream, true);
      await using client = await clientOf(cluster);
      assert.equal(client.nats.info?.version, '2.9.24');
      await client.manager.streams.add({ name: 'orders', subjects: ['js.orders'], num_replicas: 3 });
      await client.manager.consumers.add('orders', {
        durable_name: 'worker',
        ack_policy: 'explicit',
        max_ack_pending: 10,
      });
      {
        await using stan = await ResilientStan.connect(cluster.urls, cluster.connectOptions);
        await stan.publish('orders', 'of STAN');
      }
      for (const n of [1, 2, 3]) assert.equal((await store(client, 'js.orders', `m${n}`, String(n))).seq, n);
      const consumer = await client.js.consumers.get('orders', 'worker');
      const first = await consumer.next();
      await consumer.next(); // is not acknowledged
      const third = await consumer.next();
      await first?.ackAck();
      await third?.ackAck();
      await cluster.replicated();

      const after = await cluster.natsServers();
      assert.deepEqual(after.urls, cluster.urls);
      assert.deepEqual(
        after.nodes.map((node) => node.running),
        [false, false, false],
      );
      let n = 3;
      let over = false;
      const taken = after.takeOver().finally(() => (over = true));
      while (!over) assert.equal((await store(client, 'js.orders', `m${++n}`, String(n))).seq, n);
      await taken;
      assert.deepEqual(
        [...cluster.nodes, ...after.nodes].map((node) => node.running),
        [false, false, false, true, true, true],
      );
      assert.ok(n > 3, 'somebody published meanwhile');
      await waitFor(() => (client.nats.info?.version === '2.15.2' ? true : undefined), {
        timeout: 10_000,
        what: () => `the client is at ${client.nats.info?.version}`,
      });
      assert.equal((await client.manager.streams.info('orders')).state.messages, n);
      // The consumer may be without a leader for some seconds after the last server was replaced.
      const info = await waitFor(() => client.manager.consumers.info('orders', 'worker').catch(() => undefined), {
        timeout: 30_000,
        what: () => 'the consumer has no leader',
      });
      assert.deepEqual([info.ack_floor.stream_seq, info.delivered.stream_seq, info.num_ack_pending], [1, 3, 1]);
      const text = await readFile(join(cluster.dir, 'a', 'nats-server.conf'), 'utf8');
      assert.doesNotMatch(text, /streaming/);
      assert.match(text, /server_name: "test-cluster-a"/);
      // Whoever stops the cluster has stopped all of them.
      await cluster.stop();
      assert.equal(existsSync(cluster.dir), false);
      assert.ok(after.nodes.every((node) => !node.running));
    });

    it('can be one server as well', async () => {
      await using cluster = await StanCluster.start({ mode: 'single', jetstream: true });
      await using client = await clientOf(cluster);
      await client.manager.streams.add({ name: 'orders', subjects: ['js.orders'] });
      await client.js.publish('js.orders', 'one');
      const after = await cluster.natsServers();
      await assert.rejects(after.node('a').start({ timeout: 1500 }), /somebody else listens on/);
      await after.takeOver();
      assert.equal((await store(client, 'js.orders', 'two', '2')).seq, 2);
    });

    it('without JetStream has nothing that plain servers could go on with', async () => {
      await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
      await assert.rejects(cluster.natsServers(), /start it with \{ jetstream: true \}/);
    });
  });
});
