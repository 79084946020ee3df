/**
 * Who demands TLS gets TLS, with a certificate that was verified, or no connection; whatever the other end says before.
 * A real server stands behind a man in the middle where that is enough; the rest is a scripted peer.
 */
import assert from 'node:assert/strict';
import selfsigned from 'selfsigned';
import { ResilientStan, ResilientStanError, type ConnectOptions } from '../../../src/index.js';
import { makeCertificates } from '../../../src/testing/certificates.js';
import { StanCluster } from '../../../src/testing/index.js';
import { Clients, rejection, uniqueName } from '../../support/clients.js';
import { LyingProxy } from '../../support/lying-proxy.js';
import { Peer } from '../../support/peer.js';

const PASSWORD = 'top-secret-password';
const CREDENTIALS = { user: 'me', pass: PASSWORD };
/** What a server may say of TLS, by what the test calls it. */
const CLAIMS: [string, Record<string, unknown>][] = [
  ...[true, 1, 'true', 'yes', {}, [], false, null, 0, ''].map((said): [string, Record<string, unknown>] => [
    `tls_required ${JSON.stringify(said)}`,
    { tls_required: said },
  ]),
  ['nothing', { tls_required: undefined }],
  ['tls_available only', { tls_required: false, tls_available: true }],
  ['tls_verify as a text', { tls_required: true, tls_verify: 'no' }],
];

describe('whoever demands TLS', function () {
  this.timeout(30_000);
  const clients = new Clients();
  const { ca, server } = makeCertificates();
  afterEach(() => clients.closeAll());

  const options = (more: ConnectOptions = {}): ConnectOptions => ({
    ...CREDENTIALS,
    clientId: uniqueName('me'),
    connectTimeout: 500,
    initialConnect: { retries: 0 },
    tls: { ca },
    ...more,
  });

  for (const [said, info] of CLAIMS) {
    it(`never speaks in the clear to a server that has none and says ${said}`, async () => {
      await using peer = await Peer.listen({ info });
      await rejection(ResilientStan.connect(peer.tlsUrl, options()), ResilientStanError);
      assert.ok(peer.dials > 0);
      assert.deepEqual(peer.connects, []);
      assert.ok(!peer.clearText.includes(PASSWORD));
    });

    it(`is encrypted at a server that has it and says ${said}`, async () => {
      await using peer = await Peer.listen({ info, tls: server });
      const stan = await clients.connect(peer.tlsUrl, options());
      await stan.publish('a', 'x');
      assert.deepEqual(
        peer.connects.map(({ encrypted }) => encrypted),
        [true],
      );
      assert.ok(!peer.clearText.includes(PASSWORD));
    });
  }

  it('has not demanded it by a nats:// URL: the server says whether there is TLS, and is not believed without a CA', async () => {
    await using peer = await Peer.listen({ tls: server });
    await rejection(
      ResilientStan.connect(peer.url, { ...CREDENTIALS, connectTimeout: 500, initialConnect: { retries: 0 } }),
      ResilientStanError,
    );
    assert.deepEqual(peer.connects, []);
  });

  describe('with a man in the middle of the way to a real server', () => {
    let cluster: StanCluster;
    before(async () => {
      cluster = await StanCluster.start({ mode: 'single', store: 'memory', tls: true, auth: CREDENTIALS });
    });
    after(() => cluster.stop());

    for (const [said, info] of CLAIMS) {
      it(`who says ${said}: nothing is told to him`, async () => {
        await using proxy = await LyingProxy.before(cluster.urls[0]!);
        proxy.rewrite = (real) => `INFO ${JSON.stringify({ ...real, ...info })}\r\n`;
        const stan = await clients
          .connect(`tls://127.0.0.1:${proxy.port}`, options(cluster.connectOptions))
          .catch((error: unknown) => {
            assert.ok(error instanceof ResilientStanError, String(error));
            return undefined;
          });
        await stan?.publish('a', 'private words');
        assert.ok(proxy.dials > 0);
        assert.equal(proxy.clearText, '');
      });
    }
  });

  describe('looks at the certificate before anything is said', () => {
    const impostors: [string, () => Promise<{ cert: string; key: string }> | { cert: string; key: string }][] = [
      ['of another authority', () => makeCertificates().server],
      ['that signs itself', () => selfSigned('127.0.0.1')],
      ['that has expired', () => makeCertificates(Date.now() - 30 * 24 * 3600 * 1000).server],
    ];
    for (const [what, make] of impostors) {
      it(`one ${what}`, async () => {
        await using peer = await Peer.listen({ tls: await make() });
        await rejection(ResilientStan.connect(peer.tlsUrl, options()), ResilientStanError);
        assert.deepEqual(peer.connects, []);
        assert.ok(!peer.clearText.includes(PASSWORD));
      });
    }

    it('one that has expired, of the authority that is trusted', async () => {
      const expired = makeCertificates(Date.now() - 30 * 24 * 3600 * 1000);
      await using peer = await Peer.listen({ tls: expired.server });
      await rejection(
        ResilientStan.connect(peer.tlsUrl, options({ tls: { ca: expired.ca } })),
        ResilientStanError,
        'expired',
      );
      assert.deepEqual(peer.connects, []);
    });

    it('one for another host', async () => {
      const other = await selfSigned('192.0.2.1');
      await using peer = await Peer.listen({ tls: other });
      await rejection(ResilientStan.connect(peer.tlsUrl, options({ tls: { ca: other.cert } })), ResilientStanError);
      assert.deepEqual(peer.connects, []);
    });

    it('one for another name than the user wants', async () => {
      await using peer = await Peer.listen({ tls: server });
      await rejection(
        ResilientStan.connect(peer.tlsUrl, options({ tls: { ca, servername: 'other.example' } })),
        ResilientStanError,
        'other.example',
      );
      assert.deepEqual(peer.connects, []);
    });
  });

  describe("'s own checkServerIdentity", () => {
    const uncaught: unknown[] = [];
    const note = (error: unknown): void => void uncaught.push(error);
    let mocha: NodeJS.UncaughtExceptionListener[];
    beforeEach(() => {
      uncaught.length = 0;
      // Else the test would end with the exception it is there to see.
      mocha = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.on('uncaughtException', note);
      process.on('unhandledRejection', note);
    });
    afterEach(() => {
      process.off('uncaughtException', note);
      process.off('unhandledRejection', note);
      for (const listener of mocha) process.on('uncaughtException', listener);
    });

    const checks: [string, () => unknown][] = [
      [
        'throws',
        () => {
          throw new Error('no such name');
        },
      ],
      [
        'throws what is no error',
        () => {
          throw 'no such name';
        },
      ],
      ['returns an error', () => new Error('no such name')],
      ['resolves to an error', () => Promise.resolve(new Error('no such name'))],
      ['rejects', () => Promise.reject(new Error('no such name'))],
      ['resolves, which nobody waits for', () => Promise.resolve(undefined)],
    ];
    for (const [what, check] of checks) {
      it(`${what}: the dial fails, and nothing was said`, async () => {
        await using peer = await Peer.listen({ tls: server });
        const tls = { ca, checkServerIdentity: check as () => undefined };
        await rejection(ResilientStan.connect(peer.tlsUrl, options({ tls })), ResilientStanError);
        await new Promise((resolve) => setImmediate(resolve));
        assert.deepEqual(uncaught, []);
        assert.deepEqual(peer.connects, []);
        assert.ok(!peer.clearText.includes(PASSWORD));
      });
    }

    it('is content: it is asked for the host of the URL', async () => {
      await using peer = await Peer.listen({ tls: server });
      const asked: string[] = [];
      const tls = { ca, checkServerIdentity: (host: string) => void asked.push(host) };
      await clients.connect(`tls://localhost:${peer.port}`, options({ tls }));
      assert.deepEqual(asked, ['localhost']);
    });
  });

  it('by a function, is asked for the TLS options before each dial', async () => {
    await using peer = await Peer.listen({ tls: server });
    let asked = 0;
    const tls = (): { ca: string } => {
      asked += 1;
      return { ca };
    };
    const stan = await clients.connect(peer.tlsUrl, {
      ...options(),
      reconnect: { minTimeout: 1 },
      tls: tls as unknown as NonNullable<ConnectOptions['tls']>,
    });
    peer.hangUp();
    await stan.publish('a', 'x');
    assert.equal(peer.dials, 2);
    assert.equal(asked, 2);
  });

  async function selfSigned(ip: string): Promise<{ cert: string; key: string }> {
    const made = await selfsigned.generate([{ name: 'commonName', value: 'test' }], {
      keySize: 2048,
      extensions: [
        { name: 'basicConstraints', cA: true },
        { name: 'subjectAltName', altNames: [{ type: 7, ip }] },
      ],
    });
    return { cert: made.cert, key: made.private };
  }
});

