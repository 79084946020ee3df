/** Where `resilient-stan/stan` is there to differ from node-nats-streaming, and what programs stumble over: on real servers. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ResilientStanError } from '../../src/index.js';
import {
  connect,
  type Message,
  type NatsView,
  type Stan,
  type StanError,
  type StanOptions,
} from '../../src/stan/index.js';
import nats from 'nats';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { readBack, uniqueName, until } from '../support/clients.js';
import { event, published } from './side-by-side.js';

describe('resilient-stan/stan', function () {
  this.timeout(60_000);
  let cluster: StanCluster;
  let server: StanNode;
  let url: string;
  const clients: Stan[] = [];

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'file', proxied: true });
    server = cluster.nodes[0]!;
    url = cluster.urls[0]!;
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await server.proxy.up();
    await Promise.all(
      clients.splice(0).map(async (stan) => {
        stan.removeAllListeners();
        stan.on('error', () => {});
        if (stan.isClosed()) return;
        const closed = event(stan, 'close');
        stan.close();
        await closed;
      }),
    );
  });

  const make = (options: StanOptions | string | number = url, clientId = uniqueName('me')): Stan => {
    const stan = connect('test-cluster', clientId, options);
    clients.push(stan);
    return stan;
  };
  const connected = async (options: StanOptions = {}, clientId?: string): Promise<Stan> => {
    const stan = make({ url, ...options }, clientId);
    await event(stan, 'connect');
    return stan;
  };

  it('is not thenable: who awaits it gets it', async () => {
    const stan = make();
    assert.equal(await (stan as unknown), stan);
    assert.equal('then' in stan, false);
  });

  it('publishes and subscribes before it is connected', async () => {
    const stan = make();
    const channel = uniqueName('early');
    const seen: string[] = [];
    stan.on('connect', () => seen.push('connect'));
    const subscription = stan.subscribe(channel, stan.subscriptionOptions().setDeliverAllAvailable());
    subscription.on('ready', () => seen.push('ready'));
    subscription.on('message', (message: Message) => seen.push(String(message.getData())));
    await published(stan, channel, 'early');
    await until(() => seen.includes('early'), 'no message');
    assert.deepEqual(seen, ['connect', 'ready', 'early']);
  });

  for (const [what, options] of Object.entries<(place: string) => StanOptions>({
    'an http:// URL with a path': (place) => ({ url: `http://${place}/nats?x=1` }),
    'a stan:// URL': (place) => ({ url: `stan://${place}` }),
    'a list in one string': (place) => ({ servers: `nats://127.0.0.1:1, nats://${place}` }),
    'a list beside an empty url': (place) => ({ url: '', servers: [`tcp://${place}`] }),
    'empty strings, which are absent': (place) => ({
      url: `nats://${place}`,
      ...{ user: '', pass: '', token: '', name: '', userCreds: '', nkey: '', userJWT: '' },
    }),
    'options that nobody knows': (place) => ({ url: place, reconnectForever: true, json: true }) as StanOptions,
    'numbers that are text, as from the environment': (place) =>
      ({ url: place, ackTimeout: '3000', stanPingInterval: '5000', maxReconnectAttempts: '-1' }) as never,
    'numbers that are none, and waits that are longer than a timer': (place) =>
      ({ url: place, ackTimeout: 'a', maxPubAcksInflight: 'a', reconnectTimeWait: 3e9, connectTimeout: 3e9 }) as never,
    'a URL object': (place) => ({ url: new URL(`nats://${place}`) }) as never,
    'a list of URL objects': (place) => ({ servers: [new URL(`nats://${place}`)] }) as never,
  })) {
    it(`takes ${what}`, async () => {
      const stan = make(options(new URL(url).host));
      await event(stan, 'connect');
      await published(stan, uniqueName('takes'), 'x');
      assert.equal(stan.subscribe(uniqueName('takes'), '').qGroup, '');
    });
  }

  it('connectTimeout is the patience of the first connect', async () => {
    await server.kill();
    // One with the usual patience shows that it is over.
    const usual = make();
    const usualError = event(usual, 'error');
    const stan = make({ url, connectTimeout: 30_000 });
    const errors: Error[] = [];
    stan.on('error', (error: Error) => errors.push(error));
    await usualError;
    const up = event(stan, 'connect');
    await server.start();
    await up;
    assert.deepEqual(errors, []);
  });

  it('takes numbers of a subscription that are text, and dates of long ago', async () => {
    const stan = await connected();
    const options = stan.subscriptionOptions();
    const makes = [
      options.setMaxInFlight('5' as never).setStartAtSequence('1' as never),
      ...Array.from({ length: 20 }, (_, i) => stan.subscriptionOptions().setStartTime(new Date(i))),
      stan.subscriptionOptions().setStartAtTimeDelta(0.3),
    ];
    for (const make of makes) {
      const subscription = stan.subscribe(uniqueName('takes'), make);
      subscription.on('error', assert.ifError);
      await event(subscription, 'ready');
    }
  });

  it('a URL that cannot be read is an error that says what is wrong with it', () => {
    assert.throws(() => connect('test-cluster', 'me', 'nats://localhost:abc'), /port/);
  });

  describe('the end of a client whose callbacks publish again', () => {
    const publishAgain = (stan: Stan, answers: StanError[]): void => {
      stan.publish('again', 'x', (error) => {
        if (error) answers.push(error as StanError);
        // Some end, so that the test process can.
        if (answers.length < 100_000) publishAgain(stan, answers);
      });
    };

    it('comes, when it gives up', async () => {
      const stan = await connected({ maxReconnectAttempts: 2, reconnectTimeWait: 50 });
      const told: string[] = [];
      for (const name of ['error', 'connection_lost', 'close']) stan.on(name, () => told.push(name));
      const answers: StanError[] = [];
      const over = event(stan, 'close');
      await server.kill();
      // Nobody asked for their answers, and they are no errors of the client.
      for (let i = 0; i < 3; i++) stan.publish('again', 'without');
      publishAgain(stan, answers);
      await over;
      const { length } = answers;
      answers.length = 100_000;
      await server.start();
      assert.deepEqual(told, ['connection_lost', 'close']);
      assert.ok(length > 0);
      assert.ok(length < 100_000, 'the end came only when the program stopped publishing');
    });

    it('comes, when it is closed', async () => {
      const stan = await connected();
      const answers: StanError[] = [];
      publishAgain(stan, answers);
      const over = event(stan, 'close');
      stan.close();
      stan.close();
      await over;
      assert.ok(answers.length < 100_000, 'the end came only when the program stopped publishing');
      await until(() => answers.length > 10, 'no answers');
      answers.length = 100_000;
    });
  });

  it('ackOnResolve: each listener is called, and each failure is heard', async () => {
    const stan = await connected();
    const channel = uniqueName('resolve');
    const subscription = stan.subscribe(channel, stan.subscriptionOptions().setAckOnResolve(true));
    const called: string[] = [];
    const errors: unknown[] = [];
    subscription.on('error', (error) => errors.push(error));
    const rejects = (): Promise<never> => {
      called.push('first');
      return Promise.reject(new Error('rejected'));
    };
    subscription.on('message', rejects as () => never);
    subscription.on('message', () => {
      called.push('second');
      throw new Error('thrown');
    });
    subscription.on('message', () => called.push('third'));
    await event(subscription, 'ready');
    await published(stan, channel, 'x');
    await until(() => errors.length > 0, 'no error');
    assert.deepEqual(called.slice(0, 3), ['first', 'second', 'third']);
  });

  describe('a connection that is handed in', () => {
    it('and closed by a call closes the client, and has one listener for all its clients, and none after them', async () => {
      const nc = nats.connect({ url, encoding: 'binary' });
      await event(nc, 'connect');
      const before = nc.listenerCount('close');
      const several = [1, 2, 3].map(() => make({ nc }));
      await Promise.all(several.map((stan) => event(stan, 'connect')));
      assert.equal(nc.listenerCount('close'), before + 1);
      for (const stan of several) {
        const closed = event(stan, 'close');
        stan.close();
        await closed;
      }
      assert.equal(nc.listenerCount('close'), before);
      assert.equal(Object.hasOwn(nc, 'close'), false);
      const last = make({ nc });
      await event(last, 'connect');
      const closed = event(last, 'close');
      nc.close();
      await closed;
      assert.equal(last.isClosed(), true);
    });

    it('and waits for a server lets the client wait', async () => {
      await server.kill();
      const nc = nats.connect({ url, encoding: 'binary', waitOnFirstConnect: true, maxReconnectAttempts: -1 });
      nc.on('error', () => {});
      const usual = make();
      const usualError = event(usual, 'error');
      const stan = make({ nc });
      const up = event(stan, 'connect');
      await usualError;
      await server.start();
      await up;
      nc.close();
    });
  });

  describe('an outage', () => {
    it('is no error: publishes with and without a callback are kept, subscribe waits', async () => {
      const stan = await connected();
      const channel = uniqueName('outage');
      const wrong: unknown[] = [];
      for (const name of ['error', 'connection_lost', 'close', 'timeout'])
        stan.on(name, (error) => wrong.push([name, error]));
      const down = event(stan, 'disconnect');
      await server.kill();
      await down;
      stan.publish(channel, 'without');
      const answer = published(stan, channel, 'with');
      const subscription = stan.subscribe(channel, stan.subscriptionOptions().setDeliverAllAvailable());
      for (const name of ['error', 'timeout']) subscription.on(name, (error) => wrong.push([name, error]));
      const read: unknown[] = [];
      subscription.on('message', (message: Message) => read.push(message.getData()));
      await server.start();
      await answer;
      await until(() => read.length === 2, 'not both messages');
      assert.deepEqual(read, ['without', 'with']);
      assert.deepEqual(wrong, []);
    });

    it('a publish with a callback has its answer within ackTimeout, and it says what is known', async () => {
      const stan = await connected({ ackTimeout: 300 });
      const channel = uniqueName('timeout');
      const down = event(stan, 'disconnect');
      await server.kill();
      await down;
      const guids: unknown[] = [];
      const error = await new Promise<StanError>((resolve) => {
        guids.push(
          stan.publish(channel, 'x', (failed, guid) => {
            guids.push(guid);
            resolve(failed as StanError);
          }),
        );
      });
      assert.equal(error.message, 'stan: publish ack timeout');
      assert.equal(error.delivery, 'not-sent');
      assert.ok(error.cause instanceof ResilientStanError);
      assert.equal(guids[0], guids[1]);
      // It may be told before the server has said that it is ready.
      const up = event(stan, 'reconnect');
      await server.start();
      await up;
      await published(stan, channel, 'y');
      // What was told to have failed is not stored later.
      assert.deepEqual(await readBack(url, channel), ['y']);
    });

    it('reconnect is told before the first message of the new session', async () => {
      const stan = await connected();
      const channel = uniqueName('order');
      const seen: unknown[] = [];
      for (const name of ['disconnect', 'reconnecting', 'reconnect']) {
        stan.on(name, () => seen.at(-1) === name || seen.push(name));
      }
      const subscription = stan.subscribe(channel);
      await event(subscription, 'ready');
      const other = await connected();
      subscription.on('message', (message: Message) => seen.push(message.getData()));
      await server.proxy.down();
      await until(() => seen.includes('reconnecting'), 'no outage');
      await server.proxy.up();
      await published(other, channel, 'missed');
      await until(() => seen.includes('missed'), 'no message');
      assert.deepEqual(seen, ['disconnect', 'reconnecting', 'reconnect', 'missed']);
      assert.equal(stan.listenerCount('connect'), 0);
    });

    it('tells the same on nc, and nc says where it is', async () => {
      const stan = await connected();
      const nc = stan.nc as NatsView;
      assert.equal(nc.connected, true);
      assert.equal(nc.currentServer?.url.host, new URL(url).host);
      const seen: string[] = [];
      for (const name of ['disconnect', 'reconnecting', 'reconnect', 'close']) {
        nc.on(name, () => seen.at(-1) === name || seen.push(name));
      }
      const back = event(stan, 'reconnect');
      server.proxy.resetConnections();
      await back;
      assert.throws(() => nc.publish(), /make a connection with the package 'nats'/);
      const closed = event(stan, 'close');
      nc.close();
      await closed;
      assert.deepEqual(seen, ['disconnect', 'reconnecting', 'reconnect', 'close']);
      assert.equal(nc.closed, true);
      assert.equal(stan.nc, undefined);
    });
  });

  describe('close', () => {
    it('sends what is pending, lets handlers end, and frees the client ID for a client that comes at once', async () => {
      const id = uniqueName('again');
      const channel = uniqueName('drain');
      const stan = await connected({}, id);
      const answers: unknown[] = [];
      for (let i = 0; i < 50; i++) stan.publish(channel, String(i), (error) => answers.push(error));
      stan.close();
      const next = make(url, id);
      const wrong: unknown[] = [];
      next.on('error', (error) => wrong.push(error));
      await event(next, 'connect');
      assert.equal(stan.isClosed(), true);
      assert.deepEqual(wrong, []);
      assert.deepEqual(answers, Array(50).fill(undefined));
      assert.equal((await readBack(url, channel)).length, 50);
    });

    it('in an outage that lasts, gives up, and the callbacks hear of it before close', async () => {
      const stan = await connected();
      const down = event(stan, 'disconnect');
      await server.proxy.down();
      await down;
      const seen: unknown[] = [];
      stan.publish(uniqueName('gone'), 'x', (error) => seen.push(error?.message));
      stan.on('close', () => seen.push('close'));
      stan.on('connection_lost', () => seen.push('connection_lost'));
      const closed = event(stan, 'close');
      stan.close();
      await closed;
      assert.deepEqual(seen, ['stan: Connection closed', 'close']);
    });

    it('a subscription that waits in an outage may be closed, and says so', async () => {
      const stan = await connected();
      const down = event(stan, 'disconnect');
      await server.proxy.down();
      await down;
      const subscription = stan.subscribe(uniqueName('waits'));
      const closed = event(subscription, 'closed');
      subscription.close();
      await closed;
    });

    it('of a durable and subscribing to it again at once goes on where it was', async () => {
      const stan = await connected();
      const channel = uniqueName('durable');
      const options = stan.subscriptionOptions().setDeliverAllAvailable().setDurableName('d');
      const wrong: unknown[] = [];
      let subscription = stan.subscribe(channel, options);
      subscription.on('error', (error) => wrong.push(error));
      subscription.close();
      subscription = stan.subscribe(channel, options);
      subscription.on('error', (error) => wrong.push(error));
      const first = event(subscription, 'message');
      await published(stan, channel, 'x');
      await first;
      assert.deepEqual(wrong, []);
    });
  });

  describe('a listener that throws', () => {
    it('its error goes to the subscription, or else to the client', async () => {
      const stan = await connected();
      const channel = uniqueName('throws');
      const options = stan.subscriptionOptions().setAckWait(1000);
      const subscription = stan.subscribe(channel, options);
      await event(subscription, 'ready');
      subscription.on('message', (message: Message) => {
        throw new Error(`no ${String(message.getData())}`);
      });
      const told = event(stan, 'error');
      await published(stan, channel, 'x');
      assert.match(String(await told), /no x/);
      const toldHere = event(subscription, 'error');
      assert.match(String(await toldHere), /no x/);
      const closed = event(subscription, 'closed');
      subscription.close();
      await closed;
    });

    for (const [what, expected] of Object.entries({
      'of message': ['uncaught: message', 'connected still'],
      'of connect': ['uncaught: connect', 'connected still'],
      'a publish callback': ['uncaught: callback', 'connected still'],
    })) {
      it(`${what}, with nobody who listens to errors: uncaught, and nothing of ours is harmed`, async () => {
        const path = fileURLToPath(new URL('./fixtures/throws.ts', import.meta.url));
        const child = fork(path, [url, what, uniqueName('child')], { execArgv: ['--import', 'tsx'], silent: true });
        const said: unknown[] = [];
        child.on('message', (message) => said.push(message));
        const code = await event(child, 'exit');
        assert.deepEqual(said, expected);
        assert.equal(code, 0);
      });
    }
  });

  it('acknowledges when the promises of the listeners resolve, if it is told to', async () => {
    const stan = await connected();
    const channel = uniqueName('resolve');
    const options = stan.subscriptionOptions().setAckOnResolve(true).setAckWait(1000).setDurableName('r');
    const subscription = stan.subscribe(channel, options);
    await event(subscription, 'ready');
    const seen: unknown[] = [];
    const running: (() => void)[] = [];
    subscription.on('error', (error: Error) => seen.push(error.message));
    const listener = async (message: Message): Promise<void> => {
      seen.push([message.getData(), message.isRedelivered()]);
      await new Promise<void>((resolve) => running.push(resolve));
      if (message.getData() === 'bad' && !message.isRedelivered()) throw new Error('rejected');
    };
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- it is what the option is for
    subscription.on('message', listener);
    await published(stan, channel, 'bad');
    await published(stan, channel, 'good');
    // As before, they do not wait for each other.
    await until(() => running.length === 2, 'not both at a time');
    for (const resolve of running.splice(0)) resolve();
    await until(() => running.length === 1, 'the failed one does not come again');
    running[0]!();
    assert.deepEqual(seen, [['bad', false], ['good', false], 'rejected', ['bad', true]]);
  });

  it('a message whose listener closes its subscription is acknowledged', async () => {
    const stan = await connected();
    const channel = uniqueName('once');
    const options = stan.subscriptionOptions().setDeliverAllAvailable().setDurableName('once');
    const first = stan.subscribe(channel, options);
    const closed = event(first, 'closed');
    first.on('message', () => first.close());
    await published(stan, channel, '1');
    await closed;
    await published(stan, channel, '2');
    const read: unknown[] = [];
    stan.subscribe(channel, options).on('message', (message: Message) => read.push(message.getData()));
    await until(() => read.includes('2'), 'no message');
    assert.deepEqual(read, ['2']);
  });

  it('tells who listens to errors of a message that nobody takes, published without a callback', async () => {
    const stan = await connected();
    const told = event(stan, 'error');
    stan.publish('a.*', 'x');
    assert.equal(((await told) as Error).message, 'stan: invalid publish request');
  });

  it('is not closed by a leader that dies, and loses nothing', async () => {
    await using three = await StanCluster.start({ nodes: 3 });
    const stan = connect('test-cluster', uniqueName('me'), { servers: three.urls });
    clients.push(stan);
    await event(stan, 'connect');
    const channel = uniqueName('leader');
    const read: unknown[] = [];
    const wrong: unknown[] = [];
    for (const name of ['error', 'connection_lost', 'close']) stan.on(name, (error) => wrong.push([name, error]));
    const subscription = stan.subscribe(channel, stan.subscriptionOptions().setDeliverAllAvailable());
    subscription.on('message', (message: Message) => read.push(message.getData()));
    const answers: unknown[] = [];
    const leader = await three.leader();
    for (let i = 0; i < 200; i++) {
      stan.publish(channel, String(i), (error) => answers.push(error));
      if (i === 100) void leader.kill();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await until(
      () => answers.length === 200 && new Set(read).size === 200,
      () => `${answers.length} answers, ${read.length} messages`,
    );
    assert.deepEqual(new Set(answers), new Set([undefined]));
    assert.deepEqual(wrong, []);
    // Before its servers are gone.
    stan.removeAllListeners('close');
    const closed = event(stan, 'close');
    stan.close();
    await closed;
  });
});
