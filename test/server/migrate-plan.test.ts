/** `plan`, on real servers: what it says of channels, durables and the target, what it refuses, and that it writes nothing. */
import assert from 'node:assert/strict';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ResilientStan } from '../../src/index.js';
import {
  copy,
  cut,
  plan,
  streamName,
  type MigrateOptions,
  type PlannedChannel,
  type PlanOptions,
} from '../../src/migrate/index.js';
import { HEADER_BYTES } from '../../src/migrate/stan-headers.js';
import type { Channelz } from '../../src/monitoring/pages.js';
import { JetStreamCluster, StanCluster } from '../../src/testing/index.js';
import { Clients, uniqueName, until } from '../support/clients.js';
import { runCommand } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('the plan of a move', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let target: JetStreamCluster;
  let stan: ResilientStan;
  let side: JetStreamSide;
  let channel: string;

  before(async () => {
    const limits = {
      'few.>': { max_msgs: 5 },
      'limited.>': { max_msgs: 200, max_bytes: 4000, max_age: '1h', max_inactivity: '2h' },
    };
    [cluster, target] = await Promise.all([
      StanCluster.start({
        mode: 'single',
        store: 'memory',
        jetstream: true,
        config: { streaming: { store_limits: { max_channels: 0, channels: limits } } },
      }),
      JetStreamCluster.start({ nodes: 1, config: { max_payload: 2048 } }),
    ]);
    stan = await clients.connect(cluster.urls, { clientId: 'publisher' });
    side = await JetStreamSide.open(target.urls);
  });
  after(async () => {
    await side?.close();
    await clients.closeAll();
    await Promise.all([cluster?.stop(), target?.stop()]);
  });
  beforeEach(() => {
    channel = uniqueName('plan');
  });

  const publish = (to: string, count: number, bytes = 1): Promise<unknown> =>
    Promise.all(Array.from({ length: count }, () => stan.publish(to, Buffer.alloc(bytes, '.'))));
  const sides = (channels = [channel]): MigrateOptions => ({
    from: cluster.urls,
    monitor: cluster.nodes[0]!.monitor.url,
    to: target.urls,
    channels,
  });
  const page = async (name: string): Promise<Channelz> => (await cluster.nodes[0]!.monitor.channelz(name))!;
  const codes = async (options: PlanOptions): Promise<unknown[]> => {
    const { ok, problems } = await plan(options);
    assert.equal(ok, problems.length === 0);
    return problems.map(({ code, channel: of }) => [code, of]);
  };

  it('has the figures, the limits and the stream of each channel, by name', async () => {
    const [few, limited, empty] = [`few.${channel}`, `limited.${channel}`, `${channel}.empty`];
    await publish(few, 12, 100);
    await publish(limited, 3);
    await stan.subscribe(empty, () => undefined);
    const { channels } = await plan(sides([few, limited, empty]));
    const { bytes } = await page(few);
    const [first, second, third] = channels as [PlannedChannel, PlannedChannel, PlannedChannel];
    assert.deepEqual([first.channel, second.channel, third.channel], [few, limited, empty].sort());
    assert.deepEqual(first, {
      ...{ channel: few, messages: 5, bytes, first: 8, last: 12, limits: first.limits },
      ...{ stream: `few~${channel}`, copied: 0, durables: [], subscriptions: 0 },
    });
    assert.equal(first.limits.messages, 5);
    assert.deepEqual(second.limits, { messages: 200, bytes: 4000, age: 3_600_000, inactivity: 7_200_000 });
    assert.deepEqual([third.messages, third.bytes, third.first, third.last, third.subscriptions], [0, 0, 0, 0, 1]);
    await copy(sides([few]));
    assert.equal((await plan(sides([few]))).channels[0]!.copied, 5);
  });

  it('gives each channel a stream of its own, also where only a full stop and a line tell them apart', async () => {
    const names = [`${channel}.a.b`, `${channel}.a_b`, `${channel}.a-b`, `${channel}.a~b`];
    for (const name of names) await publish(name, 1);
    const { ok, channels } = await plan(sides(names));
    assert.equal(ok, true);
    assert.equal(new Set(channels.map(({ stream }) => stream.toLowerCase())).size, names.length);
    assert.deepEqual(
      channels.map((each) => each.stream),
      channels.map((each) => streamName(each.channel)),
    );
  });

  it('has durables and durable groups with their positions, and counts the other subscriptions', async () => {
    await publish(channel, 10);
    const [one, two] = await Promise.all([
      clients.connect(cluster.urls, { clientId: uniqueName('one') }),
      clients.connect(cluster.urls, { clientId: uniqueName('two') }),
    ]);
    const taken = new Map<string, number>();
    const take = (name: string, options: object): Promise<{ close(): Promise<unknown> }> =>
      one.subscribe(
        channel,
        (message) => {
          taken.set(name, (taken.get(name) ?? 0) + 1);
          if (message.sequence <= 4) message.ack();
        },
        { startAt: 'first', manualAck: true, ...options },
      );
    const offline = await take('offline', { durableName: 'offline', maxInFlight: 6 });
    await take('online', { durableName: 'online', maxInFlight: 3 });
    await take('group', { durableName: 'group', queueGroup: 'workers', maxInFlight: 2 });
    await two.subscribe(channel, () => undefined, { durableName: 'group', queueGroup: 'workers', startAt: 'first' });
    await take('plain', {});
    await take('passing', { queueGroup: 'passing' });
    const figures = async (): Promise<string> =>
      JSON.stringify((await plan(sides())).channels[0]!.durables.map(({ durable, pending }) => [durable, pending]));
    await until(async () => {
      const { subscriptions = [] } = await page(channel);
      const sent = subscriptions.find(({ durable_name }) => durable_name === 'offline');
      return sent?.last_sent === 10 && sent.pending_count === 6;
    }, 'not all is sent');
    await offline.close();
    await until(
      async () => (await page(channel)).subscriptions?.some(({ is_offline }) => is_offline),
      'the durable is not offline',
    );
    let before = '';
    // Deliveries to the group go on for a moment.
    await until(async () => before === (before = await figures()), 'the positions do not rest');

    const { ok, channels } = await plan(sides());
    assert.equal(ok, true);
    const [planned] = channels as [PlannedChannel];
    assert.equal(planned.subscriptions, 2);
    const byName = new Map(planned.durables.map((each) => [each.durable, each]));
    assert.deepEqual(byName.get('offline'), {
      ...{ clientId: one.clientId, durable: 'offline', consumer: `${one.clientId}+offline` },
      ...{ lastSent: 10, pending: 6, online: false, clients: [] },
    });
    assert.deepEqual(byName.get('online'), {
      ...{ clientId: one.clientId, durable: 'online', consumer: `${one.clientId}+online` },
      ...{ lastSent: 7, pending: 3, online: true, clients: [one.clientId] },
    });
    const { pending_count: held } = (await page(channel)).subscriptions!.find(
      ({ queue_name, client_id }) => queue_name === 'group:workers' && client_id === one.clientId,
    )!;
    assert.deepEqual(byName.get('group'), {
      ...{ durable: 'group', group: 'workers', consumer: 'group+group+workers', lastSent: 10, pending: held },
      ...{ online: true, clients: [one.clientId, two.clientId].sort() },
    });
    await one.close();
    await two.close();
  });

  describe('says of the target', () => {
    it('its version, its largest message, and what follows', async () => {
      await publish(`limited.${channel}`, 1);
      const { source, target: there } = await plan(sides([`limited.${channel}`]));
      assert.deepEqual(
        [source.clusterId, source.version, source.monitor],
        ['test-cluster', '0.25.6', cluster.nodes[0]!.monitor.url],
      );
      assert.deepEqual([there.inPlace, there.replicas, there.maxPayload], [false, 1, 2048]);
      assert.match(there.version, /^2\.(1\d|2\d)\.\d+$/);
      const all = there.consequences.join('\n');
      assert.match(all, /kept out by the stream itself until the cut/);
      assert.match(all, /max_age begins anew with the copy/);
      assert.match(all, /max_bytes is set at the cut.*together \d+ bytes/);
      assert.match(all, /max_inactivity has nothing like it/);
    });

    it('in place, that its version cannot keep native publishers out by itself', async () => {
      await publish(channel, 1);
      const { ok, target: there } = await plan({ ...sides(), to: undefined });
      assert.deepEqual([ok, there.inPlace, there.version, there.replicas], [true, true, '2.9.24', 1]);
      const all = there.consequences.join('\n');
      assert.match(all, /'plan --in-place' says which mappings/);
      assert.match(all, /by a purge of the empty stream/);
      assert.match(all, /two readers of one consumer share its messages/);
      assert.doesNotMatch(all, /max_age|max_inactivity/);
    });

    it('that one server cannot keep a stream several times', async () => {
      await publish(channel, 1);
      assert.deepEqual(await codes({ ...sides(), replicas: 3 }), [['replicas', undefined]]);
      assert.deepEqual(await codes({ ...sides(), replicas: 1 }), []);
    });
  });

  describe('names', () => {
    it('names that differ in capitals only', async () => {
      const [lower, upper, other] = [`${channel}.orders`, `${channel}.Orders`, `${channel}.other`];
      await publish(lower, 1);
      await publish(other, 1);
      // The server itself refuses such a channel. One that has read an old store may have it.
      await using lying = await Monitoring.of(cluster.nodes[0]!.monitor.url, (found) =>
        found.name === other ? { ...found, name: upper } : found,
      );
      const { ok, problems } = await plan({ ...sides([lower, upper]), monitor: lying.url });
      assert.deepEqual([ok, problems.map(({ code }) => code)], [false, ['colliding-names']]);
      assert.ok(
        [lower, upper].every((name) => problems[0]!.message.includes(`'${name}'`)),
        problems[0]!.message,
      );
    });

    it('a name that is too long for a stream, and one that is too long for a consumer', async () => {
      const long = `${channel}.${'!'.repeat(90)}`;
      await publish(long, 1);
      await publish(channel, 1);
      const client = await clients.connect(cluster.urls, { clientId: uniqueName('long') });
      await client.subscribe(channel, () => undefined, { durableName: 'd'.repeat(250) });
      assert.deepEqual(await codes(sides([channel, long])), [
        ['name-too-long', channel],
        ['name-too-long', long],
      ]);
      await client.close();
    });

    it('a subject that another stream has, under its own name, by a wildcard, or as that of the copy', async () => {
      const of = `${channel}.one`;
      await publish(of, 1);
      for (const subject of [of, `${channel}.*`, `$STANIMPORT.${channel}.>`]) {
        const name = uniqueName('another');
        await side.manager.streams.add({ name, subjects: [subject] });
        const { ok, problems } = await plan(sides([of]));
        assert.equal(ok, false);
        assert.deepEqual(
          problems.map(({ code, channel: named }) => [code, named]),
          [['subject-bound', of]],
          subject,
        );
        assert.ok(problems[0]!.message.includes(`'${name}'`), problems[0]!.message);
        await side.manager.streams.delete(name);
      }
    });

    it('a subject on which somebody replies who is no stream', async () => {
      await publish(channel, 1);
      const subscription = side.connection.subscribe(`${channel}`, {
        callback: (_, message) => void message.respond(),
      });
      await side.connection.flush();
      assert.deepEqual(await codes(sides()), [['subject-bound', channel]]);
      subscription.unsubscribe();
    });

    it('payloads that are too large with their headers, how many there are, and the largest', async () => {
      const limit = 2048 - HEADER_BYTES;
      await publish(channel, 3, limit);
      assert.deepEqual(await codes(sides()), []);
      await publish(channel, 1, limit + 1);
      await publish(channel, 1, limit + 200);
      await publish(channel, 1, 10);
      const { ok, problems } = await plan(sides());
      assert.deepEqual(
        [ok, problems.map(({ code, channel: of, sequence }) => [code, of, sequence])],
        [false, [['too-large', channel, 5]]],
      );
      assert.match(
        problems[0]!.message,
        /^2 messages .*2048 bytes.* message 5 with 1992 bytes: set max_payload .* 2248/,
      );
      assert.deepEqual(await codes({ ...sides(), readPayloads: false }), []);
      // The copy is not stopped earlier. A message of which the headers are shorter than the bound may get in.
      assert.deepEqual(
        (await copy(sides())).problems.map(({ code, sequence }) => [code, sequence]),
        [['too-large', 5]],
      );
    });

    it('a stream that no copy has made, with messages and without', async () => {
      for (const messages of [0, 3]) {
        channel = uniqueName('plan');
        await publish(channel, 5);
        await side.manager.streams.add({ name: streamName(channel), subjects: [channel] });
        for (let i = 0; i < messages; i++) await side.jetstream.publish(channel, 'native');
        assert.deepEqual(await codes(sides()), [['foreign-content', channel]]);
      }
    });

    it('a message of somebody else in a stream, and not those of native publishers in one that is cut', async () => {
      await publish(channel, 5);
      assert.deepEqual((await copy(sides())).problems, []);
      assert.deepEqual(await codes(sides()), []);
      await side.jetstream.publish(`$STANIMPORT.${channel}`, 'foreign');
      const { problems } = await plan(sides());
      assert.deepEqual(
        problems.map(({ code, sequence }) => [code, sequence]),
        [['foreign-message', 6]],
      );
      channel = uniqueName('plan');
      await publish(channel, 5);
      assert.deepEqual((await cut({ ...sides(), quiet: 100 })).problems, []);
      await side.jetstream.publish(channel, 'native');
      assert.deepEqual(await codes(sides()), []);
    });

    it('a channel that there is not, with the one that is meant', async () => {
      await publish(channel, 1);
      const { ok, problems, channels } = await plan(sides([channel, `${channel}x`]));
      assert.deepEqual([ok, problems.map(({ code }) => code), channels.length], [false, ['no-channel'], 1]);
      assert.ok(problems[0]!.message.includes(`did you mean '${channel}'?`));
    });

    it('a monitoring that contradicts itself', async () => {
      await publish(channel, 5);
      await using lying = await Monitoring.of(cluster.nodes[0]!.monitor.url, (found) => {
        if (found.name === channel) Object.assign(found, { first_seq: 9 });
        return found;
      });
      for (const step of [plan, copy]) {
        const { ok, problems } = await step({ ...sides(), monitor: lying.url });
        assert.deepEqual([ok, problems.map(({ code }) => code)], [false, ['inconsistent-monitoring']]);
        assert.match(problems[0]!.message, /its first message is 9 and its last 5/);
      }
      assert.equal(
        (await side.manager.streams.names().next()).some((name) => name === streamName(channel)),
        false,
      );
    });

    it('a STAN that began anew after an earlier copy, with fewer messages, as many, and more', async () => {
      await using fresh = await StanCluster.start({ mode: 'single', store: 'memory' });
      const publisher = await clients.connect(fresh.urls);
      const names = [3, 5, 9].map((count) => ({ count, name: `${channel}.${count}` }));
      for (const { name } of names) for (let i = 0; i < 5; i++) await publisher.publish(name, `${i}`);
      const { url: monitor } = fresh.nodes[0]!.monitor;
      const options = { from: fresh.urls, monitor, to: target.urls };
      assert.deepEqual((await copy(options)).problems, []);
      assert.deepEqual(await codes(options), []);
      await publisher.close();
      await fresh.nodes[0]!.kill();
      await fresh.nodes[0]!.start();
      const anew = await clients.connect(fresh.urls);
      for (const { count, name } of names) for (let i = 0; i < count; i++) await anew.publish(name, `anew ${i}`);
      assert.deepEqual(
        await codes(options),
        names.map(({ name }) => ['source-wiped', name]),
      );
      await anew.close();
    });
  });

  it('writes nothing: no stream, no consumer, no subscription, no position', async () => {
    await publish(channel, 50, 100);
    const reader = await clients.connect(cluster.urls, { clientId: uniqueName('reader') });
    let got = 0;
    const subscription = await reader.subscribe(channel, () => void got++, {
      ...{ durableName: 'durable', startAt: 'first', manualAck: true, maxInFlight: 7 },
    });
    await until(() => got >= 7, 'the durable gets nothing');
    await subscription.close();
    await reader.close();
    // A stream that is copied in part, so that the plan looks into it.
    assert.deepEqual((await copy(sides())).problems, []);
    await publish(channel, 50, 100);
    const monitor = cluster.nodes[0]!.monitor;
    const state = async (): Promise<unknown> => {
      const streams = [];
      for await (const { config, state: of } of side.manager.streams.list()) {
        const consumers = [];
        for await (const { name } of side.manager.consumers.list(config.name)) consumers.push(name);
        streams.push([config, of.first_seq, of.last_seq, of.messages, consumers]);
      }
      const stanChannels = await monitor.get('/streaming/channelsz?subs=1&limit=1000');
      const clientsz = await monitor.get<{ total: number }>('/streaming/clientsz');
      return JSON.parse(JSON.stringify([streams, (stanChannels as { channels: unknown }).channels, clientsz?.total]));
    };
    const before = await state();
    assert.deepEqual((await plan({ ...sides(), channels: undefined, readPayloads: true })).channels.length > 1, true);
    // The clients of the plan have left when it ends, and the server may learn of that a moment later.
    let now: unknown;
    await until(
      async () => {
        now = await state();
        return JSON.stringify(now) === JSON.stringify(before);
      },
      () => `it is not as it was: ${JSON.stringify(now)} instead of ${JSON.stringify(before)}`,
      10_000,
    );
  });

  describe('as a command', () => {
    const command = (...args: string[]) =>
      runCommand(['migrate', 'plan', '--from', cluster.urls[0]!, '--monitor', cluster.nodes[0]!.monitor.url, ...args]);

    it('ends with 0 and a table, or the report as JSON', async () => {
      await publish(channel, 3);
      const args = ['--to', target.urls[0]!, '--channels', channel];
      const table = await command(...args);
      assert.deepEqual([table.code, table.stderr], [0, '']);
      assert.match(
        table.stdout,
        /^STAN 0\.25\.6, cluster 'test-cluster' → JetStream 2\.\d+\.\d+, on other servers, 1 replica$/m,
      );
      assert.match(
        table.stdout,
        new RegExp(`^ {2}${channel} +${channel} +3 +\\d+ B +1 +3 +0 +1.000.000 messages, 1\\.0 GB$`, 'm'),
      );
      const json = await command(...args, '--json');
      const expected = await plan({ ...sides(), to: target.urls });
      assert.equal(json.code, 0);
      assert.deepEqual(JSON.parse(json.stdout), JSON.parse(JSON.stringify(expected)));
    });

    it('ends with 1 and what is wrong, also as JSON', async () => {
      await publish(channel, 1, 4000);
      const args = ['--to', target.urls[0]!, '--channels', channel];
      const told = await command(...args);
      assert.equal(told.code, 1);
      assert.match(told.stderr, /^✗ 1 message of channel 'plan-\w+' is too large/);
      const json = await command(...args, '--json');
      assert.equal(json.code, 1);
      const { ok, problems } = JSON.parse(json.stdout) as { ok: boolean; problems: { code: string }[] };
      assert.deepEqual([ok, problems.map(({ code }) => code)], [false, ['too-large']]);
      assert.equal((await command(...args, '--quick')).code, 0);
    });

    it('counts channels that are given one by one', async () => {
      const other = `${channel}.other`;
      await publish(channel, 1);
      await publish(other, 1);
      const { stdout } = await command('--to', target.urls[0]!, '--channels', channel, '--channels', other, '--json');
      const { channels } = JSON.parse(stdout) as { channels: { channel: string }[] };
      assert.deepEqual(
        channels.map((each) => each.channel),
        [channel, other],
      );
    });

    it('ends with 2 for a wrong line', async () => {
      assert.equal((await command('--replicas', '9')).code, 2);
      assert.equal((await command('--replicas', '1', '--replicas', '3')).code, 2);
      assert.equal((await command('--monitor', 'ftp://a')).code, 2);
    });
  });
});

/** A monitoring that says of channels what a test wants. */
class Monitoring {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async of(url: string, change: (channel: Channelz) => Channelz): Promise<Monitoring> {
    const server = createServer((asked, answer) => {
      request(`${url}${asked.url}`, (from) => {
        const chunks: Buffer[] = [];
        from.on('data', (chunk: Buffer) => chunks.push(chunk));
        from.on('end', () => {
          answer.statusCode = from.statusCode!;
          const text = Buffer.concat(chunks).toString();
          if (!asked.url!.startsWith('/streaming/channelsz') || from.statusCode !== 200) return answer.end(text);
          const page = JSON.parse(text) as Channelz & { channels?: Channelz[] };
          const changed = page.channels === undefined ? change(page) : { ...page, channels: page.channels.map(change) };
          answer.end(JSON.stringify(changed));
        });
      }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Monitoring(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
