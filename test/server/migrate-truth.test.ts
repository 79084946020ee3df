/**
 * What a migration must not call done and true. The streams are changed behind its back, with the official client, and the sides are
 * given wrong.
 */
import assert from 'node:assert/strict';
import { headers } from '@nats-io/transport-node';
import { ResilientStan } from '../../src/index.js';
import {
  copy,
  plan,
  streamName,
  verify,
  type CopyProgress,
  type CopyReport,
  type VerifyCopyReport,
} from '../../src/migrate/index.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { until } from '../support/clients.js';
import { runCommand } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('a migration that would not be true', function () {
  this.timeout(60_000);

  let cluster: StanCluster;
  let target: JetStreamCluster;
  let stan: ResilientStan;
  let side: JetStreamSide;
  let count = 0;

  before(async () => {
    [cluster, target] = await Promise.all([
      StanCluster.start({
        mode: 'single',
        store: 'memory',
        config: { streaming: { store_limits: { channels: { moving: { max_msgs: 4000 }, short: { max_msgs: 10 } } } } },
      }),
      JetStreamCluster.start({ nodes: 1 }),
    ]);
    stan = await ResilientStan.connect(cluster.urls);
    side = await JetStreamSide.open(target.urls);
  });
  after(async () => {
    await side?.close();
    await stan?.close();
    await target?.stop();
    await cluster?.stop();
  });

  const publish = (channel: string, messages: number): Promise<unknown> =>
    Promise.all(Array.from({ length: messages }, (_, i) => stan.publish(channel, `${i}`)));
  const sides = (channel: string) => ({
    from: cluster.urls,
    monitor: cluster.nodes[0]!.monitor.url,
    to: target.urls,
    channels: [channel],
  });

  /** A channel with twenty messages, and its copy. */
  async function copied(): Promise<{ channel: string; stream: string }> {
    const channel = `truth.${++count}`;
    await publish(channel, 20);
    assert.deepEqual((await copy(sides(channel))).problems, []);
    return { channel, stream: streamName(channel) };
  }
  /** Stores a message in a stream that is not cut, as only a copy should. */
  async function store(channel: string, text: string, stanSequence?: number): Promise<void> {
    const carried = headers();
    if (stanSequence !== undefined) carried.set('Stan-Sequence', String(stanSequence));
    await side.jetstream.publish(`$STANIMPORT.${channel}`, text, { headers: carried });
  }
  const kinds = ({ problems, channels }: VerifyCopyReport): unknown =>
    problems.map(({ code, sequence }) => [
      code,
      ...(sequence === undefined ? [] : [sequence]),
      ...channels[0]!.differences,
    ]);

  it('is one with a message of somebody else in a stream that is not cut', async () => {
    const { channel } = await copied();
    await store(channel, 'not of STAN');
    assert.deepEqual(kinds(await verify(sides(channel))), [['foreign-message', 21]]);
  });

  it('is one with a message under a number that STAN has not reached', async () => {
    const { channel } = await copied();
    await store(channel, 'not of STAN', 21);
    assert.deepEqual(kinds(await verify(sides(channel))), [['different', { from: 21, to: 21, what: 'extra' }]]);
  });

  it('is one with a message that is there twice', async () => {
    const { channel } = await copied();
    await store(channel, '6', 7);
    assert.deepEqual(kinds(await verify(sides(channel))), [['different', { from: 7, to: 7, what: 'doubled' }]]);
  });

  it('is one whose last messages were deleted, and these do not count as native', async () => {
    const { channel, stream } = await copied();
    await side.manager.streams.deleteMessage(stream, 19);
    await side.manager.streams.deleteMessage(stream, 20);
    const report = await verify(sides(channel));
    assert.deepEqual(kinds(report), [['different', { from: 19, to: 20, what: 'missing' }]]);
    assert.equal(report.channels[0]!.native, 0);
  });

  it('is one whose stream was purged, which a further copy says as well', async () => {
    for (const seq of [6, undefined]) {
      const { channel, stream } = await copied();
      await side.manager.streams.purge(stream, seq === undefined ? undefined : { seq });
      for (const step of [copy, plan]) {
        const { problems } = await step(sides(channel));
        assert.deepEqual(
          problems.map(({ code, from, to }) => [code, from, to]),
          [seq === undefined ? ['source-wiped', 1, 20] : ['target-lost', 1, seq - 1]],
        );
      }
    }
  });

  it('is one of which STAN has dropped what the stream had not yet, also where nothing is left to compare', async () => {
    await publish('short', 15);
    assert.deepEqual((await copy(sides('short'))).problems, []);
    await publish('short', 25);
    const { problems } = await verify(sides('short'));
    assert.ok(problems.some(({ code, from, to }) => code === 'retention' && from === 16 && to === 30));
  });

  it('is not one whose first messages are dropped while it begins', async () => {
    let over = false;
    const publishing = (async () => {
      while (!over) await publish('moving', 100);
    })();
    try {
      await until(async () => (await stan.lastSequence('moving')) > 5000, 'nothing is dropped');
      for (let i = 0; i < 3; i++) {
        assert.deepEqual((await copy(sides('moving'))).problems, []);
        await side.manager.streams.delete('moving');
      }
    } finally {
      over = true;
      await publishing;
    }
  });

  it('is not one whose last messages are large, of which a server lets only so many wait', async () => {
    await publish('large', 100);
    for (let i = 0; i < 15; i++) {
      await Promise.all(Array.from({ length: 10 }, () => stan.publish('large', Buffer.alloc(1_000_000, i))));
    }
    assert.deepEqual((await copy(sides('large'))).problems, []);
    assert.deepEqual((await verify(sides('large'))).problems, []);
  });

  it('is one without a channel that cannot be moved, and the others are', async () => {
    await Promise.all([publish('$JS.API.odd', 1), publish('$JS.even', 1)]);
    const { channel } = await copied();
    for (const step of [plan, copy, verify]) {
      const { problems, channels } = await step({ ...sides(channel), channels: [channel, '$JS.>'] });
      assert.deepEqual(
        problems.map(({ code, channel }) => [code, channel]),
        [
          ['impossible-name', '$JS.API.odd'],
          ['impossible-name', '$JS.even'],
        ],
      );
      assert.equal(channels.length, 1);
    }
  });

  it('is one of a STAN that is not that of the monitoring, although the cluster ID is the same', async () => {
    const { channel } = await copied();
    await using other = await StanCluster.start({ mode: 'single', store: 'memory' });
    for (const step of [plan, copy]) {
      await assert.rejects(step({ ...sides(channel), from: other.urls }), {
        name: 'MigrationSourceError',
        message: /the monitoring at .* is of other servers than those at .*: it does not know the client/,
      });
    }
  });

  it('is one from servers without STAN, and the command ends', async () => {
    const { channel } = await copied();
    const { monitor } = sides(channel);
    const args = ['--from', target.urls[0]!, '--to', target.urls[0]!, '--monitor', monitor, '--channels', channel];
    const { code, stderr } = await runCommand(['migrate', 'copy', ...args]);
    assert.equal(code, 1);
    assert.match(stderr, /no NATS Streaming server with cluster ID 'test-cluster' is there/);
  });

  describe('and follows', () => {
    let fresh: StanCluster;
    let publisher: ResilientStan;
    let following: Promise<CopyReport>;
    let stop: AbortController;
    let told: CopyProgress | undefined;

    before(async () => {
      fresh = await StanCluster.start({ mode: 'single', store: 'memory' });
      publisher = await ResilientStan.connect(fresh.urls);
    });
    after(async () => {
      stop?.abort();
      await following?.catch(() => undefined);
      await publisher?.close();
      await fresh?.stop();
    });
    const follow = (): void => {
      stop = new AbortController();
      const { url: monitor } = fresh.nodes[0]!.monitor;
      const options = { from: fresh.urls, monitor, to: target.urls, follow: true, signal: stop.signal };
      following = copy({ ...options, onProgress: (progress) => (told = progress) });
    };
    const lastOf = async (stream: string): Promise<number> =>
      side.manager.streams.info(stream).then(
        ({ state }) => state.last_seq,
        () => 0,
      );

    it('waits for the first channel where there is none', async () => {
      follow();
      await until(() => told !== undefined, 'nothing is told');
      assert.equal(told!.channels, 0);
      await publisher.publish('first', 'one');
      await until(async () => (await lastOf('first')) === 1, 'it does not follow');
    });

    it('is not up to date when it is stopped while JetStream is away', async () => {
      await target.nodes[0]!.kill();
      await publisher.publish('first', 'two');
      await until(() => told!.waiting.length > 0, 'nothing is told', 30_000);
      stop.abort();
      const [{ problems }] = await Promise.all([following, target.nodes[0]!.start()]);
      assert.deepEqual(
        problems.map(({ code, channel }) => [code, channel]),
        [['interrupted', 'first']],
      );
      await target.ready();
    });

    it('tells at once what has ended a channel, and mirrors the others', async () => {
      await publisher.publish('second', 'one');
      follow();
      await until(async () => (await lastOf('second')) === 1, 'it does not follow');
      await side.jetstream.publish('$STANIMPORT.second', 'not of STAN');
      await publisher.publish('second', 'two');
      await until(() => told?.problems.some(({ code }) => code === 'foreign-message') === true, 'nothing is told');
      await publisher.publish('first', 'three');
      await until(async () => (await lastOf('first')) === 3, 'it does not follow');
    });

    it('stores nothing of a STAN that began anew meanwhile', async () => {
      await publisher.publish('second', 'two');
      await fresh.nodes[0]!.kill();
      await fresh.nodes[0]!.start();
      await Promise.all(Array.from({ length: 10 }, (_, i) => publisher.publish('first', `anew ${i}`)));
      const { ok, channels } = await following;
      assert.equal(ok, false);
      assert.deepEqual([channels.map(({ complete }) => complete), await lastOf('first')], [[false, false], 3]);
    });
  });
});
