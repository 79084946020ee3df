/** What the cut says of the doors of servers and streams: fences that are half taken away, streams of others, and channels one after the other. */
import assert from 'node:assert/strict';
import type { ResilientStan } from '../../src/index.js';
import { copy, cut, plan, type CutOptions, type CutProgress, type CutReport } from '../../src/migrate/index.js';
import { fencedSubject, importSubject, mappingsBlock, NO_MAPPINGS } from '../../src/migrate/fence.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { ChannelOnBothSides } from '../support/channel-on-both-sides.js';
import { Clients, until } from '../support/clients.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('a cut where the door', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let plain: JetStreamCluster;
  let stan: ResilientStan;

  before(async () => {
    [cluster, plain] = await Promise.all([
      StanCluster.start({ mode: 'single', jetstream: true }),
      JetStreamCluster.start({ nodes: 1 }),
    ]);
    stan = await clients.connect(cluster.urls);
  });
  after(async () => {
    await clients.closeAll();
    await Promise.all([cluster?.stop(), plain?.stop()]);
  });

  const base = (...channels: ChannelOnBothSides[]) => ({
    from: cluster.urls,
    monitor: cluster.nodes[0]!.monitor.url,
    channels: channels.map(({ channel }) => channel),
  });
  const states = ({ ok, problems, channels }: CutReport): unknown => [
    ok,
    problems.map(({ code }) => code),
    ...channels.map(({ state, cutAt }) => [state, cutAt]),
  ];
  /** The other one of two names comes first in a report. */
  const sorted = (...these: ChannelOnBothSides[]): ChannelOnBothSides[] =>
    these.sort((one, other) => (one.channel < other.channel ? -1 : 1));

  describe('is in the configuration of the servers', () => {
    let js: JetStreamSide;
    let one: ChannelOnBothSides;
    let told: CutProgress | undefined;
    before(async () => (js = await JetStreamSide.open(cluster.urls)));
    after(() => js?.close());
    beforeEach(() => {
      one = new ChannelOnBothSides(stan, js);
      told = undefined;
    });
    afterEach(() => configure(NO_MAPPINGS));

    /** As a person does: adds a block to the configuration file, and lets the server read it again. */
    async function configure(block: string): Promise<void> {
      const node = cluster.nodes[0]!;
      await node.configure((text) => `${text.split('# fence\n')[0]}# fence\n${block}\n`);
      await node.reload();
    }
    const mapping = (from: string, to: string): string =>
      `mappings: {\n  ${JSON.stringify(from)}: ${JSON.stringify(to)}\n}`;
    const options = (more: CutOptions = {}): CutOptions => ({
      ...base(one),
      quiet: 300,
      onProgress: (progress) => (told = progress),
      ...more,
    });
    const isTold = (what: RegExp): Promise<void> =>
      until(
        () => what.test(told?.todo ?? ''),
        () => `it says ${JSON.stringify(told)}`,
      );

    it('is half open, with the line for publishers left: it says so, and is not open until that is gone', async () => {
      await configure(mappingsBlock([one.channel]));
      await one.publish(3);
      assert.equal((await copy(base(one))).ok, true);
      await configure(mapping(one.channel, fencedSubject(one.channel)));
      const cutting = cut(options());
      await isTold(new RegExp(`lets nobody into the streams of ${one.channel}, .*[Tt]ake both lines of each`));
      await assert.rejects(js.connection.request(one.channel, 'too early'), /no responders/);
      await configure(NO_MAPPINGS);
      assert.deepEqual(states(await cutting), [true, [], ['opened', 3]]);
      assert.equal(await one.native(), 4);
    });

    it('is half open, with messages that are not copied yet: it says so while nothing can be copied', async () => {
      await configure(mappingsBlock([one.channel]));
      await one.publish(3);
      assert.equal((await copy(base(one))).ok, true);
      await one.publish(2);
      await configure(mapping(one.channel, fencedSubject(one.channel)));
      const cutting = cut(options());
      await isTold(new RegExp(`lets nobody into the streams of ${one.channel}`));
      assert.equal(told?.phase, 'copying');
      await configure(NO_MAPPINGS);
      const report = await cutting;
      assert.deepEqual([report.ok, report.problems, report.channels[0]?.cutAt], [true, [], 5]);
      assert.equal(await one.native(), 6);
    });

    it('is open, with the line for the copy left: nothing is to be done', async () => {
      await one.publish(3);
      assert.equal((await copy(base(one))).ok, true);
      await configure(mapping(importSubject(one.channel), one.channel));
      assert.deepEqual(states(await cut(options())), [true, [], ['open', 3]]);
      assert.equal(told?.todo, undefined);
      assert.equal(await one.native(), 4);
    });

    it('is that of somebody else, who replies to what is published: it says so', async () => {
      await configure(mappingsBlock([one.channel]));
      await one.publish(3);
      assert.equal((await copy(base(one))).ok, true);
      const replying = js.connection.subscribe(fencedSubject(one.channel), {
        callback: (_, message) => void message.respond('here'),
      });
      await js.connection.flush();
      const cutting = cut(options());
      await isTold(new RegExp(`somebody who is no stream replies to what is published to ${one.channel}`));
      replying.unsubscribe();
      await isTold(new RegExp(`keeps publishers of ${one.channel} out`));
      await configure(NO_MAPPINGS);
      assert.deepEqual(states(await cutting), [true, [], ['opened', 3]]);
    });

    it('is opened for some channels only: the others stay shut, and are opened by a cut of their own', async () => {
      const [first, second] = sorted(one, new ChannelOnBothSides(stan, js)) as [ChannelOnBothSides, ChannelOnBothSides];
      await configure(mappingsBlock([first.channel, second.channel]));
      await first.publish(3);
      await second.publish(4);
      assert.equal((await copy(base(first, second))).ok, true);
      const cutting = cut(options(base(first)));
      await isTold(/leave those of other channels/);
      assert.ok(!told!.todo!.includes(second.channel));
      await configure(mappingsBlock([second.channel]));
      assert.deepEqual(states(await cutting), [true, [], ['opened', 3]]);
      assert.equal(await first.native(), 4);
      await assert.rejects(js.connection.request(second.channel, 'too early'), /no responders/);
      await second.publish(1);
      const all = cut(options(base(first, second)));
      await isTold(new RegExp(`keeps publishers of ${second.channel} out`));
      assert.ok(!told!.todo!.includes(first.channel));
      await configure(NO_MAPPINGS);
      assert.deepEqual(states(await all), [true, [], ['open', 3], ['opened', 5]]);
      assert.equal(await second.native(), 6);
    });

    it('leads to a stream that no copy has made: refused, nothing is stored in it, and the others are opened', async () => {
      const [first, second] = sorted(one, new ChannelOnBothSides(stan, js)) as [ChannelOnBothSides, ChannelOnBothSides];
      await first.publish(3);
      await second.publish(3);
      await js.manager.streams.add({ name: first.stream, subjects: [first.channel], max_msgs: 2 });
      // Its first message has a number that STAN has not reached.
      assert.equal(await first.native(6), 6);
      const report = await cut(options(base(first, second)));
      assert.deepEqual(states(report), [false, ['foreign-content'], ['shut', 0], ['open', 3]]);
      assert.match(report.problems[0]!.message, /no copy has made it.*Rename or delete it/);
      assert.deepEqual(await first.numbers(), [undefined, undefined]);
    });
  });

  describe('is in the stream', () => {
    let js: JetStreamSide;
    let one: ChannelOnBothSides;
    before(async () => (js = await JetStreamSide.open(plain.urls)));
    after(() => js?.close());
    beforeEach(() => {
      one = new ChannelOnBothSides(stan, js);
    });
    const options = (...channels: ChannelOnBothSides[]) => ({ ...base(...channels), to: plain.urls });
    const cutNow = (...channels: ChannelOnBothSides[]): Promise<CutReport> =>
      cut({ ...options(...channels), quiet: 300 });

    it('and that stream is one that no copy has made: refused as by the plan, and nothing is appended', async () => {
      for (const natives of [0, 2, 9]) {
        const each = new ChannelOnBothSides(stan, js);
        await each.publish(3);
        await js.manager.streams.add({ name: each.stream, subjects: [each.channel] });
        await each.native(natives);
        const before = await js.manager.streams.info(each.stream);
        assert.deepEqual(
          (await plan(options(each))).problems.map(({ code }) => code),
          ['foreign-content'],
        );
        const report = await cutNow(each);
        assert.deepEqual(states(report), [false, ['foreign-content'], ['shut', 0]], `${natives} native messages`);
        assert.match(report.problems[0]!.message, /no copy has made it.*Rename or delete it/);
        const { state, config } = await js.manager.streams.info(each.stream);
        assert.deepEqual([state, config], [before.state, before.config]);
      }
    });

    it('and somebody has changed the description of that stream: it is known by its messages', async () => {
      await one.publish(3);
      assert.deepEqual(states(await cutNow(one)), [true, [], ['opened', 3]]);
      await one.native();
      await js.manager.streams.update(one.stream, { description: 'orders of the shop' });
      await one.publish(1);
      const report = await cutNow(one);
      assert.deepEqual(states(report), [true, [], ['open', 3]]);
      assert.deepEqual(report.channels[0]!.stragglers, [{ inStan: 4, sequence: 5 }]);
      assert.equal((await js.manager.streams.info(one.stream)).config.description, 'orders of the shop');
    });

    it('and another stream listens on the channel: not opened, and that one is named', async () => {
      await one.publish(3);
      await js.manager.streams.add({ name: `other-${one.stream}`, subjects: [one.channel] });
      const report = await cutNow(one);
      assert.deepEqual(states(report), [false, ['subject-bound'], ['shut', 3]]);
      assert.match(report.problems[0]!.message, new RegExp(`stream 'other-${one.stream}' listens on '${one.channel}'`));
      const other = await js.manager.streams.info(`other-${one.stream}`);
      assert.equal(other.state.messages, 0, 'it is copied into that one');
      await js.manager.streams.delete(`other-${one.stream}`);
      assert.deepEqual(states(await cutNow(one)), [true, [], ['opened', 3]]);
    });

    it('and the servers have mappings that keep publishers out as well: it says so, and is not open until they are gone', async () => {
      const mappings = { [one.channel]: fencedSubject(one.channel) };
      const fenced = await JetStreamCluster.start({ nodes: 1, config: { mappings } });
      const there = await JetStreamSide.open(fenced.urls);
      try {
        const other = { to: fenced.urls, quiet: 300 };
        await one.publish(3);
        const stop = new AbortController();
        let told: CutProgress | undefined;
        const onProgress = (progress: CutProgress): void => void (told = progress);
        const cutting = cut({ ...options(one), ...other, signal: stop.signal, onProgress });
        await until(() => told?.todo !== undefined, 'it does not say what to do');
        assert.match(told!.todo!, new RegExp(`lets nobody into the streams of ${one.channel}`));
        assert.equal(told!.phase, 'waiting');
        await assert.rejects(there.connection.request(one.channel, 'too early'), /no responders/);
        stop.abort();
        assert.deepEqual(states(await cutting), [false, ['not-opened', 'interrupted'], ['shut', 3]]);
        const [node] = fenced.nodes;
        await node!.configure((text) => text.replace(/^mappings[^\n]*\{[^}]*\}/m, NO_MAPPINGS));
        const again = cut({ ...options(one), ...other });
        await node!.reload();
        const report = await again;
        assert.deepEqual([report.ok, report.problems, report.channels[0]?.cutAt], [true, [], 3]);
        assert.equal((await there.jetstream.publish(one.channel, 'native')).seq, 4);
      } finally {
        await there.close();
        await fenced.stop();
      }
    });

    it('is opened for some channels only: the others stay shut, and are opened by a cut of their own', async () => {
      const [first, second] = sorted(one, new ChannelOnBothSides(stan, js)) as [ChannelOnBothSides, ChannelOnBothSides];
      await first.publish(3);
      await second.publish(4);
      assert.equal((await copy(options(first, second))).ok, true);
      assert.deepEqual(states(await cutNow(first)), [true, [], ['opened', 3]]);
      assert.equal(await first.native(), 4);
      await assert.rejects(js.connection.request(second.channel, 'too early'), /no responders/);
      await first.publish(1);
      await second.publish(1);
      const report = await cutNow(first, second);
      assert.deepEqual(states(report), [true, [], ['open', 3], ['opened', 5]]);
      assert.deepEqual(
        report.channels.map(({ stragglers }) => stragglers),
        [[{ inStan: 4, sequence: 5 }], []],
      );
      assert.equal(await second.native(), 6);
    });
  });
});
