/** Where somebody is in a channel: its last sequence, what is stored in it, and how far a subscription has come. */
import assert from 'node:assert/strict';
import {
  AbortedError,
  ClosedError,
  InvalidArgumentError,
  type ChannelReader,
  type ReadRange,
  type ResilientStan,
} from '../../src/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, type Recorder, uniqueName, until } from '../support/clients.js';
import { cutOff, letBack, restore } from '../support/one-server.js';

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('where somebody is in a channel', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let server: StanNode;
  /** Past the proxy: it goes on while the others are cut off. */
  let publisher: ResilientStan;
  let stan: ResilientStan;
  let channel: string;

  before(async () => {
    cluster = await StanCluster.start({
      mode: 'single',
      store: 'file',
      proxied: true,
      config: { streaming: { store_limits: { max_channels: 0, channels: { 'few.>': { max_msgs: 5 } } } } },
    });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  beforeEach(async () => {
    channel = uniqueName('position');
    publisher = await clients.connect(`127.0.0.1:${server.ports.client}`);
    stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
  });
  afterEach(() => restore(server, clients));

  /** Publishes 'from', …, 'to', which get these numbers. */
  const publish = async (from: number, to = from): Promise<void> => {
    await Promise.all(range(from, to).map((i) => publisher.publish(channel, String(i))));
  };
  const cut = (): Promise<Recorder> => cutOff(server, stan);
  const mend = (recorder: Recorder): Promise<void> => letBack(server, recorder);
  /** The subscriptions that the server has in the channel. */
  const atServer = async (): Promise<number> => (await server.monitor.channelz(channel))?.subscriptions?.length ?? 0;
  const nothingLeft = (): Promise<void> => until(async () => (await atServer()) === 0, 'something is left behind');

  describe('lastSequence()', () => {
    it('is 0 in an empty channel, and includes what was acknowledged before', async () => {
      assert.equal(await stan.lastSequence(channel), 0);
      for (let i = 1; i <= 5; i++) {
        await stan.publish(channel, 'x');
        assert.equal(await stan.lastSequence(channel), i);
      }
      await nothingLeft();
      assert.equal(stan.stats().subscriptions, 0);
    });

    it('is told of any number of empty channels at a time, and what is asked after them is answered', async () => {
      const asked = range(1, 150).map((i) => stan.lastSequence(`${channel}.${i}`));
      const after = stan.lastSequence(channel);
      assert.deepEqual([...new Set(await Promise.all(asked))], [0]);
      assert.equal(await after, 0);
    });

    it('waits for the end of an outage', async () => {
      await publish(1, 3);
      const recorder = await cut();
      const asked = stan.lastSequence(channel);
      await publish(4);
      await mend(recorder);
      assert.equal(await asked, 4);
    });

    it('is given up at its signal, and at the end of the client', async () => {
      await cut();
      const controller = new AbortController();
      const aborted = stan.lastSequence(channel, { signal: controller.signal });
      const closed = stan.lastSequence(channel);
      controller.abort(new Error('enough'));
      await assert.rejects(
        aborted,
        (error: Error) => error instanceof AbortedError && /enough/.test(String(error.cause)),
      );
      const rejected = assert.rejects(closed, ClosedError);
      await stan.close({ timeout: 0 });
      await rejected;
      await assert.rejects(stan.lastSequence(channel), ClosedError);
      await assert.rejects(stan.lastSequence('a.*'), InvalidArgumentError);
    });
  });

  describe('read()', () => {
    interface Read {
      got: number[];
      gaps: string[];
    }
    const all = async (reader: ChannelReader, each: (read: Read) => unknown = () => undefined): Promise<Read> => {
      const read: Read = { got: [], gaps: [] };
      reader.on('gap', ({ from, to }) => read.gaps.push(`${from}-${to} after ${read.got.length}`));
      for await (const message of reader) {
        assert.equal(message.string(), String(message.sequence));
        assert.equal(message.channel, channel);
        read.got.push(message.sequence);
        await each(read);
      }
      return read;
    };

    it('reads what is stored, and leaves nothing behind', async () => {
      await publish(1, 200);
      const cases: [ReadRange | undefined, number, number][] = [
        [undefined, 1, 200],
        [{}, 1, 200],
        [{ from: 150 }, 150, 200],
        [{ to: 7 }, 1, 7],
        [{ from: 3, to: 3 }, 3, 3],
        [{ from: 190, to: 1000 }, 190, 200],
        [{ last: 1 }, 200, 200],
        [{ last: 40 }, 161, 200],
        [{ last: 1000 }, 1, 200],
      ];
      for (const [asked, from, to] of cases) {
        assert.deepEqual(
          await all(stan.read(channel, asked)),
          { got: range(from, to), gaps: [] },
          JSON.stringify(asked),
        );
      }
      assert.deepEqual((await all(stan.read(channel, { from: 201 }))).got, [], 'above the end');
      await nothingLeft();
    });

    it('is over at once in an empty channel', async () => {
      for (const asked of [undefined, { last: 3 }, { from: 5 }, { since: new Date(0) }]) {
        assert.deepEqual(await all(stan.read(channel, asked)), { got: [], gaps: [] });
      }
    });

    it('begins at a time', async () => {
      await publish(1, 20);
      const stamps = new Map<number, Date>();
      for await (const { sequence, timestampNanos } of stan.read(channel)) {
        stamps.set(sequence, new Date(Math.ceil(Number(timestampNanos) / 1e6)));
      }
      const since = stamps.get(20)!;
      await new Promise((resolve) => setTimeout(resolve, 5));
      await publish(21, 30);
      const first = range(1, 30).find((sequence) => sequence > 20 || stamps.get(sequence)! > since)!;
      assert.deepEqual((await all(stan.read(channel, { since }))).got, range(first, 30));
      assert.deepEqual((await all(stan.read(channel, { since: new Date(0) }))).got, range(1, 30));
      assert.deepEqual((await all(stan.read(channel, { since: new Date(Date.now() + 60_000) }))).got, []);
    });

    it('does not read what is published meanwhile', async () => {
      await publish(1, 3);
      assert.deepEqual((await all(stan.read(channel), ({ got }) => publish(got.length + 3))).got, [1, 2, 3]);
    });

    it('tells what the limits of the channel have taken, if it was asked for', async () => {
      channel = uniqueName('few.position');
      for (let i = 1; i <= 20; i++) await publish(i);
      assert.deepEqual(await all(stan.read(channel)), { got: range(16, 20), gaps: [] });
      assert.deepEqual(await all(stan.read(channel, { last: 10 })), { got: range(16, 20), gaps: [] });
      assert.deepEqual(await all(stan.read(channel, { from: 4 })), { got: range(16, 20), gaps: ['4-15 after 0'] });
      assert.deepEqual(await all(stan.read(channel, { from: 4, to: 9 })), { got: [], gaps: ['4-9 after 0'] });
    });

    it('survives the death of the server and a lost connection in the middle', async () => {
      await publish(1, 3000);
      let faults = 0;
      const { got, gaps } = await all(stan.read(channel), async ({ got }) => {
        if (got.length === 40) {
          faults++;
          await server.kill();
          await server.start();
        } else if (got.length === 1500) {
          faults++;
          await mend(await cut());
        }
      });
      assert.deepEqual({ got, gaps, faults }, { got: range(1, 3000), gaps: [], faults: 2 });
      await nothingLeft();
    });

    it('waits for the end of an outage that it began in', async () => {
      await publish(1, 3);
      const recorder = await cut();
      const read = all(stan.read(channel));
      await mend(recorder);
      assert.deepEqual((await read).got, [1, 2, 3]);
    });

    it('is left with break, at its signal and at the end of the client', async () => {
      await publish(1, 100);
      for await (const { sequence } of stan.read(channel)) if (sequence === 5) break;
      await nothingLeft();

      const controller = new AbortController();
      const got: number[] = [];
      const aborted = (async () => {
        for await (const { sequence } of stan.read(channel, {}, { signal: controller.signal })) {
          got.push(sequence);
          if (sequence === 7) controller.abort();
        }
      })();
      await assert.rejects(aborted, AbortedError);
      assert.deepEqual(got, range(1, 7));

      const closed = (async () => {
        for await (const message of stan.read(channel)) if (message.sequence === 9) await stan.close();
      })();
      await assert.rejects(closed, ClosedError);
      await nothingLeft();
    });

    it('says what is wrong with its arguments at the first message', async () => {
      const wrong: [unknown, RegExp][] = [
        [{ from: 5, to: 4 }, /'range.to' must not be below 'from' \(5\); it is 4/],
        [{ from: 0 }, /'range.from' must be a whole number, 1 or more/],
        [{ last: 0 }, /'range.last' must be/],
        [{ last: 3, from: 1 }, /it has from and to and last/],
        [{ since: '2020' }, /'range.since' must be a Date/],
        [{ form: 1 }, /did you mean 'range.from'\?/],
        [() => undefined, /takes no handler/],
      ];
      for (const [asked, text] of wrong) {
        const reader = stan.read(channel, asked as ReadRange);
        await assert.rejects(reader.next(), (error: Error) => {
          assert.ok(error instanceof InvalidArgumentError);
          assert.match(error.message, text);
          return true;
        });
        assert.deepEqual(await reader.next(), { done: true, value: undefined });
      }
    });
  });

  describe('lag()', () => {
    /** Handlers that wait until they are let go. */
    class Gate {
      readonly waiting: (() => void)[] = [];
      readonly handler = (): Promise<void> => new Promise((resolve) => this.waiting.push(resolve));

      async handle(count: number): Promise<void> {
        for (let i = 0; i < count; i++) {
          await until(() => this.waiting.length > 0, 'no message came');
          this.waiting.shift()!();
        }
      }
    }
    const settled = async (lag: () => Promise<number>, expected: number): Promise<void> => {
      await until(async () => (await lag()) === expected, `the lag is not ${expected}`);
    };

    it('is what is behind the last processed message', async () => {
      await publish(1, 10);
      const gate = new Gate();
      const subscription = await stan.subscribe(channel, gate.handler, { startAt: 'first' });
      assert.equal(await subscription.lag(), 10);
      await gate.handle(4);
      await settled(() => subscription.lag(), 6);
      await publish(11, 12);
      assert.equal(await subscription.lag(), 8);
      const recorder = await cut();
      await publish(13);
      const lag = subscription.lag();
      await mend(recorder);
      assert.equal(await lag, 9);
      await gate.handle(9);
      await settled(() => subscription.lag(), 0);
      await until(async () => (await atServer()) === 1, 'questions are left behind');
    });

    it('does not count what the limits of the channel have taken, nor more than the window', async () => {
      channel = uniqueName('few.position');
      const gate = new Gate();
      const subscription = await stan.subscribe(channel, gate.handler, { maxInFlight: 1 });
      assert.equal(await subscription.lag(), 0);
      for (let i = 1; i <= 20; i++) await publish(i);
      assert.equal(await subscription.lag(), 6, 'the one in hand and the five that are stored');
      gate.handle(6).catch(() => undefined);
      await settled(() => subscription.lag(), 0);
    });

    it('of a durable knows what was processed in an earlier process', async () => {
      await publish(1, 10);
      const options = { durableName: 'd', startAt: 'first', maxInFlight: 4 } as const;
      const before = new Gate();
      const first = await stan.subscribe(channel, before.handler, options);
      await before.handle(6);
      await settled(() => first.lag(), 4);
      await before.handle(4);
      await first.close();
      await until(async () => (await server.monitor.channelz(channel))?.subscriptions?.[0]?.is_offline, 'it stays');
      const second = await stan.subscribe(channel, () => undefined, options);
      assert.equal(await second.lag(), 0);
      await publish(11);
      await settled(() => second.lag(), 0);
      assert.equal(second.lastSequence, 11);
    });

    it('of a member of a group leaves out what others have got', async () => {
      const other = await clients.connect(cluster.urls);
      let got = 0;
      const count = (): void => void got++;
      const ours = new Gate();
      const subscription = await stan.subscribe(channel, ours.handler, { queueGroup: 'g', maxInFlight: 2 });
      await other.subscribe(channel, count, { queueGroup: 'g' });
      await publish(1, 20);
      await until(() => got === 18, 'the other member has not got the rest');
      ours.handle(2).catch(() => undefined);
      await settled(() => subscription.lag(), 0);
    });

    it('rejects when the subscription ends, or at its signal', async () => {
      const subscription = await stan.subscribe(channel, () => undefined);
      await cut();
      const controller = new AbortController();
      const aborted = assert.rejects(subscription.lag({ signal: controller.signal }), AbortedError);
      const closed = assert.rejects(subscription.lag(), ClosedError);
      const never = assert.rejects(
        subscription.caughtUp().then(() => subscription.lag()),
        ClosedError,
      );
      controller.abort();
      await aborted;
      await subscription.close();
      await closed;
      await never;
      await assert.rejects(subscription.lag(), ClosedError);
    });
  });

  describe('caught_up', () => {
    it('is told once, when all that was there is handled', async () => {
      await publish(1, 50);
      const seen: string[] = [];
      const subscription = await stan.subscribe(
        channel,
        async ({ sequence }) => {
          if (sequence === 20) await publish(51, 55);
          if (sequence === 30) server.proxy.resetConnections();
          seen.push(String(sequence));
        },
        { startAt: 'first' },
      );
      subscription.on('caught_up', (event) => {
        assert.equal(event.subscription, subscription);
        seen.push('caught_up');
      });
      await subscription.caughtUp();
      await until(
        () => seen.length === 56,
        () => seen.join(' '),
      );
      assert.deepEqual(
        seen.filter((entry) => entry !== 'caught_up'),
        range(1, 55).map(String),
      );
      assert.ok(seen.indexOf('caught_up') >= 50, 'not before the last that was there at the start');
      await mend(await cut());
      await publish(56);
      await until(() => seen.at(-1) === '56', 'the last message did not come');
      assert.equal(seen.filter((entry) => entry === 'caught_up').length, 1);
    });

    it('comes in an empty channel, for what is new only, and where the server knows more than we', async () => {
      const handler = (): void => undefined;
      const empty = await stan.subscribe(channel, handler, { startAt: 'first' });
      await empty.caughtUp();
      await publish(1, 3);
      await (await stan.subscribe(channel, handler)).caughtUp();
      const durable = await stan.subscribe(channel, handler, { durableName: 'd', startAt: 'first' });
      await durable.caughtUp();
      assert.equal(durable.lastSequence, 3);
      await durable.close();
      const again = await stan.subscribe(channel, handler, { durableName: 'd' });
      let told = 0;
      again.on('caught_up', () => told++);
      await again.caughtUp();
      assert.deepEqual([again.lastSequence, told], [0, 1], 'all was handled before');
      await (await stan.subscribe(channel, handler, { queueGroup: 'g' })).caughtUp();
    });
  });

  describe('messages()', () => {
    it('gives its subscription', async () => {
      await publish(1, 3);
      const messages = stan.messages(channel, { startAt: { sequence: 1 } });
      const subscription = await messages.subscription;
      assert.equal(subscription.channel, channel);
      assert.equal(await subscription.lag(), 3);
      for await (const { sequence } of messages) {
        if (sequence < 3) continue;
        assert.equal(await subscription.lag(), 1, 'the one in hand');
        break;
      }
      await assert.rejects(stan.messages('a.*').subscription, InvalidArgumentError);
    });
  });
});
