import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dialCredentials, natsAuth } from '../../../src/connection/auth.js';
import { userKeyFromSeed } from '../../../src/connection/nkey.js';
import { parseServers, type ServerAddress } from '../../../src/connection/servers.js';
import { parseCredsFile, type Credentials } from '../../../src/connection/credentials.js';
import { SEED } from '../../support/nkeys.js';

const address = (url: string): ServerAddress => parseServers(url)[0]!;
const none = { kind: 'none' } as const;
const plain = { tls: false };

describe('dialCredentials', () => {
  const staticToken = { staticCredentials: { kind: 'token', token: 'static' } } as const;

  it("takes the URL's credentials before the static ones", async () => {
    assert.deepEqual(await dialCredentials(staticToken, address('a')), { kind: 'token', token: 'static' });
    assert.deepEqual(await dialCredentials(staticToken, address('url@a')), { kind: 'token', token: 'url' });
    assert.deepEqual(await dialCredentials(staticToken, address('me:x@a')), {
      kind: 'password',
      user: 'me',
      pass: 'x',
    });
  });

  it('asks the provider each time', async () => {
    let asked = 0;
    const options = {
      staticCredentials: none,
      credentials: () => Promise.resolve({ token: `t${++asked}` }),
    };
    assert.deepEqual(await dialCredentials(options, address('a')), { kind: 'token', token: 't1' });
    assert.deepEqual(await dialCredentials(options, address('a')), { kind: 'token', token: 't2' });
    const sync = { staticCredentials: none, credentials: () => ({ user: 'me', pass: 'x' }) };
    assert.deepEqual(await dialCredentials(sync, address('a')), { kind: 'password', user: 'me', pass: 'x' });
    assert.deepEqual(await dialCredentials({ staticCredentials: none, credentials: () => ({}) }, address('a')), none);
  });

  it("rejects with the provider's own error", async () => {
    const error = new Error('the vault is sealed');
    const options = { staticCredentials: none, credentials: () => Promise.reject(error) };
    await assert.rejects(dialCredentials(options, address('a')), error);
    const thrower = {
      staticCredentials: none,
      credentials: () => {
        throw error;
      },
    };
    await assert.rejects(dialCredentials(thrower, address('a')), error);
  });

  for (const [answer, argument, word] of [
    [undefined, 'credentials', 'must resolve to an object'],
    [null, 'credentials', 'null'],
    ['hunter2', 'credentials', 'a string'],
    [['hunter2'], 'credentials', 'an array'],
    [{ user: 'me' }, 'credentials().user', "'credentials().pass'"],
    [{ password: 'hunter2' }, 'credentials().password', "'pass'"],
    [{ user: 'me', pass: 'hunter2', token: 'hunter2' }, 'credentials().token', 'one kind'],
    [{ nkey: 'hunter2' }, 'credentials().nkey', 'seed'],
  ] as const) {
    it(`refuses ${JSON.stringify(answer)} from the provider, without showing it`, async () => {
      const options = { staticCredentials: none, credentials: () => answer as unknown as Credentials };
      await assert.rejects(dialCredentials(options, address('a')), (error: Error & { argument: string }) => {
        assert.equal(error.argument, argument);
        assert.ok(error.message.includes(word), error.message);
        assert.ok(!error.message.includes('hunter2'), error.message);
        return true;
      });
    });
  }

  it('reads the credentials file at each dial, and rejects while it is not there', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'auth-test-'));
    try {
      const userCreds = join(dir, 'me.creds');
      const options = { staticCredentials: { kind: 'file', userCreds } } as const;
      const write = (jwt: string) => writeFileSync(userCreds, `---A---\n${jwt}\n---B---\n---C---\n${SEED}\n---D---\n`);
      write('one');
      assert.deepEqual(await dialCredentials(options, address('a')), { kind: 'nkey', nkey: SEED, userJWT: 'one' });
      write('two');
      assert.deepEqual(await dialCredentials(options, address('a')), { kind: 'nkey', nkey: SEED, userJWT: 'two' });
      rmSync(userCreds);
      await assert.rejects(dialCredentials(options, address('a')), { code: 'ENOENT' });
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe('parseCredsFile', () => {
  it('takes the form that nsc writes, with either line ending', () => {
    const lines = [
      '-----BEGIN NATS USER JWT-----',
      'eyJ0eXAiOiJqd3QifQ.eyJqdGkiOiJfLSJ9.c2ln_-A',
      '------END NATS USER JWT------',
      '',
      '************************* IMPORTANT *************************',
      '  NKEY Seed printed below can be used to sign and prove identity.',
      '',
      '-----BEGIN USER NKEY SEED-----',
      SEED,
      '------END USER NKEY SEED------',
      '',
      '*************************************************************',
    ];
    for (const end of ['\n', '\r\n']) {
      assert.deepEqual(parseCredsFile(lines.join(end), 'x'), { kind: 'nkey', nkey: SEED, userJWT: lines[1] });
    }
  });
});

describe('natsAuth', () => {
  it('passes passwords and tokens on, with an empty signature in case the server sends a nonce', () => {
    for (const [credentials, expected] of [
      [none, {}],
      [{ kind: 'token', token: 't' }, { token: 't' }],
      [
        { kind: 'password', user: 'u', pass: '' },
        { user: 'u', pass: '' },
      ],
    ] as const) {
      const { nonceSigner, ...auth } = natsAuth(plain, address('a'), credentials);
      assert.deepEqual(auth, { tls: false, nkey: '', ...expected });
      assert.deepEqual(nonceSigner(Buffer.from('nonce')), Buffer.alloc(0));
    }
  });

  it('makes a public key and a signer of a seed, and leaves the key to the JWT when there is one', () => {
    const key = userKeyFromSeed(SEED);
    const nonce = Buffer.from('nonce');
    const { nonceSigner, ...auth } = natsAuth(plain, address('a'), { kind: 'nkey', nkey: SEED });
    assert.deepEqual(auth, { tls: false, nkey: key.publicKey });
    assert.deepEqual(nonceSigner(nonce), key.sign(nonce));

    const withJwt = natsAuth(plain, address('a'), { kind: 'nkey', nkey: SEED, userJWT: 'e.y.J' });
    assert.equal(withJwt.nkey, undefined);
    assert.equal(withJwt.userJWT, 'e.y.J');
    assert.deepEqual(withJwt.nonceSigner(nonce), key.sign(nonce));
  });

  it("has the certificate checked against the URL's host", () => {
    const name = { host: 'a.example', servername: 'a.example' };
    assert.deepEqual(natsAuth({ tls: true }, address('a.example'), none).tls, name);
    assert.deepEqual(natsAuth(plain, address('tls://a.example'), none).tls, name);
    // An IP address may not be a server name.
    assert.deepEqual(natsAuth({ tls: true }, address('127.0.0.1'), none).tls, { host: '127.0.0.1' });
  });

  it("keeps the user's own TLS options, and leaves the object alone", () => {
    const tls = Object.freeze({ ca: 'x', servername: 'other.example' });
    assert.deepEqual(natsAuth({ tls }, address('a'), none).tls, { ca: 'x', servername: 'other.example', host: 'a' });
    assert.deepEqual(natsAuth({ tls: { host: 'b' } }, address('a'), none).tls, { host: 'b', servername: 'b' });
    assert.equal(natsAuth({ tls: { servername: '' } }, address('a'), none).tls && 'set', 'set');
  });
});
