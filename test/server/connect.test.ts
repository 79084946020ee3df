/** The first connect: what each kind of wrong server, wrong name and wrong key is told as, and what it costs. */
import assert from 'node:assert/strict';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import {
  AbortedError,
  AuthorizationError,
  ConnectError,
  InvalidArgumentError,
  ResilientStan,
  type ConnectOptions,
} from '../../src/index.js';
import { makeClock } from '../../src/clock/clock.js';
import { Link } from '../../src/connection/link.js';
import { resolveConnectOptions } from '../../src/options.js';
import { StanCluster } from '../../src/testing/index.js';
import { Clients, Recorder, rejection, uniqueName, until } from '../support/clients.js';

/** A TCP server that does what `greet` does with each connection. */
async function listen(greet: (socket: Socket) => void): Promise<{ url: string; stop: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    greet(socket);
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

const once: ConnectOptions = { initialConnect: { retries: 0 } };

describe('the first connect', function () {
  this.timeout(30_000);
  const clients = new Clients();
  const places: { stop: () => Promise<void> }[] = [];
  let cluster: StanCluster;
  let good: string;
  /** Nobody listens there. */
  let closed: string;

  const place = async (greet: (socket: Socket) => void): Promise<string> => {
    const opened = await listen(greet);
    places.push(opened);
    return opened.url;
  };

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    good = cluster.urls[0]!;
    const gone = await listen(() => {});
    closed = gone.url;
    await gone.stop();
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await clients.closeAll();
    await Promise.all(places.splice(0).map((opened) => opened.stop()));
  });

  it('to nobody lists every server with its reason', async () => {
    const mute = await place(() => {});
    const error = await rejection(
      ResilientStan.connect([closed, mute], { ...once, connectTimeout: 300 }),
      ConnectError,
      closed,
      mute,
      'nobody listens there',
      'the host is mute',
    );
    assert.equal(error.code, 'ERR_STAN_CONNECT');
    assert.deepEqual(error.failures.map(({ server }) => server).sort(), [closed, mute].sort());
    for (const { reason, error: cause } of error.failures) assert.equal(reason, cause.message);
  });

  it('never shows the credentials of a URL', async () => {
    const withSecret = closed.replace('nats://', 'nats://me:s3cr3t@');
    const error = await rejection(ResilientStan.connect(withSecret, once), ConnectError, closed);
    assert.ok(!JSON.stringify([error.message, error.stack, error.failures]).includes('s3cr3t'));
  });

  it('to a host name that does not exist says so', async () => {
    await rejection(ResilientStan.connect('no-such-host.invalid', once), ConnectError, /cannot be resolved/);
  });

  it('tries again as often as it is told, and then gives up', async () => {
    let dials = 0;
    const hangsUp = await place((socket) => {
      dials++;
      socket.destroy();
    });
    const said: string[] = [];
    await rejection(
      ResilientStan.connect(hangsUp, {
        initialConnect: { retries: 3, minTimeout: 1, maxTimeout: 2 },
        logger: { debug: (text) => said.push(text) },
      }),
      ConnectError,
      hangsUp,
    );
    assert.equal(dials, 4);
    assert.deepEqual(
      said.filter((text) => text.startsWith('attempt')).map((text) => text.slice(0, 9)),
      ['attempt 1', 'attempt 2', 'attempt 3'],
    );
  });

  it('gives up at maxRetryTime', async () => {
    await rejection(
      ResilientStan.connect(closed, { initialConnect: { retries: Infinity, maxRetryTime: 200, maxTimeout: 20 } }),
      ConnectError,
      'nobody listens there',
    );
  });

  it('waits for a server that is not up yet, when it is told to', async () => {
    await using late = await StanCluster.start({ mode: 'single', store: 'memory' });
    const [server] = late.nodes;
    await server!.kill();
    const connecting = clients.connect(late.urls, { initialConnect: { retries: Infinity } });
    await server!.start();
    const stan = await connecting;
    assert.equal(stan.state, 'connected');
    assert.equal((await stan.publish('late', 'x')).attempts, 1);
  });

  describe('to something that is not a NATS Streaming server', () => {
    it('an HTTP server', async () => {
      const http: HttpServer = createHttpServer((_, response) => response.end('hello'));
      await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
      try {
        const url = `127.0.0.1:${(http.address() as AddressInfo).port}`;
        await rejection(
          ResilientStan.connect(url, { ...once, connectTimeout: 300 }),
          ConnectError,
          'not a NATS server',
        );
      } finally {
        http.closeAllConnections();
        await new Promise((resolve) => http.close(resolve));
      }
    });

    for (const [what, greeting] of [
      ['one that speaks first, another protocol', '220 mail.example ESMTP\r\n'],
      ['one that says -ERR', "-ERR 'go away'\r\n"],
      ['one whose INFO is not JSON', 'INFO {"server_id": oops}\r\n'],
      ['one whose INFO is an array', 'INFO []\r\n'],
      ['one whose INFO is null', 'INFO null\r\n'],
      [
        'one whose INFO tells of servers that are none',
        'INFO {"server_id":"x","version":"2.0.0","proto":1,"connect_urls":["a b","://"]}\r\n',
      ],
      ['one that sends binary rubbish', '\x16\x03\x01\x02\x00\x01\r\n\r\n'],
      ['one whose INFO never ends', `INFO {"server_id":"${'x'.repeat(10_000)}`],
      ['one that greets and hangs up', undefined],
    ] as const) {
      it(what, async () => {
        const url = await place((socket) => {
          if (greeting === undefined) {
            socket.end('INFO {"server_id":"x","version":"2.0.0","max_payload":1048576,"proto":1}\r\n');
          } else socket.write(greeting);
        });
        const error = await rejection(ResilientStan.connect(url, { ...once, connectTimeout: 300 }), ConnectError, url);
        assert.equal(error.failures.length, 1);
        assert.notEqual(error.failures[0]!.reason, '');
      });
    }

    it('one that goes mad later, in the middle of a connection', async () => {
      let say!: (text: string) => void;
      const url = await place((socket) => {
        say = (text) => void socket.write(text);
        say('INFO {"server_id":"x","version":"2.0.0","proto":1}\r\n');
        socket.on('data', (data) => data.includes('PING') && say('PONG\r\n'));
      });
      const [address] = resolveConnectOptions(url).servers;
      const link = await Link.dial(address!, {}, 2000, new AbortController().signal, makeClock());
      const died = new Promise<Error>((resolve) => (link.onDeath = resolve));
      say('INFO {"server_id": oops}\r\n');
      assert.match((await died).message, /not understood/);
      assert.equal(link.alive, false);
    });

    it('a NATS server without streaming looks like one without a leader', async () => {
      const url = await place((socket) => {
        socket.write('INFO {"server_id":"x","version":"2.0.0","max_payload":1048576,"proto":1}\r\n');
        socket.on('data', (data) => {
          if (data.includes('PING')) socket.write('PONG\r\n');
        });
      });
      await rejection(
        ResilientStan.connect(url, { ...once, connectTimeout: 300 }),
        ConnectError,
        `connected to ${url}`,
        'no leader',
        'is the cluster ID right?',
      );
    });
  });

  it('with a wrong cluster ID asks whether it is right', async () => {
    const error = await rejection(
      ResilientStan.connect([good, closed], { ...once, clusterId: 'wrong-one', connectTimeout: 300 }),
      ConnectError,
      `connected to ${good}`,
      "no leader of cluster 'wrong-one' answered",
      'is the cluster ID right?',
      closed,
    );
    assert.deepEqual(error.failures.map(({ server }) => server).sort(), [good, closed].sort());
  });

  describe('with wrong credentials', () => {
    let locked: StanCluster;
    before(async () => {
      locked = await StanCluster.start({ mode: 'single', store: 'memory', auth: { user: 'me', pass: 'right' } });
    });
    after(() => locked.stop());

    for (const [what, options] of [
      ['none', {}],
      ['a wrong password', { user: 'me', pass: 'wr0ng' }],
      ['a token', { token: 'wr0ng' }],
    ] as const) {
      it(`${what}: fails at once, although it may retry for ever`, async () => {
        const dials: string[] = [];
        const error = await rejection(
          ResilientStan.connect(locked.urls, {
            ...options,
            initialConnect: { retries: Infinity },
            logger: { debug: (text) => dials.push(text) },
          }),
          AuthorizationError,
          locked.urls[0]!,
        );
        assert.equal(error.code, 'ERR_STAN_AUTHORIZATION');
        assert.equal(error.server, locked.urls[0]);
        assert.ok(!error.message.includes('wr0ng'));
        assert.deepEqual(
          dials.filter((text) => text.startsWith('attempt')),
          [],
        );
      });
    }

    it('which are right on another server of the list: connects there', async () => {
      const stan = await clients.connect([locked.urls[0]!, good], { randomize: false });
      assert.equal(stan.server, good);
    });

    it('connects with the right ones, in the URL as well', async () => {
      const stan = await clients.connect(locked.urls, locked.connectOptions);
      assert.equal((await stan.publish('x', 'x')).attempts, 1);
      const other = await clients.connect(locked.urls[0]!.replace('nats://', 'nats://me:right@'));
      assert.equal(other.server, locked.urls[0]);
    });

    it('a credentials function that fails is told as the reason, and asked before every dial', async () => {
      let asked = 0;
      const credentials = (): { user: string; pass: string } => {
        if (++asked < 3) throw new Error('the vault is sealed');
        return { user: 'me', pass: 'right' };
      };
      await rejection(
        ResilientStan.connect(locked.urls, { ...once, credentials }),
        ConnectError,
        'the vault is sealed',
      );
      const stan = await clients.connect(locked.urls, {
        credentials,
        initialConnect: { minTimeout: 1, maxTimeout: 2 },
      });
      assert.equal(asked, 3);
      assert.equal(stan.state, 'connected');
    });
  });

  describe('to a cluster with TLS', () => {
    let secure: StanCluster;
    before(async () => {
      secure = await StanCluster.start({ nodes: 3, tls: { verify: true } });
    });
    after(() => secure.stop());

    it('says of each server why its certificate is refused, or ours is missing', async () => {
      const { ca } = secure.connectOptions.tls!;
      const stranger = await rejection(ResilientStan.connect(secure.urls, { ...once, tls: true }), ConnectError);
      assert.equal(stranger.failures.length, 3);
      for (const { reason } of stranger.failures) assert.match(reason, /certificate/);
      const nobody = await rejection(ResilientStan.connect(secure.urls, { ...once, tls: { ca } }), ConnectError);
      for (const { reason } of nobody.failures) assert.match(reason, /certificate/);
    });

    it('connects, and fails over', async () => {
      const stan = await clients.connect(secure.urls, secure.connectOptions);
      const recorder = new Recorder(stan);
      const got: string[] = [];
      await stan.subscribe('tls', (message) => void got.push(message.string()));
      await stan.publish('tls', 'one');
      const node = secure.nodes.find(({ url }) => url === stan.server);
      // A server that is killed while it makes the files of a new channel cannot read them when it starts again.
      await until(
        async () => (await node!.monitor.channelz('tls'))?.last_seq === 1,
        'the node does not get the channel',
      );
      await node!.kill();
      await stan.publish('tls', 'two');
      await until(() => got.length === 2, 'not everything was received');
      assert.equal(recorder.count('reconnect'), 1);
      await node!.start();
    });
  });

  for (const [what, greet] of [
    ['mute', () => {}],
    ['one of another protocol', (socket: Socket) => void socket.write('220 mail.example ESMTP\r\n')],
    ['one that hangs up', (socket: Socket) => void socket.destroy()],
  ] as const) {
    it(`a server of the list that is ${what} costs its head start only`, async () => {
      const wrong = await place(greet);
      const startedAt = performance.now();
      const stan = await clients.connect([wrong, closed, wrong.replace('127.0.0.1', 'localhost'), good], {
        randomize: false,
        // What it would cost to wait for the wrong ones; the bound below is far from both.
        connectTimeout: 20_000,
      });
      assert.equal(stan.server, good);
      assert.ok(performance.now() - startedAt < 5000, `it took ${Math.round(performance.now() - startedAt)} ms`);
    });
  }

  it('many servers, and many things that end with one signal, are no leak to Node', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on('warning', warned);
    try {
      const mute = await Promise.all(Array.from({ length: 12 }, () => place(() => {})));
      const { signal } = new AbortController();
      const stan = await clients.connect([...mute, good], { randomize: false, signal });
      for (let i = 0; i < 12; i++) {
        await stan.subscribe('many', () => {}, { signal });
        await (await clients.connect(good, { signal })).publish('many', 'x', { signal });
      }
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(warnings, []);
    } finally {
      process.off('warning', warned);
    }
  });

  it('stops at its signal, at once', async () => {
    const mute = await place(() => {});
    const abort = new AbortController();
    const connecting = ResilientStan.connect([mute, closed], { signal: abort.signal, connectTimeout: 20_000 });
    setTimeout(() => abort.abort(new Error('enough')), 50);
    const error = await rejection(connecting, AbortedError);
    assert.equal((error.cause as Error).message, 'enough');

    const dialled = await place(() => assert.fail('it was dialled'));
    await rejection(ResilientStan.connect(dialled, { signal: abort.signal }), AbortedError, 'before it began');
  });

  it('leaves nothing behind when it fails', async () => {
    let open = 0;
    const url = await place((socket) => {
      open++;
      socket.on('close', () => open--);
      socket.resume();
      socket.write('INFO {"server_id":"x","version":"2.0.0","max_payload":1048576,"proto":1}\r\n');
    });
    const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    await rejection(
      ResilientStan.connect(url, { connectTimeout: 100, initialConnect: { retries: 1, minTimeout: 1 } }),
      ConnectError,
    );
    await until(
      () => open === 0,
      () => `${open} connections are still open`,
    );
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    await until(
      () => timers() <= before,
      () => `${timers()} timers, ${before} before`,
    );
  });

  it('gives each client an ID of its own, unless it has one', async () => {
    const [one, two] = await Promise.all([clients.connect(good), clients.connect(good)]);
    assert.notEqual(one.clientId, two.clientId);
    const clientId = uniqueName('mine');
    const three = await clients.connect(good, { clientId });
    assert.equal(three.clientId, clientId);
    assert.equal(three.clusterId, 'test-cluster');
    const listed = await cluster.nodes[0]!.monitor.clientsz();
    for (const { clientId: id } of [one, two, three]) assert.ok(listed?.clients.some((client) => client.id === id));
  });

  describe('with bad arguments rejects before anything is dialled, and never throws', () => {
    const cases: [string, unknown, unknown, string, ...(string | RegExp)[]][] = [
      ['an empty list', [], {}, 'servers', 'empty'],
      ['a list with an empty string', [''], {}, 'servers'],
      ['not a list', 42, {}, 'servers', 'a URL or an array of URLs'],
      ['options in the place of the list', { clusterId: 'x' }, undefined, 'servers', 'second argument'],
      ['http:', 'http://localhost:4222', {}, 'servers', 'http:'],
      ['an IPv6 literal', 'nats://[::1]:4222', {}, 'servers', 'IPv6'],
      ['a port out of range', 'nats://localhost:70000', {}, 'servers', 'out of range'],
      ['port 0', 'localhost:0', {}, 'servers', 'out of range'],
      ['a port that is no number', 'localhost:nats', {}, 'servers', 'not a number'],
      ['an empty client ID', undefined, { clientId: '' }, 'clientId'],
      ['an illegal client ID', undefined, { clientId: 'a.b' }, 'clientId', "'.'"],
      ['a client ID that is no string', undefined, { clientId: 7 }, 'clientId'],
      ['an illegal cluster ID', undefined, { clusterId: 'a b' }, 'clusterId', 'a space'],
      ['a cluster ID with a line break', undefined, { clusterId: 'a\r\nPUB x 0' }, 'clusterId', 'carriage return'],
      ['an unknown option', undefined, { conectTimeout: 5 }, 'conectTimeout', "did you mean 'connectTimeout'?"],
      ['an unknown nested option', undefined, { pings: { intervall: 1000 } }, 'pings.intervall', 'interval'],
      ['an option of the wrong type', undefined, { connectTimeout: '5' }, 'connectTimeout'],
      ['a negative one', undefined, { connectTimeout: -5 }, 'connectTimeout'],
      ['a fractional one', undefined, { publishing: { maxInFlight: 1.5 } }, 'publishing.maxInFlight'],
      ['NaN', undefined, { initialConnect: { retries: NaN } }, 'initialConnect.retries'],
      ['pings more often than once a second', undefined, { pings: { interval: 500 } }, 'pings.interval'],
      ['a handler that is none', undefined, { connectionLostHandler: 'close' }, 'connectionLostHandler'],
      ['a signal that is none', undefined, { signal: {} }, 'signal'],
      ['options that are none', undefined, 'test-cluster', 'options'],
      ['null for options', undefined, null, 'options'],
    ];
    for (const [what, servers, options, argument, ...words] of cases) {
      it(what, async () => {
        const error = await rejection(
          ResilientStan.connect(servers as string, options as ConnectOptions),
          InvalidArgumentError,
          ...words,
        );
        assert.equal(error.argument, argument, error.message);
        assert.equal(error.code, 'ERR_STAN_INVALID_ARGUMENT');
      });
    }
  });
});
