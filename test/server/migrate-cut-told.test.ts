/** A cut that is told to stop, in each of its phases: what it says, and that the next run goes on. */
import assert from 'node:assert/strict';
import type { ResilientStan } from '../../src/index.js';
import { copy, cut, type CutOptions, type CutProgress, type CutReport } from '../../src/migrate/index.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { ChannelOnBothSides } from '../support/channel-on-both-sides.js';
import { Clients, until } from '../support/clients.js';
import { startCommand } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('a cut that is told to stop', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let plain: JetStreamCluster;
  let stan: ResilientStan;
  let js: JetStreamSide;
  let one: ChannelOnBothSides;
  let stop: AbortController;

  before(async () => {
    [cluster, plain] = await Promise.all([
      StanCluster.start({ mode: 'single', store: 'memory' }),
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
    stop = new AbortController();
  });
  afterEach(() => plain.nodes[0]!.proxy.clear());

  const options = (...channels: ChannelOnBothSides[]) => ({
    from: cluster.urls,
    monitor: cluster.nodes[0]!.monitor.url,
    to: plain.urls,
    channels: channels.map(({ channel }) => channel),
  });
  const cutNow = (more: CutOptions = {}): Promise<CutReport> => cut({ ...options(one), quiet: 300, ...more });
  const summary = ({ ok, problems, channels }: CutReport): unknown => [
    ok,
    problems.map(({ code }) => code),
    ...channels.map(({ state, cutAt, stragglers }) => [state, cutAt, ...stragglers.map(({ inStan }) => inStan)]),
  ];

  it('before it has begun: it is rejected, and nothing is done', async () => {
    await one.publish(3);
    stop.abort();
    await assert.rejects(cutNow({ signal: stop.signal }), { name: 'AbortedError' });
    await assert.rejects(js.manager.streams.info(one.stream), /stream not found/);
  });

  it('while it copies: says that it is not open, and the channel that was open before is', async () => {
    const other = new ChannelOnBothSides(stan, js);
    const both = [one, other].sort((a, b) => (a.channel < b.channel ? -1 : 1));
    await other.publish(3);
    assert.deepEqual(summary(await cutNow(options(other))), [true, [], ['opened', 3]]);
    await Promise.all(Array.from({ length: 400 }, () => stan.publish(one.channel, Buffer.alloc(5000))));
    const line = plain.nodes[0]!.proxy.add({ type: 'bandwidth', rate: 100 });
    const cutting = cutNow({ ...options(one, other), signal: stop.signal });
    const stored = async (): Promise<number> =>
      js.manager.streams.info(one.stream).then(
        ({ state }) => state.last_seq,
        () => 0,
      );
    await until(async () => (await stored()) > 0, 'nothing is copied');
    stop.abort();
    const { ok, problems, channels } = await cutting;
    assert.ok((await stored()) < 400, 'it was copied before it was told');
    assert.equal(ok, false);
    assert.deepEqual(
      problems.map(({ code, channel }) => [code, channel]).filter(([, channel]) => channel !== other.channel),
      [
        ['not-opened', one.channel],
        ['interrupted', undefined],
      ],
    );
    assert.deepEqual(
      channels.map(({ channel, state }) => [channel, state]),
      both.map(({ channel }) => [channel, channel === one.channel ? 'shut' : 'open']),
    );
    await assert.rejects(js.connection.request(one.channel, 'too early'), /no responders/);
    line.remove();
    const again = await cutNow(options(one, other));
    assert.deepEqual([again.ok, again.problems], [true, []]);
    assert.equal(await one.native(), 401);
  });

  it('right after it has begun: says that nothing is open, and that it was interrupted', async () => {
    await one.publish(3);
    const report = await cutNow({
      signal: stop.signal,
      onProgress: ({ phase }) => phase === 'copying' && stop.abort(),
    });
    assert.deepEqual(summary(report), [false, ['not-opened', 'interrupted'], ['shut', 0]]);
    assert.deepEqual(summary(await cutNow()), [true, [], ['opened', 3]]);
  });

  it('while it appends, as a person ends it: all is there, and all is well', async () => {
    await one.publish(3);
    let told: CutProgress | undefined;
    const cutting = cutNow({ follow: true, signal: stop.signal, onProgress: (progress) => (told = progress) });
    await until(() => told?.phase === 'stragglers', 'it is not open');
    await one.native();
    await one.publish(2);
    await until(() => told?.stragglers === 2, 'nothing is appended');
    stop.abort();
    assert.deepEqual(summary(await cutting), [true, [], ['opened', 3, 4, 5]]);
    assert.deepEqual(summary(await cutNow()), [true, [], ['open', 3]]);
  });

  it('while JetStream does not answer: says what may be missing, and the next run appends it once', async () => {
    await one.publish(3);
    let told: CutProgress | undefined;
    const cutting = cutNow({ follow: true, signal: stop.signal, onProgress: (progress) => (told = progress) });
    await until(() => told?.phase === 'stragglers', 'it is not open');
    await one.native();
    const line = plain.nodes[0]!.proxy.add({ type: 'timeout', stream: 'downstream' });
    await one.publish(1);
    await until(async () => (await one.numbers()).length === 5, 'the straggler is not stored');
    stop.abort();
    const report = await cutting;
    assert.deepEqual(summary(report), [false, ['not-appended', 'interrupted'], ['opened', 3]]);
    assert.match(report.problems[0]!.message, /message 4 of channel .* perhaps not in stream/);
    line.remove();
    assert.deepEqual(summary(await cutNow()), [true, [], ['open', 3]]);
    assert.deepEqual(await one.numbers(), [1, 2, 3, undefined, 4]);
  });

  it('by Ctrl-C, while it copies: the command ends with 130, and writes its report', async () => {
    await one.publish(3);
    assert.equal((await copy(options(one))).ok, true);
    const line = plain.nodes[0]!.proxy.add({ type: 'bandwidth', rate: 100 });
    await Promise.all(Array.from({ length: 400 }, () => stan.publish(one.channel, Buffer.alloc(5000))));
    const { from, to, monitor, channels } = options(one);
    const args = ['--from', from.join(), '--to', to.join(), '--monitor', monitor, '--channels', channels.join()];
    const { child, said, closed } = startCommand(['migrate', 'cut', ...args, '--json']);
    await until(
      async () => (await js.manager.streams.info(one.stream)).state.last_seq > 3,
      () => `nothing is copied: ${said.stderr}`,
    );
    child.kill('SIGINT');
    const { code, stdout } = await closed;
    line.remove();
    const report = JSON.parse(stdout) as CutReport;
    assert.deepEqual([code, summary(report)], [130, [false, ['not-opened', 'interrupted'], ['shut', 0]]]);
    assert.deepEqual(summary(await cutNow()), [true, [], ['opened', 403]]);
  });
});
