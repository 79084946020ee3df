/** What callers pass and what their code does, at a live client: nothing of it goes further than to them. */
import assert from 'node:assert/strict';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import {
  AbortedError,
  CallbackError,
  ConnectError,
  InvalidArgumentError,
  ResilientStan,
  ResilientStanError,
  type ConnectOptions,
  type MessageHandler,
} from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { Clients, Recorder, rejection, uniqueName, until } from '../support/clients.js';
import {
  detached,
  hostileProxy,
  PolyfillSignal,
  revokedProxy,
  thrower,
  throwing,
  unhandled,
} from '../support/hostile.js';

const once: ConnectOptions = { initialConnect: { retries: 0 } };
const shape = { aborted: false, addEventListener: () => undefined, removeEventListener: () => undefined };
const deaf = { ...shape, addEventListener: thrower() } as unknown as AbortSignal;

describe("a caller's code", function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', proxied: true });
  });
  after(() => cluster.stop());
  afterEach(() => clients.closeAll());

  const connect = (options: ConnectOptions = {}): Promise<ResilientStan> =>
    clients.connect(cluster.urls, { clientId: uniqueName('me'), ...options });

  for (const [option, what] of [
    ['credentials', 'credentials'],
    ['tls', 'TLS options'],
  ] as const) {
    it(`a ${option} function that never answers is named as such, whichever limit is over first`, async () => {
      const never = (): Promise<never> => new Promise(() => {});
      for (let i = 0; i < 3; i++) {
        await rejection(
          ResilientStan.connect(cluster.urls, { ...once, [option]: never, connectTimeout: 150 }),
          ConnectError,
          new RegExp(`no ${what} for the dial`),
        );
      }
    });
  }

  it('an iterator that is left in an outage, before its subscription was ever made, ends at once', async () => {
    const stan = await connect();
    const node = cluster.nodes[0]!;
    await node.kill();
    try {
      const iterator = stan.messages('left');
      const asked = iterator.next();
      await iterator.return!();
      assert.equal((await asked).done, true);
      assert.equal(stan.stats().subscriptions, 0);
    } finally {
      await node.start();
    }
  });

  it('nothing is emitted after close, however late a listener fails', async () => {
    const stan = await connect();
    const seen: string[] = [];
    let fail!: () => void;
    const late = new Promise<void>((_, reject) => (fail = () => reject(new Error('late'))));
    late.catch(() => undefined);
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- what careless users do
    stan.on('state', () => late);
    stan.on('error', () => seen.push('error'));
    stan.on('close', () => seen.push('close'));
    await stan.close();
    fail();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(seen, ['close']);
  });

  describe('a listener', () => {
    it('that rejects or throws is an error event, and the others are called', async () => {
      const stan = await connect();
      const recorder = new Recorder(stan);
      const subscription = await stan.subscribe('listeners', () => undefined);
      const called: string[] = [];
      // eslint-disable-next-line @typescript-eslint/no-misused-promises -- what careless users do
      subscription.on('closed', async () => Promise.reject(new Error('asynchronous')));
      subscription.on('closed', thrower('synchronous'));
      subscription.on('closed', () => called.push('the last one'));
      const reasons = await unhandled(() => subscription.close());
      assert.deepEqual([called, reasons], [['the last one'], []]);
      const errors = recorder.of('error').map(({ error }) => error);
      assert.ok(errors.every((error) => error instanceof CallbackError));
      assert.deepEqual(
        errors.map(({ message }) => message),
        ["a listener of 'closed' threw: synchronous", "a listener of 'closed' threw: asynchronous"],
      );
    });

    it("of 'error' that fails is only logged", async () => {
      const logged: string[] = [];
      const stan = await connect({ logger: { error: (message) => logged.push(message) } });
      let calls = 0;
      stan.on('error', () => {
        calls++;
        throw new Error('of error');
      });
      // eslint-disable-next-line @typescript-eslint/no-misused-promises -- what careless users do
      stan.on('error', async () => Promise.reject(new Error('also of error')));
      stan.on('state', thrower('of state'));
      const reasons = await unhandled(() => stan.close());
      assert.deepEqual(reasons, []);
      // closing, closed
      assert.equal(calls, 2);
      const of = (text: string): number => logged.filter((line) => line.endsWith(`threw: ${text}`)).length;
      assert.deepEqual([of('of state'), of('of error'), of('also of error')], [2, 2, 2]);
    });
  });

  describe("a polyfill's signal", () => {
    it('gives up a publish, a subscription, a client', async () => {
      const forClient = new PolyfillSignal();
      const stan = await connect({ signal: forClient.asSignal });
      const forSubscription = new PolyfillSignal();
      const subscription = await stan.subscribe('polyfill', () => undefined, { signal: forSubscription.asSignal });
      const closed = new Promise<Error | undefined>((resolve) => {
        subscription.on('closed', ({ error }) => resolve(error));
      });
      forSubscription.abort('subscribed enough');
      const error = await closed;
      assert.ok(error instanceof AbortedError);
      assert.equal(error.cause, 'subscribed enough');

      const forPublish = new PolyfillSignal();
      await stan.publish('polyfill', 'x', { signal: forPublish.asSignal });
      assert.equal(forPublish.listeners, 0);
      forPublish.abort();
      const { delivery } = await rejection(
        stan.publish('polyfill', 'x', { signal: forPublish.asSignal }),
        AbortedError,
      );
      assert.equal(delivery, 'not-sent');

      forClient.abort('enough');
      const reason = await stan.closed();
      assert.ok(reason instanceof AbortedError);
      assert.equal(reason.cause, 'enough');
      assert.deepEqual([forClient.listeners, forSubscription.listeners, forPublish.listeners], [0, 0, 0]);
      await stan.flush();
    });

    it('gives up a connect', async () => {
      const polyfill = new PolyfillSignal();
      const connecting = ResilientStan.connect(cluster.urls, { clusterId: 'no-such', signal: polyfill.asSignal });
      setImmediate(() => polyfill.abort('why not'));
      assert.equal((await rejection(connecting, AbortedError)).cause, 'why not');
      assert.equal(polyfill.listeners, 0);
    });
  });

  it('a signal that does not let us listen is refused everywhere, and nothing is changed', async () => {
    await rejection(
      ResilientStan.connect(cluster.urls, { signal: deaf }),
      InvalidArgumentError,
      'thrown by the caller',
    );
    const stan = await connect();
    const before = stan.stats();
    const handler: MessageHandler = () => undefined;
    for (const options of [{ signal: deaf }, { signal: deaf, queueGroup: 'q' }, { signal: deaf, durableName: 'd' }]) {
      await rejection(stan.subscribe('deaf', handler, options), InvalidArgumentError, "'signal'");
      await rejection(stan.messages('deaf', options).next(), InvalidArgumentError, "'signal'");
    }
    await rejection(stan.publish('deaf', 'x', { signal: deaf }), InvalidArgumentError, "'signal'");
    assert.deepEqual(stan.stats(), before);
    // The name of the durable is not taken, nor the group's place.
    const subscription = await stan.subscribe('deaf', handler, { durableName: 'd' });
    await subscription.unsubscribe();
    await stan.flush();
  });

  it('may pass anything to any method: each rejects with an error of ours, and the client lives', async () => {
    const stan = await connect();
    const recorder = new Recorder(stan);
    const bad = [
      hostileProxy<never>(),
      revokedProxy<never>(),
      throwing<never>('timeout'),
      throwing<never>('signal'),
      hostileProxy<never>([]),
      Object.create(null) as never,
    ];
    const reasons = await unhandled(async () => {
      const all: Promise<unknown>[] = [];
      for (const value of bad) {
        all.push(ResilientStan.connect(value, once), ResilientStan.connect(cluster.urls, hostileProxy()));
        all.push(stan.publish(value, 'x'), stan.publish('any', value), stan.publish('any', 'x', revokedProxy()));
        all.push(stan.publish('any', detached()), stan.publish('any', detached(10_000)));
        all.push(
          stan.subscribe(value, () => undefined),
          stan.subscribe('any', value),
          stan.messages(value).next(),
        );
        all.push(
          stan.subscribe('any', () => undefined, throwing('ackWait')),
          stan.messages('any', hostileProxy()).next(),
        );
        all.push(stan.flush(hostileProxy()), stan.close(throwing('timeout')));
      }
      for (const result of await Promise.allSettled(all)) {
        assert.equal(result.status, 'rejected');
        assert.ok(result.reason instanceof ResilientStanError, String(result.reason));
        assert.equal(result.reason.code, 'ERR_STAN_INVALID_ARGUMENT');
      }
    });
    assert.deepEqual(reasons, []);
    assert.equal(stan.state, 'connected');
    const { published, acknowledged, rejected, pending, subscriptions } = stan.stats();
    assert.deepEqual([published, acknowledged + rejected + pending, subscriptions], [0, 0, 0]);
    await stan.flush();
    await stan.publish('any', 'good');
    assert.equal(recorder.count('error'), 0);
  });

  it('that fails in each place harms nothing else', async () => {
    const failing = (): never => throwing('then');
    const stan = await connect({ connectionLostHandler: failing, logger: { warn: failing, info: failing } });
    const recorder = new Recorder(stan);
    const seen: string[] = [];
    const subscription = await stan.subscribe(
      'failing',
      (message) => {
        seen.push(message.string());
        return message.string() === 'bad' ? failing() : undefined;
      },
      { maxDeliveries: 1, deadLetter: failing },
    );
    const told: unknown[] = [];
    subscription.on('handler_error', ({ error }) => told.push(error));
    const reasons = await unhandled(async () => {
      await stan.publish('failing', 'bad');
      await until(() => told.length >= 2, 'the handler and the dead letter were not told of');
      await cluster.nodes[0]!.proxy.down();
      await cluster.nodes[0]!.proxy.up();
      await recorder.until('reconnect');
      await stan.publish('failing', 'good');
      await until(() => seen.includes('good'), 'the subscription is dead');
    });
    assert.deepEqual(reasons, []);
    const [{ error } = { error: undefined }] = recorder.of('error');
    assert.ok(error instanceof CallbackError);
    assert.match(error.message, /ConnectionLostHandler/);
  });
});

