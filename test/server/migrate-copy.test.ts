/** plan, copy and verify, in place: STAN and JetStream in one streaming server. What is stored is looked at through the official client. */
import assert from 'node:assert/strict';
import { DiscardPolicy, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { AbortedError, CallbackError, ResilientStan } from '../../src/index.js';
import {
  copy,
  cut,
  durables,
  plan,
  planInPlace,
  verify,
  type CopyProgress,
  type CopyReport,
} from '../../src/migrate/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';
import { rejection, until } from '../support/clients.js';
import { runCommand } from '../support/command.js';

describe('a migration in place', function () {
  this.timeout(60_000);

  let cluster: StanCluster;
  let stan: ResilientStan;
  let connection: NatsConnection;
  let manager: JetStreamManager;
  let from: { from: string[]; monitor: string };

  before(async () => {
    cluster = await StanCluster.start({
      mode: 'single',
      jetstream: true,
      config: { streaming: { store_limits: { channels: { small: { max_msgs: 100 } } } } },
    });
    stan = await ResilientStan.connect(cluster.urls);
    connection = await connect({ servers: cluster.urls });
    manager = await jetstreamManager(connection);
    from = { from: cluster.urls, monitor: cluster.nodes[0]!.monitor.url };
  });
  after(async () => {
    await stan?.close();
    await connection?.close();
    await cluster?.stop();
  });

  const publish = async (channel: string, count: number): Promise<void> => {
    const from = await stan.lastSequence(channel);
    await Promise.all(
      Array.from({ length: count }, (_, i) =>
        stan.publish(channel, Buffer.from([0xff, 0, ...Buffer.from(`${from + i}`)])),
      ),
    );
  };
  const run = (channel: string): Promise<CopyReport> => copy({ ...from, channels: [channel] });

  it('gives each message its number, its bytes and its time, and the second run stores nothing', async () => {
    await publish('orders.eu', 3000);
    const planned = await plan({ ...from, channels: ['orders.eu'] });
    assert.deepEqual(planned.problems, []);
    assert.equal(planned.channels[0]!.stream, 'orders~eu');
    assert.equal(planned.channels[0]!.messages, 3000);
    const first = await run('orders.eu');
    assert.deepEqual(first.problems, []);
    assert.equal(first.copied, 3000);
    const { state } = await manager.streams.info('orders~eu');
    assert.deepEqual([state.first_seq, state.last_seq, state.messages], [1, 3000, 3000]);
    for await (const message of stan.read('orders.eu', { from: 2990 })) {
      const stored = (await manager.streams.getMessage('orders~eu', { seq: message.sequence }))!;
      assert.deepEqual(Buffer.from(stored.data), message.data);
      assert.equal(stored.subject, 'orders.eu');
      assert.equal(stored.header.get('Stan-Sequence'), String(message.sequence));
      assert.equal(new Date(stored.header.get('Stan-Timestamp')).getTime(), message.timestamp.getTime());
    }
    assert.equal((await run('orders.eu')).copied, 0);
    const verified = await verify({ ...from, channels: ['orders.eu'] });
    assert.deepEqual(verified.problems, []);
    assert.equal(verified.compared, 3000);
    assert.equal(verified.channels[0]!.stanDigest, verified.channels[0]!.jetStreamDigest);
  });

  it('keeps the first number of a channel that its limits have cut', async () => {
    await publish('small', 250);
    assert.deepEqual((await run('small')).problems, []);
    const { state } = await manager.streams.info('small');
    assert.deepEqual([state.first_seq, state.last_seq, state.messages], [151, 250, 100]);
  });

  it('ends with the numbers of the messages that are gone, when the limits were quicker', async () => {
    await publish('small', 300);
    const { ok, problems } = await run('small');
    assert.equal(ok, false);
    assert.deepEqual(
      problems.map(({ code, from, to }) => ({ code, from, to })),
      [{ code: 'retention', from: 251, to: 450 }],
    );
    assert.equal((await manager.streams.info('small')).state.last_seq, 250);
  });

  it('stops at a foreign message, names it, and stores nothing behind it', async () => {
    await publish('foreign', 50);
    await run('foreign');
    await publish('foreign', 50);
    await connection.request('foreign', 'not of STAN');
    const { ok, problems } = await run('foreign');
    assert.equal(ok, false);
    assert.deepEqual(
      problems.map(({ code, sequence }) => ({ code, sequence })),
      [{ code: 'foreign-message', sequence: 51 }],
    );
    assert.equal((await manager.streams.info('foreign')).state.last_seq, 51);
    assert.match((await verify({ ...from, channels: ['foreign'] })).problems[0]!.message, /51 to 100 \(missing\)/);
  });

  it('stops at a foreign message that comes in the middle of a copy', async () => {
    await publish('middle', 100);
    const controller = new AbortController();
    const following = copy({ ...from, channels: ['middle'], follow: true, signal: controller.signal });
    const last = async (): Promise<number> =>
      manager.streams.info('middle').then(
        ({ state }) => state.last_seq,
        () => 0,
      );
    await waitFor(async () => ((await last()) >= 100 ? true : undefined), {
      timeout: 20_000,
      what: () => 'it does not follow',
    });
    await connection.request('middle', 'not of STAN');
    await publish('middle', 500);
    const { ok, problems } = await following;
    assert.equal(ok, false);
    assert.deepEqual([problems[0]!.code, problems[0]!.sequence, await last()], ['foreign-message', 101, 101]);
  });

  it('notices that the stream is gone while it follows', async () => {
    await publish('gone', 20);
    const following = copy({ ...from, channels: ['gone'], follow: true });
    await waitFor(
      async () =>
        manager.streams.info('gone').then(
          ({ state }) => (state.last_seq === 20 ? true : undefined),
          () => undefined,
        ),
      { timeout: 20_000, what: () => 'it does not follow' },
    );
    await manager.streams.delete('gone');
    await publish('gone', 5);
    const { problems } = await following;
    assert.equal(problems[0]!.code, 'target-lost');
  });

  it('waits for the first channel, when it follows and there is none', async () => {
    await using empty = await StanCluster.start({ mode: 'single', jetstream: true });
    await using writer = await ResilientStan.connect(empty.urls);
    const stop = new AbortController();
    let told: CopyProgress | undefined;
    const following = copy({
      ...{ from: empty.urls, monitor: empty.nodes[0]!.monitor.url, follow: true, signal: stop.signal },
      onProgress: (progress) => (told = progress),
    });
    await Promise.race([following, until(() => told?.channels === 0, 'it does not follow')]);
    await writer.publish('late', 'here');
    await Promise.race([following, until(() => told?.copied === 1, 'it does not find the channel')]);
    stop.abort();
    const { ok, channels } = await following;
    assert.deepEqual([ok, channels.map(({ channel, last }) => [channel, last])], [true, [['late', 1]]]);
  });

  describe('is told to stop', () => {
    it('before it has begun: every step rejects with an AbortedError', async () => {
      const reason = new Error('no time');
      for (const step of [plan, copy, verify, durables, cut, planInPlace]) {
        const error = await rejection(step({ ...from, signal: AbortSignal.abort(reason) }), AbortedError);
        assert.equal(error.cause, reason);
      }
    });

    it('while it follows, and has not yet all that was there: it is not done', async () => {
      await publish('stuck', 1);
      await run('stuck');
      await publish('stuck', 1);
      await manager.streams.update('stuck', { discard: DiscardPolicy.New, max_msgs: 1 });
      const following = new AbortController();
      const { ok, problems, channels } = await copy({
        ...{ ...from, channels: ['stuck'], follow: true, signal: following.signal },
        onProgress: () => following.abort(),
      });
      assert.deepEqual(
        [ok, problems.map(({ code }) => code), channels.map(({ complete, lag }) => ({ complete, lag }))],
        [false, ['interrupted'], [{ complete: false, lag: 1 }]],
      );
    });

    it('in the middle: a copy answers what it has done, and a comparison rejects', async () => {
      await publish('stopped', 30_000);
      const copying = new AbortController();
      const { ok, problems } = await copy({
        ...{ ...from, channels: ['stopped'], signal: copying.signal },
        onProgress: () => copying.abort(),
      });
      // It may have come to its end before it was told.
      if (!ok)
        assert.deepEqual(
          problems.map(({ code }) => code),
          ['interrupted'],
        );
      assert.equal((await run('stopped')).ok, true);
      const comparing = new AbortController();
      const compared = verify({
        ...{ ...from, channels: ['stopped', 'orders.eu'], signal: comparing.signal },
        onProgress: () => comparing.abort(),
      });
      await rejection(compared, AbortedError);
    });
  });

  it('ends with the error of a progress callback that throws, or that rejects', async () => {
    await publish('told', 20);
    const ours = new Error('not ready for this');
    const throws = (): void => {
      throw ours;
    };
    const rejects = (): unknown => Promise.reject(ours);
    for (const onProgress of [throws, rejects]) {
      const options = { ...from, channels: ['told'], onProgress, follow: true };
      for (const step of [copy, cut]) assert.equal((await rejection(step(options), CallbackError)).cause, ours);
    }
  });

  it('leaves nothing that keeps the process when STAN cannot be reached', async () => {
    await publish('unreachable', 1);
    const to = ['--to', cluster.urls.join(','), '--monitor', from.monitor, '--channels', 'unreachable'];
    const { code, stderr } = await runCommand(['migrate', 'copy', '--from', 'nats://127.0.0.1:1', ...to]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /no server could be reached/);
  });

  it('refuses a STAN that began anew after a copy', async () => {
    await publish('anew', 30);
    await run('anew');
    await using other = await StanCluster.start({ mode: 'single', store: 'memory' });
    await using fresh = await ResilientStan.connect(other.urls);
    await Promise.all(Array.from({ length: 40 }, (_, i) => fresh.publish('anew', `${i}`)));
    const options = { from: other.urls, monitor: other.nodes[0]!.monitor.url, to: cluster.urls, channels: ['anew'] };
    for (const report of [await copy(options), await plan(options)]) {
      assert.equal(report.ok, false);
      assert.equal(report.problems[0]!.code, 'source-wiped');
    }
    assert.equal((await manager.streams.info('anew')).state.last_seq, 30);
  });

  it('is the same from the command line, with its exit codes', async () => {
    await publish('command', 40);
    const args = ['--from', cluster.urls.join(','), '--monitor', from.monitor, '--channels', 'command'];
    const planned = await runCommand(['migrate', 'plan', ...args]);
    assert.equal(planned.code, 0, planned.stderr);
    assert.match(planned.stdout, /command +command +40/);
    const behind = await runCommand(['migrate', 'verify', ...args]);
    assert.equal(behind.code, 1);
    assert.match(behind.stderr, /there is no stream 'command'/);
    const copied = await runCommand(['migrate', 'copy', '--json', ...args]);
    assert.equal(copied.code, 0, copied.stderr);
    assert.equal((JSON.parse(copied.stdout) as CopyReport).copied, 40);
    assert.equal((await runCommand(['migrate', 'verify', ...args])).code, 0);
    assert.equal((await runCommand(['migrate', 'copy', '--channel', 'x'])).code, 2);
    assert.equal((await runCommand(['migrate', 'copy', '--channels', 'nobody', ...args.slice(0, 4)])).code, 1);
  });
});
