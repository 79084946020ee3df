/** What MemoryServer gives a test beyond the client: looking in, faults, waiting, and time. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mock } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import FakeTimers from '@sinonjs/fake-timers';
import {
  ClosedError,
  ConnectError,
  InvalidArgumentError,
  PayloadTooLargeError,
  ResilientStan,
  type ConnectOptions,
  type StanClient,
} from '../../../src/index.js';
import { MemoryServer, MemoryStan } from '../../../src/testing/index.js';
import { deferred, isSettled, Recorder, rejection } from '../../support/clients.js';

describe('MemoryServer', () => {
  let server: MemoryServer;
  let stan: MemoryStan;
  const clients: MemoryStan[] = [];
  const connect = async (options: ConnectOptions = {}): Promise<MemoryStan> => {
    const client = await MemoryStan.connect(server, options);
    clients.push(client);
    return client;
  };

  beforeEach(async () => {
    server = new MemoryServer();
    stan = await connect({ clientId: 'me' });
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close({ timeout: 0 })));
  });

  describe('as what code takes', () => {
    it('is a ResilientStan and a StanClient', async () => {
      const takesClass = (client: ResilientStan): string => client.clientId;
      const takesInterface = (client: StanClient): string => client.clientId;
      assert.equal(takesClass(stan), 'me');
      assert.equal(takesInterface(stan), 'me');
      // Whoever makes an object of that kind has to have what clients do, and not what is there for tools of Node.
      const ofNode: Extract<keyof StanClient, 'setMaxListeners' | 'getMaxListeners' | 'listeners'>[] = [];
      const none: never[] = ofNode;
      assert.deepEqual(none, []);
      assert.ok(stan instanceof MemoryStan && stan instanceof ResilientStan);
      assert.equal(stan.memory, server);
    });

    it('makes a server of its own when it is given none', async () => {
      await using one = await MemoryStan.connect();
      await using two = MemoryStan.create();
      assert.notEqual(one.memory, two.memory);
      await two.connected();
    });

    it('has the cluster ID of its server, and finds no leader of another', async () => {
      const other = new MemoryServer({ clusterId: 'other' });
      await using client = await MemoryStan.connect(other, { clientId: 'me' });
      assert.equal(client.clusterId, 'other');
      const refused = MemoryStan.connect(other, { clusterId: 'wrong', initialConnect: { retries: 0 } });
      await rejection(refused, ConnectError, `'wrong'`, `'other'`);
    });

    it('says what is wrong with its arguments', async () => {
      await rejection(MemoryStan.connect({ clientId: 'a' } as never), InvalidArgumentError, 'second argument');
      assert.throws(() => MemoryStan.create('nats://a:4222' as never), InvalidArgumentError);
      assert.throws(() => new MemoryServer({ maxMesages: 5 } as never), /did you mean 'maxMessages'/);
      assert.throws(() => new MemoryServer({ maxMessages: 0 }), InvalidArgumentError);
      await rejection(server.advance(-1), InvalidArgumentError, '-1');
      assert.throws(() => server.publish('a.*', 'x'), InvalidArgumentError);
      const small = new MemoryServer({ maxPayload: 200 });
      assert.equal(small.publish('a', 'x'.repeat(100)).data.length, 100);
      assert.throws(() => small.publish('a', 'x'.repeat(200)), PayloadTooLargeError);
      assert.equal(small.published().length, 1);
    });
  });

  describe('looked into', () => {
    it('shows what was published, by whom, and in which order', async () => {
      await stan.publish('orders', '{"id":1}');
      await (await connect({ clientId: 'other' })).publish('bills', Buffer.of(1, 2));
      server.publish('orders', 'by the test');
      assert.deepEqual(server.channels, ['orders', 'bills']);
      assert.deepEqual(
        server.published().map(({ channel, sequence, clientId }) => [channel, sequence, clientId]),
        [
          ['orders', 1, 'me'],
          ['bills', 1, 'other'],
          ['orders', 2, undefined],
        ],
      );
      const [order, last] = server.published('orders');
      assert.deepEqual(order!.json(), { id: 1 });
      assert.equal(last!.string(), 'by the test');
      assert.deepEqual(server.published('bills')[0]!.data, Buffer.of(1, 2));
      assert.deepEqual(server.published('none'), []);
    });

    it('shows its clients, its subscriptions, and the durables that wait', async () => {
      const subscription = await stan.subscribe('a', () => undefined, { durableName: 'd', manualAck: true });
      await stan.subscribe('b', () => undefined, { queueGroup: 'g' });
      await stan.publish('a', 'x');
      await server.idle();
      assert.deepEqual(server.clients, ['me']);
      assert.deepEqual(server.subscriptions('a'), [
        {
          channel: 'a',
          clientId: 'me',
          durableName: 'd',
          queueGroup: undefined,
          online: true,
          lastSent: 1,
          pending: [1],
        },
      ]);
      assert.equal(server.subscriptions().length, 2);
      await subscription.close();
      assert.deepEqual([server.subscriptions('a')[0]!.online, server.subscriptions('a')[0]!.pending], [false, [1]]);
      await stan.close();
      assert.deepEqual([server.clients, server.subscriptions('b')], [[], []]);
      assert.equal(server.subscriptions('a').length, 1);
    });

    it('gives out copies', async () => {
      await stan.publish('a', 'abc');
      await stan.subscribe('a', (message) => void message.data.fill(0), { startAt: 'first' });
      await server.idle();
      server.published('a').pop();
      assert.equal(server.published('a')[0]!.string(), 'abc');
    });
  });

  describe('idle()', () => {
    it('waits until everything is delivered and handled, over several hops', async () => {
      const handled: string[] = [];
      await stan.subscribe('c', async (message) => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        handled.push(message.string());
      });
      await stan.subscribe('b', async (message) => void (await stan.publish('c', `${message.string()} b`)));
      await stan.subscribe('a', (message) => void stan.publish('b', `${message.string()} a`));
      for (let i = 1; i <= 3; i++) void stan.publish('a', String(i));
      await server.idle();
      assert.deepEqual(handled, ['1 a b', '2 a b', '3 a b']);
      assert.deepEqual(
        server.subscriptions().flatMap(({ pending }) => pending),
        [],
      );
    });

    it('waits for clients that are coming, and not for those that cannot', async () => {
      const client = MemoryStan.create(server, { clientId: 'coming' });
      await server.idle();
      assert.equal(client.state, 'connected');
      const refused = MemoryStan.create(server, { clientId: 'coming', clientIdConflict: 'retry' });
      await server.idle();
      assert.equal(refused.state, 'connecting');
      server.outage();
      await server.idle();
      assert.equal(client.state, 'reconnecting');
      await Promise.all([client.close({ timeout: 0 }), refused.close({ timeout: 0 })]);
    });

    it('waits for the body of a loop, which may be the caller', async () => {
      const got: string[] = [];
      for (let i = 1; i <= 20; i++) server.publish('a', String(i));
      const loop = (async () => {
        for await (const message of stan.messages('a', { startAt: 'first' })) {
          await stan.publish('b', message.string());
          if (got.push(message.string()) === 20) await server.idle();
        }
      })();
      await server.idle();
      assert.equal(got.length, 20);
      await stan.close();
      await loop;
    });

    it('does not wait for what only time brings', async () => {
      await stan.subscribe('a', () => Promise.reject(new Error('no')));
      await stan.publish('a', 'x');
      await server.idle();
      assert.deepEqual(server.subscriptions('a')[0]!.pending, [1]);
    });

    it('does not wait for the next try of a message either, and waits for the try', async () => {
      const clock = FakeTimers.install();
      try {
        const got: string[] = [];
        await stan.subscribe(
          'a',
          async (message) => {
            await Promise.resolve();
            got.push(message.string());
            if (got.length < 3) throw new Error('not yet');
          },
          { retry: { minTimeout: 1000, factor: 1, randomize: false } },
        );
        for (const data of ['x', 'y']) await stan.publish('a', data);
        await server.idle();
        assert.deepEqual(got, ['x']);
        clock.tick(1000);
        await server.idle();
        assert.deepEqual(got, ['x', 'x']);
        await server.advance(1000);
        await server.idle();
        assert.deepEqual(got, ['x', 'x', 'x', 'y']);
      } finally {
        clock.uninstall();
      }
    });
  });

  describe('faults', () => {
    it('an outage keeps what is published, and lets it out when it is over', async () => {
      const recorder = new Recorder(stan);
      const got: string[] = [];
      await stan.subscribe('a', (message) => void got.push(message.string()));
      server.outage();
      assert.equal(server.running, false);
      assert.equal(stan.state, 'connected', 'the client hears of it in a moment, as of any loss');
      const acks = [1, 2].map((i) => stan.publish('a', String(i)));
      await server.idle();
      assert.equal(stan.state, 'reconnecting');
      assert.equal(await isSettled(Promise.race(acks)), false);
      assert.throws(() => server.publish('a', 'x'), /restore/);
      server.restore();
      await server.idle();
      assert.equal((await Promise.all(acks))[0]!.attempts, 1);
      assert.deepEqual(got, ['1', '2']);
      assert.deepEqual([recorder.count('connection_lost'), recorder.count('reconnect')], [1, 1]);
    });

    it('again and again holds nobody up: no pause outlasts an outage', async () => {
      const clock = FakeTimers.install();
      try {
        for (let i = 0; i < 10; i++) {
          server.outage();
          await server.idle();
          server.restore();
          await server.idle();
          assert.equal(stan.state, 'connected');
        }
        assert.equal(stan.stats().reconnects, 10);
      } finally {
        clock.uninstall();
      }
    });

    it('cuts single connections', async () => {
      const other = await connect({ clientId: 'other' });
      server.disconnect('other');
      await server.idle();
      assert.deepEqual([stan.stats().losses, other.stats().losses], [0, 1]);
      assert.equal(other.state, 'connected');
      server.disconnect();
      await server.idle();
      assert.deepEqual([stan.stats().reconnects, other.stats().reconnects], [1, 2]);
    });

    it('forgets everything, and subscriptions hear of a reset', async () => {
      const got: number[] = [];
      const resets: unknown[] = [];
      const subscription = await stan.subscribe('a', ({ sequence }) => void got.push(sequence));
      subscription.on('reset', (reset) => resets.push(reset));
      for (let i = 1; i <= 3; i++) await stan.publish('a', 'x');
      await server.idle();
      server.wipe();
      await stan.publish('a', 'y');
      await server.idle();
      await server.advance(5000);
      assert.deepEqual([got, resets], [[1, 2, 3, 1], [{ expected: 4, got: 1 }]]);
      assert.equal(server.published('a').length, 1);
    });

    it('do not lose what a handler had when its connection went', async () => {
      const gate = deferred();
      const got: string[] = [];
      await stan.subscribe(
        'a',
        async (message) => {
          got.push(message.string());
          await gate.promise;
        },
        { durableName: 'd' },
      );
      for (let i = 1; i <= 3; i++) await stan.publish('a', String(i));
      server.disconnect();
      gate.resolve();
      await server.idle();
      assert.deepEqual(got, ['1', '2', '3']);
      assert.deepEqual(server.subscriptions('a')[0]!.pending, []);
    });
  });

  describe('time', () => {
    /** Fails once for each message, and keeps how often it was called. */
    const failOnce = async (): Promise<{ calls: boolean[] }> => {
      const calls: boolean[] = [];
      await stan.subscribe('a', async ({ redelivered }) => {
        calls.push(redelivered);
        if (!redelivered) throw new Error('not yet');
      });
      await stan.publish('a', 'x');
      await server.idle();
      return { calls };
    };

    it('passes at once when it is told to, and not more than that', async () => {
      const { calls } = await failOnce();
      const before = Date.now();
      await server.advance(29_000);
      assert.deepEqual(calls, [false]);
      await server.advance(1000);
      await server.idle();
      assert.deepEqual(calls, [false, true]);
      assert.ok(Date.now() - before < 20_000);
    });

    it('passes for all clients: timeouts of publishes fall due, each at its time', async () => {
      server.outage();
      await server.idle();
      const order: string[] = [];
      const gaveUp = [3000, 1000, 2000].map((timeout) =>
        stan.publish('a', 'x', { timeout }).catch(() => order.push(String(timeout))),
      );
      await server.advance(2500);
      assert.deepEqual(order, ['1000', '2000']);
      await server.advance(500);
      await Promise.all(gaveUp);
    });

    it('stamps messages with the Date of the test', async () => {
      const clock = FakeTimers.install({ now: new Date('2020-02-29T12:00:00Z') });
      try {
        const fresh = new MemoryServer();
        fresh.publish('a', '1');
        clock.tick(1000);
        fresh.publish('a', '2');
        assert.deepEqual(
          fresh.published('a').map(({ timestamp }) => timestamp.toISOString()),
          ['2020-02-29T12:00:00.000Z', '2020-02-29T12:00:01.000Z'],
        );
      } finally {
        clock.uninstall();
      }
    });

    const fakes: Readonly<Record<string, () => { tick: (ms: number) => unknown; remove: () => void }>> = {
      'all timers (Sinon, Jest, Vitest)': () => {
        const clock = FakeTimers.install();
        return { tick: (ms) => clock.tickAsync(ms), remove: () => clock.uninstall() };
      },
      'all timers, and ticks that wait for nothing': () => {
        const clock = FakeTimers.install();
        return { tick: (ms) => clock.tick(ms), remove: () => clock.uninstall() };
      },
      'timers and Date alone': () => {
        const clock = FakeTimers.install({
          toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'],
        });
        return { tick: (ms) => clock.tick(ms), remove: () => clock.uninstall() };
      },
      'node:test': () => {
        mock.timers.enable();
        return { tick: (ms) => mock.timers.tick(ms), remove: () => mock.timers.reset() };
      },
    };
    for (const [what, install] of Object.entries(fakes)) {
      describe(`by fake timers: ${what}`, () => {
        let time: ReturnType<typeof install>;
        beforeEach(() => {
          time = install();
        });
        afterEach(() => time.remove());

        it('stands still, and all else goes on', async () => {
          const client = await MemoryStan.connect(server, { clientId: 'other' });
          const got: string[] = [];
          await client.subscribe('a', (message) => void got.push(message.string()));
          await client.publish('a', 'x');
          await client.flush();
          await server.idle();
          assert.deepEqual(got, ['x']);
          server.outage();
          await server.idle();
          server.restore();
          await server.idle();
          await client.close();
          assert.equal(client.stats().reconnects, 1);
        });

        it('brings redeliveries, in clients of before as well', async () => {
          const { calls } = await failOnce();
          await time.tick(29_000);
          await server.idle();
          assert.deepEqual(calls, [false]);
          await time.tick(1100);
          await server.idle();
          assert.deepEqual(calls, [false, true]);
        });

        it('ends the wait of a publish, and of close()', async () => {
          server.outage();
          await server.idle();
          const published = stan.publish('a', 'x', { timeout: 10_000 }).catch((error: Error) => error.name);
          const kept = stan.publish('a', 'y').catch((error: unknown) => error);
          await time.tick(10_100);
          assert.equal(await published, 'PublishTimeoutError');
          const closing = stan.close();
          await Promise.resolve();
          await time.tick(10_100);
          await closing;
          assert.ok((await kept) instanceof ClosedError);
        });

        it('goes on when they go', async () => {
          await stan.subscribe('a', () => Promise.reject(new Error('no')), { ackWait: 1000 });
          await stan.publish('a', 'x');
          await server.idle();
          time.remove();
          const timedOut = stan.publish('a', 'y', { timeout: 60_000 });
          await timedOut;
          await server.advance(1000);
          await server.idle();
          assert.ok(stan.stats().redelivered >= 1);
        });
      });
    }

    it('goes on by the timers of the host when only Date is a fake that stands still', async () => {
      const clock = FakeTimers.install({ toFake: ['Date'] });
      try {
        server.outage();
        await server.idle();
        const error = await stan.publish('a', 'x', { timeout: 30 }).catch((thrown: Error) => thrown.name);
        assert.equal(error, 'PublishTimeoutError');
      } finally {
        clock.uninstall();
      }
    });
  });

  it('is what the example of the documents uses, which runs', async function () {
    this.timeout(30_000);
    const page = readFileSync(new URL('../../../docs/testing.md', import.meta.url), 'utf8');
    const code = /^```ts\n(import assert.*?)^```$/ms.exec(page)?.[1];
    assert.ok(code !== undefined && code.includes('MemoryStan'));
    // In this project, so that the names of its entries lead to its sources.
    const directory = fileURLToPath(new URL('../../../.cache/', import.meta.url));
    mkdirSync(directory, { recursive: true });
    const file = join(directory, `example-${process.pid}.test.ts`);
    writeFileSync(file, code);
    try {
      const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--test', file], {
        timeout: 25_000,
      });
      assert.match(stdout, /^[#ℹ] pass 1$/m);
      assert.match(stdout, /an order is confirmed/);
    } finally {
      rmSync(file);
    }
  });

  it('leaves nothing that keeps the process', async function () {
    this.timeout(30_000);
    const fixture = fileURLToPath(new URL('../fixtures/memory-ends.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', fixture], { timeout: 25_000 });
    assert.equal(stdout, 'closed\n');
  });
});
