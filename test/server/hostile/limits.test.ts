/**
 * What a server refuses by ending the session: limits, permissions, and what nobody knows. What was in hand each time is
 * given up with the server's words, and everything else lives. Real servers, but for those that refuse at random.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectionLostError, ResilientStanError, type ConnectOptions } from '../../../src/index.js';
import { StanCluster } from '../../../src/testing/index.js';
import { Clients, Recorder, rejection, until } from '../../support/clients.js';
import { Peer, type PeerRequest } from '../../support/peer.js';

/** The cluster tells of its other servers, and here the one way is what matters. */
const stay = { discover: false } as object;
const options: ConnectOptions = { connectTimeout: 500, reconnect: { minTimeout: 5, maxTimeout: 500 } };
/** With its prefix and an inbox it makes a line of more than 300 bytes. */
const LONG = `${'long.'.repeat(50)}name`;
/** More sessions than this, within a few seconds, are a loop without a brake. */
const FEW = 15;
/** ms for what must settle: a few losses, with the brake on. */
const WAIT = 15_000;

async function settled<T>(promise: Promise<T>, what: string): Promise<T | Error> {
  let outcome: { value: T | Error } | undefined;
  promise.then(
    (value) => (outcome = { value }),
    (error: Error) => (outcome = { value: error }),
  );
  await until(() => outcome, `${what} does not settle`, WAIT);
  return outcome!.value;
}

/** It has to come to a good end. */
async function success<T>(promise: Promise<T>, what: string): Promise<T> {
  const outcome = await settled(promise, what);
  if (outcome instanceof Error) assert.fail(`${what}: ${outcome.message}`);
  return outcome;
}

async function refusal(promise: Promise<unknown>, what: string, words: RegExp): Promise<void> {
  const outcome = await settled(promise, what);
  assert.ok(outcome instanceof ResilientStanError, `${what}: ${String(outcome)}`);
  assert.match(outcome.message, words);
}

describe('what a real server refuses by ending the session', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster | undefined;
  afterEach(async () => {
    await clients.closeAll();
    await cluster?.stop();
    cluster = undefined;
  });

  it('a channel name longer than its control line: its publishes are rejected, others are acknowledged', async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', config: { max_control_line: 300 } });
    const stan = await clients.connect(cluster.urls, { ...options, clientId: 'me' });
    const recorder = new Recorder(stan);
    const got: string[] = [];
    await stan.subscribe('short', (message) => void got.push(message.string()));
    const long = stan.publish(LONG, 'x');
    await refusal(long, 'the long one', /maximum control line/i);
    assert.ok(recorder.count('connection_lost') <= 5, recorder.names.join(' '));
    await stan.publish('short', 'x');
    await until(
      () => got.length > 0,
      () => got.join(),
    );
  });

  it('a channel name longer than its control line: all others go on as fast as before', async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', config: { max_control_line: 300 } });
    const stan = await clients.connect(cluster.urls, { ...options, clientId: 'me' });
    await refusal(stan.publish('long.'.repeat(49) + 'name', 'x'), 'the long one', /max_control_line/);
    await stan.publish('short', 'x');
    const all = Array.from({ length: 100 }, (_, n) => stan.publish('short', String(n)));
    assert.ok(stan.stats().inFlight > 50, `${stan.stats().inFlight} at a time`);
    await Promise.all(all);
  });

  it('a channel name longer than its control line, again and again: few sessions', async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', config: { max_control_line: 300 } });
    const stan = await clients.connect(cluster.urls, { ...options, clientId: 'me' });
    const recorder = new Recorder(stan);
    const end = performance.now() + 3000;
    while (performance.now() < end) {
      void stan.publish(LONG, 'x').catch(() => {});
      await sleep(50);
    }
    assert.ok(recorder.count('connection_lost') <= FEW, `${recorder.count('connection_lost')} losses`);
    await success(stan.publish('short', 'x'), 'a publish elsewhere');
  });

  it('one subscription too many: that one is rejected, the others and publishes go on', async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', config: { max_subscriptions: 30 } });
    const stan = await clients.connect(cluster.urls, { ...options, clientId: 'me' });
    const recorder = new Recorder(stan);
    const got = new Map<string, number>();
    const channels: string[] = [];
    for (;;) {
      assert.ok(channels.length < 30, 'the server takes more than it should');
      const channel = `channel-${channels.length}`;
      const outcome = await settled(
        stan.subscribe(channel, ({ channel }) => void got.set(channel, (got.get(channel) ?? 0) + 1)),
        `subscription ${channels.length}`,
      );
      if (outcome instanceof Error) {
        assert.ok(outcome instanceof ResilientStanError, String(outcome));
        assert.match(outcome.message, /maximum subscriptions/i);
        break;
      }
      channels.push(channel);
    }
    assert.ok(channels.length >= 20, `only ${channels.length}`);
    // What was on its way when the server ended a session is stored as often as it was sent, at most.
    const sent = new Map<string, number>();
    for (const channel of channels) {
      const { attempts } = await success(stan.publish(channel, 'x'), `a publish to ${channel}`);
      sent.set(channel, attempts);
    }
    await until(
      () => channels.every((channel) => got.has(channel)),
      () => `received: ${JSON.stringify([...got])}`,
    );
    assert.ok(
      channels.every((channel) => got.get(channel)! <= sent.get(channel)!),
      `received: ${JSON.stringify([...got])}, sent: ${JSON.stringify([...sent])}`,
    );
    assert.equal(stan.stats().subscriptions, channels.length);
    assert.ok(recorder.count('connection_lost') <= FEW, `${recorder.count('connection_lost')} losses`);
  });

  for (const [kind, name] of [
    ['a durable', { durableName: 'd' }],
    ['a group', { queueGroup: 'q' }],
    ['a durable group', { durableName: 'd', queueGroup: 'q' }],
    ['a plain subscription', {}],
  ] as const) {
    it(`that a subscription is closed: ${kind} goes on through elections, in few sessions`, async () => {
      cluster = await StanCluster.start({
        nodes: 3,
        auth: {
          user: 'me',
          pass: 'secret',
          permissions: { publish: { allow: ['>'], deny: ['_STAN.subclose.>'] }, subscribe: { allow: ['>'] } },
        },
      });
      const leader = await cluster.leader();
      const attached = cluster.nodes.find((node) => node !== leader)!;
      const stan = await clients.connect(attached.url, {
        ...options,
        ...stay,
        ...cluster.connectOptions,
        clientId: 'me',
      });
      const recorder = new Recorder(stan);
      const got: string[] = [];
      await stan.subscribe('a', (message) => void got.push(message.string()), name);
      // After an election subscriptions are made anew, for which a durable has to be closed first.
      const missing = Array.from({ length: 100 }, (_, i) => stan.publish('a', `before ${i}`));
      await leader.kill();
      missing.push(...Array.from({ length: 100 }, (_, i) => stan.publish('a', `after ${i}`)));
      for (const publish of missing) await success(publish, 'a publish');
      const losses = recorder.count('connection_lost');
      await sleep(2000);
      await success(stan.publish('a', 'last'), 'the last publish');
      await until(
        () => got.includes('last'),
        () => `received ${got.length}, ${recorder.count('connection_lost')} losses`,
        WAIT,
      );
      assert.ok(losses <= FEW, `${losses} losses until all was published`);
      assert.ok(recorder.count('connection_lost') <= losses + 2, 'sessions go on dying');
    });
  }
});

