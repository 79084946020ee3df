/** A copy that follows, and what changes below it: the cut, and the mappings that are the fence in place. */
import assert from 'node:assert/strict';
import { copy, cut, type CopyProgress, type CopyReport } from '../../src/migrate/index.js';
import { mappingsBlock, NO_MAPPINGS } from '../../src/migrate/fence.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { Clients, until } from '../support/clients.js';

describe('a copy that follows', function () {
  this.timeout(90_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let told: AbortController;
  let latest: CopyProgress | undefined;
  let following: Promise<CopyReport> | undefined;

  beforeEach(() => {
    told = new AbortController();
    latest = undefined;
    following = undefined;
  });
  afterEach(async () => {
    told.abort();
    await following?.catch(() => undefined);
    await clients.closeAll();
    await cluster.stop();
  });

  const options = (): { from: string[]; monitor: string; channels: string[] } => ({
    from: cluster.urls,
    monitor: cluster.nodes[0]!.monitor.url,
    channels: ['orders'],
  });
  const follow = (more: { to?: string[] } = {}): void => {
    following = copy({
      ...options(),
      ...more,
      follow: true,
      signal: told.signal,
      onProgress: (progress) => (latest = progress),
    });
  };
  const publish = async (count: number): Promise<void> => {
    const stan = await clients.connect(cluster.urls);
    for (let i = 0; i < count; i++) await stan.publish('orders', 'an order');
  };
  const copied = (count: number): Promise<void> =>
    until(() => latest?.messagesDone === count, `${count} messages are not copied`, 20_000);
  /** Puts other mappings into the file of the server. */
  const mappings = async (block: string): Promise<void> => {
    const [node] = cluster.nodes;
    await node!.configure((text) => `${text.replace(/\nmappings: \{[^}]*\}\n/, '')}\n${block}\n`);
    await node!.reload();
  };

  it('is told to stop while publishers go on: what is on its way is waited for, and all is well', async () => {
    cluster = await StanCluster.start({ mode: 'single', jetstream: true });
    const stan = await clients.connect(cluster.urls);
    let over = false;
    const publishing = (async () => {
      while (!over) await Promise.all(Array.from({ length: 20 }, () => stan.publish('orders', 'an order')));
    })();
    for (let run = 0; run < 5; run++) {
      told = new AbortController();
      latest = undefined;
      follow();
      await until(() => (latest?.copied ?? 0) > 0, 'nothing is copied', 20_000);
      told.abort();
      assert.deepEqual((await following!).problems, []);
    }
    over = true;
    await publishing;
  });

  it('ends by itself when its channel is cut, also when nothing is published any more', async () => {
    cluster = await StanCluster.start({ mode: 'single' });
    await using to = await JetStreamCluster.start({ nodes: 1 });
    await publish(5);
    follow({ to: to.urls });
    await copied(5);
    const { problems } = await cut({ ...options(), to: to.urls, quiet: 100 });
    assert.deepEqual(problems, []);
    const report = await following!;
    assert.deepEqual([report.problems, report.channels[0]?.cut, report.channels[0]?.last], [[], true, 5]);
    // A further one has nothing to follow, and one that does not follow says why it copies nothing.
    told = new AbortController();
    follow({ to: to.urls });
    assert.deepEqual([(await following!).ok, (await following!).channels[0]?.cut], [true, true]);
    const codes = (await copy({ ...options(), to: to.urls })).problems.map(({ code }) => code);
    assert.deepEqual(codes, ['not-importing']);
  });

  it('in place: leaves the rest to a cut that waits for the servers', async () => {
    cluster = await StanCluster.start({ mode: 'single', jetstream: true });
    await mappings(mappingsBlock(['orders']));
    await publish(5);
    follow();
    await copied(5);
    let waits = false;
    const cutting = cut({ ...options(), quiet: 100, onProgress: ({ phase }) => void (waits ||= phase === 'waiting') });
    await until(() => waits, 'the cut does not wait for the server');
    const report = await following!;
    assert.deepEqual([report.problems, report.channels[0]?.cut], [[], true]);
    await publish(3);
    await mappings(NO_MAPPINGS);
    const { problems, channels } = await cutting;
    assert.deepEqual([problems, channels[0]?.cutAt], [[], 8]);
  });

  it('in place: goes on when the mappings go, and when they come', async () => {
    cluster = await StanCluster.start({ mode: 'single', jetstream: true });
    await mappings(mappingsBlock(['orders']));
    await publish(5);
    follow();
    await copied(5);
    await mappings(NO_MAPPINGS);
    await publish(3);
    await copied(8);
    await mappings(mappingsBlock(['orders']));
    await publish(3);
    await copied(11);
    told.abort();
    const { problems, channels } = await following!;
    assert.deepEqual([problems, channels[0]?.fenced], [[], true]);
  });

  it('in place: says why it waits when one of the two lines of the mappings is missing, and goes on with both', async () => {
    cluster = await StanCluster.start({ mode: 'single', jetstream: true });
    await mappings(mappingsBlock(['orders']));
    await publish(5);
    follow();
    await copied(5);
    await mappings('mappings: {\n  "orders": "$STANFENCE.orders"\n}');
    await publish(1);
    await until(() => latest!.waiting.length > 0, 'it does not say why it waits', 20_000);
    assert.match(latest!.waiting[0]!.reason, /nobody takes messages for stream 'orders'.*one of the two lines/);
    await mappings(mappingsBlock(['orders']));
    await copied(6);
    assert.deepEqual(latest!.waiting, []);
  });
});
