/** One connection of several dies without a sign: the evidence comes from another one, also when there is one server only. */
import assert from 'node:assert/strict';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { AuthorizationError, type ConnectOptions } from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { Clients, Recorder, rejection, uniqueName, until } from '../support/clients.js';

/** Passes bytes on, and can stop doing so for the connections there are, and not for new ones. */
class Relay {
  readonly #pairs = new Set<[Socket, Socket]>();
  readonly #server: Server;

  private constructor(target: number) {
    this.#server = createServer((client) => {
      const server = connect(target, '127.0.0.1');
      const pair: [Socket, Socket] = [client, server];
      this.#pairs.add(pair);
      client.pipe(server);
      server.pipe(client);
      for (const socket of pair) {
        socket.on('error', () => {});
        socket.on('close', () => {
          for (const end of pair) end.destroy();
          this.#pairs.delete(pair);
        });
      }
    });
  }

  static async listen(target: number): Promise<Relay> {
    const relay = new Relay(target);
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A black hole, for the connections there are. */
  mute(): void {
    for (const [client, server] of this.#pairs) {
      client.unpipe(server);
      server.unpipe(client);
      // Read on, or the kernel would show that nobody does.
      client.resume();
      server.resume();
    }
  }

  async close(): Promise<void> {
    for (const [client, server] of this.#pairs) {
      client.destroy();
      server.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

describe('a path that dies without a sign', function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let relay: Relay;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single' });
  });
  after(() => cluster.stop());
  beforeEach(async () => {
    relay = await Relay.listen(cluster.nodes[0]!.ports.client);
  });
  afterEach(async () => {
    await clients.closeAll();
    await relay.close();
  });

  it('to the only server: another connection to it shows that it lives, and takes over', async () => {
    const clientId = uniqueName('me');
    const stan = await clients.connect(relay.url, { clientId, pings: { interval: 60_000 } });
    const recorder = new Recorder(stan);
    const got: string[] = [];
    await stan.subscribe('paths', (message) => void got.push(message.string()), { durableName: 'd' });
    await stan.publish('paths', 'before');
    relay.mute();
    const startedAt = performance.now();
    const ack = await stan.publish('paths', 'through the hole');
    assert.equal(ack.attempts, 2);
    assert.equal(recorder.of('connection_lost')[0]!.reason, 'path');
    assert.equal(recorder.count('connection_lost'), 1);
    // A minute's pings were not waited for.
    assert.ok(performance.now() - startedAt < 5000, `it took ${Math.round(performance.now() - startedAt)} ms`);
    await until(
      () => got.includes('through the hole'),
      () => got.join(),
    );
  });

  it('while nothing is going on: the pings show it', async () => {
    const stan = await clients.connect(relay.url, { pings: { interval: 1000, maxOut: 3 } });
    const recorder = new Recorder(stan);
    const got: string[] = [];
    await stan.subscribe('idle', (message) => void got.push(message.string()));
    const publisher = await clients.connect(cluster.urls);
    relay.mute();
    await publisher.publish('idle', 'missed');
    const startedAt = performance.now();
    await until(() => got.length === 1, 'it was not delivered');
    // pings.interval + 500 ms, on a machine that may be busy.
    assert.ok(performance.now() - startedAt < 3000, `it took ${Math.round(performance.now() - startedAt)} ms`);
    assert.equal(recorder.of('connection_lost')[0]!.reason, 'path');
  });
});

describe('credentials that are refused later', function () {
  this.timeout(30_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  it('are retried, since they were right before; told once as an error, and never shown', async () => {
    await using cluster = await StanCluster.start({
      mode: 'single',
      proxied: true,
      auth: { user: 'me', pass: 'right' },
    });
    let pass = 'right';
    const options: ConnectOptions = {
      credentials: () => ({ user: 'me', pass }),
      reconnect: { minTimeout: 5, maxTimeout: 10 },
    };
    const stan = await clients.connect(cluster.urls, options);
    const recorder = new Recorder(stan);
    pass = 'wr0ng';
    cluster.nodes[0]!.proxy.resetConnections();
    await recorder.until('connection_lost');
    const kept = stan.publish('kept', 'x');
    await recorder.until('reconnecting', 5);
    const errors = recorder.of('error').map(({ error }) => error);
    assert.equal(errors.length, 1, 'nothing retryable is an error, but this needs a person');
    assert.ok(errors[0] instanceof AuthorizationError);
    assert.ok(!recorder.seen.some(({ payload }) => String((payload as { error?: unknown }).error).includes('wr0ng')));
    assert.equal(stan.state, 'reconnecting');
    pass = 'right';
    assert.equal((await kept).attempts, 1);
    await rejection(clients.connect(cluster.urls, { user: 'me', pass: 'wr0ng' }), AuthorizationError);
  });
});
