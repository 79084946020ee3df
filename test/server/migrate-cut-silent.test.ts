/** A cut whose servers fall silent: it says so meanwhile, goes on when they are back, and does not lose what it has done. */
import assert from 'node:assert/strict';
import type { ResilientStan } from '../../src/index.js';
import { copy, cut, type CutOptions, type CutProgress, type CutReport } from '../../src/migrate/index.js';
import { MIGRATE_OPTIONS, readMigrateOptions } from '../../src/migrate/options.js';
import { Target } from '../../src/migrate/target.js';
import { OptionReader } from '../../src/option-reader.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { ChannelOnBothSides } from '../support/channel-on-both-sides.js';
import { Clients, uniqueName, until } from '../support/clients.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('a cut whose servers fall silent', function () {
  this.timeout(90_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let plain: JetStreamCluster;
  let stan: ResilientStan;
  let js: JetStreamSide;
  let one: ChannelOnBothSides;
  let told: CutProgress[];

  before(async () => {
    [cluster, plain] = await Promise.all([
      StanCluster.start({ mode: 'single', jetstream: true }),
      JetStreamCluster.start({ nodes: 1, proxied: true }),
    ]);
    stan = await clients.connect(cluster.urls);
    // Past the proxy.
    js = await JetStreamSide.open(`nats://127.0.0.1:${plain.nodes[0]!.ports.client}`);
  });
  after(async () => {
    await js?.close();
    await clients.closeAll();
    await Promise.all([cluster?.stop(), plain?.stop()]);
  });
  beforeEach(() => {
    one = new ChannelOnBothSides(stan, js);
    told = [];
  });
  afterEach(async () => {
    plain.nodes[0]!.proxy.clear();
    await cluster.nodes[0]!.start();
  });

  const options = () => ({
    from: cluster.urls,
    monitor: cluster.nodes[0]!.monitor.url,
    to: plain.urls,
    channels: [one.channel],
  });
  const cutNow = (more: CutOptions = {}): Promise<CutReport> =>
    cut({ ...options(), quiet: 300, onProgress: (progress) => told.push(progress), ...more });
  const resolve = () => readMigrateOptions(new OptionReader(options(), 'options', { known: MIGRATE_OPTIONS }));
  const states = ({ ok, problems, channels }: CutReport): unknown => [
    ok,
    problems.map(({ code }) => code),
    channels.map(({ state }) => state),
  ];

  const stored = async (): Promise<number> =>
    js.manager.streams.info(one.stream).then(
      ({ state }) => state.last_seq,
      () => 0,
    );

  /** Begins a cut whose copy takes long, and lets JetStream fall silent when a part of it is copied. */
  async function silentWhileCopying(more: CutOptions = {}): Promise<Promise<CutReport>[]> {
    await Promise.all(Array.from({ length: 400 }, () => stan.publish(one.channel, Buffer.alloc(5000))));
    const { proxy } = plain.nodes[0]!;
    const line = proxy.add({ type: 'bandwidth', rate: 100 });
    const cutting = cutNow(more);
    cutting.catch(() => undefined);
    await until(async () => (await stored()) > 0, 'nothing is copied');
    proxy.add({ type: 'timeout', stream: 'downstream' });
    line.remove();
    return [cutting];
  }

  it('while it copies: says why nothing goes on, and goes on by itself', async () => {
    const [cutting] = await silentWhileCopying();
    await until(() => told.at(-1)?.todo !== undefined, 'it says nothing');
    assert.equal(told.at(-1)!.phase, 'copying');
    assert.match(
      told.at(-1)!.todo!,
      new RegExp(`nothing of channel '${one.channel}' is copied at the moment: .*JetStream.*See that all servers run`),
    );
    plain.nodes[0]!.proxy.clear();
    assert.deepEqual(states(await cutting!), [true, [], ['opened']]);
    assert.equal(await one.native(), 401);
  });

  it('before its copy finds a server: says so, and goes on by itself', async () => {
    await one.publish(3);
    const cutting = cutNow({
      onProgress: (progress) => {
        if (told.push(progress) === 1) plain.nodes[0]!.proxy.add({ type: 'timeout' });
      },
    });
    await until(() => told.at(-1)?.todo !== undefined, 'it says nothing');
    assert.match(told.at(-1)!.todo!, /is copied at the moment: .*JetStream/);
    plain.nodes[0]!.proxy.clear();
    assert.deepEqual(states(await cutting), [true, [], ['opened']]);
  });

  it('while it copies, and the callback throws: its copy does not go on', async () => {
    const [cutting] = await silentWhileCopying({
      onProgress: ({ todo }) => {
        if (todo !== undefined) throw new Error('of the callback');
      },
    });
    await assert.rejects(cutting!, { name: 'CallbackError', message: /of the callback/ });
    const connected = async (): Promise<unknown[]> => {
      const page = await fetch(`http://127.0.0.1:${cluster.nodes[0]!.ports.monitor}/connz`);
      const { connections } = (await page.json()) as { connections: { name?: string }[] };
      return connections.filter(({ name }) => name?.includes('resilient-stan migrate'));
    };
    await until(async () => (await connected()).length === 0, 'its copy still reads STAN');
  });

  it('a channel without a stream has no leader to wait for', async () => {
    using resolved = resolve();
    await using target = await Target.open(resolved.target);
    assert.equal(await target.stepDown(uniqueName('nothing')), true);
  });

  it('STAN dies when the stream is open: the report says that it is, and that something may be missing', async () => {
    await one.publish(3);
    let killed: Promise<void> | undefined;
    const report = await cutNow({
      onProgress: ({ phase }) => {
        if (phase === 'stragglers') killed ??= cluster.nodes[0]!.kill();
      },
    });
    await killed;
    assert.deepEqual(states(report), [false, ['not-appended'], ['opened']]);
    assert.match(
      report.problems[0]!.message,
      /STAN does not say whether something has reached channel .*Run this again/,
    );
    assert.equal(report.channels[0]!.cutAt, 3);
  });
});

