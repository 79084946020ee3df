/** The whole way in place, in a cluster of three: the plan of the configuration, copy, durables, cut, and plain servers afterwards. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { copy, cut, durables, finish, planInPlace, streamName, type InPlaceReport } from '../../src/migrate/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { makeCertificates } from '../../src/testing/certificates.js';
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
  const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
  const needed = ({ servers }: InPlaceReport): string[][] =>
    servers.map(({ add }) => add.map(({ needs, lines }) => `${needs} ${lines[0]}`));

  /** As a person does: adds lines to the file of a server, at its end or behind a line of it, and lets it read them again. */
  async function add(node: StanNode, lines: readonly string[], behind?: string): Promise<void> {
    await node.configure((before) => {
      const place = behind === undefined ? before.length : before.indexOf(behind) + behind.length;
      return `${before.slice(0, place)}\n${lines.join('\n')}\n${before.slice(place)}`;
    });
    await node.reload();
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

  /** Each server with the account of STAN and what it lacks: where, what it needs, and the first line. */
  const lacks = ({ servers }: InPlaceReport): unknown[] =>
    servers.map(({ account, jetstream, fenced, add }) => [
      ...[account, jetstream, fenced],
      ...add.map(({ where, needs, lines }) => `${where}: ${needs} ${lines[0]}`),
    ]);

  it('servers with accounts: each is told what the account of STAN lacks, and lines at the top level do not count', async () => {
    const fence = { orders: '$STANFENCE.orders', '$STANIMPORT.orders': 'orders' };
    const users = { users: [{ user: 'app', password: 'secret' }] };
    cluster = await StanCluster.start({
      nodes: 2,
      jetstream: true,
      config: {
        accounts: { APP: users, OTHER: { jetstream: 'enabled', mappings: fence } },
        mappings: fence,
        streaming: { username: 'app', password: 'secret' },
      },
    });
    const source = { user: 'app', pass: 'secret' };
    const options = { from: cluster.urls, source, monitor: cluster.nodes.map(({ monitor }) => monitor.url) };
    const stan = await clients.connect(cluster.urls, source);
    await stan.publish('orders', '1');
    const before = await planInPlace(options);
    const where = "in the block of account 'APP', inside of 'accounts'";
    assert.deepEqual(
      lacks(before),
      cluster.nodes.map(() => [
        ...['APP', false, false],
        `${where}: reload jetstream: enabled`,
        `${where}: reload mappings: {`,
      ]),
    );
    assert.match(
      before.servers[0]!.add[1]!.what,
      /; those at the top level and those of account 'OTHER' do not hold for account 'APP', in which STAN is$/,
    );
    for (const [i, node] of cluster.nodes.entries()) {
      const lines = before.servers[i]!.add.flatMap((each) => each.lines);
      await add(node, lines, 'APP: {');
    }
    const after = await planInPlace(options);
    assert.deepEqual([after.problems, lacks(after)], [[], cluster.nodes.map(() => ['APP', true, true])]);
    const { problems, channels } = await copy({ ...options, replicas: 1 });
    assert.deepEqual([problems, channels[0]?.fenced, channels[0]?.last], [[], true, 1]);
  });

  it('a server with accounts and without JetStream needs both lines', async () => {
    cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      config: {
        accounts: { APP: { users: [{ user: 'app', password: 'secret' }] } },
        streaming: { username: 'app', password: 'secret' },
      },
    });
    const source = { user: 'app', pass: 'secret' };
    const report = await planInPlace({ from: cluster.urls, source, monitor: cluster.nodes[0]!.monitor.url });
    assert.deepEqual(needed(report), [['reload jetstream: {', 'reload jetstream: enabled']]);
  });

  it('users without an account next to accounts cannot have JetStream, and that is said', async () => {
    const app = { users: [{ user: 'app', password: 'secret' }] };
    cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      jetstream: true,
      config: {
        accounts: { OTHER: { users: [{ user: 'other', password: 'secret' }] } },
        authorization: app,
        streaming: { username: 'app', password: 'secret' },
      },
    });
    const source = { user: 'app', pass: 'secret' };
    const report = await planInPlace({ from: cluster.urls, source, monitor: cluster.nodes[0]!.monitor.url });
    assert.deepEqual([report.problems.map(({ code }) => code), report.servers[0]?.jetstream], [['account'], false]);
  });

  it('a fence that lets a part of the messages through is none', async () => {
    cluster = await StanCluster.start({ mode: 'single', jetstream: true });
    const [node] = cluster.nodes as [StanNode];
    await (await clients.connect(cluster.urls)).publish('orders', '1');
    const mappings = [
      'mappings: {',
      '  "orders": [ { destination: "$STANFENCE.orders", weight: 50% } ]',
      '  "$STANIMPORT.orders": "orders"',
      '}',
    ];
    await add(node, mappings);
    const report = await plan();
    assert.deepEqual(needed(report), [['reload mappings: {']]);
    assert.match(report.servers[0]!.add[0]!.where, /^at the top level; in the mappings block that is there/);
  });

  it('the monitoring has certificates of an authority of its own', async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', jetstream: true });
    const { ca, server: certificate } = makeCertificates();
    const { url } = cluster.nodes[0]!.monitor;
    const secure: Server = createServer(certificate, (asked, answer) => {
      request(`${url}${asked.url}`, (page) => {
        answer.writeHead(page.statusCode!);
        page.pipe(answer);
      }).end();
    });
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
    try {
      const monitor = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`;
      const report = await planInPlace({ from: cluster.urls, source: { tls: { ca } }, monitor });
      assert.deepEqual([report.problems, report.servers.map((each) => each.monitor)], [[], [monitor]]);
    } finally {
      secure.close();
      secure.closeAllConnections();
    }
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

  it('without JetStream in the servers, a step says which command says what they lack', async () => {
    cluster = await StanCluster.start({ nodes: 2 });
    // Nobody answers for JetStream there, so it takes one timeout.
    await assert.rejects(copy({ from: cluster.urls, monitor: (await cluster.leader()).monitor.url }), {
      code: 'ERR_STAN_MIGRATION_TARGET',
      message:
        /\(2\.9\.24\) has no JetStream\. For a move in place, 'resilient-stan migrate plan --in-place' says which lines/,
    });
  });

  /** Everything from the plan to the cut, with a durable that has holes. Returns what its consumer has to deliver. */
  async function leave(): Promise<{ consumer: string; expected: number[] }> {
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
      // A server that is started anew sends pending messages when this time is over, in STAN and in JetStream alike.
      { durableName: 'reader', startAt: 'first', manualAck: true, maxInFlight: 10, ackWait: 2000 },
    );
    await until(() => sent >= 19, 'the durable gets nothing');
    await subscription.close();
    await worker.close();

    const { servers } = await plan();
    assert.deepEqual(
      servers.map(({ add: [only, ...more] }) => [only?.needs, more.length]),
      cluster.nodes.map(() => ['reload', 0]),
    );
    for (const [i, node] of cluster.nodes.entries()) await add(node, servers[i]!.add[0]!.lines);
    assert.ok((await plan()).servers.every(({ fenced }) => fenced));

    const options = { from: cluster.urls, monitor: cluster.nodes.map(({ monitor }) => monitor.url) };
    assert.deepEqual((await copy(options)).problems, []);
    const moved = await durables(options);
    assert.deepEqual([moved.problems, moved.durables.length], [[], 1]);
    const { lastSent, pending, consumer } = moved.durables[0]!;
    assert.equal(pending, 10);

    let todo: string | undefined;
    const cutting = cut({ ...options, quiet: 300, onProgress: (progress) => (todo ??= progress.todo) });
    await until(() => todo !== undefined, 'the cut does not wait for the servers');
    assert.deepEqual(
      todo!
        .split('\n')
        .map((line) => /^(.*) keeps? publishers of orders out: write/.exec(line)?.[1]!.split(/, | and /)),
      [cluster.urls.map((url) => new URL(url).host)],
      'one line, with each server once, and no other address',
    );
    for (const node of cluster.nodes) await add(node, ['mappings: {}']);
    const { problems, channels } = await cutting;
    assert.deepEqual([problems, channels[0]?.state, channels[0]?.cutAt], [[], 'opened', 30]);
    await clients.closeAll();

    return { consumer, expected: range(1, 31).filter((n) => n > lastSent || n % 2 === 1) };
  }

  /** On how many servers the position of a durable is kept. */
  async function consumerReplicas(urls: string[], consumer: string): Promise<number> {
    const js = await JetStreamSide.open(urls);
    try {
      return ((await js.manager.consumers.info('orders', consumer)).cluster?.replicas?.length ?? 0) + 1;
    } finally {
      await js.close();
    }
  }

  /** The servers have all messages, take the next one, and deliver what is expected. */
  async function hasEverything(
    urls: string[],
    { consumer, expected }: Awaited<ReturnType<typeof leave>>,
    replicas = 1,
  ): Promise<void> {
    const js = await JetStreamSide.open(urls);
    try {
      // Stream and consumer elect leaders of their own after servers are replaced.
      const ready = (): Promise<boolean> =>
        Promise.all([js.manager.streams.info('orders'), js.manager.consumers.info('orders', consumer)]).then(
          () => true,
          () => false,
        );
      await until(ready, 'stream and consumer have no leader', 60_000);
      const { state, config } = await js.manager.streams.info(streamName('orders'));
      assert.deepEqual([state.first_seq, state.last_seq, config.num_replicas], [1, 30, replicas]);
      assert.equal((await js.jetstream.publish('orders', 'order 31')).seq, 31);
      const got = await js.drain('orders', consumer);
      assert.deepEqual(
        got.sort((one, other) => one.sequence - other.sequence),
        expected.map((sequence) => ({ sequence, text: `order ${sequence}` })),
      );
    } finally {
      await js.close();
    }
  }

  it('three servers that also announce an address that nobody reaches: each gets the lines of its plan, and in the end each of them has every message and the durable', async () => {
    // As a server does that listens on all interfaces: some of their addresses are for others only.
    cluster = await StanCluster.start({ jetstream: true, config: { client_advertise: '[::1]:1' } });
    const expected = await leave();
    const early = await finish({ from: cluster.urls });
    assert.deepEqual(
      [early.problems.map(({ code }) => code), early.streams],
      [Array(3).fill('too-old'), [{ channel: 'orders', stream: 'orders', replicas: 1, outcome: 'refused' }]],
    );
    const plain = await cluster.natsServers();
    await plain.takeOver({ timeout: 60_000 });
    const finished = await finish({ to: plain.urls });
    assert.deepEqual(
      [finished.problems, finished.streams],
      [[], [{ channel: 'orders', stream: 'orders', replicas: 3, outcome: 'raised' }]],
    );
    assert.equal((await finish({ to: plain.urls })).streams[0]?.outcome, 'unchanged');
    // Each server by itself has all of it: any one may lose its disk.
    const states = async (): Promise<unknown[]> =>
      Promise.all(
        plain.nodes.map(async ({ monitor }) => {
          const { messages, first_seq, last_seq } =
            (await monitor.jsz({ streams: true }))?.account_details?.[0]?.stream_detail?.[0]?.state ?? {};
          return [messages, first_seq, last_seq];
        }),
      );
    assert.deepEqual(await states(), Array(3).fill([30, 1, 30]));
    assert.equal(await consumerReplicas(plain.urls, expected.consumer), 3);
    const [node] = plain.nodes;
    await node!.stop();
    await node!.wipe();
    await hasEverything(plain.urls, expected, 3);
    await node!.start({ timeout: 60_000 });
    await until(
      async () => (await states()).every((state) => String(state) === '31,1,31'),
      'a server has not caught up',
      60_000,
    );
  });

  it('a plain server takes the place: the same port, the same store, and a durable with holes', async () => {
    cluster = await StanCluster.start({ mode: 'single', jetstream: true });
    const expected = await leave();
    const plain = await cluster.natsServers();
    await plain.takeOver({ timeout: 60_000 });
    await hasEverything(plain.urls, expected);
  });
});