describe('sessions that die young', function () {
  this.timeout(60_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  /** Registers whoever comes, and hangs up. */
  const fickle = ({ connection }: PeerRequest, usual: () => Buffer): Buffer => {
    setTimeout(() => connection.end(), 5);
    return usual();
  };

  for (const [limit, reconnect] of [
    ['retries', { retries: 5, minTimeout: 1, maxTimeout: 5 }],
    ['maxRetryTime', { maxRetryTime: 500, minTimeout: 5, maxTimeout: 50 }],
  ] as const) {
    it(`count for reconnect.${limit}: the client ends`, async () => {
      await using peer = await Peer.listen();
      const stan = await clients.connect(peer.url, { connectTimeout: 500, reconnect });
      peer.hooks.connect = fickle;
      peer.hangUp();
      await until(
        () => stan.state === 'closed',
        () => `${peer.registrations.length} sessions`,
        WAIT,
      );
      assert.ok((await stan.closed()) instanceof Error);
      assert.ok(peer.registrations.length <= 1 + (limit === 'retries' ? 6 : 100), `${peer.registrations.length}`);
    });
  }

  it('come after longer and longer pauses', async () => {
    await using peer = await Peer.listen();
    const stan = await clients.connect(peer.url, {
      connectTimeout: 500,
      reconnect: { minTimeout: 5, maxTimeout: 1000, factor: 2 },
    });
    peer.hooks.connect = fickle;
    peer.hangUp();
    await sleep(3000);
    assert.ok(peer.registrations.length <= FEW, `${peer.registrations.length} sessions`);
    delete peer.hooks.connect;
    await success(stan.publish('a', 'x'), 'a publish, when all is well again');
  });
});

describe('one poisonous operation', function () {
  this.timeout(60_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());
  const WORDS = /Some Unknown Thing/;

  const poison =
    (error: boolean) =>
    ({ connection, channel }: PeerRequest, usual: () => Buffer): Buffer | undefined => {
      if (channel !== 'poison') return usual();
      if (error) connection.raw("-ERR 'Some Unknown Thing'\r\n");
      setImmediate(() => connection.end());
      return undefined;
    };

  it('a publish: it is rejected with the words of the server, the rest lives', async () => {
    await using peer = await Peer.listen({ hooks: { publish: poison(true) } });
    const stan = await clients.connect(peer.url, options);
    const got: string[] = [];
    await stan.subscribe('a', (message) => void got.push(message.string()));
    const before = stan.publish('a', 'before');
    const poisonous = stan.publish('poison', 'x');
    const after = Array.from({ length: 20 }, (_, i) => stan.publish('a', `after ${i}`));
    await refusal(poisonous, 'the poisonous one', WORDS);
    for (const publish of [before, ...after]) {
      await success(publish, 'an innocent one');
    }
    await success(stan.publish('a', 'last'), 'a later one');
    await until(
      () => got.includes('last'),
      () => got.join(),
    );
    assert.equal(stan.state, 'connected');
  });

  it('a subscription: it is rejected with the words of the server, the rest lives', async () => {
    await using peer = await Peer.listen({ hooks: { subscribe: poison(true) } });
    const stan = await clients.connect(peer.url, options);
    const got: string[] = [];
    await stan.subscribe('a', (message) => void got.push(message.string()));
    const poisonous = stan.subscribe('poison', () => {});
    const innocent = stan.subscribe('b', () => {});
    await refusal(poisonous, 'the poisonous one', WORDS);
    await success(innocent, 'the innocent one');
    await success(stan.publish('a', 'last'), 'a publish');
    await until(
      () => got.includes('last'),
      () => got.join(),
    );
    assert.equal(stan.stats().subscriptions, 2);
  });

  it('is told from a server that merely dies, however often: nothing is rejected', async () => {
    let deaths = 0;
    await using peer = await Peer.listen({
      hooks: {
        publish: (request, usual) => {
          deaths += 1;
          if (deaths > 12) return usual();
          request.connection.end();
          return undefined;
        },
      },
    });
    const stan = await clients.connect(peer.url, {
      connectTimeout: 500,
      reconnect: { minTimeout: 1, maxTimeout: 20 },
    });
    const publishes = ['a', 'b', 'a'].map((channel) => stan.publish(channel, 'x'));
    for (const publish of publishes) {
      await success(publish, `a publish, after ${deaths} deaths`);
    }
    assert.ok(deaths > 12);
  });

  it('the same of a subscription', async () => {
    let deaths = 0;
    await using peer = await Peer.listen({
      hooks: {
        subscribe: (request, usual) => {
          deaths += 1;
          if (deaths > 12) return usual();
          request.connection.end();
          return undefined;
        },
      },
    });
    const stan = await clients.connect(peer.url, {
      connectTimeout: 500,
      reconnect: { minTimeout: 1, maxTimeout: 20 },
    });
    await success(
      stan.subscribe('a', () => {}),
      `subscribe(), after ${deaths} deaths`,
    );
  });

  it('and a session that ends for it says so', async () => {
    await using peer = await Peer.listen({ hooks: { publish: poison(true) } });
    const stan = await clients.connect(peer.url, options);
    const recorder = new Recorder(stan);
    await rejection(stan.publish('poison', 'x', { timeout: WAIT }), ResilientStanError, WORDS);
    const [loss] = recorder.of('connection_lost');
    assert.ok(loss!.error instanceof ConnectionLostError);
    assert.match(loss!.error.message, WORDS);
  });
});

describe('a limit on subscriptions', function () {
  this.timeout(60_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  it('looks of its own, near the limit, after a loss: all subscriptions live on', async () => {
    // Not a real server: its limit breaks its own streaming part first.
    let asked = 0;
    const subscribe = (_request: PeerRequest, usual: () => Uint8Array): Uint8Array => {
      asked += 1;
      return usual();
    };
    // What the client needs itself and its subscriptions, and no more.
    await using peer = await Peer.listen({ maxSubscriptions: 29, hooks: { subscribe } });
    const stan = await clients.connect(peer.url, { ...options, clientId: 'me' });
    const recorder = new Recorder(stan);
    const got = new Map<string, number>();
    const closed: string[] = [];
    const channels = Array.from({ length: 25 }, (_, n) => `s${n}`);
    for (const channel of channels) {
      const subscription = await stan.subscribe(channel, () => void got.set(channel, (got.get(channel) ?? 0) + 1));
      subscription.on('closed', () => closed.push(channel));
    }
    for (let round = 1; round <= 3; round++) {
      await Promise.all(channels.map((channel) => stan.publish(channel, 'x')));
      await until(
        () => channels.every((channel) => (got.get(channel) ?? 0) >= round),
        () => `round ${round}: ${channels.filter((channel) => (got.get(channel) ?? 0) < round).join()} got nothing`,
      );
      const { reconnects } = stan.stats();
      peer.hangUp();
      await until(
        () => stan.stats().reconnects > reconnects && stan.state === 'connected',
        () => recorder.names.join(' '),
      );
      // After a second of silence it looks whether the channels are still the same: more than there is room for.
      if (round === 1) {
        await until(
          () => asked > 2 * channels.length,
          () => `${asked} were asked for`,
        );
      }
    }
    await Promise.all(channels.map((channel) => stan.publish(channel, 'x')));
    await until(
      () => channels.every((channel) => got.get(channel) === 4),
      () => JSON.stringify([...got]),
    );
    assert.ok(peer.tooMany > 0, 'the limit was never reached');
    assert.deepEqual(closed, []);
    assert.equal(stan.stats().subscriptions, channels.length);
  });
});
