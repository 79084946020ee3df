/** A user who may not do everything: what is forbidden is told to who asked for it, once, and the rest goes on. */
import assert from 'node:assert/strict';
import { PermissionError, PublishTimeoutError, ResilientStan, type ConnectOptions } from '../../src/index.js';
import { StanCluster, type SubjectPermissions } from '../../src/testing/index.js';
import { Clients, Recorder, rejection, uniqueName, until } from '../support/clients.js';

describe('permissions', function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster | undefined;

  afterEach(async () => {
    await clients.closeAll();
    await cluster?.stop();
    cluster = undefined;
  });

  /** A server whose user may do everything but this. */
  async function boot(denied: { publish?: readonly string[]; subscribe?: readonly string[] }): Promise<StanCluster> {
    const but = (deny: readonly string[] | undefined): SubjectPermissions =>
      deny ? { allow: ['>'], deny } : { allow: ['>'] };
    cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      auth: {
        user: 'me',
        pass: 'secret',
        permissions: { publish: but(denied.publish), subscribe: but(denied.subscribe) },
      },
    });
    return cluster;
  }
  const connect = (options: ConnectOptions = {}): Promise<ResilientStan> =>
    clients.connect(cluster!.urls, { ...cluster!.connectOptions, clientId: uniqueName('me'), ...options });
  /** So many sessions after all of it, and no more to come: a further loss would show by then. */
  async function quietAfter(recorder: Recorder, stan: ResilientStan, losses: number): Promise<void> {
    await until(() => stan.state === 'connected', 'it does not come back');
    await stan.publish('allowed', 'still here');
    const pings = stan.stats();
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(stan.stats().losses, losses, recorder.names.join(' '));
    assert.equal(pings.losses, losses);
    assert.equal(recorder.count('error'), 0);
  }

  it('to publish to one channel: its messages reject, those of others do not', async () => {
    await boot({ publish: ['_STAN.pub.test-cluster.secret.plans'] });
    const stan = await connect();
    const recorder = new Recorder(stan);
    const got: string[] = [];
    await stan.subscribe('allowed', (message) => void got.push(message.string()));
    const denied = ['one', 'two', 'three'].map((data) => stan.publish('secret.plans', data));
    const allowed = stan.publish('allowed', 'mine');
    for (const publish of denied) {
      const error = await rejection(publish, PermissionError, '_STAN.pub.test-cluster.secret.plans');
      assert.equal(error.code, 'ERR_STAN_PERMISSION');
      assert.equal(error.subject, '_STAN.pub.test-cluster.secret.plans');
      assert.equal(error.delivery, 'rejected');
    }
    await allowed;
    await until(
      () => got.includes('mine'),
      () => got.join(),
    );
    assert.equal(recorder.of('permission_error')[0]!.error.subject, '_STAN.pub.test-cluster.secret.plans');
    assert.equal(recorder.of('connection_lost')[0]!.reason, 'permission');
    await quietAfter(recorder, stan, 1);

    // Who goes on publishing there must not cost everybody a session each time.
    for (let i = 0; i < 20; i++) {
      const error = await rejection(stan.publish('secret.plans', 'again'), PermissionError, 'secret.plans');
      assert.equal(error.delivery, 'not-sent');
    }
    await quietAfter(recorder, stan, 1);
  });

  it('to subscribe: subscribe() rejects, publishing goes on', async () => {
    await boot({ publish: ['_STAN.sub.test-cluster'] });
    const stan = await connect();
    const recorder = new Recorder(stan);
    const error = await rejection(
      stan.subscribe('anything', () => {}),
      PermissionError,
      '_STAN.sub.test-cluster',
    );
    assert.equal(error.subject, '_STAN.sub.test-cluster');
    assert.equal(error.delivery, undefined);
    assert.equal(recorder.count('permission_error'), 1);
    assert.equal(stan.stats().subscriptions, 0);
    await recorder.until('reconnect');
    await rejection(stan.messages('anything').next(), PermissionError);
    await quietAfter(recorder, stan, 2);
  });

  it('to acknowledge: the subscription ends with the error, instead of a loss for every message', async () => {
    await boot({ publish: ['_INBOX.>'] });
    const stan = await connect();
    const recorder = new Recorder(stan);
    const got: number[] = [];
    const subscription = await stan.subscribe('allowed', (message) => void got.push(message.sequence), {
      durableName: 'd',
    });
    const ended: unknown[] = [];
    subscription.on('closed', ({ error }) => ended.push(error));
    const errors: Error[] = [];
    stan.on('error', ({ error }) => errors.push(error));
    await stan.publish('allowed', 'x');
    await until(
      () => ended.length > 0,
      () => `${stan.stats().losses} losses`,
    );
    const [error] = ended;
    assert.ok(error instanceof PermissionError);
    assert.match(error.message, /channel 'allowed' must not be acknowledged.*'_INBOX\.>'/);
    assert.deepEqual(errors, [error], 'nobody asked for its end, so a person is needed');
    assert.equal(stan.stats().subscriptions, 0);
    errors.length = 0;
    await until(() => stan.state === 'connected', 'it does not come back');
    await stan.publish('allowed', 'still here');
    assert.equal(stan.stats().losses, 1, recorder.names.join(' '));
    assert.deepEqual(got, [1]);
  });

  it('to drop a durable: unsubscribe() tells, and there is no loop', async () => {
    await boot({ publish: ['_STAN.unsub.test-cluster'] });
    const stan = await connect();
    const recorder = new Recorder(stan);
    const subscription = await stan.subscribe('allowed', () => {}, { durableName: 'd' });
    await rejection(subscription.unsubscribe(), PermissionError, '_STAN.unsub.test-cluster');
    await quietAfter(recorder, stan, recorder.count('connection_lost'));
  });

  it('to close a subscription: it ends all the same', async () => {
    await boot({ publish: ['_STAN.subclose.test-cluster'] });
    const stan = await connect();
    const recorder = new Recorder(stan);
    const subscription = await stan.subscribe('allowed', () => {});
    await subscription.close();
    await quietAfter(recorder, stan, recorder.count('connection_lost'));
    assert.ok(recorder.count('connection_lost') <= 1);
  });

  it('to subscribe: lastSequence() and read() reject as well', async () => {
    await boot({ publish: ['_STAN.sub.test-cluster'] });
    const stan = await connect();
    const recorder = new Recorder(stan);
    await rejection(stan.lastSequence('allowed'), PermissionError, '_STAN.sub.test-cluster');
    await quietAfter(recorder, stan, 1);
    await rejection(stan.read('allowed').next(), PermissionError, '_STAN.sub.test-cluster');
    await quietAfter(recorder, stan, 2);
  });

  it('to close a subscription: what would leave one behind at every question rejects, and the session lives', async () => {
    await boot({ publish: ['_STAN.subclose.test-cluster'] });
    const stan = await connect();
    const recorder = new Recorder(stan);
    await Promise.all(Array.from({ length: 500 }, () => stan.publish('allowed', 'x')));
    const got: number[] = [];
    const reading = (async () => {
      for await (const { sequence } of stan.read('allowed')) {
        got.push(sequence);
        // A denied subject is told, and not answered.
        if (got.length === 10) await until(() => recorder.count('permission_error') > 0, 'it is not told');
      }
    })();
    await rejection(reading, PermissionError, "allow the user to publish to '_STAN.subclose.test-cluster'");
    assert.ok(got.length < 500, String(got.length));
    assert.deepEqual(
      got,
      got.map((_, i) => i + 1),
    );
    await rejection(stan.lastSequence('allowed'), PermissionError);
    const left = (await cluster!.nodes[0]!.monitor.channelz('allowed'))?.subscriptions?.length ?? 0;
    assert.ok(left <= 3, `${left} subscriptions are left behind`);
    await quietAfter(recorder, stan, 0);
  });

  it('to close the session: close() is over all the same', async () => {
    await boot({ publish: ['_STAN.close.test-cluster'] });
    const stan = await connect();
    await stan.close();
    assert.equal(stan.state, 'closed');
    assert.equal(await stan.closed(), undefined);
  });

  for (const [what, denied, subject] of [
    ['look for the leader', { publish: ['_STAN.discover.test-cluster.pings'] }, '_STAN.discover.test-cluster.pings'],
    ['register', { publish: ['_STAN.discover.test-cluster'] }, '_STAN.discover.test-cluster'],
    ['receive answers', { subscribe: ['_INBOX.>'] }, '_INBOX.'],
  ] as const) {
    it(`to ${what}: the first connect rejects at once, although it may retry for ever`, async () => {
      const { urls, connectOptions } = await boot(denied);
      const said: string[] = [];
      const error = await rejection(
        ResilientStan.connect(urls, {
          ...connectOptions,
          initialConnect: { retries: Infinity },
          logger: { debug: (text) => said.push(text) },
        }),
        PermissionError,
        subject,
        urls[0]!,
      );
      assert.ok(error.subject?.startsWith(subject), error.subject);
      assert.deepEqual(
        said.filter((text) => text.startsWith('attempt')),
        [],
      );
    });
  }

  it('with the least a client needs everything works', async () => {
    const all = ['_STAN.discover.test-cluster', '_STAN.discover.test-cluster.pings', '_STAN.pub.test-cluster.allowed'];
    const requests = ['sub', 'unsub', 'subclose', 'close'].map((what) => `_STAN.${what}.test-cluster`);
    cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      auth: {
        user: 'me',
        pass: 'secret',
        permissions: {
          publish: { allow: [...all, ...requests, '_INBOX.>'] },
          subscribe: { allow: ['_INBOX.>', '_STAN.acks.>'] },
        },
      },
    });
    const stan = await connect();
    const recorder = new Recorder(stan);
    const got: string[] = [];
    const subscription = await stan.subscribe('allowed', (message) => void got.push(message.string()), {
      durableName: 'd',
    });
    await stan.publish('allowed', 'x');
    await until(
      () => got.length === 1,
      () => got.join(),
    );
    await subscription.unsubscribe();
    await rejection(stan.publish('other', 'x', { timeout: 5000 }), PermissionError).catch((error: unknown) => {
      assert.ok(!(error instanceof PublishTimeoutError));
      throw error;
    });
    await quietAfter(recorder, stan, 1);
  });
});
