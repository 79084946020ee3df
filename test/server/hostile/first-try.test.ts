/**
 * Whoever fails at any step goes to the end of the list, and what may pass is tried again. The good server is a real one;
 * those that fail are scripted peers, for a real one does not fail on request.
 */
import assert from 'node:assert/strict';
import { AuthorizationError, ResilientStan, type ConnectOptions } from '../../../src/index.js';
import { StanCluster } from '../../../src/testing/index.js';
import { Clients, Recorder, rejection, uniqueName, until } from '../../support/clients.js';
import { connectResponse, encode, Peer, type PeerHooks } from '../../support/peer.js';

describe('a server that wins the race and then fails', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
  });
  after(() => cluster.stop());
  afterEach(() => clients.closeAll());

  const options = (): ConnectOptions => ({
    clientId: uniqueName('me'),
    randomize: false,
    connectTimeout: 300,
    reconnect: { minTimeout: 5, maxTimeout: 50 },
  });

  const failures: [string, PeerHooks][] = [
    ['does not answer the connect request', { connect: () => undefined }],
    ['refuses the connect request', { connect: () => encode('ConnectResponse', { error: 'stan: not today' }) }],
    ['answers the connect request with garbage', { connect: () => Buffer.from('\u00ff\u00fe\u0000', 'latin1') }],
    ['answers the connect request with nothing', { connect: () => Buffer.alloc(0) }],
    ['hangs up at the connect request', { connect: ({ connection }) => void connection.end() }],
    [
      'says at the connect request that it has an error',
      { connect: ({ connection }) => void connection.raw("-ERR 'Some Error'\r\n") },
    ],
    ['breaks the protocol at the connect request', { connect: ({ connection }) => void connection.raw('MSG\r\n') }],
  ];
  for (const [what, hooks] of failures) {
    it(`${what}: 20 of 20 first connects succeed at the next one`, async () => {
      await using peer = await Peer.listen({ hooks });
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, async () => {
          const stan = await clients.connect([peer.url, cluster.urls[0]!], options());
          await stan.publish('a', 'x', { timeout: 5000 });
        }),
      );
      const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
      assert.equal(failed.length, 0, String(failed[0]?.reason));
    });
  }

  const later: [string, PeerHooks][] = [
    [
      'refuses every publish as not the leader',
      { publish: ({ fields }) => encode('PubAck', { guid: fields['guid'], error: 'node is not the leader' }) },
    ],
    [
      'refuses every publish of a session it does not know',
      { publish: ({ fields }) => encode('PubAck', { guid: fields['guid'], error: 'stan: invalid publish request' }) },
    ],
    ['hangs up at every publish', { publish: ({ connection }) => void connection.end() }],
    [
      'gives subjects that lead nowhere',
      { connect: (_request, usual) => (usual(), connectResponse({ pubPrefix: 'nowhere', subRequests: 'nowhere' })) },
    ],
  ];
  for (const [what, hooks] of later) {
    it(`${what}: what is published gets through at the next one`, async () => {
      await using peer = await Peer.listen({ hooks });
      const stan = await clients.connect([peer.url, cluster.urls[0]!], {
        ...options(),
        publishing: { ackTimeout: 1000 },
      });
      assert.equal(stan.server, peer.url, 'it was not even tried');
      const got: string[] = [];
      const subscribed = stan.subscribe('b', (message) => void got.push(message.string()));
      await stan.publish('a', 'x', { timeout: 10_000 });
      await subscribed;
      await stan.publish('b', 'x', { timeout: 10_000 });
      await until(
        () => got.length > 0,
        () => `attached to ${stan.server}`,
      );
      assert.equal(stan.server, cluster.urls[0]);
    });
  }

  it('and is well again, serves again', async () => {
    await using peer = await Peer.listen();
    let refuses = true;
    peer.hooks.connect = (_request, usual) => (refuses ? encode('ConnectResponse', { error: 'not today' }) : usual());
    await using other = await Peer.listen();
    const stan = await clients.connect([peer.url, other.url], options());
    const recorder = new Recorder(stan);
    assert.equal(stan.server, other.url);
    refuses = false;
    await other.stop();
    await recorder.until('reconnect', 1, 5000);
    assert.equal(stan.server, peer.url);
  });
});

describe('a refusal', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  const CREDENTIALS = { user: 'me', pass: 'secret' };
  before(async () => {
    cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      proxied: true,
      config: {
        // A host that is slow for a moment: whoever has not shown his credentials by then is refused.
        authorization: { user: 'me', password: 'secret', timeout: 0.2 },
        streaming: { username: 'me', password: 'secret' },
      },
    });
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await cluster.heal();
    await clients.closeAll();
  });

  it("by a real server's clock ('Authentication Timeout') is no refusal of the credentials: it is tried again", async () => {
    const { proxy } = cluster.nodes[0]!;
    const slow = proxy.add({ type: 'latency', latency: 400 });
    const before = proxy.stats.accepted;
    const connecting = clients.connect(cluster.urls, {
      ...CREDENTIALS,
      initialConnect: { retries: 20, minTimeout: 10, maxTimeout: 50 },
    });
    let failed: unknown;
    connecting.catch((error: unknown) => (failed = error));
    await until(() => failed ?? proxy.stats.accepted >= before + 2, 'it is not tried again');
    assert.equal(failed, undefined);
    slow.remove();
    const stan = await connecting;
    await stan.publish('a', 'x');
  });

  it("by a real server's clock, and by nothing else: says so when it gives up", async () => {
    cluster.nodes[0]!.proxy.add({ type: 'latency', latency: 400 });
    const error = await ResilientStan.connect(cluster.urls, { ...CREDENTIALS, initialConnect: { retries: 1 } }).then(
      () => assert.fail('it connected'),
      (error: unknown) => error,
    );
    assert.ok(!(error instanceof AuthorizationError), String(error));
    assert.match(String(error), /Authentication Timeout/i);
  });

  it('of the credentials, by a real server, is final', async () => {
    await rejection(
      ResilientStan.connect(cluster.urls, { user: 'me', pass: 'wrong', initialConnect: { retries: Infinity } }),
      AuthorizationError,
    );
  });

  for (const text of [
    'Authentication Timeout',
    'Authorization Service Is Busy',
    'maximum connections exceeded',
    'Some Credential Thing',
    'nonce could not be made',
    'JWT store is not reachable',
  ]) {
    it(`in words that are not known, or pass ('${text}'), is tried again`, async () => {
      let refusals = 0;
      await using peer = await Peer.listen();
      peer.hooks.pong = (_connection, usual) => (++refusals <= 2 ? `-ERR '${text}'\r\n` : usual());
      await clients.connect(peer.url, {
        ...CREDENTIALS,
        connectTimeout: 500,
        initialConnect: { retries: 5, minTimeout: 1, maxTimeout: 10 },
      });
      assert.equal(peer.dials, 3);
    });
  }

  for (const text of ['Authorization Violation', 'authorization violation']) {
    it(`in known words ('${text}') is final`, async () => {
      await using peer = await Peer.listen({ hooks: { pong: () => `-ERR '${text}'\r\n` } });
      await rejection(
        ResilientStan.connect(peer.url, { ...CREDENTIALS, initialConnect: { retries: Infinity } }),
        AuthorizationError,
        peer.url,
      );
      assert.equal(peer.dials, 1);
    });
  }
});
