/** The step `finish`, on three plain servers whose streams look as a copy and a cut leave them. */
import assert from 'node:assert/strict';
import { finish, type FinishReport } from '../../src/migrate/index.js';
import { streamNoteText, type StreamNote } from '../../src/migrate/stream-note.js';
import { JetStreamCluster, type JetStreamNode } from '../../src/testing/index.js';
import { until } from '../support/clients.js';
import { runCommand } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('migrate finish', function () {
  this.timeout(120_000);
  let cluster: JetStreamCluster;
  let side: JetStreamSide;
  before(async () => {
    cluster = await JetStreamCluster.start({ nodes: 3 });
    side = await JetStreamSide.open(cluster.urls);
  });
  after(async () => {
    await side?.close();
    await cluster?.stop();
  });
  afterEach(async () => {
    for (const node of cluster.nodes) if (!node.running) await node.start({ timeout: 60_000 });
    await cluster.settled({ timeout: 60_000 });
    for (const name of await names()) await side.manager.streams.delete(name);
  });

  async function names(): Promise<string[]> {
    const found: string[] = [];
    for await (const name of side.manager.streams.names()) found.push(name);
    return found;
  }

  /** A stream on one server, with messages. */
  async function stream(name: string, state: StreamNote['state'], clusterId = 'test-cluster'): Promise<void> {
    const description = streamNoteText({ clusterId, channel: name, state });
    await side.manager.streams.add({ name, subjects: [name], num_replicas: 1, description });
    for (let i = 0; i < 10; i++) await side.jetstream.publish(name, `message ${i}`);
  }

  const codes = ({ problems }: FinishReport): string[] => problems.map(({ code }) => code);
  const outcomes = ({ streams }: FinishReport): string[] =>
    streams.map((each) => `${each.stream}: ${each.outcome}, ${each.replicas}`);

  it('raises what is cut, refuses what is only copied, and says of what is being cut that its end is missing', async () => {
    await stream('done', 'cut');
    await stream('half', 'being cut');
    await stream('shut', 'copied');
    await side.manager.streams.add({ name: 'others', subjects: ['others'], num_replicas: 1 });
    const report = await finish({ to: cluster.urls });
    assert.deepEqual(outcomes(report), ['done: raised, 3', 'half: raised, 3', 'shut: refused, 1']);
    assert.deepEqual(
      report.problems.map(({ code, channel }) => `${channel}: ${code}`),
      ['half: not-cut', 'shut: not-cut'],
    );
    assert.equal((await side.manager.streams.info('others')).config.num_replicas, 1);
    const some = await finish({ to: cluster.urls, channels: ['done'] });
    assert.deepEqual([some.problems, outcomes(some)], [[], ['done: unchanged, 3']]);
  });

  it('says that there is nothing to do in a cluster of another ID, or for a channel that there is not', async () => {
    await stream('orders', 'cut');
    const typo = await finish({ to: cluster.urls, clusterId: 'tset-cluster' });
    assert.deepEqual([codes(typo), typo.streams], [['no-stream'], []]);
    assert.match(typo.problems[0]!.message, /of cluster 'tset-cluster'\. There are copies of cluster 'test-cluster'/);
    const channel = await finish({ to: cluster.urls, channels: ['ordres'] });
    assert.deepEqual([codes(channel), channel.streams], [['no-stream'], []]);
  });

  it('names a stream whose server is down, and raises it when the server is back', async () => {
    await stream('orders', 'cut');
    const { cluster: place } = await side.manager.streams.info('orders');
    const holder = cluster.nodes.find((node) => place?.leader?.endsWith(`-${node.name}`) === true) as JetStreamNode;
    const others = cluster.nodes.filter((node) => node !== holder).map(({ url }) => url);
    await holder.kill();
    await cluster.ready({ timeout: 60_000 });
    const down = await finish({ to: others });
    assert.deepEqual([codes(down), down.streams], [['no-answer'], []]);
    assert.match(down.problems[0]!.message, /stream 'orders' does not answer .*start the server that keeps it/);
    await holder.start({ timeout: 60_000 });
    await until(
      async () => outcomes(await finish({ to: cluster.urls })).join() === 'orders: raised, 3',
      'it is not raised',
      60_000,
    );
  });

  it('says what it has done when the servers take too long, or are too few', async () => {
    await stream('orders', 'cut');
    const few = await finish({ to: cluster.urls, replicas: 5 });
    assert.deepEqual([codes(few), outcomes(few)], [['stream'], ['orders: refused, 1']]);
    assert.match(few.problems[0]!.message, /was not put on 5 servers .*--replicas/);
    const late = await finish({ to: cluster.urls, timeout: 1 });
    assert.deepEqual([codes(late), outcomes(late)], [['not-replicated'], ['orders: raised, 3']]);
    const again = await finish({ to: cluster.urls });
    assert.deepEqual([codes(again), outcomes(again)], [[], ['orders: unchanged, 3']]);
  });

  it('as a command: a table and 0, problems and 1, a wrong line and 2', async () => {
    await stream('orders', 'cut');
    const to = ['--to', cluster.urls.join(',')];
    const wrong = await runCommand(['migrate', 'finish', ...to, '--replicas', 'three']);
    assert.equal(wrong.code, 2, wrong.stderr);
    const none = await runCommand(['migrate', 'finish', ...to, '--channels', 'ordres']);
    assert.deepEqual([none.code, none.stderr.includes("'ordres'")], [1, true], none.stderr);
    const done = await runCommand(['migrate', 'finish', ...to]);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, /orders\s+orders\s+3\s+raised/);
    const json = await runCommand(['migrate', 'finish', ...to, '--json']);
    assert.equal((JSON.parse(json.stdout) as FinishReport).streams[0]?.outcome, 'unchanged');
  });
});
