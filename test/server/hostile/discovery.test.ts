/**
 * Servers that a server tells of: a real cluster tells of its own, a scripted peer of whatever it likes.
 */
import assert from 'node:assert/strict';
import { ConnectError, type ConnectOptions } from '../../../src/index.js';
import { makeCertificates } from '../../../src/testing/certificates.js';
import { StanCluster } from '../../../src/testing/index.js';
import { Clients, Recorder, uniqueName, until } from '../../support/clients.js';
import { Peer } from '../../support/peer.js';

const options = (): ConnectOptions => ({
  clientId: uniqueName('me'),
  connectTimeout: 500,
  reconnect: { minTimeout: 5, maxTimeout: 50 },
});
const NOT = { discover: false } as object;
/** At most so many announced servers are dialled. */
const BOUND = 64;
/** ms, with an election in it. */
const WAIT = 10_000;

const placeOf = (peer: Peer): string => `127.0.0.1:${peer.port}`;

describe('a real cluster, by one URL', function () {
  this.timeout(60_000);
  const clients = new Clients();
  let cluster: StanCluster;
  before(async () => {
    cluster = await StanCluster.start({ nodes: 3 });
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await clients.closeAll();
    await Promise.all(cluster.nodes.filter((node) => !node.running).map((node) => node.start()));
    await cluster.settled();
  });

  it('whose node dies: the client goes on at another', async () => {
    const [node] = cluster.nodes;
    const stan = await clients.connect(node!.url, options());
    const recorder = new Recorder(stan);
    const got: string[] = [];
    await stan.subscribe('a', (message) => void got.push(message.string()));
    await node!.kill();
    await recorder.until('reconnect', 1, WAIT);
    assert.ok(cluster.urls.slice(1).includes(stan.server!), stan.server);
    await stan.publish('a', 'x');
    await until(
      () => got.length > 0,
      () => got.join(),
    );
  });

  it('whose node dies, without discovery: the client waits for it', async () => {
    const [node] = cluster.nodes;
    const stan = await clients.connect(node!.url, { ...options(), ...NOT });
    const recorder = new Recorder(stan);
    await node!.kill();
    await recorder.until('reconnecting', 5, WAIT);
    assert.equal(stan.state, 'reconnecting');
    await node!.start();
    await recorder.until('reconnect', 1, WAIT);
    assert.equal(stan.server, node!.url);
  });
});

