import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as nats from 'nats';
import { StanCluster, type ClusterOptions } from '../../src/testing/index.js';
import { makeCertificates } from '../../src/testing/certificates.js';
import { makeUserNKey } from '../../src/testing/nkey.js';

const nkeys = createRequire(import.meta.url)('ts-nkeys') as {
  fromSeed(seed: Buffer): { getPublicKey(): Buffer; sign(data: Buffer): Buffer };
};

/** What comes of connecting with the raw client: 'connected', or the error. */
function tryConnect(url: string, options: Record<string, unknown>): Promise<string> {
  return new Promise((resolve) => {
    const nc = nats.connect({ url, reconnect: false, waitOnFirstConnect: false, ...options } as nats.ClientOpts);
    const end = (result: string) => {
      nc.close();
      resolve(result);
    };
    // A server that refuses says so after the connection: what was asked must come back.
    nc.once('connect', () => nc.flush(() => end('connected')));
    nc.once('error', (error: unknown) => end(error instanceof Error ? error.message : String(error)));
    nc.once('close', () => end('closed'));
  });
}

describe('testing: certificates and keys', () => {
  it('a server certificate for the loopback names, a client one, both of one authority', () => {
    const made = makeCertificates();
    const ca = new X509Certificate(made.ca);
    const server = new X509Certificate(made.server.cert);
    const client = new X509Certificate(made.client.cert);
    assert.equal(ca.ca, true);
    assert.ok(server.checkIssued(ca) && client.checkIssued(ca));
    assert.ok(server.verify(ca.publicKey) && client.verify(ca.publicKey));
    assert.equal(server.checkHost('localhost'), 'localhost');
    assert.equal(server.checkIP('127.0.0.1'), '127.0.0.1');
    assert.equal(server.checkHost('example.org'), undefined);
    assert.equal(new X509Certificate(makeCertificates().server.cert).verify(ca.publicKey), false, 'each set its own');
  });

  it('that a strict verifier takes', async function () {
    const run = promisify(execFile);
    if (!(await run('openssl', ['version']).catch(() => undefined))) this.skip();
    const dir = await mkdtemp(join(tmpdir(), 'certificates-test-'));
    try {
      for (const now of [Date.now(), Date.UTC(2050, 5, 1), Date.UTC(2049, 11, 28)]) {
        const made = makeCertificates(now);
        await writeFile(join(dir, 'ca.pem'), made.ca);
        for (const [purpose, cert] of [
          ['sslserver', made.server.cert],
          ['sslclient', made.client.cert],
        ] as const) {
          await writeFile(join(dir, 'cert.pem'), cert);
          const at = String(Math.floor(now / 1000));
          const args = ['verify', '-x509_strict', '-purpose', purpose, '-attime', at, '-CAfile', 'ca.pem', 'cert.pem'];
          assert.match((await run('openssl', args, { cwd: dir })).stdout, /cert\.pem: OK/);
        }
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('an NKey the NATS client takes', () => {
    for (let i = 0; i < 20; i++) {
      const made = makeUserNKey();
      assert.match(made.seed, /^SU[A-Z2-7]{56}$/);
      assert.equal(nkeys.fromSeed(Buffer.from(made.seed)).getPublicKey().toString(), made.publicKey);
    }
  });
});

describe('testing: StanCluster with', () => {
  async function withCluster(options: ClusterOptions, test: (cluster: StanCluster, url: string) => Promise<void>) {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory', ...options });
    await test(cluster, cluster.urls[0] as string);
  }

  it('TLS', () =>
    withCluster({ tls: true }, async (cluster, url) => {
      const { tls } = cluster.connectOptions;
      assert.ok(tls);
      assert.equal(await tryConnect(url, { tls }), 'connected');
      assert.match(await tryConnect(url, { tls: { ca: makeCertificates().ca } }), /certificate|self.signed/);
      assert.match(await tryConnect(url, {}), /unable to verify|certificate/);
    }));

  it('TLS that asks clients for a certificate, through proxies, on a Raft cluster', () =>
    withCluster(
      { mode: 'clustered', store: 'file', nodes: 2, tls: { verify: true }, proxied: true },
      async (cluster, url) => {
        const { tls } = cluster.connectOptions;
        assert.ok(tls?.cert && tls.key);
        assert.equal(await tryConnect(url, { tls }), 'connected');
        assert.notEqual(await tryConnect(url, { tls: { ca: tls.ca } }), 'connected');
      },
    ));

  it('a user and a password, and permissions', () =>
    withCluster(
      {
        auth: { user: 'alice', pass: 'p"w\\d', permissions: { publish: { deny: ['_STAN.pub.test-cluster.secret'] } } },
      },
      async (cluster, url) => {
        const { user, pass } = cluster.connectOptions;
        assert.deepEqual([user, pass], ['alice', 'p"w\\d']);
        assert.equal(await tryConnect(url, { user, pass }), 'connected');
        assert.match(await tryConnect(url, { user, pass: 'wrong' }), /Authorization Violation/i);
        assert.match(await tryConnect(url, {}), /Authorization Violation/i);
        const nc = nats.connect({ url, user: 'alice', pass: 'p"w\\d', reconnect: false });
        const refused = new Promise((resolve) => nc.once('permission_error', resolve));
        nc.publish('_STAN.pub.test-cluster.secret', 'x');
        assert.match(String(await refused), /Permissions Violation for Publish/i);
        nc.close();
      },
    ));

  it('a token', () =>
    withCluster({ auth: { token: 'sesame' } }, async (cluster, url) => {
      assert.equal(await tryConnect(url, { token: cluster.connectOptions.token }), 'connected');
      assert.match(await tryConnect(url, { token: 'wrong' }), /Authorization Violation/i);
    }));

  it('an NKey, and TLS', () =>
    withCluster({ auth: { nkey: true }, tls: true }, async (cluster, url) => {
      const { nkey: seed, tls } = cluster.connectOptions;
      assert.ok(seed && tls);
      const login = (key: ReturnType<typeof nkeys.fromSeed>) => ({
        nkey: key.getPublicKey().toString(),
        nonceSigner: (nonce: Buffer) => key.sign(nonce),
        tls,
      });
      assert.equal(await tryConnect(url, login(nkeys.fromSeed(Buffer.from(seed)))), 'connected');
      const other = nkeys.fromSeed(Buffer.from(makeUserNKey().seed));
      assert.match(await tryConnect(url, login(other)), /Authorization Violation/i);
    }));

  it('authentication on a fault-tolerant group', () =>
    withCluster({ mode: 'fault-tolerant', store: 'file', auth: { token: 't' }, tls: true }, async (cluster, url) => {
      const { token, tls } = cluster.connectOptions;
      assert.equal(await tryConnect(url, { token, tls }), 'connected');
    }));

  it('refuses options that can never work', async () => {
    const refused = (options: unknown, message: RegExp) =>
      assert.rejects(StanCluster.start(options as ClusterOptions), { code: 'ERR_STAN_INVALID_ARGUMENT', message });
    await refused({ tls: 'yes' }, /must be true, false or/);
    await refused({ tls: { verify: 1 } }, /option 'tls\.verify' must be true or false/);
    await refused({ auth: {} }, /must be one of \{ user, pass \}/);
    await refused({ auth: { user: 'x' } }, /must be one of/);
    await refused({ auth: { user: 'x', pass: 'y', token: 'z' } }, /must be one of/);
    await refused({ auth: { nkey: 'SU' } }, /option 'auth\.nkey' must be true or false/);
    await refused({ proxied: 1 }, /option 'proxied' must be true or false/);
    await refused({ seed: 1.5 }, /option 'seed' must be a whole number/);
  });
});
