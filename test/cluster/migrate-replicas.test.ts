/** A stream on several servers: `verify` says so when not all of them have it, or when one has something else. */
import assert from 'node:assert/strict';
import { makeClock } from '../../src/clock/clock.js';
import { copy, plan, verify, type VerifyCopyReport } from '../../src/migrate/index.js';
import { readMigrateOptions } from '../../src/migrate/options.js';
import { Replicas } from '../../src/migrate/replicas.js';
import { Target } from '../../src/migrate/target.js';
import { OptionReader } from '../../src/option-reader.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { Clients, until } from '../support/clients.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('the replicas of a stream', function () {
  this.timeout(180_000);
  const clients = new Clients();
  let cluster: StanCluster | undefined;
  let target: JetStreamCluster | undefined;
  let side: JetStreamSide | undefined;
  afterEach(async () => {
    await side?.close();
    await clients.closeAll();
    await target?.stop();
    await cluster?.stop();
    cluster = target = side = undefined;
  });

  const codes = ({ problems }: VerifyCopyReport): string[] => problems.map(({ code }) => code);

  it('have to be there: one that is down is named, and is waited for when it comes back', async () => {
    target = await JetStreamCluster.start({ nodes: 3 });
    side = await JetStreamSide.open(target.urls);
    await side.manager.streams.add({ name: 'orders', subjects: ['orders'], num_replicas: 3 });
    for (let i = 0; i < 10; i++) await side.jetstream.publish('orders', String(i));
    const { signal } = new AbortController();
    using resolved = readMigrateOptions(new OptionReader({ to: target.urls }, 'options', { known: ['to'] }));
    await using open = await Target.open(resolved.target);
    const look = (patience?: number) => new Replicas(open, makeClock(), signal, patience).fault('orders', 'orders');
    assert.equal(await look(), undefined);

    const info = await side.manager.streams.info('orders');
    const { name } = info.cluster!.replicas![0]!;
    const follower = target.nodes.find((node) => name.endsWith(node.name))!;
    await follower.kill();
    const down = await look(0);
    assert.equal(down?.code, 'replica-behind');
    assert.ok(down.message.includes(`'${name}' `), down.message);
    await side.jetstream.publish('orders', 'while it is down');
    const waiting = look(60_000);
    await follower.start();
    assert.equal(await waiting, undefined);
  });

  it('need as many servers, and a plan says so', async () => {
    cluster = await StanCluster.start({ nodes: 2, jetstream: true });
    await (await clients.connect(cluster.urls)).publish('orders', '1');
    const options = { from: cluster.urls, monitor: cluster.nodes.map(({ monitor }) => monitor.url) };
    for (const [replicas, expected] of [
      [3, ['replicas']],
      [undefined, []],
    ] as const) {
      const planned = await plan({ ...options, replicas });
      assert.deepEqual(
        planned.problems.map(({ code }) => code),
        expected,
      );
      // The copy is of the same opinion.
      assert.equal((await copy({ ...options, replicas })).ok, planned.ok);
    }
  });

  it('have to have the same: one that stores messages twice, which JetStream calls current, is named', async () => {
    cluster = await StanCluster.start({ jetstream: true });
    const stan = await clients.connect(cluster.urls);
    for (let i = 1; i <= 12; i++) await stan.publish('orders', String(i));
    const options = { from: cluster.urls, monitor: cluster.nodes.map(({ monitor }) => monitor.url) };
    assert.deepEqual((await copy({ ...options, replicas: 3 })).problems, []);
    side = await JetStreamSide.open(cluster.urls);
    // 2.9.24 counts what replicas refuse, and whoever catches up without that count stores as many messages once more.
    for (let i = 0; i < 3; i++) {
      await assert.rejects(side.jetstream.publish('orders', 'refused', { expect: { lastSequence: 1 } }));
    }
    assert.deepEqual(codes(await verify(options)), []);

    const info = await side.manager.streams.info('orders');
    const { name } = info.cluster!.replicas![0]!;
    const at = cluster.nodes.findIndex((node) => name.endsWith(node.name));
    const former = cluster.nodes[at]!;
    const plain = (await cluster.natsServers()).nodes[at]!;
    await former.stop();
    await plain.wipe();
    await plain.start({ timeout: 60_000 });
    const stored = async (): Promise<number | undefined> =>
      (await plain.monitor.jsz({ streams: true }))?.account_details?.[0]?.stream_detail?.[0]?.state.messages;
    await until(async () => ((await stored()) ?? 0) >= 12, 'the server does not get the stream', 60_000);
    const rest = {
      ...options,
      monitor: cluster.nodes.filter((node) => node !== former).map((node) => node.monitor.url),
    };
    const report = await verify(rest);
    assert.deepEqual(
      report.channels.map(({ compared, different }) => [compared, different]),
      [[12, 0]],
    );
    assert.deepEqual(codes(report), ['replica-differs']);
    assert.ok(report.problems[0]!.message.includes(`'${name}' has 15 messages from 1 on`), report.problems[0]!.message);

    // What it says to do helps.
    const { config } = info;
    await side.manager.streams.update('orders', { ...config, num_replicas: 1 });
    await side.manager.streams.update('orders', { ...config, num_replicas: 3 });
    assert.deepEqual(codes(await verify(rest)), []);
  });
});
