/** Every kind of credentials, and TLS, against a real server: what `natsAuth` says is what nats 1.4.12 and the server want. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import selfsigned from 'selfsigned';
import { makeClock } from '../../src/clock/clock.js';
import { dialCredentials, dialTls, natsAuth } from '../../src/connection/auth.js';
import { userKeyFromSeed } from '../../src/connection/nkey.js';
import { Link } from '../../src/connection/link.js';
import { AuthorizationError } from '../../src/errors.js';
import type { ConnectOptions } from '../../src/index.js';
import { resolveConnectOptions } from '../../src/options.js';
import { StanCluster, type ClusterOptions } from '../../src/testing/index.js';
import { credentials, tsNkeys } from '../support/nkeys.js';

/** Dials the one server, as a session would, and hangs up. */
async function dial(url: string, options: ConnectOptions = {}): Promise<void> {
  const resolved = resolveConnectOptions(url, options);
  const address = resolved.servers[0]!;
  const tls = await dialTls(resolved, () => {});
  const auth = natsAuth({ tls }, address, await dialCredentials(resolved, address));
  const link = await Link.dial(address, { ...auth }, 5000, new AbortController().signal, makeClock());
  link.destroy();
}

const refusedDial = (url: string, options: ConnectOptions = {}) =>
  assert.rejects(dial(url, options), AuthorizationError);

describe('credentials, at a real server', () => {
  let cluster: StanCluster | undefined;
  let place: string;

  const boot = async (config: NonNullable<ClusterOptions['config']>) => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', config });
    place = cluster.urls[0]!.replace(/^.*\/\//, '');
  };
  afterEach(async () => {
    await cluster?.stop();
    cluster = undefined;
  });

  it('user and password, NKey', async () => {
    const user = tsNkeys.createUser();
    await boot({
      authorization: {
        users: [
          { user: 'stan', password: 'inner' },
          { user: 'm@e', password: 's:e/c%r?t#' },
          { nkey: user.getPublicKey().toString() },
        ],
      },
      streaming: { username: 'stan', password: 'inner' },
    });
    await dial(place, { user: 'm@e', pass: 's:e/c%r?t#' });
    await dial(`nats://m%40e:s%3Ae%2Fc%25r%3Ft%23@${place}`);
    await dial(`m%40e:s:e/c%25r?t#@${place}`);
    await dial(place, { credentials: async () => ({ user: 'm@e', pass: 's:e/c%r?t#' }) });
    await dial(place, { nkey: user.getSeed().toString() });

    await refusedDial(place);
    await refusedDial(place, { user: 'm@e', pass: 'wrong' });
    await refusedDial(place, { token: 'x' });
    await refusedDial(place, { nkey: tsNkeys.createUser().getSeed().toString() });
  });

  it('an NKey or a user JWT whose seed is elsewhere: a function signs', async () => {
    const user = tsNkeys.createUser();
    const nkey = user.getPublicKey().toString();
    await boot({
      authorization: { users: [{ user: 'stan', password: 'inner' }, { nkey }] },
      streaming: { username: 'stan', password: 'inner' },
    });
    const nonceSigner = (nonce: Buffer): Buffer => user.sign(nonce);
    await dial(place, { nkey, nonceSigner });
    await dial(place, { credentials: async () => ({ nkey, nonceSigner }) });
    await refusedDial(place, { nkey, nonceSigner: () => Buffer.alloc(64) });
    await refusedDial(place, {
      nkey,
      nonceSigner: () => {
        throw new Error('the vault is sealed');
      },
    });
  });

  it('token', async () => {
    await boot({ authorization: { token: 's%cr@t' }, streaming: { token: 's%cr@t' } });
    await dial(place, { token: 's%cr@t' });
    await dial(`nats://s%25cr%40t@${place}`);
    await refusedDial(place, { token: 'wrong' });
    await refusedDial(place);
  });

  it('user JWT: a credentials file, and at hand', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'creds-test-'));
    try {
      const jwt = credentials();
      const file = join(dir, 'me.creds');
      await writeFile(file, jwt.credsFile);
      await boot({
        operator: jwt.operator,
        resolver: 'MEMORY',
        resolver_preload: { [jwt.accountKey]: jwt.account },
        streaming: { credentials: file },
      });
      await dial(place, { userCreds: file });
      await dial(place, { userJWT: jwt.user, nkey: jwt.seed });
      await dial(place, { userJWT: jwt.user, nonceSigner: (nonce) => userKeyFromSeed(jwt.seed).sign(nonce) });
      await refusedDial(place);
      await refusedDial(place, { userJWT: jwt.user, nkey: tsNkeys.createUser().getSeed().toString() });

      // Rotated in place: the next dial goes out with what is there then.
      const resolved = resolveConnectOptions(place, { userCreds: file });
      const other = credentials();
      await writeFile(file, other.credsFile);
      assert.deepEqual(await dialCredentials(resolved, resolved.servers[0]!), {
        kind: 'nkey',
        nkey: other.seed,
        userJWT: other.user,
      });
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});

describe('TLS, at a real server', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tls-test-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  /** A server whose certificate is for these hosts, and that wants one from its clients. */
  async function boot(...hosts: ({ type: 2; value: string } | { type: 7; ip: string })[]) {
    const made = await selfsigned.generate([{ name: 'commonName', value: 'test' }], {
      keySize: 2048,
      extensions: [
        { name: 'basicConstraints', cA: true },
        { name: 'subjectAltName', altNames: hosts },
      ],
    });
    const cert = join(dir, 'cert.pem');
    const key = join(dir, 'key.pem');
    await writeFile(cert, made.cert);
    await writeFile(key, made.private, { mode: 0o600 });
    const cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      config: {
        tls: { cert_file: cert, key_file: key, ca_file: cert, verify: true },
        streaming: { tls: { client_cert: cert, client_key: key, client_ca: cert } },
      },
    });
    return {
      port: new URL(cluster.urls[0]!).port,
      ca: made.cert,
      client: { cert: made.cert, key: made.private },
      [Symbol.asyncDispose]: () => cluster.stop(),
    };
  }

  it('checks the certificate against the host of the URL, be it a name or an address', async () => {
    await using server = await boot({ type: 2, value: 'localhost' }, { type: 7, ip: '127.0.0.1' });
    const { port, ca, client } = server;
    await dial(`tls://127.0.0.1:${port}`, { tls: { ca, ...client } });
    await dial(`tls://localhost:${port}`, { tls: { ca, ...client } });
    await dial(`127.0.0.1:${port}`, { tls: { ca, ...client } });

    const other = { ca, ...client, servername: 'other.example' };
    await assert.rejects(dial(`tls://127.0.0.1:${port}`, { tls: other }), /other\.example/);
    await assert.rejects(dial(`tls://127.0.0.1:${port}`, { tls: client }), /self.signed certificate/i);
    await assert.rejects(dial(`tls://127.0.0.1:${port}`, { tls: { ca } }), /client certificate/i);
  });

  it('refuses a certificate for another host', async () => {
    await using server = await boot({ type: 7, ip: '127.0.0.1' });
    const { port, ca, client } = server;
    await dial(`tls://127.0.0.1:${port}`, { tls: { ca, ...client } });
    await assert.rejects(dial(`tls://localhost:${port}`, { tls: { ca, ...client } }), /altnames.*localhost/);
  });
});
