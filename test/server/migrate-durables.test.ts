/** `durables` of a migration in place: what each consumer delivers is compared with what its durable would have got. */
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { headers } from '@nats-io/transport-node';
import type { ResilientStan, SubscribeOptions } from '../../src/index.js';
import { consumerName, durables, streamName, type DurableId, type DurablesReport } from '../../src/migrate/index.js';
import { noteText } from '../../src/migrate/consumer-note.js';
import { StanCluster, type StanNode, type SubscriptionMonitor } from '../../src/testing/index.js';
import { Clients, uniqueName, until } from '../support/clients.js';
import { startCommand, type Running } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('durables in JetStream', function () {
  this.timeout(60_000);
  /** The publisher, for all tests. */
  const lasting = new Clients();
  const clients = new Clients();
  const processes: Running[] = [];
  let cluster: StanCluster;
  let server: StanNode;
  let stan: ResilientStan;
  let js: JetStreamSide;
  let channel: string;

  /**
   * A consumer that nobody uses, from the first moment on. Servers delete one that is not durable after 5 s. A whole minute is waited for by
   * `npm run migration:positions`.
   */
  const idle = { channel: uniqueName('idle'), since: 0 };
  const IDLE_FOR = 15_000;

  before(async () => {
    cluster = await StanCluster.start({
      mode: 'single',
      config: {
        jetstream: { store_dir: 'jetstream' },
        streaming: { store_limits: { max_channels: 0, channels: { 'few.>': { max_msgs: 10 } } } },
      },
    });
    server = cluster.nodes[0]!;
    stan = await lasting.connect(cluster.urls, { clientId: 'publisher' });
    js = await JetStreamSide.open(cluster.urls);
    await publish(20, idle.channel);
    await work('worker', { channel: idle.channel, only: (sequence) => sequence % 2 === 0, until: 20 });
    await js.copy(stan, idle.channel);
    await move({ channels: [idle.channel] });
    idle.since = performance.now();
  });
  after(async () => {
    await js?.close();
    await lasting.closeAll();
    await cluster?.stop();
  });
  beforeEach(() => {
    channel = uniqueName('durables');
  });
  afterEach(async () => {
    await clients.closeAll();
    for (const { child, closed } of processes.splice(0)) {
      child.kill('SIGKILL');
      await closed;
    }
  });

  async function publish(count: number, to = channel): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => stan.publish(to, uniqueName('text'))));
  }

  interface Work extends SubscribeOptions {
    channel?: string;
    /** What it acknowledges. Default: everything. */
    only?: (sequence: number) => boolean;
    /** It stops when it was sent this one. */
    until: number;
  }

  /** Subscribes to a durable for a while, and leaves. Returns what it was sent, in order. */
  async function work(
    clientId: string,
    { channel: on = channel, only = () => true, until: last, ...options }: Work,
  ): Promise<number[]> {
    const client = await clients.connect(cluster.urls, { clientId });
    const sent: number[] = [];
    const subscription = await client.subscribe(
      on,
      (message) => {
        sent.push(message.sequence);
        if (only(message.sequence)) message.ack();
      },
      { durableName: 'reader', startAt: 'first', maxInFlight: 100, ...options, manualAck: true },
    );
    await until(
      () => sent.includes(last) || last === 0,
      () => `${clientId} was sent ${sent.length} messages, and ${last} is not among them`,
    );
    await subscription.close();
    await client.close();
    return sent;
  }

  async function subscriptions(on = channel): Promise<SubscriptionMonitor[]> {
    // Whoever reads the channel for the test is none of them, and may be there for a moment longer.
    return ((await server.monitor.channelz(on))?.subscriptions ?? []).filter((each) => each.is_durable);
  }

  function move(options: Parameters<typeof durables>[0] = {}): Promise<DurablesReport> {
    return durables({ from: cluster.urls, monitor: server.monitor.url, channels: [channel], ...options });
  }

  const reader = (clientId = 'worker'): string => consumerName({ clientId, durable: 'reader' });

  /** What a consumer delivers is these messages of STAN, byte by byte, in this order. */
  async function delivers(consumer: string, sequences: readonly number[], on = channel): Promise<void> {
    const stored = new Map<number, string>();
    for await (const message of stan.read(on, { from: 1 })) stored.set(message.sequence, message.string());
    const got = await js.drain(on, consumer);
    assert.deepEqual(
      got,
      sequences.map((sequence) => ({ sequence, text: stored.get(sequence) })),
    );
  }

  /** The sequences from one to another that are not acknowledged. */
  const range = (from: number, to: number, but = (_: number) => false): number[] =>
    Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((sequence) => !but(sequence));

  /** There is nothing wrong, and of each durable this came. */
  function outcomes({ ok, problems, durables: moved }: DurablesReport): string[] {
    assert.deepEqual([ok, problems], [true, []]);
    return moved.map(({ consumer, outcome, lastSent, pending }) => `${consumer} ${outcome} ${lastSent} ${pending}`);
  }

  it('caught up: delivers what comes next, and nothing before', async () => {
    await publish(10);
    await work('worker', { until: 10 });
    await until(async () => (await subscriptions())[0]?.pending_count === 0, 'acknowledgements are missing');
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 10 0']);
    await publish(3);
    await js.copy(stan, channel);
    await delivers(reader(), [11, 12, 13]);
  });

  it('nothing pending, and messages that were never sent: goes on with them', async () => {
    await publish(10);
    await work('worker', { until: 10 });
    await publish(10);
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 10 0']);
    await delivers(reader(), range(11, 20));
  });

  it('an empty channel: begins with its first message', async () => {
    await work('worker', { until: 0, startAt: 'new' });
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 0 0']);
    await publish(3);
    await js.copy(stan, channel);
    await delivers(reader(), [1, 2, 3]);
  });

  it('with holes: the pending ones again, and then the rest; STAN still has the same', async () => {
    await publish(50);
    const acknowledged = (sequence: number): boolean => sequence % 3 === 0 || (sequence > 20 && sequence < 30);
    await work('worker', { only: acknowledged, until: 40, maxInFlight: 24 });
    let lastSent = 0;
    let pending = 0;
    let missing: number[] = [];
    await until(async () => {
      const [now] = await subscriptions();
      [lastSent, pending] = [now?.last_sent ?? 0, now?.pending_count ?? 0];
      missing = range(1, lastSent, acknowledged);
      return missing.length === pending;
    }, 'acknowledgements are missing');
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), [`worker+reader made ${lastSent} ${pending}`]);

    const after = await js.manager.consumers.info(streamName(channel), reader());
    assert.deepEqual([after.config.headers_only ?? false, after.config.ack_wait], [false, 30e9]);
    await delivers(reader(), [...missing, ...range(lastSent + 1, 50)]);
    // The way back: STAN has kept the durable as it was, with its window.
    const [now] = await subscriptions();
    assert.deepEqual([now?.last_sent, now?.pending_count, now?.is_offline], [lastSent, pending, true]);
    assert.deepEqual(await work('worker', { until: 50 }), [...missing, ...range(lastSent + 1, 50)]);
  });

  it('one at a time stays one at a time, and any other window is at least that of JetStream', async () => {
    await publish(5);
    await work('one', { only: () => false, until: 1, maxInFlight: 1, ackWait: 7000 });
    await work('many', { only: () => false, until: 5, maxInFlight: 3000 });
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['many+reader made 5 5', 'one+reader made 1 1']);
    const one = await js.manager.consumers.info(streamName(channel), reader('one'));
    const many = await js.manager.consumers.info(streamName(channel), reader('many'));
    assert.deepEqual([one.config.max_ack_pending, one.config.ack_wait], [1, 7e9]);
    assert.equal(many.config.max_ack_pending, 3000);
    await delivers(reader('one'), [1, 2, 3, 4, 5]);
  });

  it('a durable queue group: what all its members left, for one consumer', async () => {
    await publish(40);
    const members = [await clients.connect(cluster.urls), await clients.connect(cluster.urls)];
    const sent = new Set<number>();
    const acknowledged = (sequence: number): boolean => sequence % 4 === 0;
    for (const member of members) {
      await member.subscribe(
        channel,
        (message) => {
          sent.add(message.sequence);
          if (acknowledged(message.sequence)) message.ack();
        },
        { queueGroup: 'workers', durableName: 'd', startAt: 'first', maxInFlight: 12, manualAck: true },
      );
    }
    await until(async () => {
      const all = await subscriptions();
      const pending = all.reduce((sum, each) => sum + each.pending_count, 0);
      const last = Math.max(...all.map((each) => each.last_sent));
      return all.every((each) => each.is_stalled) && pending === range(1, last, acknowledged).length;
    }, 'the group has room');
    for (const member of members) await member.close();
    await until(async () => (await subscriptions())[0]?.is_offline === true, 'the group is online');
    const [{ last_sent: lastSent } = { last_sent: 0 }] = await subscriptions();
    const missing = range(1, lastSent, acknowledged);
    await js.copy(stan, channel);
    const consumer = consumerName({ durable: 'd', group: 'workers' });
    assert.deepEqual(outcomes(await move()), [`${consumer} made ${lastSent} ${missing.length}`]);
    await delivers(consumer, [...missing, ...range(lastSent + 1, 40)]);
  });

  it('10 000 pending, and a window of five', async () => {
    await publish(10_500);
    await work('worker', { only: (sequence) => sequence % 21 === 0, until: 10_499, maxInFlight: 10_000 });
    await work('worker', { only: () => false, until: 1, maxInFlight: 5 });
    const [now] = await subscriptions();
    assert.deepEqual([now?.max_inflight, now?.pending_count], [5, 10_000]);
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 10499 10000']);
    const pull = await js.jetstream.consumers.get(streamName(channel), reader());
    const got: number[] = [];
    while (got.length < 10_001) {
      const batch = await pull.fetch({ max_messages: 1000, expires: 2000 });
      for await (const message of batch) {
        got.push(message.seq);
        message.ack();
      }
    }
    assert.deepEqual(got, [...range(1, 10_499, (sequence) => sequence % 21 === 0), 10_500]);
  });

  it('offline for so long that the channel has dropped what is pending: goes on with what is left', async () => {
    channel = uniqueName('few.channel');
    await publish(10);
    await work('worker', { only: (sequence) => sequence % 2 === 0, until: 10 });
    await publish(5);
    // 1 to 5 are gone, and of the pending ones 7 and 9 are left.
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 10 2']);
    await delivers(reader(), [7, 9, 11, 12, 13, 14, 15]);
    assert.deepEqual(outcomes(await move()), ['worker+reader unchanged 10 2']);
  });

  it('offline for so long that all it was sent is dropped: begins with the first message that is left', async () => {
    channel = uniqueName('few.channel');
    await publish(5);
    await work('worker', { only: (sequence) => sequence > 1, until: 5 });
    await publish(20);
    await js.copy(stan, channel);
    await move();
    const { config } = await js.manager.consumers.info(streamName(channel), reader());
    assert.equal(config.max_ack_pending, 1000);
    await delivers(reader(), range(16, 25));
  });

  it('made once and never attached to again, with nothing sent: has its place', async () => {
    await publish(10);
    await work('worker', { until: 0, startAt: 'new' });
    await publish(5);
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 10 0']);
    await delivers(reader(), range(11, 15));
  });

  it('online: refused with the client that holds it, and nothing is made', async () => {
    await publish(5);
    const client = await clients.connect(cluster.urls, { clientId: 'holder' });
    const subscription = await client.subscribe(channel, () => undefined, { durableName: 'reader', startAt: 'first' });
    await js.copy(stan, channel);
    const { ok, problems, durables: moved } = await move();
    assert.equal(ok, false);
    assert.deepEqual(
      problems.map(({ code, message }) => [code, message.includes("client 'holder' holds it")]),
      [['durable-online', true]],
    );
    assert.equal(moved[0]?.outcome, 'refused');
    // Its client is connected without being subscribed, and we would need its ID.
    await subscription.close();
    const still = await move();
    assert.match(still.problems[0]?.message ?? '', /is offline, and its client is connected: client 'holder' holds it/);
    assert.deepEqual(await js.manager.consumers.list(streamName(channel)).next(), []);
    assert.equal(client.state, 'connected');
    await client.close();
    assert.deepEqual(outcomes(await move()), ['holder+reader made 5 0']);
  });

  it('a mistyped name: makes nothing, neither in STAN nor in JetStream, and says what there is', async () => {
    await publish(5);
    await work('worker', { until: 5 });
    await js.copy(stan, channel);
    const before = await subscriptions();
    for (const [name, hint] of [
      ['raeder', /did you mean 'reader'\?/],
      ['worker/something', /there are 'worker\/reader'/],
    ] as const) {
      const { ok, problems, durables: moved } = await move({ durables: [name] });
      assert.deepEqual([ok, moved, problems.map(({ code }) => code)], [false, [], ['no-durable']]);
      assert.match(problems[0]!.message, hint);
    }
    assert.deepEqual(await subscriptions(), before);
    assert.deepEqual(await js.manager.consumers.list(streamName(channel)).next(), []);
    assert.deepEqual(outcomes(await move({ durables: ['worker/reader'] })), ['worker+reader made 5 0']);
  });

  it('a channel that is not copied so far: refused, and says how far it is', async () => {
    await publish(10);
    await work('worker', { only: (sequence) => sequence < 5, until: 10 });
    assert.match((await move()).problems[0]?.message ?? '', /there is no stream .* copy it first/);
    await js.copy(stan, channel, { to: 7 });
    const { problems } = await move();
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['not-copied'],
    );
    assert.match(problems[0]!.message, /stands at 10, and stream '.*' has STAN's messages up to 7/);
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 10 6']);
    await delivers(reader(), range(5, 10));
  });

  it('running it again changes nothing, also when the consumer is in use', async () => {
    await publish(10);
    await work('worker', { only: (sequence) => sequence > 5, until: 10 });
    await js.copy(stan, channel);
    await move();
    const stream = streamName(channel);
    const info = async () => {
      const {
        ts: _,
        num_waiting: __,
        ...rest
      } = (await js.manager.consumers.info(stream, reader())) as never as Record<string, unknown>;
      return rest;
    };
    const before = await info();
    const inStan = await subscriptions();
    assert.deepEqual(outcomes(await move()), ['worker+reader unchanged 10 5']);
    assert.deepEqual(await info(), before);
    assert.deepEqual(await subscriptions(), inStan);
    await js.drain(channel, reader(), 3);
    const used = await info();
    assert.deepEqual(outcomes(await move()), ['worker+reader unchanged 10 5']);
    assert.deepEqual(await info(), used);
    await delivers(reader(), [4, 5]);
  });

  it('a consumer that has lost its state with the server that kept it is made again', async () => {
    await publish(10);
    await work('worker', { only: (sequence) => sequence > 5, until: 10 });
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 10 5']);
    const stream = streamName(channel);
    const { config } = await js.manager.consumers.info(stream, reader());
    await js.manager.consumers.delete(stream, reader());
    await js.manager.consumers.add(stream, config);
    assert.deepEqual(outcomes(await move()), ['worker+reader remade 10 5']);
    await delivers(reader(), range(1, 5));
  });

  it('moved on in STAN since: made again when nobody has used it, and refused when somebody has', async () => {
    await publish(10);
    await work('worker', { only: (sequence) => sequence > 5, until: 10 });
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 10 5']);
    await publish(10);
    await work('worker', { only: (sequence) => sequence > 2, until: 20 });
    await js.copy(stan, channel);
    assert.deepEqual(outcomes(await move()), ['worker+reader remade 20 2']);
    await js.drain(channel, reader(), 1);
    await publish(1);
    await work('worker', { until: 21 });
    await js.copy(stan, channel);
    const { problems } = await move();
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['used-on-both-sides'],
    );
  });

  it('a consumer of that name that somebody else has made: refused, and left as it is', async () => {
    await publish(5);
    await work('worker', { until: 5 });
    await js.copy(stan, channel);
    await js.manager.consumers.add(streamName(channel), { durable_name: reader(), ack_policy: 'explicit' });
    const { problems } = await move();
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['consumer-exists'],
    );
  });

  it('a name that is too long for JetStream: refused, and the others are made', async () => {
    await publish(5);
    const long = 'ä'.repeat(50);
    await work('a-first', { until: 5, durableName: long });
    await work('worker', { only: (sequence) => sequence < 4, until: 5 });
    await js.copy(stan, channel);
    const { ok, problems, durables: moved } = await move();
    assert.deepEqual(
      [ok, problems.map(({ code }) => code), moved.map(({ outcome }) => outcome)],
      [false, ['name-too-long'], ['refused', 'made']],
    );
    assert.match(problems[0]!.message, /a name of 308 characters, and JetStream takes 255/);
    await delivers(reader(), [4, 5]);
  });

  it('JetStream refuses one: told, and the others are made', async () => {
    await publish(5);
    for (const clientId of ['one', 'two']) await work(clientId, { until: 5 });
    await js.manager.streams.add({ name: streamName(channel), subjects: [channel], max_consumers: 2 });
    await js.copy(stan, channel);
    await js.manager.consumers.add(streamName(channel), { durable_name: 'of-somebody', ack_policy: 'explicit' });
    const { ok, problems, durables: moved } = await move();
    assert.deepEqual(
      [ok, problems.map(({ code }) => code), moved.map(({ outcome }) => outcome)],
      [false, ['target'], ['made', 'refused']],
    );
    assert.match(
      problems[0]!.message,
      /makes no consumer of the durable 'reader' of client 'two' .* maximum consumers/,
    );
  });

  it('readers that wait for the consumer while it is made: get nothing of it before it is ready', async () => {
    await publish(2000);
    await work('worker', { only: (sequence) => sequence % 2 === 0, until: 2000, maxInFlight: 2000 });
    await js.copy(stan, channel);
    const texts: string[] = [];
    let over = false;
    const early = (async () => {
      while (!over) {
        try {
          const pull = await js.jetstream.consumers.get(streamName(channel), reader());
          for await (const message of await pull.fetch({ max_messages: 10, expires: 1000 })) {
            texts.push(message.string());
            message.ack();
          }
        } catch {
          // It is not there, or not ready.
        }
      }
    })();
    assert.deepEqual(outcomes(await move()), ['worker+reader made 2000 1000']);
    await until(
      () => texts.length === 1000,
      () => `it has got ${texts.length}`,
    );
    over = true;
    await early;
    assert.ok(texts.every((text) => text !== ''));
    assert.equal(new Set(texts).size, 1000);
  });

  it('a STAN that is another one than that of the copy: refused, and nothing is made', async () => {
    await publish(5);
    await work('worker', { only: (sequence) => sequence < 4, until: 5 });
    const name = streamName(channel);
    await js.manager.streams.add({ name, subjects: [channel] });
    for (let i = 1; i <= 8; i++) {
      const carried = headers();
      carried.set('Stan-Sequence', String(i));
      await js.jetstream.publish(channel, 'of another time', { headers: carried });
    }
    const codes = async () => (await move()).problems.map(({ code }) => code);
    assert.deepEqual(await codes(), ['source-wiped']);
    await publish(5);
    assert.deepEqual(await codes(), ['source-wiped']);
    assert.deepEqual(await js.manager.consumers.list(name).next(), []);
  });

  it('one that was cut short while it was made: made again', async () => {
    await publish(10);
    await work('worker', { only: (sequence) => sequence > 5, until: 10, maxInFlight: 1500 });
    await js.copy(stan, channel);
    // As a run leaves it that dies: with a part of the acknowledgements, and its own window in STAN.
    await move();
    await js.manager.consumers.delete(streamName(channel), reader());
    await js.manager.consumers.add(streamName(channel), {
      durable_name: reader(),
      description: noteText({ state: 'making' }),
      ack_policy: 'explicit',
      headers_only: true,
    });
    await js.drain(channel, reader(), 2);
    assert.equal((await subscriptions())[0]?.max_inflight, 1);
    assert.deepEqual(outcomes(await move()), ['worker+reader made 10 5']);
    const { config } = await js.manager.consumers.info(streamName(channel), reader());
    assert.equal(config.max_ack_pending, 1500);
    await delivers(reader(), [1, 2, 3, 4, 5]);
  });

  it('its window is that of its last subscriber, also when one message is pending and the target was wiped since', async () => {
    channel = uniqueName('group.and.durable');
    await publish(10);
    await work('worker', { only: (sequence) => sequence !== 4, until: 10, maxInFlight: 1500 });
    await work('worker', { only: (s) => s !== 1, until: 0, durableName: 'untouched', startAt: 'new', maxInFlight: 7 });
    const group = { queueGroup: 'workers', durableName: 'd' };
    await work('one', { only: (sequence) => sequence !== 9, until: 10, maxInFlight: 2000, ...group });
    const windows = async (): Promise<(number | undefined)[]> => {
      const names = [reader(), consumerName({ durable: 'd', group: 'workers' })];
      const all = names.map((name) => js.manager.consumers.info(streamName(channel), name));
      return (await Promise.all(all)).map(({ config }) => config.max_ack_pending);
    };
    for (let round = 1; round <= 2; round++) {
      await js.copy(stan, channel);
      const made = outcomes(await move());
      assert.deepEqual(
        made.filter((line) => !line.includes('untouched')),
        ['group+d+workers made 10 1', 'worker+reader made 10 1'],
      );
      assert.deepEqual(await windows(), [1500, 2000], `round ${round}`);
      const inStan = await subscriptions();
      assert.deepEqual(inStan.map((each) => each.max_inflight).sort(), [1, 1, 7]);
      await js.manager.streams.delete(streamName(channel));
      if (round === 1) {
        await server.stop();
        await server.start();
      }
    }
    // The next subscriber says its own one, and that one counts.
    await work('worker', { only: () => false, until: 4, maxInFlight: 1 });
    await js.copy(stan, channel);
    await move();
    assert.deepEqual(await windows(), [1, 2000]);
  });

  describe('of a client that is gone without a word', () => {
    /** A subscriber in a process of its own. */
    async function subscriber(clientId: string, ...options: string[]): Promise<Running> {
      const servers = cluster.urls.join();
      const args = ['sub', channel, '--client-id', clientId, '--servers', servers, '--first', ...options];
      const running = startCommand(args);
      processes.push(running);
      await until(
        async () =>
          (await subscriptions()).some(
            (each) =>
              each.client_id === clientId && !each.is_offline && each.pending_count === 0 && each.last_sent === 10,
          ),
        () => `it does not work: ${running.said.stderr}`,
        30_000,
      );
      return running;
    }

    for (const [what, options, id] of [
      ['a durable', ['--durable', 'reader'], { clientId: 'gone', durable: 'reader' }],
      ['the last of a durable group', ['--durable', 'd', '--group', 'workers'], { durable: 'd', group: 'workers' }],
    ] as [string, string[], DurableId][]) {
      it(`${what}: refused while it is frozen, and moved when it is dead, though STAN believes it alive`, async () => {
        await publish(10);
        const { child, closed } = await subscriber('gone', ...options);
        await js.copy(stan, channel);
        child.kill('SIGSTOP');
        const { problems } = await move();
        assert.match(problems[0]?.message ?? '', /is online: client 'gone' holds it/);
        child.kill('SIGKILL');
        await closed;
        assert.equal((await subscriptions())[0]?.is_offline, false);
        assert.deepEqual(outcomes(await move()), [`${consumerName(id)} made 10 0`]);
        await publish(2);
        await js.copy(stan, channel);
        await delivers(consumerName(id), [11, 12]);
      });
    }
  });

  it('idle for three times as long as a server keeps one that is not durable, it is still there with all it has to deliver', async function () {
    this.timeout(IDLE_FOR + 20_000);
    await setTimeout(Math.max(0, idle.since + IDLE_FOR - performance.now()));
    const { config } = await js.manager.consumers.info(streamName(idle.channel), reader());
    assert.deepEqual([config.durable_name, config.inactive_threshold ?? 0], [reader(), 0]);
    await delivers(
      reader(),
      range(1, 20, (sequence) => sequence % 2 === 0),
      idle.channel,
    );
  });
});
