/** A client's life on a real server: events, losses, handlers, health, draining, the end. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AbortedError,
  CallbackError,
  ClosedError,
  ConnectError,
  ConnectionLostError,
  type ResilientStan,
  TimeoutError,
  type ConnectOptions,
  type ConnectionLostHandler,
  type Logger,
} from '../../src/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, deferred, isSettled, readBack, Recorder, rejection, uniqueName, until } from '../support/clients.js';

describe('the life of a client', function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let server: StanNode;

  before(async () => {
    // A file store: what was acknowledged survives a restart. The proxy cuts connections without one.
    cluster = await StanCluster.start({ mode: 'single', proxied: true });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await server.proxy.up();
    server.proxy.clear();
    if (server.paused) await server.resume();
    await server.start();
    await clients.closeAll();
  });

  const connect = (options: ConnectOptions = {}): Promise<ResilientStan> =>
    clients.connect(cluster.urls, { clientId: uniqueName('me'), ...options });
  const lose = (): void => server.proxy.resetConnections();

  describe('events', () => {
    it('of a life with one loss, in order, each with one object', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      const subscription = await stan.subscribe('events', () => {});
      await recorder.until('connect');
      lose();
      await recorder.until('reconnect');
      await stan.close();
      assert.deepEqual(recorder.names, [
        'connect',
        'connected>reconnecting',
        'connection_lost',
        'reconnecting',
        'resubscribe',
        'reconnecting>connected',
        'reconnect',
        'connected>closing',
        'closing>closed',
        'close',
      ]);
      const [url] = cluster.urls;
      assert.deepEqual(recorder.of('connect'), [{ server: url, attempt: 1 }]);
      const [lost] = recorder.of('connection_lost');
      assert.ok(lost?.error instanceof ConnectionLostError);
      assert.equal(lost.reason, 'disconnect');
      assert.equal(lost.error.reason, 'disconnect');
      assert.equal(lost.error.server, url);
      assert.deepEqual(recorder.of('reconnecting'), [{ attempt: 1, delay: 0, error: lost.error }]);
      assert.deepEqual(recorder.of('resubscribe'), [{ subscription }]);
      const [back] = recorder.of('reconnect');
      assert.deepEqual({ ...back, downtime: 0 }, { server: url, downtime: 0, attempts: 1 });
      assert.ok(back!.downtime > 0 && back!.downtime < 10_000);
      assert.deepEqual(recorder.of('close'), [{}]);
    });

    it('one connection_lost and one call of the handler per loss, however it comes', async () => {
      const told: ConnectionLostError[] = [];
      const stan = await connect({ connectionLostHandler: (error) => void told.push(error) });
      const recorder = new Recorder(stan);
      const ways: (() => unknown)[] = [
        lose,
        async () => {
          await server.proxy.down();
          await recorder.until('reconnecting', recorder.count('reconnecting') + 2);
          await server.proxy.up();
        },
        async () => {
          await server.kill();
          await server.start();
        },
        async () => {
          await server.stop().catch(() => {});
          await server.start();
        },
      ];
      for (const [losses, way] of ways.entries()) {
        await way();
        await recorder.until('reconnect', losses + 1);
        assert.equal(recorder.count('connection_lost'), losses + 1);
        assert.equal(recorder.count('reconnect'), losses + 1);
        assert.deepEqual(
          told,
          recorder.of('connection_lost').map(({ error }) => error),
        );
        assert.equal(stan.stats().losses, losses + 1);
        assert.equal(stan.stats().reconnects, losses + 1);
      }
      assert.equal(recorder.count('error'), 0, 'nothing that is retried is an error');
    });

    it('of reconnecting say how often, how long until the next one, and why', async () => {
      const stan = await connect({ reconnect: { minTimeout: 20, factor: 2, maxTimeout: 60, randomize: false } });
      const recorder = new Recorder(stan);
      await server.proxy.down();
      await recorder.until('reconnecting', 5);
      const seen = recorder.of('reconnecting').slice(0, 5);
      assert.deepEqual(
        seen.map(({ attempt, delay }) => [attempt, delay]),
        [
          [1, 0],
          [2, 20],
          [3, 40],
          [4, 60],
          [5, 60],
        ],
      );
      assert.ok(seen[0]?.error instanceof ConnectionLostError);
      for (const { error } of seen.slice(1)) assert.ok(error instanceof ConnectError);
      await server.proxy.up();
      await recorder.until('reconnect');
      assert.equal(recorder.of('reconnect')[0]!.attempts, recorder.count('reconnecting'));
    });
  });

  describe('the ConnectionLostHandler', () => {
    it("that answers 'close' is obeyed", async () => {
      const seen: [Error, ResilientStan, string][] = [];
      const stan = await connect({
        connectionLostHandler: (error, self) => {
          seen.push([error, self, self.state]);
          return 'close';
        },
      });
      const recorder = new Recorder(stan);
      lose();
      const reason = await stan.closed();
      assert.ok(reason instanceof ConnectionLostError);
      assert.deepEqual(seen, [[reason, stan, 'reconnecting']]);
      assert.equal(stan.state, 'closed');
      assert.deepEqual(recorder.of('close'), [{ error: reason }]);
      assert.equal(recorder.count('reconnecting'), 0);
      await rejection(stan.publish('x', 'x'), ClosedError);
    });

    it("that resolves to 'close' is obeyed, what is pending rejects with its delivery and the reason", async () => {
      const other = await connect({ connectionLostHandler: () => Promise.resolve('close' as const) });
      await server.pause();
      const sent = other.publish('x', 'x');
      await until(() => other.stats().inFlight === 1, 'it was not sent');
      lose();
      const error = await rejection(sent, ClosedError);
      assert.equal(error.delivery, 'unknown');
      assert.equal(error.cause, await other.closed());
    });

    it('is awaited before anything is dialled', async () => {
      const answer = deferred<'reconnect'>();
      const stan = await connect({ connectionLostHandler: () => answer.promise });
      const recorder = new Recorder(stan);
      lose();
      await recorder.until('connection_lost');
      const { accepted } = server.proxy.stats;
      await sleep(100);
      assert.equal(server.proxy.stats.accepted, accepted);
      assert.equal(stan.state, 'reconnecting');
      assert.equal(recorder.count('reconnecting'), 0);
      answer.resolve('reconnect');
      await recorder.until('reconnect');
    });

    for (const [what, handler] of [
      [
        'throws',
        () => {
          throw new Error('handler broke');
        },
      ],
      ['rejects', () => Promise.reject(new Error('handler broke'))],
      ['throws a string', () => Promise.reject('handler broke')],
    ] as [string, ConnectionLostHandler][]) {
      it(`that ${what} does not cost the connection`, async () => {
        const stan = await connect({ connectionLostHandler: handler });
        const recorder = new Recorder(stan);
        lose();
        await recorder.until('reconnect');
        const [told] = recorder.of('error');
        assert.ok(told?.error instanceof CallbackError);
        assert.match(told.error.message, /ConnectionLostHandler.*handler broke/);
      });
    }

    it('may close the client itself, which drains, and wait for that', async () => {
      let done = false;
      const stan: ResilientStan = await connect({
        connectionLostHandler: async (_, self) => {
          await self.close({ timeout: 10_000 });
          done = true;
        },
      });
      await server.pause();
      const sent = stan.publish('x', 'x');
      await until(() => stan.stats().inFlight === 1, 'it was not sent');
      lose();
      await server.resume();
      // Closing drains, for which it has to come back first: it must not wait for the handler that waits for it.
      assert.equal((await sent).attempts, 2);
      await stan.closed();
      await until(() => done, 'the handler still waits');
    });
  });

  it('reconnect: false closes at the first loss', async () => {
    const stan = await connect({ reconnect: false });
    lose();
    assert.ok((await stan.closed()) instanceof ConnectionLostError);
    assert.equal(stan.state, 'closed');
  });

  it('gives up when the retries are used up, and says why', async () => {
    const stan = await connect({ reconnect: { retries: 2, minTimeout: 1, maxTimeout: 5 } });
    const recorder = new Recorder(stan);
    await server.proxy.down();
    const reason = await stan.closed();
    assert.ok(reason instanceof ConnectError, String(reason));
    assert.deepEqual(
      recorder.of('reconnecting').map(({ attempt }) => attempt),
      [1, 2, 3],
    );
    assert.deepEqual(recorder.of('close'), [{ error: reason }]);
  });

  describe('what users do wrong in callbacks harms nothing', () => {
    it('listeners that throw, of every event, and of the subscription', async () => {
      const stan = await connect();
      const events = [
        'connect',
        'connection_lost',
        'reconnecting',
        'reconnect',
        'resubscribe',
        'state',
        'error',
        'close',
      ] as const;
      const called = new Set<string>();
      for (const event of events) {
        stan.on(event, () => {
          called.add(event);
          throw new Error(`listener of ${event}`);
        });
      }
      const got: string[] = [];
      const subscription = await stan.subscribe('throwing', (message) => void got.push(message.string()));
      for (const event of ['ready', 'closed', 'handler_error'] as const) {
        subscription.on(event, () => {
          called.add(event);
          throw new Error(`listener of ${event}`);
        });
      }
      await stan.publish('throwing', 'one');
      lose();
      await until(() => stan.stats().reconnects === 1, 'no reconnect');
      await stan.publish('throwing', 'two');
      await until(
        () => got.length === 2,
        () => got.join(),
      );
      await subscription.close();
      await stan.close();
      assert.deepEqual([...called].sort(), [...events, 'ready', 'closed'].sort());
      assert.ok(stan.health().lastError?.error instanceof CallbackError);
    });

    it('loggers that throw', async () => {
      const logger = Object.fromEntries(
        ['debug', 'info', 'warn', 'error'].map((level) => [
          level,
          () => {
            throw new Error(`logger.${level}`);
          },
        ]),
      ) as Logger;
      const stan = await connect({ logger });
      const recorder = new Recorder(stan);
      lose();
      await recorder.until('reconnect');
      await stan.publish('logging', 'x');
    });

    it('nobody who listens to errors', async () => {
      const stan = await connect({
        connectionLostHandler: () => {
          throw new Error('unheard');
        },
      });
      lose();
      await until(() => stan.stats().reconnects === 1, 'no reconnect');
      assert.match(stan.health().lastError!.error.message, /unheard/);
    });

    it('a listener that closes the client, whatever the event', async () => {
      for (const event of ['connection_lost', 'reconnecting', 'reconnect', 'state', 'resubscribe'] as const) {
        const stan = await connect();
        const recorder = new Recorder(stan);
        await stan.subscribe('closer', () => {});
        const closes: Promise<void>[] = [];
        stan.on(event, () => void closes.push(stan.close()));
        lose();
        assert.equal(await stan.closed(), undefined, event);
        assert.equal(stan.state, 'closed');
        await Promise.all(closes);
        assert.equal(recorder.count('close'), 1, event);
        assert.equal(recorder.names.filter((name) => name.endsWith('>closing')).length, 1, event);
      }
    });
  });

  describe('stats() and health()', () => {
    it('count what happens', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      const zero = {
        published: 0,
        acknowledged: 0,
        rejected: 0,
        resent: 0,
        pending: 0,
        pendingBytes: 0,
        inFlight: 0,
        delivered: 0,
        duplicatesDropped: 0,
        redelivered: 0,
        fetched: 0,
        handlerErrors: 0,
        gaps: 0,
        resets: 0,
        deadLetters: 0,
        overdue: 0,
        suspicions: 0,
        losses: 0,
        reconnects: 0,
        subscriptions: 0,
      };
      assert.deepEqual(stan.stats(), zero);
      const channel = uniqueName('stats');
      const subscription = await stan.subscribe(channel, () => {});
      await Promise.all([stan.publish(channel, 'abc'), stan.publish(channel, 'é')]);
      await until(() => stan.stats().delivered === 2, 'not delivered');
      assert.deepEqual(stan.stats(), { ...zero, published: 2, acknowledged: 2, delivered: 2, subscriptions: 1 });

      await server.proxy.down();
      await recorder.until('connection_lost');
      const waiting = stan.publish(channel, 'é');
      const rejected = rejection(stan.publish(channel, 'x', { timeout: 20 }), Error as never);
      assert.equal(stan.stats().pending, 2);
      assert.equal(stan.stats().pendingBytes, 3);
      assert.equal(stan.stats().inFlight, 0);
      await rejected;
      assert.equal(stan.stats().rejected, 1);
      assert.equal(stan.stats().losses, 1);
      const down = stan.health();
      assert.equal(down.healthy, false);
      assert.equal(down.state, 'reconnecting');
      assert.equal(down.server, undefined);
      assert.equal(down.pending, 1);
      assert.equal(down.losses, 1);
      assert.ok(down.lastError && down.lastError.at >= down.since);

      await server.proxy.up();
      await waiting;
      await until(() => stan.stats().delivered === 3, 'not delivered');
      await subscription.close();
      const stats = stan.stats();
      assert.deepEqual(
        { ...stats, duplicatesDropped: 0, redelivered: 0, fetched: 0, suspicions: 0 },
        { ...zero, published: 4, acknowledged: 3, rejected: 1, delivered: 3, losses: 1, reconnects: 1 },
      );
      const up = stan.health();
      assert.equal(up.healthy, true);
      assert.equal(up.state, 'connected');
      assert.equal(up.server, cluster.urls[0]);
      assert.ok(up.since >= down.since);
      assert.ok(up.lastError, 'what went wrong last is still known');
    });

    it('pending counts those that wait for room, too', async () => {
      const stan = await connect({ publishing: { maxPending: 2, whenFull: 'wait' } });
      const recorder = new Recorder(stan);
      await server.proxy.down();
      await recorder.until('connection_lost');
      const all = ['a', 'b', 'c', 'd'].map((data) => stan.publish('waiting', data));
      assert.equal(stan.stats().pending, 4);
      assert.equal(stan.health().pending, 4);
      await rejection(stan.flush({ timeout: 5 }), TimeoutError, '4 messages');
      await server.proxy.up();
      await Promise.all(all);
      assert.equal(stan.stats().pending, 0);
    });

    it('health tells that the leader is overdue', async () => {
      const stan = await connect();
      await server.pause();
      void stan.publish('x', 'x');
      await until(() => stan.health().suspect, 'it was never suspect');
      assert.equal(stan.health().healthy, false);
      assert.equal(stan.health().state, 'connected');
      await server.resume();
      await until(() => stan.health().healthy, 'it never was healthy again');
    });
  });

  describe('flush()', () => {
    it('resolves when all that was published before is settled, and not before', async () => {
      const stan = await connect();
      await stan.flush();
      const recorder = new Recorder(stan);
      await server.proxy.down();
      await recorder.until('connection_lost');
      const kept = stan.publish('flush', 'kept');
      const given = rejection(stan.publish('flush', 'given up', { timeout: 50 }), Error as never);
      const flushed = stan.flush();
      await given;
      assert.equal(await isSettled(flushed), false);
      const late = stan.publish('flush', 'late', { timeout: 60_000 });
      await server.proxy.up();
      await flushed;
      assert.equal(await isSettled(kept), true);
      await late;
    });

    it('rejects at its timeout, and nothing is given up', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      await server.proxy.down();
      await recorder.until('connection_lost');
      const kept = stan.publish('flush', 'kept');
      const error = await rejection(stan.flush({ timeout: 20 }), TimeoutError, '1 message', '20 ms');
      assert.equal(error.code, 'ERR_STAN_TIMEOUT');
      await server.proxy.up();
      assert.equal((await kept).attempts, 1);
    });
  });

  describe('close()', () => {
    it('drains: running handlers finish and are acknowledged, what is published is flushed, the durable is kept', async () => {
      const clientId = uniqueName('drain');
      const channel = uniqueName('drain');
      const stan = await connect({ clientId });
      const started: number[] = [];
      const done: number[] = [];
      const go = deferred();
      await stan.subscribe(
        channel,
        async (message) => {
          started.push(message.sequence);
          await go.promise;
          done.push(message.sequence);
        },
        { durableName: 'd', startAt: 'first', concurrency: 2 },
      );
      for (let i = 1; i <= 4; i++) await stan.publish(channel, String(i));
      await until(() => started.length === 2, 'not started');
      const unflushed = Array.from({ length: 200 }, (_, i) => stan.publish(`${channel}.out`, String(i)));
      const closing = stan.close();
      assert.equal(stan.state, 'closing');
      await rejection(
        stan.subscribe(channel, () => {}),
        ClosedError,
        'closing',
      );
      await Promise.all(unflushed);
      assert.equal(await isSettled(closing), false, 'it waits for the handlers');
      go.resolve();
      await closing;
      await rejection(stan.publish(channel, 'x'), ClosedError, 'closed');
      assert.deepEqual(done, [1, 2]);
      assert.deepEqual(started, [1, 2], 'what was queued is not started');
      assert.equal((await readBack(cluster.urls, `${channel}.out`)).length, 200);

      // The client ID is free at once, and the durable goes on where it was.
      const next = await connect({ clientId, clientIdConflict: 'close', initialConnect: { retries: 0 } });
      const rest: number[] = [];
      await next.subscribe(channel, (message) => void rest.push(message.sequence), { durableName: 'd' });
      await until(
        () => rest.length === 2,
        () => rest.join(),
      );
      assert.deepEqual(rest, [3, 4]);
    });

    it('frees the client ID at once, many times in a row', async () => {
      const clientId = uniqueName('again');
      for (let i = 0; i < 20; i++) {
        const stan = await connect({ clientId, clientIdConflict: 'close', initialConnect: { retries: 0 } });
        await stan.close();
      }
      const listed = await server.monitor.clientsz();
      assert.ok(!listed!.clients.some(({ id }) => id === clientId));
    });

    it('is idempotent: calls share one end', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      const go = deferred();
      await stan.subscribe('idempotent', () => go.promise, { startAt: 'new' });
      await stan.publish('idempotent', 'x');
      await until(() => stan.stats().delivered === 1, 'not delivered');
      const [one, two] = [stan.close(), stan.close({ timeout: 60_000 })];
      await sleep(20);
      assert.equal(await isSettled(two), false);
      go.resolve();
      await Promise.all([one, two, stan.close(), stan[Symbol.asyncDispose]()]);
      assert.equal(await stan.closed(), undefined);
      assert.equal(recorder.count('close'), 1);
    });

    for (const timeout of [0, 1]) {
      it(`is hurried by close({ timeout: ${timeout} })`, async () => {
        const stan = await connect();
        const recorder = new Recorder(stan);
        await stan.subscribe('hurried', () => new Promise(() => {}));
        await stan.publish('hurried', 'x');
        await until(() => stan.stats().delivered === 1, 'not delivered');
        const closing = stan.close({ timeout: Infinity });
        assert.equal(await isSettled(closing), false);
        await stan.close({ timeout });
        await closing;
        await stan.close({ timeout: Infinity });
        assert.equal(recorder.count('close'), 1);
        assert.equal(await stan.closed(), undefined);
      });
    }

    it('is hurried when it only waits for the server any more', async () => {
      const [hurried, other] = [await connect(), await connect()];
      await server.pause();
      try {
        const slow = other.close({ timeout: 60_000 });
        const closing = hurried.close({ timeout: 60_000 });
        await until(() => hurried.server === undefined, 'the session is not being closed');
        await hurried.close({ timeout: 0 });
        await closing;
        assert.equal(await isSettled(slow), false, 'the other one still waits');
        await slow;
      } finally {
        await server.resume();
      }
    });

    it('gives up at its timeout: running handlers, and publishes, which say what is known of them', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      const go = deferred();
      let finished = false;
      await stan.subscribe('stuck', async () => {
        await go.promise;
        finished = true;
      });
      await stan.publish('stuck', 'x');
      await until(() => stan.stats().delivered === 1, 'not delivered');
      await server.pause();
      const unknown = stan.publish('stuck', 'sent');
      await until(() => stan.health().suspect, 'it was never suspect');
      const notSent = stan.publish('stuck', 'kept back');
      const closing = stan.close({ timeout: 100 });
      const [first, second] = await Promise.all([rejection(unknown, ClosedError), rejection(notSent, ClosedError)]);
      assert.equal(first.delivery, 'unknown');
      assert.equal(second.delivery, 'not-sent');
      await closing;
      assert.equal(stan.state, 'closed');
      assert.equal(recorder.count('connection_lost'), 0);
      go.resolve();
      await until(() => finished, 'the handler did not finish');
      await server.resume();
      assert.ok(!(await readBack(cluster.urls, 'stuck')).includes('kept back'));
    });

    it('during an outage waits for its timeout, then rejects what is pending, and stops to dial', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      await server.proxy.down();
      await recorder.until('connection_lost');
      const pending = rejection(stan.publish('outage', 'x'), ClosedError);
      await stan.close({ timeout: 50 });
      assert.equal((await pending).delivery, 'not-sent');
      await server.proxy.up();
      const { accepted } = server.proxy.stats;
      await sleep(50);
      assert.equal(server.proxy.stats.accepted, accepted);
      assert.equal(await stan.closed(), undefined);
    });

    it('during an outage that ends in time flushes all the same', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      await server.proxy.down();
      await recorder.until('connection_lost');
      const pending = stan.publish('outage', 'x');
      const closing = stan.close();
      await sleep(50);
      await server.proxy.up();
      await pending;
      await closing;
      assert.deepEqual(recorder.names.at(-1), 'close');
      assert.ok(!recorder.names.includes('closing>connected'));
    });

    it('with nothing to drain during an outage is over at once', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      await stan.subscribe('outage', () => {});
      await server.proxy.down();
      await recorder.until('connection_lost');
      const startedAt = performance.now();
      await stan.close();
      assert.ok(performance.now() - startedAt < 1500, `${performance.now() - startedAt}`);
    });

    it('with timeout 0 does not drain', async () => {
      const stan = await connect();
      const go = deferred();
      await stan.subscribe('now', () => go.promise);
      await stan.publish('now', 'x');
      await until(() => stan.stats().delivered === 1, 'not delivered');
      await stan.close({ timeout: 0 });
      assert.equal(stan.state, 'closed');
      go.resolve();
    });

    it('rejects a subscribe() that waits, and ends the subscriptions', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      const subscription = await stan.subscribe('ends', () => {});
      const ended: unknown[] = [];
      subscription.on('closed', (event) => ended.push(event));
      await server.proxy.down();
      await recorder.until('connection_lost');
      const waiting = stan.subscribe('waits', () => {});
      assert.equal(await isSettled(waiting), false);
      const closing = stan.close({ timeout: 10 });
      await rejection(waiting, ClosedError);
      await closing;
      assert.deepEqual(ended, [{}]);
    });

    it('is what `await using` calls', async () => {
      let kept: ResilientStan;
      {
        await using stan = await connect();
        kept = stan;
        void stan.publish('using', 'x');
      }
      assert.equal(kept.state, 'closed');
      assert.equal(kept.stats().acknowledged, 1);
    });
  });

  describe('the signal', () => {
    it('closes at once, with the reason', async () => {
      const abort = new AbortController();
      const stan = await connect({ signal: abort.signal });
      const recorder = new Recorder(stan);
      const go = deferred();
      await stan.subscribe('aborted', () => go.promise);
      await stan.publish('aborted', 'x');
      await until(() => stan.stats().delivered === 1, 'not delivered');
      await server.pause();
      const pending = rejection(stan.publish('aborted', 'y'), ClosedError);
      abort.abort(new Error('shutting down'));
      const reason = await stan.closed();
      assert.ok(reason instanceof AbortedError);
      assert.equal((reason.cause as Error).message, 'shutting down');
      assert.equal((await pending).cause, reason);
      assert.equal(recorder.of('close')[0]!.error, reason);
      await server.resume();
      go.resolve();
    });

    it('closes during an outage', async () => {
      const abort = new AbortController();
      const stan = await connect({ signal: abort.signal });
      const recorder = new Recorder(stan);
      await server.proxy.down();
      await recorder.until('connection_lost');
      abort.abort();
      assert.ok((await stan.closed()) instanceof AbortedError);
    });

    it('ends a drain that is under way', async () => {
      const abort = new AbortController();
      const stan = await connect({ signal: abort.signal });
      const go = deferred();
      await stan.subscribe('drained', () => go.promise);
      await stan.publish('drained', 'x');
      await until(() => stan.stats().delivered === 1, 'not delivered');
      const closing = stan.close({ timeout: 60_000 });
      abort.abort();
      await closing;
      // It was asked for before.
      assert.equal(await stan.closed(), undefined);
      go.resolve();
    });

    it('has no listener of ours left after close()', async () => {
      const abort = new AbortController();
      let listeners = 0;
      const { signal } = abort;
      const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
      signal.addEventListener = (...args: Parameters<typeof add>) => {
        listeners++;
        add(...args);
      };
      signal.removeEventListener = (...args: Parameters<typeof remove>) => {
        listeners--;
        remove(...args);
      };
      const stan = await connect({ signal });
      assert.equal(listeners, 1);
      await stan.close();
      assert.equal(listeners, 0);
      abort.abort();
      assert.equal(await stan.closed(), undefined);
    });

    it('frees the client ID all the same', async () => {
      const clientId = uniqueName('me');
      const abort = new AbortController();
      const stan = await connect({ clientId, signal: abort.signal });
      abort.abort();
      await stan.closed();
      await connect({ clientId, clientIdConflict: 'close', initialConnect: { retries: 0 } });
    });
  });
});