describe('a cut in place, and the server of a stream dies while it copies', function () {
  this.timeout(120_000);
  const clients = new Clients();
  let cluster: StanCluster;
  before(async () => (cluster = await StanCluster.start({ nodes: 3, jetstream: true })));
  after(async () => {
    await clients.closeAll();
    await cluster?.stop();
  });

  it('says why nothing goes on, and goes on when the server is back', async () => {
    const stan = await clients.connect(cluster.urls);
    const js = await JetStreamSide.open(cluster.urls);
    try {
      const one = new ChannelOnBothSides(stan, js);
      await one.publish(3);
      const base = { from: cluster.urls, monitor: cluster.nodes.map(({ monitor }) => monitor.url).join() };
      const options = { ...base, channels: [one.channel] };
      assert.equal((await copy({ ...options, replicas: 1 })).ok, true);
      const { leader } = (await js.manager.streams.info(one.stream)).cluster!;
      const node = cluster.nodes.find(({ name }) => leader?.endsWith(`-${name}`));
      assert.ok(node, `no node is called ${leader}`);
      const told: CutProgress[] = [];
      let killed: Promise<void> | undefined;
      const cutting = cut({
        ...options,
        quiet: 300,
        onProgress: (progress) => {
          told.push(progress);
          killed ??= node.kill();
        },
      });
      cutting.catch(() => undefined);
      await until(() => told.at(-1)?.todo !== undefined, 'it says nothing', 40_000);
      assert.equal(told.at(-1)!.phase, 'copying');
      // Who is asked first, the copy or the servers, is a matter of time: one has no answer, the other names the server.
      const { client } = node.ports;
      const why = new RegExp(`nothing .*is copied at the moment: |:${client}\\b.* cannot be asked .*: start`);
      assert.match(told.at(-1)!.todo!, why);
      await node.start();
      const { ok, problems, channels } = await cutting;
      assert.deepEqual([ok, problems, channels[0]!.cutAt], [true, [], 3]);
    } finally {
      await js.close();
    }
  });
});
