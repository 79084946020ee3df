/** How a client and its subscriptions end on a real server: what runs finishes, what is to be dropped is, and nobody waits in vain. */
import assert from 'node:assert/strict';
import {
  ClosedError,
  SubscribeError,
  type ConnectOptions,
  type ResilientStan,
  type ResilientStanEvents,
  type StanMessage,
  type SubscriptionEvents,
} from '../../src/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, deferred, isSettled, readBack, Recorder, rejection, uniqueName, until } from '../support/clients.js';

describe('the end of a life', function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let server: StanNode;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', proxied: true });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await server.proxy.up();
    server.proxy.clear();
    if (server.paused) await server.resume();
    await clients.closeAll();
  });

  const connect = (options: ConnectOptions = {}): Promise<ResilientStan> =>
    clients.connect(cluster.urls, { clientId: uniqueName('me'), ...options });

  /** What a new life of the durable gets, up to a message that is published now. */
  const nextLife = async (clientId: string, channel: string): Promise<string[]> => {
    const stan = await connect({ clientId });
    const got: string[] = [];
    await stan.subscribe(channel, (message) => void got.push(message.string()), { durableName: 'd' });
    await stan.publish(channel, 'end');
    await until(
      () => got.at(-1) === 'end',
      () => got.join(),
    );
    return got;
  };

  describe('close() while a handler runs', () => {
    for (const manualAck of [false, true]) {
      it(`which publishes and ${manualAck ? 'acknowledges' : 'is through'}: stored, and not handled again`, async () => {
        const clientId = uniqueName('me');
        const channel = uniqueName('orders');
        const stan = await connect({ clientId });
        const go = deferred();
        await stan.subscribe(
          channel,
          async (message) => {
            await go.promise;
            await stan.publish(`${channel}.paid`, message.data);
            await stan.publish(`${channel}.paid`, 'twice');
            await stan.flush();
            if (manualAck) message.ack();
          },
          { durableName: 'd', startAt: 'first', manualAck },
        );
        await stan.publish(channel, 'one');
        await stan.publish(channel, 'two');
        await until(() => stan.stats().delivered >= 1, 'not delivered');
        const handled = stan.stats().delivered;
        const closing = stan.close();
        go.resolve();
        await closing;
        await rejection(stan.publish(channel, 'x'), ClosedError, 'closed');
        const paid = await readBack(cluster.urls, `${channel}.paid`);
        assert.deepEqual(paid, ['one', 'twice', 'two', 'twice'].slice(0, 2 * handled));
        assert.deepEqual(await nextLife(clientId, channel), [...['one', 'two'].slice(handled), 'end']);
      });
    }

    for (const whose of ['the client', 'the subscription'] as const) {
      it(`by ${whose}, and the session is lost meanwhile: what it is through with is acknowledged on the next one`, async () => {
        const clientId = uniqueName('me');
        const channel = uniqueName('orders');
        const stan = await connect({ clientId });
        const go = deferred();
        const running = deferred();
        const subscription = await stan.subscribe(
          channel,
          async () => {
            running.resolve();
            await go.promise;
          },
          { durableName: 'd', startAt: 'first' },
        );
        await stan.publish(channel, '1');
        await running.promise;
        const closing = whose === 'the client' ? stan.close() : subscription.close();
        const recorder = new Recorder(stan);
        server.proxy.resetConnections();
        await recorder.until('reconnect');
        go.resolve();
        await closing;
        await stan.close();
        assert.deepEqual(await nextLife(clientId, channel), ['end']);
      });
    }

    it('and is over: publishing ends, and what is pending is sent', async () => {
      const channel = uniqueName('orders');
      const stan = await connect();
      const go = deferred();
      let pending: Promise<unknown> | undefined;
      await stan.subscribe(channel, async () => {
        await go.promise;
        // Not awaited.
        pending = stan.publish(`${channel}.out`, 'x');
      });
      await stan.publish(channel, 'one');
      await until(() => stan.stats().delivered === 1, 'not delivered');
      const closing = stan.close();
      go.resolve();
      await closing;
      await pending;
      assert.deepEqual(await readBack(cluster.urls, `${channel}.out`), ['x']);
    });

    it('of a loop: its body publishes, and asks for the next, which acknowledges', async () => {
      const clientId = uniqueName('me');
      const channel = uniqueName('orders');
      const stan = await connect({ clientId });
      const go = deferred();
      const seen: string[] = [];
      const loop = (async () => {
        for await (const message of stan.messages(channel, { durableName: 'd', startAt: 'first' })) {
          seen.push(message.string());
          await go.promise;
          for (let i = 0; i < 3; i++) await stan.publish(`${channel}.paid`, `${message.string()} ${i}`);
        }
      })();
      await stan.publish(channel, 'one');
      await stan.publish(channel, 'two');
      await until(() => seen.length === 1, 'not delivered');
      const closing = stan.close();
      go.resolve();
      await closing;
      await loop;
      assert.deepEqual(seen, ['one']);
      assert.deepEqual(await readBack(cluster.urls, `${channel}.paid`), ['one 0', 'one 1', 'one 2']);
      assert.deepEqual(await nextLife(clientId, channel), ['two', 'end']);
    });

    it('and nobody else: publish() right after it rejects', async () => {
      const stan = await connect();
      await stan.subscribe('idle', () => {});
      const iterator = stan.messages('idle', { startAt: 'first' });
      await stan.publish('idle', 'not asked for');
      await until(() => stan.stats().delivered === 2, 'not delivered');
      const closing = stan.close();
      await rejection(stan.publish('idle', 'x'), ClosedError, 'close');
      await closing;
      assert.equal((await iterator.next()).done, true);
    });
  });

  describe('close() that is waited for by what it would wait for', () => {
    it('the body of a loop', async () => {
      const stan = await connect();
      await stan.publish('loop', 'x');
      for await (const message of stan.messages('loop', { startAt: 'first' })) {
        assert.equal(message.string(), 'x');
        await stan.close({ timeout: Infinity });
      }
      assert.equal(stan.state, 'closed');
    });

    it('a handler, from its beginning on', async () => {
      const stan = await connect();
      const closed = deferred();
      await stan.subscribe('handler', async () => {
        await stan.close({ timeout: Infinity });
        closed.resolve();
      });
      await stan.publish('handler', 'x');
      await closed.promise;
      assert.equal(stan.state, 'closed');
    });

    it('but not in vain: the others finish', async () => {
      const stan = await connect();
      const go = deferred();
      const log: string[] = [];
      const handler = async (message: StanMessage): Promise<void> => {
        if (message.string() === 'close') await stan.close({ timeout: Infinity });
        else await go.promise;
        log.push(message.string());
      };
      await stan.subscribe('others', handler, { concurrency: 2 });
      await stan.publish('others', 'work');
      await stan.publish('others', 'close');
      await until(() => stan.stats().delivered === 2, 'not delivered');
      assert.equal(await isSettled(stan.closed()), false);
      go.resolve();
      await stan.closed();
      await until(() => log.length === 2, 'not through');
      assert.deepEqual(log, ['work', 'close']);
    });
  });

  describe('giving up waits for nobody', () => {
    it('an iterator whose request is under way to a server that hangs', async () => {
      const stan = await connect({ pings: { interval: 60_000 } });
      await server.pause();
      const losses = new Recorder(stan);
      const iterator = stan.messages('hangs');
      const asked = iterator.next();
      await iterator.return!();
      assert.equal((await asked).done, true);
      assert.equal(losses.count('connection_lost'), 0, 'nor until the session is given up');
    });

    it('a subscription in an outage, as soon as its handler is through', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      const go = deferred();
      const subscription = await stan.subscribe('outage', () => go.promise);
      await stan.publish('outage', 'x');
      await until(() => stan.stats().delivered === 1, 'not delivered');
      await server.proxy.down();
      await recorder.until('connection_lost');
      const closing = subscription.close();
      assert.equal(await isSettled(closing), false);
      go.resolve();
      await closing;
      assert.equal(stan.state, 'reconnecting');
    });
  });

  describe('unsubscribe()', () => {
    it('after close(), drops the durable', async () => {
      const stan = await connect();
      const channel = uniqueName('drop');
      const subscription = await stan.subscribe(channel, () => {}, { durableName: 'd' });
      await subscription.close();
      await stan.publish(channel, 'missed');
      await Promise.all([subscription.unsubscribe(), subscription.unsubscribe()]);
      const got: string[] = [];
      await stan.subscribe(channel, (message) => void got.push(message.string()), { durableName: 'd' });
      await stan.publish(channel, 'end');
      await until(() => got.length > 0, 'nothing came');
      assert.deepEqual(got, ['end'], 'a new durable begins anew');
    });

    it('of a durable group, and a new one of that name begins where it is asked to', async () => {
      const channel = uniqueName('orders');
      const stan = await connect();
      const options = { durableName: 'd', queueGroup: 'g', startAt: 'first' } as const;
      for (let i = 1; i <= 5; i++) await stan.publish(channel, String(i));
      const first: number[] = [];
      const subscription = await stan.subscribe(channel, ({ sequence }) => void first.push(sequence), options);
      await until(
        () => first.length === 5,
        () => first.join(),
      );
      await subscription.unsubscribe();
      const second: number[] = [];
      await stan.subscribe(channel, ({ sequence }) => void second.push(sequence), options);
      await until(
        () => second.length === 5,
        () => second.join(),
      );
    });

    it('is waited for by close()', async () => {
      const clientId = uniqueName('me');
      const channel = uniqueName('drop');
      const stan = await connect({ clientId });
      const subscription = await stan.subscribe(channel, () => {}, { durableName: 'd' });
      await stan.publish(channel, 'one');
      const dropping = subscription.unsubscribe();
      await stan.close();
      await dropping;
      assert.deepEqual(await nextLife(clientId, channel), ['end']);
    });

    it('after the client closed, rejects: the durable is kept', async () => {
      const clientId = uniqueName('me');
      const channel = uniqueName('kept');
      const stan = await connect({ clientId });
      const subscription = await stan.subscribe(channel, () => {}, { durableName: 'd' });
      const plain = await stan.subscribe(channel, () => {});
      await stan.close();
      await rejection(subscription.unsubscribe(), ClosedError, 'still keeps it');
      await plain.unsubscribe();
      const other = await connect();
      await other.publish(channel, 'kept');
      assert.deepEqual(await nextLife(clientId, channel), ['kept', 'end']);
    });

    it('of a durable that another client with our ID has taken, rejects, and leaves it alone', async () => {
      const clientId = uniqueName('me');
      const channel = uniqueName('taken');
      // It hears of the other one by its next ping, a minute later.
      const frozen = await connect({ clientId, pings: { interval: 60_000 } });
      const subscription = await frozen.subscribe(channel, () => {}, { durableName: 'd' });
      server.proxy.add({ type: 'stall' });
      const next = await clients.connect(`nats://127.0.0.1:${server.ports.client}`, { clientId });
      const got: string[] = [];
      await next.subscribe(channel, (message) => void got.push(message.string()), { durableName: 'd' });
      server.proxy.clear();
      const error = await rejection(subscription.unsubscribe(), SubscribeError, 'in use again');
      assert.match(error.message, /could not be dropped/);
      await next.publish(channel, 'x');
      await until(() => got.length === 1, 'the other one lost its durable');
    });
  });

  describe('after close', () => {
    /** Everything that a client and a subscription tell, in order. */
    const listen = (stan: ResilientStan, told: string[]): void => {
      const events: (keyof ResilientStanEvents)[] = [
        ...['connect', 'connection_lost', 'reconnecting', 'reconnect', 'resubscribe'],
        ...['permission_error', 'client_id_conflict', 'state', 'error', 'close'],
      ] as never;
      for (const event of events) stan.on(event, () => void told.push(event));
    };

    it('nothing is told, whatever fails then', async () => {
      const told: string[] = [];
      const logged: string[] = [];
      const stan = await connect({
        logger: { debug: () => {}, info: () => {}, warn: () => {}, error: (message) => void logged.push(message) },
      });
      listen(stan, told);
      const late = deferred();
      // eslint-disable-next-line @typescript-eslint/no-misused-promises -- what careless users do
      stan.on('close', () => late.promise);
      stan.on('close', () => {
        throw new Error('in a listener of close');
      });
      const subscription = await stan.subscribe('late', () => late.promise);
      const names: (keyof SubscriptionEvents)[] = ['ready', 'handler_error', 'gap', 'reset', 'dead_letter', 'closed'];
      for (const name of names) subscription.on(name, () => void told.push(`subscription ${name}`));
      // eslint-disable-next-line @typescript-eslint/no-misused-promises -- as above
      subscription.on('closed', () => late.promise);
      await stan.publish('late', 'x');
      await until(() => stan.stats().delivered === 1, 'not delivered');
      await stan.close({ timeout: 1 });
      late.reject(new Error('late'));
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(told.slice(told.indexOf('subscription closed')), ['subscription closed', 'close']);
      assert.deepEqual(logged, []);
      assert.equal(stan.health().lastError, undefined);
    });

    it('a subscription that was made in the last moment has told of its end before', async () => {
      const told: string[] = [];
      const abort = new AbortController();
      const stan = await connect({ signal: abort.signal });
      listen(stan, told);
      await stan
        .subscribe('last', () => {})
        .then((subscription) => {
          subscription.on('closed', () => told.push('closed'));
          abort.abort();
        });
      await stan.closed();
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(told.slice(-2), ['closed', 'close']);
    });

    it('the last error is what went wrong, and not that the search was called off', async () => {
      for (let i = 0; i < 20; i++) {
        const stan = await connect({ reconnect: { minTimeout: 1, maxTimeout: 5 } });
        const recorder = new Recorder(stan);
        await server.proxy.down();
        await recorder.until('reconnecting', 1 + (i % 5));
        await new Promise((resolve) => setTimeout(resolve, i / 4));
        await stan.close({ timeout: i % 3 });
        const told = [...recorder.of('reconnecting').map(({ error }) => error), stan.health().lastError!.error];
        for (const error of told) assert.doesNotMatch(error.message, /called off|closed$|aborted/, error.message);
        assert.equal(await stan.closed(), undefined);
        await server.proxy.up();
      }
    });

    it('nor when it gave up: the last error is why', async () => {
      const stan = await connect({ reconnect: { retries: 2, minTimeout: 1, maxTimeout: 1 } });
      await server.proxy.down();
      const reason = await stan.closed();
      assert.ok(reason);
      assert.equal(stan.health().lastError!.error, reason);
    });
  });
});
