/** A client that exists before it is connected. */
import assert from 'node:assert/strict';
import { AuthorizationError, ClosedError, InvalidArgumentError, ResilientStan } from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { deferred, isSettled, readBack, rejection, until } from '../support/clients.js';

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
    assert.match(String(await stan.closed()), /AbortedError/);
    assert.equal(stan.state, 'closed');
  });
});
