/** Where subscriptions begin at a real server when that is not simply said: ages, times and sequences beyond the end. */
import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import type { ConnectOptions, ResilientStan, ResilientSubscription, SubscribeOptions } from '../../src/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, Recorder, uniqueName, until } from '../support/clients.js';
import { cutOff, letBack, restore } from '../support/one-server.js';

describe('the start of a subscription', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let server: StanNode;
  /** Past the proxy: it goes on while the others are cut off. */
  let publisher: ResilientStan;
  let channel: string;

  before(async () => {
    cluster = await StanCluster.start({
      mode: 'single',
      proxied: true,
      config: { streaming: { store_limits: { max_channels: 0, channels: { 'few.>': { max_msgs: 5 } } } } },
    });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  beforeEach(async () => {
    channel = uniqueName('starts');
    publisher = await clients.connect(`127.0.0.1:${server.ports.client}`);
  });
  afterEach(() => restore(server, clients));

  const connect = (options: ConnectOptions = {}): Promise<ResilientStan> =>
    clients.connect(cluster.urls, { clientId: uniqueName('me'), ...options });
  /** Publishes 'from', …, 'to' in order. */
  const publish = async (from: number, to = from): Promise<void> => {
    for (let i = from; i <= to; i++) await publisher.publish(channel, String(i));
  };
  const cut = (stan: ResilientStan): Promise<Recorder> => cutOff(server, stan);
  const mend = (recorder: Recorder): Promise<void> => letBack(server, recorder);
  const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

  interface Collected {
    got: number[];
    gaps: string[];
    subscription: ResilientSubscription;
  }
  async function collect(stan: ResilientStan, options: SubscribeOptions): Promise<Collected> {
    const got: number[] = [];
    const gaps: string[] = [];
    const subscription = await stan.subscribe(channel, (message) => void got.push(message.sequence), options);
    subscription.on('gap', ({ from, to }) => gaps.push(`${from}..${to}`));
    return { got, gaps, subscription };
  }
  /** Exactly these came, in this order: a message published last shows that nothing else follows. */
  async function exactly(got: number[], expected: number[]): Promise<void> {
    await until(
      () => got.includes(expected.at(-1)!) || got.length > expected.length,
      () => `got ${got.join()}`,
    );
    assert.deepEqual(got, expected);
  }

  describe('at the limits of the protocol', () => {
    const YEAR = 365.25 * 86_400_000;
    for (const [what, options] of [
      ['an age of 300 years', { startAt: { ago: 300 * YEAR } }],
      ['the longest age', { startAt: { ago: Number.MAX_SAFE_INTEGER } }],
      ['an age that grows beyond 292 years', { startAt: { ago: Math.floor(2 ** 63 / 1e6) } }],
      ['a time before 1734', { startAt: { time: new Date('1700-01-01') } }],
      ['the first time there is', { startAt: { time: new Date(-8.64e15) } }],
      ['a Date of another realm', { startAt: { time: runInNewContext('new Date(0)') as Date } }],
      ['the longest ackWait', { startAt: 'first', ackWait: 2 ** 31 - 1 }],
      ['the largest window', { startAt: 'first', maxInFlight: 2 ** 31 - 1 }],
    ] as [string, SubscribeOptions][]) {
      it(`${what}: begins with the first message`, async () => {
        await publish(1, 2);
        const stan = await connect();
        const plain = await collect(stan, options);
        const group = await collect(stan, { ...options, queueGroup: 'q' });
        const durable = await collect(stan, { ...options, durableName: 'd' });
        for (const { got } of [plain, group, durable]) await exactly(got, [1, 2]);
      });
    }

    it('the last sequence and the longest pings are taken', async () => {
      const stan = await connect({ pings: { interval: 2_147_483_000, maxOut: 2 ** 31 - 1 } });
      const { got } = await collect(stan, { startAt: { sequence: Number.MAX_SAFE_INTEGER } });
      await publish(1);
      await exactly(got, [1]);
    });
  });

  describe('a time', () => {
    it('to come: what is stored before it is acknowledged, and not handed over', async () => {
      await publish(1, 2);
      const stan = await connect();
      const time = new Date(Date.now() + 2500);
      const { got, gaps, subscription } = await collect(stan, { startAt: { time } });
      await publish(3);
      await until(
        () => subscription.lastSequence === 3,
        () => `at ${subscription.lastSequence}`,
      );
      const recorder = await cut(stan);
      await publish(4);
      assert.ok(Date.now() < time.getTime(), 'this host is too slow for this test');
      await mend(recorder);
      await until(() => Date.now() > time.getTime(), 'the time did not come');
      await publish(5);
      await exactly(got, [5]);
      assert.deepEqual(gaps, []);
      assert.equal(stan.stats().delivered, 1);
      await until(async () => {
        const [seen] = (await server.monitor.channelz(channel))?.subscriptions ?? [];
        return seen?.pending_count === 0;
      }, 'something is not acknowledged');
    });

    it('to come within a minute is new for a durable and a queue group', async () => {
      await publish(1, 2);
      const stan = await connect();
      const startAt = { time: new Date(Date.now() + 50_000) };
      const kinds = [{ durableName: 'd' }, { queueGroup: 'q' }, { durableName: 'd', queueGroup: 'q' }];
      const all = await Promise.all(kinds.map((kind) => collect(stan, { startAt, ...kind })));
      await publish(3);
      for (const { got } of all) await exactly(got, [3]);
    });

    it('gone by begins with what was stored at or after it, over a slow way as well', async () => {
      await publish(1);
      // Not in the same millisecond.
      const stored = Date.now();
      await until(() => Date.now() > stored, 'time stands still');
      const time = new Date();
      await publish(2);
      const stan = await connect();
      // When it is asked for by its age it is younger by this when that gets there.
      server.proxy.add({ type: 'latency', latency: 150, stream: 'upstream' });
      const { got } = await collect(stan, { startAt: { time } });
      await publish(3);
      await exactly(got, [2, 3]);
    });
  });

  describe('a sequence that is not there yet', () => {
    for (const [what, sequence] of [
      ['far beyond the end', 100],
      ['just beyond the end', 7],
      ['the next one', 6],
    ] as const) {
      it(`${what}: what an outage brings is delivered like everything else`, async () => {
        await publish(1, 5);
        const stan = await connect();
        const { got, gaps } = await collect(stan, { startAt: { sequence } });
        await mend(await cut(stan));
        const recorder = await cut(stan);
        await publish(6, 8);
        await mend(recorder);
        await publish(9);
        await exactly(got, range(6, 9));
        await mend(await cut(stan));
        await publish(10);
        await exactly(got, range(6, 10));
        assert.deepEqual(gaps, []);
      });
    }

    it('and what was lost right after the beginning', async () => {
      await publish(1, 5);
      const stan = await connect();
      const { got } = await collect(stan, { startAt: { sequence: 100 } });
      const recorder = new Recorder(stan);
      const stall = server.proxy.add({ type: 'stall' });
      await publish(6);
      server.proxy.resetConnections();
      stall.remove();
      await recorder.until('reconnect');
      await publish(7);
      await exactly(got, [6, 7]);
    });

    it('but one that was there is where it begins', async () => {
      await publish(1, 5);
      const stan = await connect();
      const recorder = new Recorder(stan);
      // The request gets there, and what it brings gets lost.
      const stall = server.proxy.add({ type: 'stall', stream: 'downstream' });
      const collecting = collect(stan, { startAt: { sequence: 3 } });
      await until(
        async () => (await server.monitor.channelz(channel))?.subscriptions?.length === 1,
        'the server does not have it',
      );
      server.proxy.resetConnections();
      stall.remove();
      await publish(6);
      await recorder.until('reconnect');
      const { got } = await collecting;
      await publish(7);
      await exactly(got, range(3, 7));
    });
  });

  describe('of a channel that overflows', () => {
    beforeEach(() => {
      channel = `few.${uniqueName('starts')}`;
    });

    it("'first', empty until then: tells what is gone", async () => {
      const stan = await connect();
      const { got, gaps } = await collect(stan, { startAt: 'first' });
      const recorder = await cut(stan);
      await publish(1, 12);
      await mend(recorder);
      await exactly(got, range(8, 12));
      assert.deepEqual(gaps, ['1..7']);
    });

    it('tells a new durable what is gone of what it asked for', async () => {
      await publish(1, 8);
      const stan = await connect();
      const fresh = await collect(stan, { startAt: { sequence: 2 }, durableName: 'new' });
      await exactly(fresh.got, [4, 5, 6, 7, 8]);
      await until(() => fresh.gaps.length > 0, 'no gap');
      assert.deepEqual(fresh.gaps, ['2..3']);
    });

    it('tells nothing to a durable that has handled it', async () => {
      const stan = await connect();
      const before = await collect(stan, { startAt: 'first', durableName: 'old' });
      await publish(1, 6);
      await exactly(before.got, range(1, 6));
      await before.subscription.close();
      const after = await collect(stan, { startAt: { sequence: 1 }, durableName: 'old' });
      await publish(7);
      await exactly(after.got, [7]);
      // A look for it would have been through before a later one is.
      const probe = await collect(stan, { startAt: { sequence: 1 }, durableName: 'probe' });
      await until(() => probe.gaps.length > 0, 'no gap');
      assert.deepEqual(after.gaps, []);
    });
  });

  describe('while the host sleeps', () => {
    // A test cannot put its host to sleep: it stops the monotonic clock, which is what a sleep is to a process.
    const { performance } = globalThis;
    const real = performance.now.bind(performance);
    let asleep = 0;
    afterEach(() => {
      asleep = 0;
      Reflect.deleteProperty(performance, 'now');
    });

    async function sleepWhile(since: number, act: () => Promise<void>): Promise<void> {
      const fellAsleepAt = real();
      performance.now = () => fellAsleepAt - asleep;
      await act();
      // Long enough for an age by that clock to begin after what was published.
      const enough = real() - since + 200;
      await until(() => real() - fellAsleepAt > enough, 'time stands still');
      asleep += real() - fellAsleepAt;
      performance.now = () => real() - asleep;
    }

    for (const [what, options] of [
      ["'new'", { startAt: 'new' }],
      ["'last'", { startAt: 'last' }],
      ['an age', { startAt: { ago: 1 } }],
      ['a queue group', { queueGroup: 'q' }],
    ] as [string, SubscribeOptions][]) {
      it(`${what}: gets what is published meanwhile`, async () => {
        const stan = await connect();
        const since = real();
        const { got } = await collect(stan, options);
        const recorder = await cut(stan);
        await sleepWhile(since, () => publish(1, 3));
        await mend(recorder);
        await publish(4);
        await exactly(got, range(1, 4));
      });
    }
  });
});