describe('a server that does not keep to the protocol', function () {
  this.timeout(30_000);

  it('whose max_payload is too small for a connect is named by connect()', async () => {
    const cluster = await StanCluster.start({ mode: 'single', store: 'memory', config: { max_payload: 120 } });
    try {
      const error = await rejection(
        ResilientStan.connect(cluster.urls, { ...once, clientId: 'x'.repeat(150) }),
        ConnectError,
        cluster.urls[0]!,
        /max_payload of 120 bytes has no room/,
      );
      assert.deepEqual(
        error.failures.map(({ server }) => server),
        cluster.urls,
      );
      assert.ok(error.cause instanceof Error);
    } finally {
      await cluster.stop();
    }
  });

  // No real server answers like this.
  for (const [what, answer] of [
    ['garbage', Buffer.from([0xff, 0xff, 0xff, 0xff, 0x07])],
    ['bytes that are cut off', Buffer.from([0x0a, 0x7f, 0x41])],
    ['a text', Buffer.from('HTTP/1.1 400 Bad Request')],
  ] as const) {
    it(`is named by connect() when it answers the handshake with ${what}`, async () => {
      const server = await scripted(answer);
      try {
        const reasons = await unhandled(async () => {
          const error = await rejection(ResilientStan.connect(server.url, once), ConnectError, server.url);
          assert.equal(error.failures[0]?.server, server.url);
          assert.ok(error.cause instanceof Error);
          assert.ok(error.message.length > server.url.length + 10, error.message);
        });
        assert.deepEqual(reasons, []);
      } finally {
        await server.stop();
      }
    });
  }
});

