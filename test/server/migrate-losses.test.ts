/** What a migration does when one of the sides loses messages: it says so, with their numbers, and stores nothing of another history. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { apiCode, STREAM_NOT_FOUND } from '../../src/migrate/api-errors.js';
import type { ResilientStan } from '../../src/index.js';
import {
  copy,
  cut,
  durables,
  plan,
  streamName,
  verify,
  type CopyProgress,
  type CopyReport,
  type MigrateOptions,
  type Report,
} from '../../src/migrate/index.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { Clients, uniqueName, until } from '../support/clients.js';
import { JetStreamSide } from '../support/jetstream-side.js';
import { Relay } from '../support/relay.js';

describe('a migration of which a side', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let target: JetStreamCluster;
  let stan: ResilientStan;
  let side: JetStreamSide;
  let toStan: Relay;
  /** Where the servers with JetStream have their stores. */
  let dir: string;
  let channel: string;
  const followers: AbortController[] = [];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'migrate-losses-'));
    const channels = { 'few.>': { max_msgs: 10 }, 'brief.>': { max_inactivity: '1s' } };
    [cluster, target] = await Promise.all([
      StanCluster.start({ mode: 'single', store: 'memory', config: { streaming: { store_limits: { channels } } } }),
      JetStreamCluster.start({ nodes: 1, dir }),
    ]);
    stan = await clients.connect(cluster.urls);
    side = await JetStreamSide.open(target.urls);
    toStan = await Relay.open(cluster.urls[0]!);
  });
  after(async () => {
    toStan?.close();
    await side?.close();
    await clients.closeAll();
    await Promise.all([cluster?.stop(), target?.stop()]);
    await rm(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    channel = uniqueName('losses');
  });
  afterEach(async () => {
    for (const follower of followers.splice(0)) follower.abort();
    toStan.pass();
  });

  const sides = (from = cluster.urls): MigrateOptions => ({
    from,
    monitor: cluster.nodes[0]!.monitor.url,
    to: target.urls,
    channels: [channel],
  });
  const publish = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await stan.publish(channel, uniqueName('text'));
  };
  const codes = ({ problems }: Report): unknown[] =>
    problems.map(({ code, from, to }) => (from === undefined ? code : [code, from, to]));
  interface Stored {
    first: number;
    last: number;
    messages: number;
  }
  /** What the stream has. Undefined: JetStream says that there is none. */
  async function stored(): Promise<Stored | undefined> {
    let found: { stream: Stored | undefined } | undefined;
    // After a restart nobody answers for a moment.
    await until(async () => {
      found = await side.manager.streams.info(streamName(channel)).then(
        ({ state }) => ({ stream: { first: state.first_seq, last: state.last_seq, messages: state.messages } }),
        (error: unknown) => (apiCode(error) === STREAM_NOT_FOUND ? { stream: undefined } : undefined),
      );
      return found !== undefined;
    }, 'JetStream does not answer');
    return found!.stream;
  }
  /** STAN begins anew, with the same cluster ID and the same ports. */
  async function wipeStan(): Promise<void> {
    await cluster.nodes[0]!.kill();
    await cluster.nodes[0]!.start();
  }
  /** A copy that follows, and has what there is. */
  async function follow(
    last: number,
    from = cluster.urls,
  ): Promise<{ running: Promise<CopyReport>; told(): CopyProgress }> {
    const controller = new AbortController();
    followers.push(controller);
    let told: CopyProgress | undefined;
    const options = { ...sides(from), follow: true, signal: controller.signal };
    const running = copy({ ...options, onProgress: (progress) => (told = progress) });
    running.catch(() => undefined);
    await until(async () => (await stored())?.last === last, 'it does not follow');
    return { running, told: () => told! };
  }

  for (const [what, count] of [
    ['fewer', 7],
    ['as many', 20],
    ['more', 30],
  ] as const) {
    it(`is a STAN that began anew between two copies, with ${what} messages: refused by every step, and nothing is written`, async () => {
      await publish(20);
      assert.deepEqual(codes(await copy(sides())), []);
      await wipeStan();
      const worker = await clients.connect(cluster.urls, { clientId: uniqueName('worker') });
      await publish(count);
      await (await worker.subscribe(channel, () => undefined, { durableName: 'd', startAt: 'new' })).close();
      await worker.close();
      const before = await stored();
      for (const step of [copy, plan, cut, durables]) {
        const report = await step(sides());
        assert.equal(report.ok, false, step.name);
        assert.deepEqual(
          report.problems.map(({ code }) => code),
          ['source-wiped'],
          step.name,
        );
      }
      assert.deepEqual(await stored(), before);
      assert.deepEqual(await side.manager.consumers.list(streamName(channel)).next(), []);
    });

    it(`is a STAN that begins anew while a copy follows, with ${what} messages: it ends, and nothing is written`, async () => {
      await publish(20);
      const { running } = await follow(20);
      const before = await stored();
      await wipeStan();
      await publish(count);
      const report = await running;
      assert.equal(report.ok, false);
      assert.match(String(codes(report)), /source-wiped|no-channel/);
      assert.deepEqual(await stored(), before);
    });
  }

  it('is a STAN whose limits overtake a copy that follows: the numbers that are gone, and nothing behind them', async () => {
    channel = uniqueName('few.losses');
    await publish(10);
    const { running } = await follow(10, [toStan.place]);
    const silent = toStan.silentAt(/./);
    await silent;
    await publish(25);
    toStan.pass();
    const report = await running;
    assert.deepEqual(codes(report), [['retention', 11, 25]]);
    assert.equal((await stored())!.last, 10);
    // And the next run says the same.
    assert.deepEqual(codes(await copy(sides())), [['retention', 11, 25]]);
  });

  it('is a STAN that has deleted the channel, because nobody used it: told, and not done anew when it comes back', async () => {
    channel = uniqueName('brief.losses');
    await publish(5);
    assert.deepEqual(codes(await copy(sides())), []);
    const gone = async (): Promise<boolean> => (await cluster.nodes[0]!.monitor.channelz(channel)) === undefined;
    await until(gone, 'the channel is still there', 30_000);
    for (const step of [copy, plan, cut, durables]) {
      const report = await step(sides());
      assert.deepEqual([report.ok, codes(report)], [false, ['no-channel']], step.name);
    }
    assert.equal((await stored())!.messages, 5);
    await publish(5);
    assert.deepEqual(codes(await copy(sides())), ['source-wiped']);
    assert.equal((await stored())!.messages, 5);
  });

  it('is a JetStream whose store is wiped while a copy follows: it ends, and begins nothing anew', async () => {
    await publish(20);
    const { running } = await follow(20);
    await target.nodes[0]!.kill();
    await target.nodes[0]!.wipe();
    await target.nodes[0]!.start();
    await publish(5);
    const report = await running;
    assert.deepEqual([report.ok, codes(report)], [false, ['target-lost']]);
    assert.equal(await stored(), undefined);
  });

  it('is a JetStream that was set back to an older store: what is missing at the end is copied again', async () => {
    await publish(20);
    assert.deepEqual(codes(await copy(sides())), []);
    const older = await mkdtemp(join(tmpdir(), 'migrate-losses-'));
    const [node] = target.nodes;
    try {
      await node!.stop();
      await cp(dir, older, { recursive: true });
      await node!.start();
      await publish(10);
      assert.deepEqual(codes(await copy(sides())), []);
      await node!.stop();
      await rm(dir, { recursive: true });
      await cp(older, dir, { recursive: true });
      await node!.start();
      assert.deepEqual(await stored(), { first: 1, last: 20, messages: 20 });
      const report = await copy(sides());
      assert.deepEqual([codes(report), report.copied], [[], 10]);
      assert.deepEqual(codes(await verify(sides())), []);
    } finally {
      await rm(older, { recursive: true, force: true });
    }
  });
});