describe('servers that a server tells of', function () {
  this.timeout(30_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  const announcements: [string, (good: string) => unknown][] = [
    ['a good one', (good) => [good]],
    ['it twice', (good) => [good, good, good]],
    ['it among malformed ones', (good) => ['', ':', 'x:y', '127.0.0.1:99999999', 'http://[', 7, null, {}, [], good]],
    ['it among ones with control characters', (good) => ['a\r\nPUB x:1', '\u001b[31m:4222', `${good}\r\n`, good]],
    ['it among addresses of version 6', (good) => ['[::1]:1', '::1', '[fe80::1%lo]:1', good]],
    ['it among ones with credentials of its own', (good) => ['me:secret@127.0.0.1:1', good]],
    ['it before 10 000 others', (good) => [good, ...tenThousand()]],
  ];
  for (const [what, announce] of announcements) {
    it(`${what}: it is dialled when the listed one is gone`, async () => {
      await using good = await Peer.listen();
      await using listed = await Peer.listen({
        clusterOf: good,
        info: { connect_urls: announce(placeOf(good)) },
      });
      // 10 000 of them are longer than what is read of an INFO.
      const stan = await clients.connect([listed.url], options()).catch((error: unknown) => error as Error);
      if (what.includes('10 000') && stan instanceof Error) return;
      if (stan instanceof Error) throw stan;
      const recorder = new Recorder(stan);
      assert.equal(stan.server, listed.url);
      await listed.stop();
      await recorder.until('reconnect', 1, WAIT);
      assert.equal(stan.server, good.url);
      await stan.publish('a', 'x');
    });
  }

  it('are dialled after the listed ones', async () => {
    await using announced = await Peer.listen();
    await using listed = await Peer.listen({ clusterOf: announced, info: { connect_urls: [placeOf(announced)] } });
    const stan = await clients.connect(listed.url, options());
    const recorder = new Recorder(stan);
    listed.hangUp();
    await recorder.until('reconnect', 1, WAIT);
    assert.equal(stan.server, listed.url);
    // One that fails again and again is tried last, as any other: it may be the only one that does.
    for (let loss = 2; stan.server === listed.url; loss++) {
      assert.ok(loss <= 5, 'it is never left');
      listed.hangUp();
      await recorder.until('reconnect', loss, WAIT);
    }
    assert.equal(stan.server, announced.url);
  });

  it('are told of in a session, too', async () => {
    await using announced = await Peer.listen();
    await using listed = await Peer.listen({ clusterOf: announced });
    const stan = await clients.connect(listed.url, options());
    const recorder = new Recorder(stan);
    const info = JSON.parse(listed.info().toString().slice(5)) as object;
    const news = { ...info, connect_urls: [placeOf(announced)] };
    listed.connections.at(-1)!.raw(`INFO ${JSON.stringify(news)}\r\n`);
    await stan.publish('a', 'x');
    await listed.stop();
    await recorder.until('reconnect', 1, WAIT);
    assert.equal(stan.server, announced.url);
  });

  it('are forgotten when they are not told of any more', async () => {
    await using announced = await Peer.listen();
    await using listed = await Peer.listen({ clusterOf: announced, info: { connect_urls: [placeOf(announced)] } });
    const stan = await clients.connect(listed.url, options());
    const recorder = new Recorder(stan);
    const info = JSON.parse(listed.info().toString().slice(5)) as object;
    listed.connections.at(-1)!.raw(`INFO ${JSON.stringify({ ...info, connect_urls: ['127.0.0.1:1'] })}\r\n`);
    await stan.publish('a', 'x');
    await listed.stop();
    await recorder.until('reconnecting', 5, WAIT);
    assert.equal(announced.dials, 0);
  });

  it('are not dialled without discovery', async () => {
    await using announced = await Peer.listen();
    await using listed = await Peer.listen({ clusterOf: announced, info: { connect_urls: [placeOf(announced)] } });
    const stan = await clients.connect(listed.url, { ...options(), ...NOT });
    const recorder = new Recorder(stan);
    await listed.stop();
    await recorder.until('reconnecting', 5, WAIT);
    assert.equal(announced.dials, 0);
  });

  it('are at most so many', async () => {
    await using listed = await Peer.listen({ info: { connect_urls: tenThousand().slice(0, 500) } });
    const stan = await clients.connect(listed.url, options());
    const recorder = new Recorder(stan);
    await listed.stop();
    await recorder.until('reconnecting', 5, WAIT);
    const failures = recorder
      .of('reconnecting')
      .flatMap(({ error }) => (error instanceof ConnectError ? [error.failures.length] : []));
    assert.ok(failures.length > 0);
    const most = Math.max(...failures);
    assert.ok(most > 1, 'they were not dialled');
    assert.ok(most <= BOUND + 1, `${most} servers`);
  });

  it('get TLS, and the credentials only then, as the listed one', async () => {
    const { ca, server } = makeCertificates();
    const other = makeCertificates();
    await using plain = await Peer.listen();
    await using impostor = await Peer.listen({ tls: other.server });
    await using good = await Peer.listen({ tls: server });
    await using listed = await Peer.listen({
      tls: server,
      clusterOf: good,
      info: { connect_urls: [plain, impostor, good].map(placeOf) },
    });
    const stan = await clients.connect(listed.tlsUrl, { ...options(), user: 'me', pass: 'secret', tls: { ca } });
    const recorder = new Recorder(stan);
    await listed.stop();
    await recorder.until('reconnect', 1, WAIT);
    assert.equal(stan.server, good.tlsUrl);
    assert.deepEqual([...plain.connects, ...impostor.connects], []);
    assert.equal(plain.clearText.includes('secret'), false);
  });
});

/** Places where nobody listens. */
function tenThousand(): string[] {
  return Array.from({ length: 10_000 }, (_, i) => `127.0.0.${1 + (i % 250)}:${1 + Math.floor(i / 250)}`);
}
