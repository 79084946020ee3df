/**
 * Whatever is held must keep proving that it is good: connections of the search for a leader that go deaf, a take-over
 * that is not answered, denials out of the past. On a real server where one can be made to do it, else on a scripted peer.
 */
import assert from 'node:assert/strict';
import type { ConnectOptions, ResilientStan } from '../../../src/index.js';
import { Proxy, StanCluster } from '../../../src/testing/index.js';
import { Clients, Recorder, uniqueName, until } from '../../support/clients.js';
import { connectResponse, encode, Peer, type PeerConnection, type PeerRequest } from '../../support/peer.js';

/** The cluster tells of its other servers, and here the one way is what matters. */
const stay = { discover: false } as object;

const options: ConnectOptions = {
  connectTimeout: 300,
  reconnect: { minTimeout: 5, maxTimeout: 50 },
};

/** ms. An election of the servers is in it. */
const WAIT = 8000;

async function works(stan: ResilientStan, channel = 'a'): Promise<void> {
  await until(() => stan.state === 'connected', 'it is not connected', WAIT);
  let acknowledged = false;
  void stan.publish(channel, 'x').then(() => (acknowledged = true));
  await until(() => acknowledged, 'a publish is not acknowledged', WAIT);
}

describe('what is held while there is no leader', function () {
  this.timeout(20_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  const losses: [string, (connection: PeerConnection) => void][] = [
    ['goes deaf', (connection) => (connection.deaf = true)],
    ['brings a line of junk that has no end', (connection) => connection.raw('junk')],
    ['brings the beginning of a message that never comes', (connection) => connection.raw('MSG a 1 100000\r\n')],
  ];
  for (const [what, spoil] of losses) {
    it(`and ${what}, is given up for a fresh connection`, async () => {
      await using peer = await Peer.listen();
      const stan = await clients.connect(peer.url, { ...options, clientId: uniqueName('me') });
      const recorder = new Recorder(stan);
      peer.leads = false;
      peer.hangUp();
      // It holds a connection, and has asked on it for longer than a round takes.
      await recorder.until('reconnecting', 3);
      const held = peer.connections.filter(({ open, connects }) => open && connects.length > 0);
      assert.ok(held.length > 0);
      held.forEach(spoil);
      peer.leads = true;
      await works(stan);
      assert.ok(recorder.count('reconnect') === 1);
    });
  }

  it('and is deaf from its greeting on: the next in the list is not held up', async () => {
    await using peer = await Peer.listen({ hooks: { sub: (_subject, connection) => (connection.deaf = true) } });
    await using good = await Peer.listen();
    const stan = await clients.connect([peer.url, good.url], { ...options, randomize: false });
    assert.equal(stan.server, good.url);
  });

  it('at a real server, behind a box that has forgotten the connections it had', async function () {
    this.timeout(60_000);
    await using cluster = await StanCluster.start({ nodes: 3 });
    const [attached, ...others] = cluster.nodes;
    let forgets = false;
    await using box = await Proxy.listen({
      target: { port: Number(new URL(attached!.url).port) },
      // Decides for each connection whether a toxic concerns it.
      random: () => (forgets ? 0 : 1),
    });
    const stan = await clients.connect(`nats://127.0.0.1:${box.port}`, { ...options, ...stay });
    const recorder = new Recorder(stan);
    await Promise.all(others.map((node) => node.kill()));
    box.resetConnections();
    await recorder.until('reconnecting', 3);
    await until(() => box.stats.connections > 0, 'it holds no connection');
    forgets = true;
    box.add({ type: 'timeout', toxicity: 0.5 });
    forgets = false;
    await Promise.all(others.map((node) => node.start()));
    await cluster.ready();
    await works(stan);
  });
});

describe('a take-over', function () {
  this.timeout(20_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  it('whose close request is forbidden: it connects as a fresh client would', async () => {
    await using cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      proxied: true,
      auth: {
        user: 'me',
        pass: 'secret',
        permissions: { publish: { allow: ['>'], deny: ['_STAN.close.>'] }, subscribe: { allow: ['>'] } },
      },
    });
    const stan = await clients.connect(cluster.urls, {
      ...options,
      ...cluster.connectOptions,
      clientId: uniqueName('me'),
    });
    const recorder = new Recorder(stan);
    const got: string[] = [];
    await stan.subscribe('a', (message) => void got.push(message.string()));
    for (let loss = 1; loss <= 3; loss++) {
      cluster.nodes[0]!.proxy.resetConnections();
      await recorder.until('reconnect', loss, WAIT);
      await works(stan);
      await until(
        () => got.length === loss,
        () => got.join(),
      );
    }
    assert.equal(stan.stats().losses, 3, recorder.names.join(' '));
    assert.ok(recorder.count('reconnecting') <= 6, `${recorder.count('reconnecting')} attempts`);
  });

  const refusals: [string, (request: PeerRequest) => Uint8Array | undefined][] = [
    ['is never answered', () => undefined],
    ['is answered with an error', () => encode('CloseResponse', { error: 'stan: unknown clientID' })],
    ['is answered with garbage', () => Buffer.from('\u00ff\u00ff\u00ff', 'latin1')],
    ['ends the connection', ({ connection }) => void connection.end()],
    ['is forbidden', ({ connection }) => void connection.raw('-ERR \'Permissions Violation for Publish to "x"\'\r\n')],
  ];
  for (const [what, hook] of refusals) {
    it(`whose close request ${what}`, async () => {
      await using peer = await Peer.listen({ hooks: { close: hook } });
      const stan = await clients.connect(peer.url, options);
      const recorder = new Recorder(stan);
      peer.hangUp();
      await recorder.until('reconnect', 1, WAIT);
      await works(stan);
      assert.ok(recorder.count('reconnecting') <= 3, `${recorder.count('reconnecting')} attempts`);
    });
  }

  const empty: [string, Uint8Array][] = [
    ['is empty', Buffer.alloc(0)],
    ['has no subject for close requests', connectResponse({ closeRequests: '' })],
    ['has no subject for publishes', connectResponse({ pubPrefix: '' })],
    ['has subjects that are none', connectResponse({ closeRequests: 'a b\r\nPING', subRequests: 'x y' })],
  ];
  for (const [what, answer] of empty) {
    for (const when of ['first', 'second'] as const) {
      it(`after a ${when} connect response that ${what}`, async () => {
        await using peer = await Peer.listen();
        let connects = 0;
        peer.hooks.connect = (_request, usual) => {
          connects += 1;
          const good = usual();
          return connects === (when === 'first' ? 1 : 2) ? answer : good;
        };
        const stan = await clients.connect(peer.url, options);
        for (let loss = 0; loss < 3; loss++) {
          peer.hangUp();
          await works(stan);
          await stan.subscribe(`channel-${loss}`, () => {});
        }
      });
    }
  }
});

