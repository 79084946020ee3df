/** A client that exists before it is connected. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import {
  AbortedError,
  AuthorizationError,
  ClosedError,
  ConnectError,
  InvalidArgumentError,
  OutboxFullError,
  PublishTimeoutError,
  ResilientStan,
  TimeoutError,
} from '../../src/index.js';
import { resolveServer, StanCluster } from '../../src/testing/index.js';
import { releasePorts, takePorts } from '../../src/testing/ports.js';
import { deferred, isSettled, readBack, rejection, until } from '../support/clients.js';
import { unhandled } from '../support/hostile.js';
import { ServerProcess } from '../support/server-process.js';

/** The names of the events that come, and of `connecting` the first one only. */
function watch(stan: ResilientStan): { names: string[]; attempts: () => number } {
  const names: string[] = [];
  let attempts = 0;
  stan.on('connecting', () => attempts++ === 0 && names.push('connecting'));
  for (const event of ['session', 'connect', 'connection_lost', 'reconnect', 'error', 'close'] as const) {
    stan.on(event, () => void names.push(event));
  }
  stan.on('state', ({ to }) => void names.push(to));
  return { names, attempts: () => attempts };
}

describe('ResilientStan.create', function () {
  this.timeout(30_000);

  it('takes publishes and subscriptions before there is a server, and brings them up with it', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const [server] = cluster.nodes;
    await server!.kill();
    await using stan = ResilientStan.create(cluster.urls);
    const attempts: number[] = [];
    stan.on('connecting', ({ attempt, error }) => {
      assert.ok(error instanceof Error);
      attempts.push(attempt);
    });
    assert.equal(stan.state, 'connecting');
    const published = stan.publish('boot', 'early');
    const got: string[] = [];
    const subscribed = stan.subscribe('boot', (message) => void got.push(message.string()), { startAt: 'first' });
    // More often than connect() would try.
    await until(() => attempts.length >= 5, 'it does not go on trying');
    assert.deepEqual(attempts.slice(0, 5), [2, 3, 4, 5, 6]);
    assert.equal(stan.health().healthy, false);
    assert.equal(stan.health().pending, 1);
    assert.ok(stan.health().lastError);
    assert.equal(await isSettled(stan.connected()), false);
    await server!.start();
    await stan.connected();
    assert.equal(stan.state, 'connected');
    await Promise.all([published, subscribed]);
    await until(() => got.length === 1, 'the message does not come');
    assert.deepEqual(await readBack(cluster.urls, 'boot'), ['early']);
  });

  it('tells of each session before the first message of it', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'file', proxied: true });
    await using other = await ResilientStan.connect(cluster.urls);
    await other.publish('order', 'one');
    await using stan = ResilientStan.create(cluster.urls);
    const seen: string[] = [];
    stan.on('session', ({ server }) => seen.push(server === cluster.urls[0] ? 'session' : server));
    stan.on('reconnect', () => seen.push('reconnect'));
    void stan.subscribe('order', (message) => void seen.push(message.string()), { startAt: 'first' });
    await until(() => seen.includes('one'), 'the message does not come');
    assert.deepEqual(seen, ['session', 'one']);
    const { proxy } = cluster.nodes[0]!;
    await proxy.down();
    await until(() => stan.state === 'reconnecting', 'no loss');
    await proxy.up();
    await until(() => stan.state === 'connected' && other.state === 'connected', 'not back');
    await other.publish('order', 'two');
    await until(() => seen.includes('two'), 'the second message does not come');
    assert.deepEqual(
      seen.filter((what) => what !== 'reconnect'),
      ['session', 'one', 'session', 'two'],
    );
    await until(() => seen.includes('reconnect'), 'no reconnect');
    assert.ok(seen.lastIndexOf('session') < seen.indexOf('reconnect'), 'reconnect comes before the session');
  });

  it('refuses wrong arguments at once', () => {
    assert.throws(() => ResilientStan.create('http://here'), InvalidArgumentError);
    assert.throws(() => ResilientStan.create(undefined, { clientId: 'a b' }), InvalidArgumentError);
  });

  it('that can never be ends with the reason, and keeps nobody waiting', async () => {
    await using cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      auth: { user: 'me', pass: 'right' },
    });
    const stan = ResilientStan.create(cluster.urls, { user: 'me', pass: 'wrong' });
    const end = deferred<Error | undefined>();
    stan.on('close', ({ error }) => end.resolve(error));
    const published = stan.publish('never', 'x');
    published.catch(() => undefined);
    await rejection(stan.connected(), AuthorizationError);
    assert.equal((await rejection(published, ClosedError)).delivery, 'not-sent');
    assert.ok((await end.promise) instanceof AuthorizationError);
    assert.equal(stan.state, 'closed');
  });

  it('may be closed before it is connected, also at once', async () => {
    const stan = ResilientStan.create('nats://127.0.0.1:1');
    const published = stan.publish('never', 'x');
    published.catch(() => undefined);
    await stan.close({ timeout: 0 });
    await rejection(stan.connected(), ClosedError);
    await rejection(published, ClosedError);
    assert.equal(await stan.closed(), undefined);
  });

  it('obeys a signal that was aborted before', async () => {
    const stan = ResilientStan.create('nats://127.0.0.1:1', { signal: AbortSignal.abort('why') });
    assert.match(String(await stan.closed()), /AbortedError: create\(\) was aborted$/);
    assert.equal(stan.state, 'closed');
  });

  describe('on a port where nobody listens yet', () => {
    let port: number;
    let url: string;
    let server: ServerProcess | undefined;

    beforeEach(async () => {
      [port] = (await takePorts(1)) as [number];
      url = `nats://127.0.0.1:${port}`;
    });
    afterEach(async () => {
      await server?.kill();
      server = undefined;
      releasePorts([port]);
    });
    const boot = async (): Promise<void> => {
      server = new ServerProcess(await resolveServer(), ['-a', '127.0.0.1', '-p', String(port)], tmpdir());
    };

    it('does everything that was asked for before, when the server comes', async () => {
      await using stan = ResilientStan.create(url, { publishing: { maxPending: 3, whenFull: 'wait' } });
      const watched = watch(stan);
      const { clientId } = stan;
      assert.deepEqual([stan.state, stan.server, stan.health().lastError], ['connecting', undefined, undefined]);
      const handled: string[] = [];
      const subscribed = stan.subscribe('c', (message) => void handled.push(message.string()), { startAt: 'first' });
      const looped: string[] = [];
      const loop = (async () => {
        for await (const message of stan.messages('c', { startAt: 'first' })) {
          if (looped.push(message.string()) === 4) break;
        }
      })();
      // The fourth one waits for room.
      const published = ['a', 'b', 'c', 'd'].map((text) => stan.publish('c', text));
      const flushed = stan.flush();
      const late = rejection(stan.flush({ timeout: 50 }), TimeoutError, '4 messages are still not acknowledged');
      const tooLate = rejection(stan.publish('c', 'never', { timeout: 10 }), PublishTimeoutError);
      const abort = new AbortController();
      const aborted = rejection(stan.publish('c', 'never', { signal: abort.signal }), AbortedError);
      const notMade = rejection(
        stan.subscribe('c', () => undefined, { signal: abort.signal }),
        AbortedError,
      );
      abort.abort();
      assert.equal((await tooLate).delivery, 'not-sent');
      assert.equal((await aborted).delivery, 'not-sent');
      await notMade;
      await late;
      await until(() => watched.attempts() > 0, 'no attempt failed');
      const health = stan.health();
      assert.deepEqual([health.healthy, health.state, health.pending, health.losses], [false, 'connecting', 4, 0]);
      assert.match(JSON.stringify(health), /nobody listens there/);
      assert.equal(await isSettled(flushed), false);
      await boot();
      await stan.connected();
      assert.equal(stan.clientId, clientId);
      await Promise.all([flushed, subscribed, loop, ...published]);
      await until(() => handled.length === 4, 'not everything came');
      assert.deepEqual(
        [handled, looped],
        [
          ['a', 'b', 'c', 'd'],
          ['a', 'b', 'c', 'd'],
        ],
      );
      await until(() => watched.names.includes('connect'), 'no connect');
      assert.deepEqual(watched.names, ['connecting', 'session', 'connected', 'connect']);
      assert.equal(stan.stats().losses, 0);
    });

    it('that is closed meanwhile sends what it has, if the server comes in time', async () => {
      const stan = ResilientStan.create(url);
      const published = stan.publish('c', 'the last word');
      const closing = stan.close({ timeout: 20_000 });
      await rejection(stan.publish('c', 'too late'), ClosedError);
      await boot();
      await published;
      await closing;
      await stan.connected();
      assert.equal(await stan.closed(), undefined);
      assert.deepEqual(await readBack(url, 'c'), ['the last word']);
    });

    it('that is closed meanwhile ends at once if it has nothing to send, and leaves nothing unsettled', async () => {
      const rejected = await unhandled(async () => {
        const stan = ResilientStan.create(url);
        const loop = stan.messages('c').next();
        const read = rejection(stan.read('c').next(), ClosedError);
        // Nobody listens to these.
        const subscribed = rejection(
          stan.subscribe('c', () => undefined),
          ClosedError,
        );
        stan.on('connecting', () => void stan.close({ timeout: 600_000 }));
        assert.equal(await stan.closed(), undefined);
        // What a read gives would be taken for all there is, and a subscription has no other end than this.
        await read;
        assert.deepEqual(await loop, { done: true, value: undefined });
        await subscribed;
        await rejection(
          stan.flush().then(() => stan.publish('c', 'x')),
          ClosedError,
        );
        await rejection(stan.connected(), ClosedError);
        // This one is not asked whether it is connected.
        await ResilientStan.create(url, { initialConnect: { retries: 0 } }).closed();
      });
      assert.deepEqual(rejected, []);
    });

    it('takes no more than its limits, and says so', async () => {
      await using stan = ResilientStan.create(url, { publishing: { maxPending: 1 } });
      stan.publish('c', 'x').catch(() => undefined);
      assert.equal((await rejection(stan.publish('c', 'y'), OutboxFullError)).delivery, 'not-sent');
      await stan.close({ timeout: 0 });
    });

    it('is ended by its signal, and by a limit of its own', async () => {
      const abort = new AbortController();
      const stan = ResilientStan.create(url, { signal: abort.signal });
      const published = rejection(stan.publish('c', 'x'), ClosedError);
      const watched = watch(stan);
      await until(() => watched.attempts() > 0, 'no attempt failed');
      abort.abort(new Error('enough'));
      const error = await rejection(stan.connected(), AbortedError, 'create() was aborted');
      assert.equal((error.cause as Error).message, 'enough');
      assert.equal((await published).delivery, 'not-sent');
      assert.equal(await stan.closed(), error);
      const limited = ResilientStan.create(url, { initialConnect: { retries: 1, minTimeout: 1 } });
      await rejection(limited.connected(), ConnectError, 'nobody listens there');
      assert.ok((await limited.closed()) instanceof ConnectError);
    });
  });

  it('has the client ID in every line of its log', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory', proxied: true });
    const { proxy } = cluster.nodes[0]!;
    await proxy.down();
    const lines: [level: string, text: string, details: Record<string, unknown> | undefined][] = [];
    const log =
      (level: string) =>
      (text: string, details?: Record<string, unknown>): void =>
        void lines.push([level, text, details]);
    const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
    await using stan = ResilientStan.create(cluster.urls, { clientId: 'orders-1', logger });
    const watched = watch(stan);
    await until(() => watched.attempts() >= 3, 'it does not go on trying');
    assert.equal(lines.filter(([level]) => level === 'warn').length, 1, 'a failing start is told once');
    await proxy.up();
    await stan.connected();
    stan.on('reconnect', () => {
      throw new Error('a listener');
    });
    await proxy.down();
    await until(() => watched.names.includes('connection_lost'), 'no loss');
    await proxy.up();
    await until(() => watched.names.includes('error'), 'the listener was not called');
    assert.deepEqual([...new Set(lines.map(([level]) => level))].sort(), ['debug', 'error', 'info', 'warn']);
    for (const [, text, details] of lines) assert.equal(details?.clientId, 'orders-1', text);
  });
});