describe('what comes behind the INFO line before TLS', function () {
  this.timeout(30_000);
  const clients = new Clients();
  const { ca, server } = makeCertificates();
  afterEach(() => clients.closeAll());

  const INFO = `INFO ${JSON.stringify({ server_id: 'X', tls_required: true, max_payload: 1048576 })}\r\n`;
  const smuggled: [string, string][] = [
    ['a message', 'MSG x 1 12\r\n'],
    ['an error', "-ERR 'Authorization Violation'\r\n"],
    ['another error', '-ERR \'Permissions Violation for Publish to "_STAN.discover.test-cluster"\'\r\n'],
    ['a pong', 'PONG\r\n'],
    ['a ping', 'PING\r\n'],
    ['a second INFO', INFO],
    ['half a line', 'M'],
  ];
  for (const [what, bytes] of smuggled) {
    it(`${what}: the dial ends there, and is no refusal of credentials`, async () => {
      await using liar = await Peer.listen({ tls: server, hooks: { info: () => INFO + bytes } });
      const error = await rejection(
        ResilientStan.connect(liar.tlsUrl, {
          ...CREDENTIALS,
          tls: { ca },
          connectTimeout: 500,
          initialConnect: { retries: 1, minTimeout: 1 },
        }),
        ResilientStanError,
      );
      assert.equal(error.code, 'ERR_STAN_CONNECT', error.message);
      assert.equal(liar.dials, 2, 'it is tried again');
      assert.deepEqual(liar.connects, []);
    });

    it(`${what}: a good server of the list is reached`, async () => {
      await using liar = await Peer.listen({ tls: server, hooks: { info: () => INFO + bytes } });
      await using good = await Peer.listen({ tls: server });
      const stan = await clients.connect([liar.tlsUrl, good.tlsUrl], {
        ...CREDENTIALS,
        clientId: uniqueName('me'),
        tls: { ca },
        connectTimeout: 500,
        randomize: false,
      });
      assert.equal(stan.server, good.tlsUrl);
      assert.deepEqual(liar.connects, []);
    });
  }

  it('an error instead of the INFO line: neither', async () => {
    await using liar = await Peer.listen({
      tls: server,
      hooks: { info: () => "-ERR 'Authorization Violation'\r\n" },
    });
    const error = await rejection(
      ResilientStan.connect(liar.tlsUrl, {
        tls: { ca },
        connectTimeout: 500,
        initialConnect: { retries: 1, minTimeout: 1 },
      }),
      ResilientStanError,
    );
    assert.equal(error.code, 'ERR_STAN_CONNECT', error.message);
    assert.equal(liar.dials, 2, 'it is tried again');
  });
});
