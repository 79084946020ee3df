/** `cut`, and the fence before it: on plain servers, where it is a part of the stream, and in place, where it is configuration. */
import assert from 'node:assert/strict';
import type { ResilientStan } from '../../src/index.js';
import {
  copy,
  cut,
  durables,
  streamName,
  type CutOptions,
  type CutProgress,
  type CutReport,
} from '../../src/migrate/index.js';
import { doorOf, mappingsBlock, NO_MAPPINGS } from '../../src/migrate/fence.js';
import { readMigrateOptions } from '../../src/migrate/options.js';
import { readStreamNote } from '../../src/migrate/stream-note.js';
import { Target } from '../../src/migrate/target.js';
import { OptionReader } from '../../src/option-reader.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { Clients, uniqueName, until } from '../support/clients.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('the cut', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let plain: JetStreamCluster;
  let stan: ResilientStan;
  let channel: string;

  before(async () => {
    [cluster, plain] = await Promise.all([
      StanCluster.start({
        mode: 'single',
        jetstream: true,
        config: {
          streaming: {
            store_limits: {
              max_channels: 0,
              channels: {
                'few.>': { max_msgs: 5 },
                'limited.>': { max_msgs: 200, max_bytes: 4000, max_age: '1h', max_inactivity: '2h' },
              },
            },
          },
        },
      }),
      JetStreamCluster.start({ nodes: 1 }),
    ]);
    stan = await clients.connect(cluster.urls, { clientId: 'publisher' });
  });
  after(async () => {
    await clients.closeAll();
    await Promise.all([cluster?.stop(), plain?.stop()]);
  });
  beforeEach(() => {
    channel = uniqueName('cut');
  });

  /** What came in STAN, in order. */
  const published: string[] = [];
  beforeEach(() => void published.splice(0));
  async function publish(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const text = uniqueName('text');
      await stan.publish(channel, text);
      published.push(text);
    }
  }

  const base = () => ({ from: cluster.urls, monitor: cluster.nodes[0]!.monitor.url, channels: [channel] });

  /** The native publisher of an application. Resolves to the number of its message. */
  async function native(js: JetStreamSide, text = 'native'): Promise<number> {
    return (await js.jetstream.publish(channel, text)).seq;
  }

  /** All that a stream has: number, number in STAN, text. */
  async function content(js: JetStreamSide): Promise<[number, number | undefined, string][]> {
    const name = streamName(channel);
    const { state } = await js.manager.streams.info(name);
    const found: [number, number | undefined, string][] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      const message = await js.manager.streams.getMessage(name, { seq });
      const inStan = message!.header.get('Stan-Sequence');
      assert.equal(message!.subject, channel);
      found.push([seq, inStan === '' ? undefined : Number(inStan), message!.string()]);
    }
    return found;
  }

  const allRight = (report: CutReport): CutReport['channels'][number] => {
    assert.deepEqual([report.ok, report.problems, report.channels.length], [true, [], 1]);
    return report.channels[0]!;
  };

  describe('with the fence of the stream', () => {
    let js: JetStreamSide;
    before(async () => (js = await JetStreamSide.open(plain.urls)));
    after(() => js.close());

    const options = () => ({ ...base(), to: plain.urls });
    const cutNow = (more: CutOptions = {}): Promise<CutReport> => cut({ ...options(), quiet: 300, ...more });

    it('native publishers get no responders before it, and the next number after it', async () => {
      await publish(5);
      assert.equal((await copy(options())).ok, true);
      await assert.rejects(js.connection.request(channel, 'too early'), /no responders/);
      await publish(3);
      const { state, cutAt, stragglers } = allRight(await cutNow());
      assert.deepEqual([state, cutAt, stragglers], ['opened', 8, []]);
      assert.equal(await native(js), 9);
      const { config } = await js.manager.streams.info(streamName(channel));
      assert.deepEqual([config.subjects, config.subject_transform], [[channel], undefined]);
      assert.deepEqual(await content(js), [
        ...published.map((text, i) => [i + 1, i + 1, text]),
        [9, undefined, 'native'],
      ]);
    });

    it('appends what reaches STAN late, with its number there, once, however often it is run', async () => {
      await publish(5);
      assert.equal(allRight(await cutNow()).state, 'opened');
      assert.equal(await native(js), 6);
      await publish(2);
      const { limits, ...late } = allRight(await cutNow());
      assert.deepEqual([limits.messages, limits.age], [1_000_000, undefined]);
      assert.deepEqual(late, {
        channel,
        stream: streamName(channel),
        state: 'open',
        cutAt: 5,
        stragglers: [
          { inStan: 6, sequence: 7 },
          { inStan: 7, sequence: 8 },
        ],
      });
      assert.equal(await native(js), 9);
      await publish(1);
      const both = await Promise.all([cutNow(), cutNow()]);
      for (const report of both) assert.deepEqual(allRight(report).stragglers, [{ inStan: 8, sequence: 10 }]);
      assert.deepEqual(allRight(await cutNow()).stragglers, []);
      assert.deepEqual(await content(js), [
        ...published.slice(0, 5).map((text, i) => [i + 1, i + 1, text]),
        [6, undefined, 'native'],
        [7, 6, published[5]],
        [8, 7, published[6]],
        [9, undefined, 'native'],
        [10, 8, published[7]],
      ]);
      // It is open, and nothing more can be copied into it by number.
      assert.deepEqual(
        (await copy(options())).problems.map(({ code }) => code),
        ['not-importing'],
      );
    });

    it('says which late messages are not in the stream, because JetStream refuses them', async () => {
      await publish(3);
      allRight(await cutNow());
      assert.equal(await native(js), 4);
      await js.manager.streams.update(streamName(channel), { max_msg_size: 200 });
      await publish(1);
      await stan.publish(channel, 'x'.repeat(500));
      await publish(1);
      const { ok, problems, channels } = await cutNow();
      assert.deepEqual(
        [ok, problems.map(({ code, sequence, from, to }) => ({ code, sequence, from, to }))],
        [false, [{ code: 'too-large', sequence: 5, from: 5, to: 6 }]],
      );
      assert.match(
        problems[0]!.message,
        /500 bytes.*message size exceeds maximum allowed.*nats stream edit \S+ --max-msg-size=756/,
      );
      assert.deepEqual(channels[0]!.stragglers, [{ inStan: 4, sequence: 5 }]);
      await js.manager.streams.update(streamName(channel), { max_msg_size: -1 });
      assert.deepEqual(allRight(await cutNow()).stragglers, [
        { inStan: 5, sequence: 6 },
        { inStan: 6, sequence: 7 },
      ]);
    });

    it('does not take a JetStream that is away for a STAN that is silent', async () => {
      await publish(3);
      const [server] = plain.nodes;
      const told: CutProgress[] = [];
      const cutting = cutNow({
        onProgress: (progress) => {
          if (progress.phase !== 'stragglers') return;
          if (told.push(progress) === 1) void server!.pause();
        },
      });
      await until(() => told.length > 0, 'it is not cut');
      await publish(1);
      // It goes on telling, for longer than STAN has to be silent, and in the end why nothing goes on.
      await until(() => told.at(-1)!.todo !== undefined, 'it does not say that JetStream is away');
      assert.match(told.at(-1)!.todo!, /JetStream does not store message 4 of channel/);
      await server!.resume();
      assert.equal(allRight(await cutting).cutAt, 4);
      assert.deepEqual(
        await content(js),
        published.map((text, i) => [i + 1, i + 1, text]),
      );
    });

    it('says which late messages the limits of the channel have dropped before', async () => {
      channel = uniqueName('few.cut');
      await publish(3);
      allRight(await cutNow());
      await publish(8);
      const { ok, problems, channels } = await cutNow();
      assert.deepEqual(
        [ok, problems.map(({ code, from, to }) => ({ code, from, to }))],
        [false, [{ code: 'retention', from: 4, to: 6 }]],
      );
      assert.deepEqual(
        channels[0]!.stragglers.map(({ inStan }) => inStan),
        [7, 8, 9, 10, 11],
      );
    });

    it('before a native message, late ones still have the number of STAN', async () => {
      await publish(3);
      allRight(await cutNow());
      await publish(2);
      const { cutAt, stragglers } = allRight(await cutNow());
      assert.deepEqual([cutAt, stragglers], [5, []]);
      assert.equal(await native(js), 6);
    });

    it('publishers that never stop, on both sides: everything is there once, and those of STAN are in order', async () => {
      await publish(5);
      assert.equal((await copy(options())).ok, true);
      const stop = new AbortController();
      const natives: string[] = [];
      const running = [
        (async () => {
          while (!stop.signal.aborted) await publish(1);
        })(),
        (async () => {
          while (!stop.signal.aborted) {
            const text = uniqueName('native');
            await native(js, text).then(
              () => natives.push(text),
              () => undefined,
            );
          }
        })(),
      ];
      const follow = new AbortController();
      let told: CutProgress | undefined;
      const following = cutNow({ follow: true, signal: follow.signal, onProgress: (progress) => (told = progress) });
      await until(() => (told?.stragglers ?? 0) > 50, 'there are no stragglers');
      stop.abort();
      await Promise.all(running);
      const reached = published.length;
      await until(
        async () => (await content(js)).filter(([, inStan]) => inStan !== undefined).length === reached,
        'not all stragglers are there',
      );
      follow.abort();
      const { cutAt, stragglers } = allRight(await following);
      assert.equal(cutAt + stragglers.length, reached);
      const all = await content(js);
      const ofStan = all.filter(([, inStan]) => inStan !== undefined);
      assert.deepEqual(
        ofStan.map(([, inStan, text]) => [inStan, text]),
        published.map((text, i) => [i + 1, text]),
      );
      assert.deepEqual(
        all.filter(([, inStan]) => inStan === undefined).map(([, , text]) => text),
        natives,
      );
      assert.ok(ofStan.slice(0, cutAt).every(([sequence, inStan]) => sequence === inStan));
    });

    it('a durable that was sent stragglers by STAN: its consumer has the rest, and all native messages', async () => {
      await publish(4);
      allRight(await cutNow());
      assert.equal(await native(js), 5);
      await publish(3);
      assert.equal(allRight(await cutNow()).stragglers.length, 3);
      assert.equal(await native(js), 9);
      const worker = await clients.connect(cluster.urls, { clientId: uniqueName('worker') });
      const sent: number[] = [];
      const subscription = await worker.subscribe(
        channel,
        (message) => {
          sent.push(message.sequence);
          if (message.sequence !== 3 && message.sequence !== 6) message.ack();
        },
        { durableName: 'reader', startAt: 'first', manualAck: true },
      );
      await until(() => sent.length === 7, 'it was not sent everything');
      await subscription.close();
      await worker.close();
      const report = await durables(options());
      assert.deepEqual([report.problems, report.durables[0]?.pending], [[], 2]);
      const got = await js.drain(channel, report.durables[0]!.consumer);
      // 3 as it was, the native 5, number 6 of STAN as 7, and the native 9.
      assert.deepEqual(
        got.map(({ sequence }) => sequence),
        [3, 5, 7, 9],
      );
    });

    it('with the limits of its channel: drops nothing that STAN has, and what somebody sets later stays', async () => {
      channel = uniqueName('limited.cut');
      for (let i = 0; i < 4; i++) {
        await publish(30);
        if (i < 3) assert.equal((await copy(options())).ok, true);
      }
      const stanHas = (await cluster.nodes[0]!.monitor.channelz(channel))!;
      assert.ok(stanHas.first_seq > 1 && stanHas.msgs > 10, 'the limit of bytes is not reached');
      const report = allRight(await cutNow());
      const { config, state } = await js.manager.streams.info(streamName(channel));
      assert.deepEqual([config.max_msgs, config.max_age], [200, 3600e9]);
      assert.ok(config.max_bytes > 4000 && config.max_bytes <= 4000 + stanHas.msgs * 300, String(config.max_bytes));
      assert.deepEqual(report.limits, { messages: 200, bytes: config.max_bytes, age: 3_600_000 });
      assert.equal(report.inactivity, 7_200_000);
      assert.ok(
        state.first_seq <= stanHas.first_seq,
        `STAN begins at ${stanHas.first_seq}, the stream at ${state.first_seq}`,
      );
      await Promise.all(Array.from({ length: 150 }, () => native(js)));
      const after = await js.manager.streams.info(streamName(channel));
      assert.ok(after.state.bytes <= config.max_bytes, 'the limit does not hold');
      assert.ok(after.state.first_seq > stanHas.first_seq, 'nothing was dropped, so the limit was not reached');
      await js.manager.streams.update(streamName(channel), { max_bytes: 9000 });
      assert.equal(allRight(await cutNow()).limits.bytes, 9000);
    });

    it('a limit that the target has no room for: the stream is open all the same, and it says what to do', async () => {
      await publish(3);
      const small = await JetStreamCluster.start({ nodes: 1, config: { jetstream: { max_file_store: 100_000_000 } } });
      try {
        const { ok, problems, channels } = await cutNow({ to: small.urls });
        assert.deepEqual(
          [ok, problems.map(({ code }) => code), channels[0]?.state],
          [false, ['not-limited'], 'opened'],
        );
        assert.match(problems[0]!.message, /nats stream edit \S+ --max-bytes=\d+$/);
        const there = await JetStreamSide.open(small.urls);
        const { config } = await there.manager.streams.info(streamName(channel));
        assert.equal(readStreamNote(config.description)?.state, 'cut');
        assert.equal(await native(there), 4);
        await there.manager.streams.update(streamName(channel), { max_bytes: 50_000_000 });
        await there.close();
        assert.equal(allRight(await cutNow({ to: small.urls })).limits.bytes, 50_000_000);
      } finally {
        await small.stop();
      }
    });

    it('native publishers beside the step durables: get no responders, and it does not notice', async () => {
      await publish(30);
      assert.equal((await copy(options())).ok, true);
      const worker = await clients.connect(cluster.urls, { clientId: uniqueName('worker') });
      let sent = 0;
      const subscription = await worker.subscribe(channel, () => void sent++, {
        durableName: 'reader',
        startAt: 'first',
        manualAck: true,
      });
      await until(() => sent === 30, 'it was not sent everything');
      await subscription.close();
      await worker.close();
      const stop = new AbortController();
      let refused = 0;
      const natives = (async () => {
        while (!stop.signal.aborted) {
          await assert.rejects(js.connection.request(channel, 'too early'), /no responders/);
          refused++;
        }
      })();
      const report = await durables(options());
      stop.abort();
      await natives;
      assert.deepEqual([report.ok, report.problems, refused > 0], [true, [], true]);
      const got = await js.drain(channel, report.durables[0]!.consumer);
      assert.deepEqual(
        got.map(({ text }) => text),
        published,
      );
    });

    it('STAN began anew after the cut: refused, and nothing is appended', async () => {
      await publish(4);
      allRight(await cutNow());
      assert.equal(await native(js), 5);
      const other = await StanCluster.start({ mode: 'single', store: 'memory' });
      try {
        const fresh = await clients.connect(other.urls);
        for (let i = 0; i < 8; i++) await fresh.publish(channel, 'anew');
        const { ok, problems } = await cutNow({ from: other.urls, monitor: other.nodes[0]!.monitor.url });
        assert.deepEqual([ok, problems.map(({ code }) => code)], [false, ['source-wiped']]);
        assert.match(problems[0]!.message, /Nothing was appended/);
        assert.equal((await content(js)).length, 5);
        await fresh.close();
      } finally {
        await other.stop();
      }
    });

    it('what cannot be copied is not opened, and the others are', async () => {
      await publish(2);
      await js.manager.streams.add({ name: streamName(channel), subjects: [`${channel}.else`] });
      const { ok, problems, channels } = await cutNow();
      assert.deepEqual([ok, problems.map(({ code }) => code), channels[0]?.state], [false, ['not-importing'], 'shut']);
    });
  });

  describe('in place, with the fence of the servers', () => {
    let js: JetStreamSide;
    before(async () => (js = await JetStreamSide.open(cluster.urls)));
    after(() => js.close());
    afterEach(() => configure(NO_MAPPINGS));

    /** As a person does: adds a block to the configuration file, and lets the server read it again. */
    async function configure(block: string): Promise<void> {
      const node = cluster.nodes[0]!;
      await node.configure((text) => `${text.split('# fence\n')[0]}# fence\n${block}\n`);
      await node.reload();
    }

    const cutNow = (more: CutOptions = {}): Promise<CutReport> => cut({ ...base(), quiet: 300, ...more });

    async function door(): Promise<string> {
      const resolved = readMigrateOptions(
        new OptionReader(base(), 'options', { known: ['from', 'monitor', 'channels'] }),
      );
      await using target = await Target.open(resolved.target);
      return await doorOf(target, channel);
    }

    it('the question whether a door is open changes nothing', async () => {
      assert.equal(await door(), 'closed');
      await publish(2);
      await copy(base());
      const before = await js.manager.streams.info(streamName(channel));
      assert.equal(await door(), 'open');
      await configure(mappingsBlock([channel]));
      assert.equal(await door(), 'shut');
      const after = await js.manager.streams.info(streamName(channel));
      assert.deepEqual(after.state, before.state);
      assert.deepEqual(after.config, before.config);
    });

    it('a foreign publish in the middle of a copy: gets no responders, and the copy does not notice', async () => {
      await configure(mappingsBlock([channel]));
      await publish(20);
      const stop = new AbortController();
      const following = copy({ ...base(), follow: true, signal: stop.signal });
      let refused = 0;
      for (let i = 0; i < 20; i++) {
        await publish(1);
        await js.connection.request(channel, 'foreign').catch((error: Error) => {
          assert.match(error.message, /no responders/);
          refused++;
        });
        js.connection.publish(channel, 'foreign');
      }
      // Until the copy has made it there is no stream.
      const last = (): Promise<number> =>
        js.manager.streams.info(streamName(channel)).then(
          ({ state }) => state.last_seq,
          () => 0,
        );
      await until(async () => (await last()) >= 40, 'the copy does not follow');
      stop.abort();
      const { ok, channels } = await following;
      assert.deepEqual([ok, channels[0]?.fenced, refused], [true, true, 20]);
      assert.deepEqual(
        await content(js),
        published.map((text, i) => [i + 1, i + 1, text]),
      );
    });

    it('without it, a native message in the middle of the cut: ends with its number, and stores nothing of STAN behind it', async () => {
      await publish(300);
      const stop = new AbortController();
      const natives = (async () => {
        while (!stop.signal.aborted) {
          js.connection.publish(channel, 'foreign');
          await js.connection.flush();
        }
      })();
      const { ok, problems, channels } = await cutNow();
      stop.abort();
      await natives;
      const all = await content(js);
      const first = all.find(([, inStan]) => inStan === undefined)![0];
      assert.deepEqual(
        [ok, problems.map(({ code, sequence }) => [code, sequence]), channels[0]?.state, channels[0]?.stragglers],
        [false, [['foreign-message', first]], 'shut', []],
      );
      assert.match(problems[0]!.message, new RegExp(`message ${first} of stream`));
      assert.ok(all.slice(first - 1).every(([, inStan]) => inStan === undefined));
      // It stays so.
      const again = await cutNow();
      assert.deepEqual(again.problems, problems);
    });

    it('without it, native messages that come when all of STAN is in the stream are where the cut is', async () => {
      await publish(5);
      assert.equal((await copy(base())).ok, true);
      assert.equal(await native(js), 6);
      const report = allRight(await cutNow());
      assert.deepEqual([report.state, report.cutAt], ['open', 5]);
      await publish(1);
      assert.deepEqual(allRight(await cutNow()).stragglers, [{ inStan: 6, sequence: 7 }]);
      const { problems } = await copy(base());
      assert.deepEqual(
        problems.map(({ code, sequence }) => [code, sequence]),
        [['cut-already', 6]],
      );
    });

    it('again, when the limits of the stream have dropped all that was copied: appends what is late, once', async () => {
      channel = uniqueName('few.cut');
      await publish(3);
      assert.equal(allRight(await cutNow()).cutAt, 3);
      for (let i = 0; i < 6; i++) await native(js);
      await publish(2);
      const { cutAt, stragglers } = allRight(await cutNow());
      assert.deepEqual(
        [cutAt, stragglers],
        [
          3,
          [
            { inStan: 4, sequence: 10 },
            { inStan: 5, sequence: 11 },
          ],
        ],
      );
      for (let i = 0; i < 6; i++) await native(js);
      assert.deepEqual(allRight(await cutNow()).stragglers, []);
    });

    it('without it, a native message in the middle of the step durables: ends with its number, and makes nothing more', async () => {
      await publish(10);
      const work = async (clientId: string): Promise<void> => {
        const worker = await clients.connect(cluster.urls, { clientId });
        let sent = 0;
        const subscription = await worker.subscribe(channel, () => void sent++, {
          durableName: 'reader',
          startAt: 'first',
          manualAck: true,
        });
        await until(() => sent === 10, 'it was not sent everything');
        await subscription.close();
        await worker.close();
      };
      await work('a-worker');
      await work('b-worker');
      assert.equal((await copy(base())).ok, true);
      const first = await durables({
        ...base(),
        onProgress: ({ done }) => {
          if (done === 1) js.connection.publish(channel, 'foreign');
        },
      });
      assert.deepEqual(
        [first.ok, first.problems.map(({ code, sequence }) => [code, sequence])],
        [false, [['foreign-message', 11]]],
      );
      const again = await durables(base());
      assert.deepEqual(
        again.durables.map(({ outcome }) => outcome),
        ['refused', 'refused'],
      );
      assert.ok(again.problems.every(({ code, sequence }) => code === 'foreign-message' && sequence === 11));
      assert.equal((await content(js)).length, 11);
    });

    it('waits for the servers, says what to do, and goes on copying meanwhile; then the first native message is the next', async () => {
      await configure(mappingsBlock([channel]));
      await publish(3);
      let told: CutProgress | undefined;
      const cutting = cutNow({ onProgress: (progress) => (told = progress) });
      await until(() => told?.phase === 'waiting', 'it does not wait');
      assert.match(
        told?.todo ?? '',
        new RegExp(`keeps publishers of ${channel} out: take both lines of each of these channels out`),
      );
      await publish(2);
      await until(
        async () => (await js.manager.streams.info(streamName(channel))).state.last_seq === 5,
        'it does not go on copying',
      );
      // Without any mappings the server keeps those that it has.
      await configure('');
      await assert.rejects(js.connection.request(channel, 'too early'), /no responders/);
      assert.equal(told?.phase, 'waiting');
      await configure(NO_MAPPINGS);
      assert.equal(await native(js), 6);
      await publish(1);
      const { state, cutAt, stragglers } = allRight(await cutting);
      assert.deepEqual([state, cutAt], ['opened', 5]);
      assert.deepEqual(stragglers, [{ inStan: 6, sequence: 7 }]);
    });

    it('told to stop while it waits: not open, says why, and can be run again', async () => {
      await configure(mappingsBlock([channel]));
      await publish(3);
      const stop = new AbortController();
      const { ok, problems, channels } = await cutNow({
        signal: stop.signal,
        onProgress: ({ phase }) => phase === 'waiting' && stop.abort(),
      });
      assert.deepEqual(
        [ok, problems.map(({ code }) => code), channels[0]?.state],
        [false, ['not-opened', 'interrupted'], 'shut'],
      );
      await configure(NO_MAPPINGS);
      assert.deepEqual(allRight(await cutNow()).state, 'open');
      assert.equal(await native(js), 4);
    });
  });
});