describe('a denial', function () {
  this.timeout(20_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());
  const DENIED = encode('PingResponse', { error: 'client has been replaced or is no longer registered' });

  /** A leader that stands still, and holds back the questions that come. */
  function freeze(peer: Peer, answersPing: (connection: PeerConnection) => boolean): PeerRequest[] {
    const held: PeerRequest[] = [];
    peer.hooks.ask = (request) => void held.push(request);
    peer.hooks.publish = () => undefined;
    peer.hooks.pong = (connection, usual) => (answersPing(connection) ? usual() : undefined);
    return held;
  }
  function thaw(peer: Peer): { answered: number } {
    const since = { answered: 0 };
    delete peer.hooks.publish;
    delete peer.hooks.pong;
    peer.hooks.ask = (_request, usual) => {
      since.answered += 1;
      return usual();
    };
    return since;
  }

  for (const path of ['its own path', 'a second path'] as const) {
    it(`of one moment, on ${path}, however often it comes: no loss`, async () => {
      await using peer = await Peer.listen();
      const stan = await clients.connect(peer.url, { ...options, pings: { interval: 1000, maxOut: 10 } });
      const recorder = new Recorder(stan);
      const own = peer.connections[0]!;
      const held = freeze(peer, (connection) => path === 'its own path' || connection !== own);
      const publish = stan.publish('a', 'x');
      const heldOn = (wanted: boolean): number =>
        held.filter(({ connection }) => (connection === own) === wanted).length;
      await until(
        () => heldOn(path === 'its own path') >= 3,
        () => `${held.length} questions`,
      );
      for (const request of held) request.answer(DENIED);
      const since = thaw(peer);
      await until(() => since.answered >= 3, 'it asks no more');
      await publish;
      assert.deepEqual(
        recorder.of('connection_lost').filter(({ reason }) => reason === 'replaced'),
        [],
      );
    });
  }

  it('that is repeated when it is asked again: it was replaced', async () => {
    await using peer = await Peer.listen();
    const stan = await clients.connect(peer.url, options);
    const recorder = new Recorder(stan);
    peer.hooks.ask = () => DENIED;
    await recorder.until('connection_lost');
    assert.equal(recorder.of('connection_lost')[0]!.reason, 'replaced');
    delete peer.hooks.ask;
    await works(stan);
  });
});