/** Speaks NATS, leads a cluster, and answers every connect request with these bytes. */
async function scripted(answer: Buffer): Promise<{ url: string; stop: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    const subscriptions: { subject: string; sid: string }[] = [];
    const reply = (to: string, data: Buffer): void => {
      const matches = ({ subject }: { subject: string }): boolean => to.startsWith(subject.replace(/[*>]$/, ''));
      const sid = subscriptions.find(matches)?.sid;
      socket.write(Buffer.concat([Buffer.from(`MSG ${to} ${sid} ${data.length}\r\n`), data, Buffer.from('\r\n')]));
    };
    socket.write('INFO {"server_id":"x","version":"2.9.24","max_payload":1048576}\r\n');
    let text = '';
    socket.on('data', (data) => {
      text += data.toString('latin1');
      for (let end = text.indexOf('\r\n'); end >= 0; end = text.indexOf('\r\n')) {
        const [command = '', ...words] = text.slice(0, end).split(' ');
        if (command === 'PUB') {
          const size = Number(words.at(-1));
          if (text.length < end + 2 + size + 2) return;
          text = text.slice(end + 2 + size + 2);
          const [subject = '', to = ''] = words;
          // An empty answer to a ping: that connection ID is registered.
          if (words.length === 3) reply(to, subject.endsWith('.pings') ? Buffer.alloc(0) : answer);
          continue;
        }
        text = text.slice(end + 2);
        if (command === 'PING') socket.write('PONG\r\n');
        if (command === 'SUB') subscriptions.push({ subject: words[0]!, sid: words.at(-1)! });
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
