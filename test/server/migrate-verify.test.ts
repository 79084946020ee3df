/** `verify`, on real servers: every kind of difference, while a copy follows, after the cut, and as a command. */
import assert from 'node:assert/strict';
import { headers } from '@nats-io/transport-node';
import { ResilientStan } from '../../src/index.js';
import {
  copy,
  cut,
  streamName,
  verify,
  type CopyProgress,
  type Difference,
  type MigrateOptions,
  type VerifiedChannel,
  type VerifyCopyReport,
} from '../../src/migrate/index.js';
import { formatTimestamp } from '../../src/migrate/stan-headers.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { uniqueName, until } from '../support/clients.js';
import { runCommand, startCommand } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';

/** A message on its way into a stream. */
interface Stored {
  sequence: string;
  timestamp: string;
  data: Buffer;
}

describe('verify', function () {
  this.timeout(60_000);
  let cluster: StanCluster;
  let target: JetStreamCluster;
  let stan: ResilientStan;
  let side: JetStreamSide;
  let channel: string;

  before(async () => {
    [cluster, target] = await Promise.all([
      StanCluster.start({
        mode: 'single',
        store: 'memory',
        config: { streaming: { store_limits: { channels: { 'few.>': { max_msgs: 5 } } } } },
      }),
      JetStreamCluster.start({ nodes: 1 }),
    ]);
    stan = await ResilientStan.connect(cluster.urls);
    side = await JetStreamSide.open(target.urls);
  });
  after(async () => {
    await side?.close();
    await stan?.close();
    await Promise.all([cluster?.stop(), target?.stop()]);
  });
  beforeEach(() => {
    channel = uniqueName('verify');
  });

  const publish = async (count: number, to = channel): Promise<void> => {
    for (let i = 1; i <= count; i++) await stan.publish(to, `message ${i}`);
  };
  const sides = (channels = [channel]): MigrateOptions => ({
    from: cluster.urls,
    monitor: cluster.nodes[0]!.monitor.url,
    to: target.urls,
    channels,
  });
  const only = ({ channels }: VerifyCopyReport): VerifiedChannel => {
    assert.equal(channels.length, 1);
    return channels[0]!;
  };
  /** What differs, where the report is as it has to be then. */
  const differences = (report: VerifyCopyReport): readonly Difference[] => {
    const { different, differences: found } = only(report);
    assert.equal(report.ok, found.length === 0);
    assert.equal(
      different,
      found.reduce((sum, { from, to }) => sum + to - from + 1, 0),
    );
    assert.deepEqual(
      report.problems.map(({ code, channel: of, from, to }) => [code, of, from, to]),
      found.length === 0 ? [] : [['different', channel, found[0]!.from, found[0]!.to]],
    );
    for (const { from, to, what } of found) {
      assert.ok(report.problems[0]!.message.includes(`${from === to ? from : `${from} to ${to}`} (${what})`));
    }
    return found;
  };

  /** Ten messages, of which the stream has five from a copy, and then what `change` makes of the others. */
  async function changed(change: (original: Stored) => Stored[]): Promise<VerifyCopyReport> {
    await publish(5);
    assert.deepEqual((await copy(sides())).problems, []);
    await publish(5);
    for await (const { sequence, timestampNanos, data } of stan.read(channel, { from: 6 })) {
      const original = { sequence: String(sequence), timestamp: formatTimestamp(timestampNanos), data };
      for (const stored of change(original)) {
        const carried = headers();
        if (stored.sequence !== '') carried.set('Stan-Sequence', stored.sequence);
        if (stored.timestamp !== '') carried.set('Stan-Timestamp', stored.timestamp);
        await side.jetstream.publish(`$STANIMPORT.${channel}`, stored.data, { headers: carried });
      }
    }
    return await verify(sides());
  }
  /** The same for one message only. */
  const changedAt = (at: number, change: (original: Stored) => Stored[]): Promise<VerifyCopyReport> =>
    changed((original) => (original.sequence === String(at) ? change(original) : [original]));

  it('finds both sides the same, and their digests', async () => {
    await publish(10);
    assert.deepEqual((await copy(sides())).problems, []);
    const report = await verify(sides());
    assert.deepEqual(differences(report), []);
    const { stanDigest, jetStreamDigest, ...rest } = only(report);
    assert.deepEqual(rest, {
      ...{ channel, stream: streamName(channel), first: 1, last: 10, compared: 10, onlyInJetStream: 0 },
      ...{ stragglers: 0, native: 0, different: 0, differences: [] },
    });
    assert.match(stanDigest, /^[0-9a-f]{64}$/);
    assert.equal(stanDigest, jetStreamDigest);
    await publish(1);
    assert.deepEqual((await copy(sides())).problems, []);
    assert.notEqual(only(await verify(sides())).stanDigest, stanDigest);
  });

  describe('says what differs:', () => {
    const is = async (report: VerifyCopyReport, ...expected: [number, number, Difference['what']][]): Promise<void> => {
      assert.deepEqual(
        differences(report),
        expected.map(([from, to, what]) => ({ from, to, what })),
      );
      const { stanDigest, jetStreamDigest } = only(report);
      assert.notEqual(stanDigest, jetStreamDigest);
    };

    it('one byte', async () => {
      await is(await changedAt(8, (original) => [{ ...original, data: Buffer.from('message 4') }]), [8, 8, 'bytes']);
    });

    it('a byte less at the end', async () => {
      await is(await changedAt(10, (original) => [{ ...original, data: original.data.subarray(0, -1) }]), [
        10,
        10,
        'bytes',
      ]);
    });

    it('one nanosecond', async () => {
      const later = (text: string): string => text.replace(/\d(?=Z$)/, (digit) => String((Number(digit) + 1) % 10));
      await is(await changedAt(7, (original) => [{ ...original, timestamp: later(original.timestamp) }]), [
        7,
        7,
        'timestamp',
      ]);
    });

    it('no time at all', async () => {
      await is(await changedAt(7, (original) => [{ ...original, timestamp: '' }]), [7, 7, 'timestamp']);
    });

    it('another number', async () => {
      await is(await changedAt(7, (original) => [{ ...original, sequence: '3' }]), [7, 7, 'sequence']);
    });

    it('several of a kind in a row, as one', async () => {
      await is(await changed((original) => [{ ...original, data: Buffer.from('x') }]), [6, 10, 'bytes']);
    });

    it('messages that are missing in the middle, and at the end', async () => {
      await publish(10);
      assert.deepEqual((await copy(sides())).problems, []);
      for (const seq of [4, 5, 7, 10]) await side.manager.streams.deleteMessage(streamName(channel), seq);
      await is(await verify(sides()), [4, 5, 'missing'], [7, 7, 'missing'], [10, 10, 'missing']);
    });

    it('messages that are missing at the beginning', async () => {
      await publish(10);
      assert.deepEqual((await copy(sides())).problems, []);
      await side.manager.streams.purge(streamName(channel), { seq: 4 });
      await is(await verify(sides()), [1, 3, 'missing']);
    });

    it('all messages', async () => {
      await publish(10);
      assert.deepEqual((await copy(sides())).problems, []);
      await side.manager.streams.purge(streamName(channel));
      await is(await verify(sides()), [1, 10, 'missing']);
    });

    it('a message that is left out, behind which all have another number', async () => {
      const report = await changedAt(7, () => []);
      assert.equal(report.ok, false);
      const [first] = only(report).differences;
      assert.deepEqual([first?.from, report.problems[0]?.from], [7, 7]);
    });

    it('the first twenty of many, and how many there are', async () => {
      await publish(100);
      assert.deepEqual((await copy(sides())).problems, []);
      for (let seq = 1; seq < 100; seq += 2) await side.manager.streams.deleteMessage(streamName(channel), seq);
      const { problems, channels } = await verify(sides());
      assert.deepEqual([channels[0]!.different, channels[0]!.differences.length], [50, 20]);
      assert.match(problems[0]!.message, /differ in 50 of the messages: .*39 \(missing\), …\./);
    });
  });

  it('says that there is no stream, and compares the other channels', async () => {
    const other = `${channel}.other`;
    await publish(3);
    await publish(3, other);
    assert.deepEqual((await copy(sides([other]))).problems, []);
    const { ok, problems, channels } = await verify(sides([channel, other]));
    assert.equal(ok, false);
    assert.deepEqual(
      problems.map(({ code, channel: of }) => [code, of]),
      [['no-stream', channel]],
    );
    assert.deepEqual(
      channels.map((each) => [each.channel, each.compared, each.different]),
      [[other, 3, 0]],
    );
  });

  it('compares a channel whose beginning is gone, and counts what only JetStream has', async () => {
    channel = `few.${channel}`;
    await publish(8);
    assert.deepEqual((await copy(sides())).problems, []);
    const { first, last, compared, onlyInJetStream } = only(await verify(sides()));
    assert.deepEqual([first, last, compared, onlyInJetStream], [4, 8, 5, 0]);
    // The stream keeps what STAN drops.
    const { config } = await side.manager.streams.info(streamName(channel));
    await side.manager.streams.update(streamName(channel), { ...config, max_msgs: -1 });
    await publish(2);
    assert.deepEqual((await copy(sides())).problems, []);
    const report = await verify(sides());
    assert.deepEqual(differences(report), []);
    const after = only(report);
    assert.deepEqual([after.first, after.last, after.compared, after.onlyInJetStream], [6, 10, 5, 2]);
  });

  it('has nothing to compare in an empty channel', async () => {
    const subscription = await stan.subscribe(channel, () => undefined);
    assert.deepEqual((await copy(sides())).problems, []);
    const report = await verify(sides());
    assert.deepEqual([differences(report), only(report).compared, report.compared], [[], 0, 0]);
    await subscription.close();
  });

  it('is true while a copy follows and publishers go on', async () => {
    await publish(10);
    const stop = new AbortController();
    let told: CopyProgress | undefined;
    const following = copy({
      ...sides(),
      follow: true,
      signal: stop.signal,
      onProgress: (progress) => void (told = progress),
    });
    let over = false;
    const publishing = (async () => {
      while (!over) await Promise.all(Array.from({ length: 20 }, (_, i) => stan.publish(channel, `live ${i}`)));
    })();
    try {
      await until(() => told !== undefined && told.messagesDone >= 10, 'the copy does not begin');
      let last = 0;
      for (let i = 0; i < 5; i++) {
        const report = await verify(sides());
        assert.deepEqual(differences(report), []);
        const { compared, last: to } = only(report);
        assert.ok(to > last && compared === to, `${compared} of ${to}, and ${last} before`);
        last = to;
      }
    } finally {
      over = true;
      stop.abort();
      await publishing;
      await following;
    }
  });

  describe('after the cut', () => {
    /** Ten messages, the cut, and behind it: native, two stragglers, native. */
    async function cutOver(): Promise<void> {
      await publish(10);
      assert.deepEqual((await cut({ ...sides(), quiet: 100 })).problems, []);
      await side.jetstream.publish(channel, 'native');
      await publish(2);
      assert.deepEqual((await cut({ ...sides(), quiet: 100 })).problems, []);
      await side.jetstream.publish(channel, 'native');
    }

    it('counts what is native and what came late, and compares the second', async () => {
      await cutOver();
      const report = await verify(sides());
      assert.deepEqual(differences(report), []);
      const { first, last, compared, stragglers, native, stanDigest, jetStreamDigest } = only(report);
      assert.deepEqual([first, last, compared, stragglers, native], [1, 12, 12, 2, 2]);
      assert.equal(stanDigest, jetStreamDigest);
    });

    it('does not miss what native messages have pushed out of a stream with limits, be it all that was copied', async () => {
      await cutOver();
      const stream = streamName(channel);
      await side.manager.streams.update(stream, { max_msgs: 6 });
      const some = await verify(sides());
      assert.deepEqual([differences(some), only(some).first, only(some).compared], [[], 9, 4]);
      await side.manager.streams.update(stream, { max_msgs: 1 });
      const none = await verify(sides());
      assert.deepEqual([differences(none), none.problems, only(none).compared], [[], [], 0]);
      await side.manager.streams.purge(stream);
      assert.deepEqual((await verify(sides())).problems, []);
      // Without limits nobody but a person has taken them.
      await side.manager.streams.update(stream, { max_msgs: -1, max_bytes: -1 });
      assert.deepEqual(differences(await verify(sides())), [{ from: 1, to: 12, what: 'missing' }]);
    });

    it('says which message came late and is not appended yet', async () => {
      await cutOver();
      await publish(1);
      assert.deepEqual(differences(await verify(sides())), [{ from: 13, to: 13, what: 'missing' }]);
      assert.deepEqual((await cut({ ...sides(), quiet: 100 })).problems, []);
      assert.deepEqual(differences(await verify(sides())), []);
    });

    it('says which one was changed, appended twice, or is none of STAN', async () => {
      await cutOver();
      await publish(1);
      const { timestampNanos } = (await stan.read(channel, { from: 13 }).next()).value as { timestampNanos: bigint };
      const late = async (sequence: number, text: string): Promise<void> => {
        const carried = headers();
        carried.set('Stan-Sequence', String(sequence));
        carried.set('Stan-Timestamp', formatTimestamp(timestampNanos));
        await side.jetstream.publish(channel, text, { headers: carried });
      };
      await late(13, 'changed');
      await late(12, 'once more');
      await late(3, 'once more');
      await late(99, 'none');
      assert.deepEqual(differences(await verify(sides())), [
        { from: 12, to: 12, what: 'doubled' },
        { from: 3, to: 3, what: 'doubled' },
        { from: 13, to: 13, what: 'bytes' },
        { from: 14, to: 99, what: 'extra' },
      ]);
    });
  });

  it('writes nothing', async () => {
    await publish(10);
    assert.deepEqual((await copy(sides())).problems, []);
    const state = async (): Promise<string> => {
      const { config, state: of } = await side.manager.streams.info(streamName(channel));
      const inStan = await cluster.nodes[0]!.monitor.get('/streaming/channelsz?subs=1&limit=1000');
      return JSON.stringify([config, of, (inStan as { channels: unknown }).channels]);
    };
    const before = await state();
    assert.deepEqual((await verify(sides())).problems, []);
    // The server may learn a moment later that the clients have left.
    await until(async () => before === (await state()), 'it is not as it was', 10_000);
  });

  describe('as a command', () => {
    const args = (): string[] => [
      ...['migrate', 'verify', '--from', cluster.urls[0]!, '--monitor', cluster.nodes[0]!.monitor.url],
      ...['--to', target.urls[0]!, '--channels', channel],
    ];

    it('ends with 0 when both sides are the same, and with 1 when they are not', async () => {
      await publish(3);
      const none = await runCommand(args());
      assert.deepEqual([none.code, /^✗ there is no stream/m.test(none.stderr)], [1, true]);
      assert.deepEqual((await copy(sides())).problems, []);
      const same = await runCommand(args());
      assert.deepEqual([same.code, same.stderr], [0, '']);
      assert.match(same.stdout, /^3 messages compared in /m);
      await side.manager.streams.deleteMessage(streamName(channel), 2);
      const different = await runCommand(args());
      assert.equal(different.code, 1);
      assert.match(different.stderr, /^✗ channel .* differ in 1 of the messages: 2 \(missing\)/);
      assert.match(different.stdout, /≠/);
    });

    it('writes the report as JSON', async () => {
      await publish(3);
      assert.deepEqual((await copy(sides())).problems, []);
      const { code, stdout } = await runCommand([...args(), '--json']);
      const { duration: _, ...report } = JSON.parse(stdout) as VerifyCopyReport;
      const { duration: __, ...expected } = await verify(sides());
      assert.deepEqual([code, report], [0, expected]);
    });

    it('ends with 2 for a wrong line, and with 130 at Ctrl-C', async () => {
      assert.equal((await runCommand([...args(), '--follow'])).code, 2);
      await publish(3);
      assert.deepEqual((await copy(sides())).problems, []);
      // It waits for a copy that follows and brings this one.
      await publish(1);
      const clientsOf = async (): Promise<number> => (await cluster.nodes[0]!.monitor.clientsz())?.total ?? 0;
      const before = await clientsOf();
      const { child, closed } = startCommand(args());
      child.stdin.end();
      await until(async () => (await clientsOf()) > before, 'it does not connect');
      child.kill('SIGINT');
      const { code, stdout } = await closed;
      assert.deepEqual([code, stdout], [130, '']);
    });
  });
});
