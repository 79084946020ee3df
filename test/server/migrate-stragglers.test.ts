/** What reaches STAN after the cut: messages that no server takes, answers that do not come, limits, and a STAN that began anew. */
import assert from 'node:assert/strict';
import type { ResilientStan } from '../../src/index.js';
import { copy, cut, durables, type CutOptions, type CutProgress, type CutReport } from '../../src/migrate/index.js';
import { readStreamNote } from '../../src/migrate/stream-note.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { ChannelOnBothSides } from '../support/channel-on-both-sides.js';
import { Clients, uniqueName, until } from '../support/clients.js';
import { startCommand } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('a straggler', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let plain: JetStreamCluster;
  let stan: ResilientStan;
  let js: JetStreamSide;
  let both: ChannelOnBothSides;

  before(async () => {
    [cluster, plain] = await Promise.all([
      StanCluster.start({
        mode: 'single',
        store: 'memory',
        config: {
          max_payload: 2_000_000,
          streaming: { store_limits: { max_channels: 0, channels: { 'few.>': { max_msgs: 10 } } } },
        },
      }),
      JetStreamCluster.start({ nodes: 1, proxied: true, config: { max_payload: 100_000 } }),
    ]);
    stan = await clients.connect(cluster.urls);
    // Past the proxy, so that the faults of the line are those of the cut only.
    js = await JetStreamSide.open(`nats://127.0.0.1:${plain.nodes[0]!.ports.client}`);
  });
  after(async () => {
    await js?.close();
    await clients.closeAll();
    await Promise.all([cluster?.stop(), plain?.stop()]);
  });
  beforeEach(() => {
    both = new ChannelOnBothSides(stan, js);
  });
  afterEach(() => plain.nodes[0]!.proxy.clear());

  const options = (source = cluster) => ({
    from: source.urls,
    monitor: source.nodes[0]!.monitor.url,
    to: plain.urls,
    channels: [both.channel],
  });
  const cutNow = (more: CutOptions = {}): Promise<CutReport> => cut({ ...options(), quiet: 300, ...more });
  const stragglersOf = ({ ok, problems, channels }: CutReport): unknown => {
    assert.deepEqual([ok, problems], [true, []]);
    return channels[0]!.stragglers.map(({ inStan, sequence }) => [inStan, sequence]);
  };
  const codes = ({ ok, problems }: CutReport): unknown[] => [ok, ...problems.map(({ code }) => code)];

  describe('that is too large for the servers of JetStream', () => {
    it('does not keep the cut from its end, and is told with its number, its size, and what to do', async () => {
      await both.publish(3);
      assert.deepEqual(stragglersOf(await cutNow()), []);
      await both.publish(1);
      await stan.publish(both.channel, Buffer.alloc(150_000));
      await both.publish(1);
      const told: (string | undefined)[] = [];
      const report = await cutNow({ onProgress: ({ todo }) => told.push(todo) });
      const [problem, ...more] = report.problems;
      assert.deepEqual([report.ok, more], [false, []]);
      assert.deepEqual(
        [problem!.code, problem!.sequence, problem!.from, problem!.to],
        ['too-large', 5, 5, 6],
        problem!.message,
      );
      assert.match(problem!.message, /150000 bytes.*at most 100000 .*max_payload.* 150256 .*[Rr]un this again/);
      assert.ok(told.some((todo) => todo?.includes('150000 bytes')));
      assert.deepEqual(report.channels[0]!.stragglers, []);
      assert.equal(report.channels[0]!.cutAt, 4);
    });
  });

  it('whose answer was lost for longer than the server remembers IDs is not stored twice', async () => {
    await both.publish(3);
    assert.deepEqual(stragglersOf(await cutNow()), []);
    assert.equal(await both.native(), 4);
    let told: CutProgress | undefined;
    const stop = new AbortController();
    const cutting = cutNow({ follow: true, signal: stop.signal, onProgress: (progress) => (told = progress) });
    await until(() => told?.phase === 'stragglers', 'it is not open');
    await js.manager.streams.update(both.stream, { duplicate_window: 100e6 });
    const line = plain.nodes[0]!.proxy.add({ type: 'timeout', stream: 'downstream' });
    await both.publish(1);
    await until(async () => (await both.content()).length === 5, 'the straggler is not stored');
    // The server is asked on a stream of our own whether it still knows an ID of that time.
    await forgotten(js, 100);
    line.remove();
    await until(() => told?.stragglers === 1, 'the straggler is not counted');
    await both.publish(1);
    await until(() => told?.stragglers === 2, 'the next one is not appended');
    stop.abort();
    assert.deepEqual(stragglersOf(await cutting), [
      [4, 5],
      [5, 6],
    ]);
    assert.deepEqual(await both.numbers(), [1, 2, 3, undefined, 4, 5]);
  });

  it('that another run has appended, while this one was frozen for longer than the server remembers IDs, is not stored twice', async () => {
    await both.publish(3);
    assert.deepEqual(stragglersOf(await cutNow()), []);
    assert.equal(await both.native(), 4);
    await js.manager.streams.update(both.stream, { duplicate_window: 100e6 });
    const { from, to, monitor, channels } = options();
    const args = ['--from', from.join(), '--to', to.join(), '--monitor', monitor, '--channels', channels.join()];
    const { child, said, closed } = startCommand(['migrate', 'cut', ...args, '--follow', '--json']);
    const isSaid = (what: string): Promise<void> =>
      until(
        () => said.stderr.includes(what),
        () => `it says ${said.stderr}`,
      );
    try {
      await isSaid('open for native publishers');
      child.kill('SIGSTOP');
      await both.publish(1);
      assert.deepEqual(stragglersOf(await cutNow()), [[4, 5]]);
      await forgotten(js, 100);
      child.kill('SIGCONT');
      await isSaid('1 straggler appended');
      child.kill('SIGINT');
      const { code, stdout } = await closed;
      assert.deepEqual([code, stragglersOf(JSON.parse(stdout) as CutReport)], [0, [[4, 5]]]);
    } finally {
      child.kill('SIGKILL');
    }
    assert.deepEqual(await both.numbers(), [1, 2, 3, undefined, 4]);
  });

  describe('and the limits of the stream, which have dropped', () => {
    beforeEach(() => {
      both = new ChannelOnBothSides(stan, js, 'few.cut');
    });

    it('all that was copied: the next run knows where it was cut', async () => {
      await both.publish(5);
      assert.deepEqual(stragglersOf(await cutNow()), []);
      await both.native(12);
      await both.publish(2);
      const first = await cutNow();
      assert.deepEqual(stragglersOf(first), [
        [6, 18],
        [7, 19],
      ]);
      assert.equal(first.channels[0]!.cutAt, 5);
      const again = await cutNow();
      assert.deepEqual(stragglersOf(again), []);
      assert.equal(again.channels[0]!.cutAt, 5);
    });

    it('all that was copied, and all stragglers: they are not appended again', async () => {
      await both.publish(5);
      assert.deepEqual(stragglersOf(await cutNow()), []);
      await both.native(1);
      await both.publish(2);
      assert.deepEqual(stragglersOf(await cutNow()), [
        [6, 7],
        [7, 8],
      ]);
      await both.native(12);
      assert.ok(
        (await both.numbers()).every((inStan) => inStan === undefined),
        'nothing was dropped',
      );
      const again = await cutNow();
      assert.deepEqual(stragglersOf(again), []);
      assert.equal(again.channels[0]!.cutAt, 5);
      await both.publish(1);
      assert.deepEqual(stragglersOf(await cutNow()), [[8, 21]]);
    });

    it('all that was copied, and those who came before a native message: they are not appended again', async () => {
      await both.publish(5);
      assert.deepEqual(stragglersOf(await cutNow()), []);
      await both.publish(2);
      assert.equal((await cutNow()).channels[0]!.cutAt, 7);
      await both.native(12);
      const again = await cutNow();
      assert.deepEqual(stragglersOf(again), []);
      assert.equal(again.channels[0]!.cutAt, 7);
    });

    it('all there is: nothing is appended again', async () => {
      await both.publish(5);
      assert.deepEqual(stragglersOf(await cutNow()), []);
      await both.native(1);
      await both.publish(2);
      assert.deepEqual(stragglersOf(await cutNow()), [
        [6, 7],
        [7, 8],
      ]);
      await js.manager.streams.purge(both.stream);
      const again = await cutNow();
      assert.deepEqual(stragglersOf(again), []);
      assert.equal(again.channels[0]!.cutAt, 5);
    });

    it('all that was copied: a durable that was sent the stragglers gets only what comes behind them', async () => {
      await both.publish(5);
      assert.deepEqual(stragglersOf(await cutNow()), []);
      await both.native(10);
      await both.publish(2);
      assert.deepEqual(stragglersOf(await cutNow()), [
        [6, 16],
        [7, 17],
      ]);
      const worker = await clients.connect(cluster.urls, { clientId: uniqueName('worker') });
      let sent = 0;
      const subscription = await worker.subscribe(both.channel, () => void sent++, {
        durableName: 'reader',
        startAt: 'first',
      });
      await until(() => sent === 7, 'it was not sent everything');
      await subscription.close();
      await worker.close();
      await both.native(1);
      const report = await durables(options());
      assert.deepEqual([report.ok, report.problems], [true, []]);
      const got = await js.drain(both.channel, report.durables[0]!.consumer);
      assert.ok(!got.some(({ sequence }) => sequence === 16 || sequence === 17), 'a straggler comes again');
      assert.equal(got.at(-1)?.sequence, 18);
    });
  });

  it('is not appended to a stream whose note says less than the stream has: the stream is right', async () => {
    await both.publish(3);
    assert.deepEqual(stragglersOf(await cutNow()), []);
    await both.native();
    await both.publish(2);
    const { description } = (await js.manager.streams.info(both.stream)).config;
    assert.equal(readStreamNote(description)?.cutAt, 3);
    assert.deepEqual(stragglersOf(await cutNow()), [
      [4, 5],
      [5, 6],
    ]);
    // As it is after a kill, before the note was written.
    await js.manager.streams.update(both.stream, { description: description! });
    assert.deepEqual(stragglersOf(await cutNow()), []);
    assert.deepEqual(await both.numbers(), [1, 2, 3, undefined, 4, 5]);
  });

  describe('of a STAN of the same cluster ID that began anew after the cut', () => {
    let fresh: StanCluster;
    let other: ResilientStan;
    before(async () => {
      fresh = await StanCluster.start({
        mode: 'single',
        store: 'memory',
        config: { streaming: { store_limits: { max_channels: 0, channels: { 'few.>': { max_msgs: 10 } } } } },
      });
      other = await clients.connect(fresh.urls);
    });
    after(() => fresh?.stop());

    /** The cut again, with the other STAN: refused, and the stream is as it was. */
    async function refused(messages: number): Promise<void> {
      const stream = await js.manager.streams.info(both.stream);
      if (messages > 0) await both.publish(messages, other);
      else await (await other.subscribe(both.channel, () => undefined)).close();
      const report = await cutNow(options(fresh));
      assert.deepEqual(codes(report), [false, 'source-wiped'], `with ${messages} messages`);
      assert.match(report.problems[0]!.message, /Nothing was appended/);
      const now = await js.manager.streams.info(both.stream);
      assert.deepEqual([now.state.last_seq, now.config], [stream.state.last_seq, stream.config]);
    }

    for (const [what, messages] of [
      ['fewer messages', 3],
      ['as many messages', 5],
      ['more messages', 8],
      ['no message', 0],
    ] as const) {
      it(`with ${what}: refused`, async () => {
        await both.publish(5);
        assert.deepEqual(stragglersOf(await cutNow()), []);
        await refused(messages);
      });

      it(`with ${what}, behind native messages and stragglers: refused`, async () => {
        await both.publish(2);
        assert.deepEqual(stragglersOf(await cutNow()), []);
        await both.native(4);
        await both.publish(3);
        assert.deepEqual(stragglersOf(await cutNow()), [
          [3, 7],
          [4, 8],
          [5, 9],
        ]);
        await both.native(1);
        await refused(messages);
      });

      it(`with ${what}, where the stream has only native messages left: refused`, async () => {
        both = new ChannelOnBothSides(stan, js, 'few.cut');
        await both.publish(5);
        assert.deepEqual(stragglersOf(await cutNow()), []);
        await both.native(12);
        await refused(messages);
      });
    }

    it('before it has its limits, does not give it those of another STAN', async () => {
      await both.publish(5);
      assert.equal((await copy(options())).ok, true);
      assert.deepEqual(stragglersOf(await cutNow()), []);
      const { config } = await js.manager.streams.info(both.stream);
      // As it is when a run was killed right after it has opened the stream.
      await js.manager.streams.update(both.stream, {
        description: config.description!.replace('copied and cut', 'copied and being cut'),
        max_bytes: -1,
      });
      await refused(8);
    });

    it('while the cut goes on: nothing of it is appended', async () => {
      const memory = await StanCluster.start({ mode: 'single', store: 'memory' });
      try {
        const publisher = await clients.connect(memory.urls);
        await both.publish(5, publisher);
        let told: CutProgress | undefined;
        const stop = new AbortController();
        const cutting = cut({
          ...options(memory),
          follow: true,
          signal: stop.signal,
          onProgress: (progress) => (told = progress),
        });
        await until(() => told?.phase === 'stragglers', 'it is not open');
        await both.native();
        await both.publish(1, publisher);
        await until(() => told?.stragglers === 1, 'the straggler is not appended');
        const [node] = memory.nodes;
        await node!.kill();
        await node!.start();
        await both.publish(9, publisher);
        const report = await cutting;
        assert.deepEqual(codes(report), [false, 'source-wiped']);
        assert.deepEqual(await both.numbers(), [1, 2, 3, 4, 5, undefined, 6]);
      } finally {
        await memory.stop();
      }
    });
  });
});

/** Resolves when a server has forgotten the ID of a message, on a stream that remembers it for so many ms. */
async function forgotten({ manager, jetstream }: JetStreamSide, window: number): Promise<void> {
  const name = uniqueName('forgets');
  await manager.streams.add({ name, subjects: [name], duplicate_window: window * 1e6 });
  await jetstream.publish(name, 'x', { msgID: 'one' });
  await until(
    async () => !(await jetstream.publish(name, 'x', { msgID: 'one' })).duplicate,
    'the server does not forget an ID',
  );
  await manager.streams.delete(name);
}
