/**
 * What a migration must not call done and true. The streams are changed behind its back, with the official client, and the sides are
 * given wrong.
 */
import assert from 'node:assert/strict';
import { headers } from '@nats-io/transport-node';
import { ResilientStan } from '../../src/index.js';
import { copy, plan, streamName, verify, type VerifyCopyReport } from '../../src/migrate/index.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { startCommand } from '../support/command.js';
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
      StanCluster.start({ mode: 'single', store: 'memory' }),
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
    for (const step of [plan, copy, verify]) {
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
    for (const step of ['plan', 'copy', 'verify']) {
      const { code, stderr } = await startCommand(['migrate', step, ...args]).closed;
      assert.equal(code, 1, step);
      assert.match(stderr, /no NATS Streaming server with cluster ID 'test-cluster' is there/);
    }
  });
});
