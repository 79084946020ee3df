/** What a copy goes on behind: the last message of a stream, and what is told when STAN does not have it any more. */
import assert from 'node:assert/strict';
import { headers } from '@nats-io/transport-node';
import type { ResilientStan } from '../../src/index.js';
import { copy, cut, durables, plan, streamName, type MigrateOptions, type Report } from '../../src/migrate/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { Clients, uniqueName, until } from '../support/clients.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('the anchor of a copy', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  /** Another cluster with the same ID, or with another one. */
  let fresh: StanCluster;
  let foreign: StanCluster;
  let stan: ResilientStan;
  let js: JetStreamSide;
  let channel: string;

  before(async () => {
    const store_limits = { max_channels: 0, channels: { 'few.>': { max_msgs: 10 } } };
    [cluster, fresh, foreign] = await Promise.all([
      StanCluster.start({ mode: 'single', jetstream: true, config: { streaming: { store_limits } } }),
      StanCluster.start({ mode: 'single', store: 'memory', config: { streaming: { store_limits } } }),
      StanCluster.start({ mode: 'single', store: 'memory', clusterId: 'another' }),
    ]);
    stan = await clients.connect(cluster.urls);
    js = await JetStreamSide.open(cluster.urls);
  });
  after(async () => {
    await js?.close();
    await clients.closeAll();
    await Promise.all([cluster?.stop(), fresh?.stop(), foreign?.stop()]);
  });
  beforeEach(() => {
    channel = uniqueName('few.anchor');
  });

  async function publish(count: number, to = stan): Promise<void> {
    for (let i = 0; i < count; i++) await to.publish(channel, uniqueName('text'));
  }

  const from = (source: StanCluster, clusterId?: string): MigrateOptions => ({
    from: source.urls,
    to: cluster.urls,
    monitor: source.nodes[0]!.monitor.url,
    channels: [channel],
    ...(clusterId !== undefined && { clusterId }),
  });
  const codes = ({ ok, problems }: Report): unknown[] => [ok, ...problems.map(({ code }) => code)];
  const last = async (): Promise<number> => (await js.manager.streams.info(streamName(channel))).state.last_seq;

  it('STAN has dropped all that the stream has, and goes on right behind it: so does the copy', async () => {
    await publish(20);
    assert.deepEqual(codes(await copy(from(cluster))), [true]);
    await publish(10);
    assert.equal((await cluster.nodes[0]!.monitor.channelz(channel))?.first_seq, 21);
    assert.deepEqual(codes(await copy(from(cluster))), [true]);
    assert.equal(await last(), 30);
  });

  it('another STAN that by chance goes on there with older messages: refused', async () => {
    const other = await clients.connect(fresh.urls);
    await publish(30, other);
    await other.close();
    // A stream of 20 messages, the last of which STAN has stored later than its message 21.
    const header = headers();
    header.set('Stan-Timestamp', `${new Date(Date.now() + 3_600_000).toISOString().slice(0, 20)}000000000Z`);
    await js.manager.streams.add({ name: streamName(channel), subjects: [channel] });
    for (let i = 1; i <= 20; i++) {
      header.set('Stan-Sequence', String(i));
      await js.jetstream.publish(channel, 'text', { headers: header });
    }
    const report = await copy(from(fresh));
    assert.deepEqual(codes(report), [false, 'source-wiped']);
    assert.equal(report.problems[0]?.sequence, 21);
    assert.equal(await last(), 20);
  });

  it('a stream that has lost all its messages, while STAN still has them: refused by all steps, with their numbers', async () => {
    await publish(8);
    assert.deepEqual(codes(await copy(from(cluster))), [true]);
    await js.manager.streams.purge(streamName(channel));
    await publish(2);
    for (const report of [await copy(from(cluster)), await plan(from(cluster)), await cut(from(cluster))]) {
      assert.deepEqual(codes(report), [false, 'source-wiped']);
      assert.deepEqual([report.problems[0]?.from, report.problems[0]?.to], [1, 8]);
    }
    assert.equal(await last(), 8);
  });

  it('a stream without messages that STAN has dropped as well: goes on', async () => {
    await publish(5);
    assert.deepEqual(codes(await copy(from(cluster))), [true]);
    await js.manager.streams.purge(streamName(channel));
    await publish(10);
    assert.deepEqual(codes(await copy(from(cluster))), [true]);
    assert.equal(await last(), 15);
  });

  it('another cluster: refused by all steps, with the names of both, though it has the same channel and fits by its numbers', async () => {
    const other = await clients.connect(foreign.urls, { clusterId: 'another', clientId: 'worker' });
    await publish(12);
    assert.deepEqual(codes(await copy(from(cluster))), [true]);
    await publish(12, other);
    const subscription = await other.subscribe(channel, () => undefined, { durableName: 'd', startAt: 'new' });
    await publish(5, other);
    await subscription.close();
    await other.close();
    await until(
      async () => (await foreign.nodes[0]!.monitor.channelz(channel))?.subscriptions?.[0]?.is_offline === true,
      'the durable is online',
    );
    const there = from(foreign, 'another');
    for (const report of [await copy(there), await plan(there), await durables(there), await cut(there)]) {
      assert.deepEqual(codes(report), [false, 'wrong-cluster']);
      assert.match(report.problems[0]!.message, /of cluster 'test-cluster', and these servers are cluster 'another'/);
    }
    assert.equal(await last(), 12);
  });
});
