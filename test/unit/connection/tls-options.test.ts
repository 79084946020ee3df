import assert from 'node:assert/strict';
import type { ConnectionOptions } from 'node:tls';
import selfsigned from 'selfsigned';
import { checkTlsOptions, guardTlsFunctions } from '../../../src/connection/tls-options.js';
import { CallbackError, InvalidArgumentError } from '../../../src/errors.js';
import { resolveConnectOptions } from '../../../src/options.js';
import { hostileProxy, revokedProxy, thrower, throwing, unhandled } from '../../support/hostile.js';
import { refused } from '../../support/refused.js';

describe('checkTlsOptions', () => {
  let pem: { cert: string; key: string };
  before(async () => {
    const made = await selfsigned.generate([{ name: 'commonName', value: 'a' }], { keySize: 2048 });
    pem = { cert: made.cert, key: made.private };
  });

  it('takes true, and every legal form of certificates and keys', () => {
    const { cert, key } = pem;
    assert.equal(checkTlsOptions(true, 'tls'), true);
    for (const options of [
      {},
      { ca: cert },
      { ca: Buffer.from(cert) },
      { ca: [cert, Buffer.from(cert)] },
      { cert, key },
      { cert: Buffer.from(cert), key: Buffer.from(key) },
      { cert: [cert], key: [{ pem: key, passphrase: 'x' }] },
      { servername: 'a', minVersion: 'TLSv1.3' },
    ]) {
      assert.deepEqual(checkTlsOptions(options, 'tls'), options);
    }
  });

  it('copies: what is inherited as well, but not what is undefined, which would displace a default of Node', () => {
    const given = Object.create({ ca: [pem.cert], rejectUnauthorized: true }) as ConnectionOptions;
    given.checkServerIdentity = undefined;
    const checked = checkTlsOptions(given, 'tls');
    assert.deepEqual(checked, { ca: [pem.cert], rejectUnauthorized: true });
    assert.ok(!('checkServerIdentity' in (checked as object)));
    (given.ca as string[]).push('changed');
    assert.deepEqual(checked, { ca: [pem.cert], rejectUnauthorized: true });
  });

  it('reads each option once', () => {
    let reads = 0;
    const given = Object.defineProperty({}, 'ca', {
      enumerable: true,
      get: () => (reads++ === 0 ? pem.cert : '/path'),
    });
    assert.deepEqual(checkTlsOptions(given, 'tls'), { ca: pem.cert });
  });

  const SECRET = 'hunter2';
  const refusals: [string, () => unknown, string, ...string[]][] = [
    ['false', () => false, '', 'must be true or an object', 'a boolean'],
    ['a string', () => SECRET, '', 'a string'],
    ['nothing', () => undefined, '', 'undefined'],
    ['an array', () => [], '', 'an empty array'],
    ['a function', () => () => true, '', 'a function'],
    ['a path as ca', () => ({ ca: '/etc/ca.pem' }), '.ca', 'path', "'-----BEGIN …'", '{ ca: readFileSync(path) }'],
    ['a path among the ca', () => ({ ca: [pem.cert, './ca.pem'] }), '.ca', 'path'],
    ['a path as cert', () => ({ cert: 'cert.pem', key: pem.key }), '.cert', '{ cert: readFileSync(path) }'],
    ['a path as key', () => ({ cert: pem.cert, key: SECRET }), '.key', '{ key: readFileSync(path) }'],
    ['a path in a key object', () => ({ cert: pem.cert, key: [{ pem: SECRET }] }), '.key', 'path'],
    ['bytes that are no PEM', () => ({ ca: Buffer.from([0x30, 0x82]) }), '.ca', 'these bytes are not'],
    ['a string as pfx', () => ({ pfx: './me.p12' }), '.pfx', 'bytes', '{ pfx: readFileSync(path) }'],
    ['a string in a pfx object', () => ({ pfx: [{ buf: './me.p12' }] }), '.pfx', 'bytes'],
    ['an empty ca', () => ({ ca: '' }), '.ca', 'an empty string'],
    ['an empty list of ca', () => ({ ca: [] }), '.ca', 'an empty array'],
    ['a cert without key', () => ({ cert: pem.cert }), '.cert', ".key' beside it"],
    ['a key without cert', () => ({ key: pem.key }), '.key', ".cert' beside it"],
    ['a session', () => ({ session: Buffer.alloc(2) }), '.session', 'not verified again'],
    ['a socket', () => ({ socket: {} }), '.socket', 'sockets'],
    ['a path of a socket', () => ({ path: '/tmp/x' }), '.path', 'TCP'],
    ['a verifier that is no function', () => ({ checkServerIdentity: false }), '.checkServerIdentity', 'a function'],
    ['a name that is no string', () => ({ servername: 5 }), '.servername', 'a host name'],
    ['a getter that throws', () => throwing('key'), '.key', 'thrown by the caller'],
    ['a getter within a list that throws', () => ({ key: [throwing('pem')] }), '.key', 'thrown by the caller'],
    ['a proxy that throws', () => hostileProxy(), '', 'thrown by the caller'],
    ['a revoked proxy', () => revokedProxy(), '', 'cannot be read'],
    ['a setting that does not exist', () => ({ minVersion: 'TLSv9' }), '', 'cannot be used'],
  ];
  for (const argument of ['tls', 'tls()']) {
    for (const [what, given, path, ...words] of refusals) {
      it(`refuses ${what} as ${argument}${path}`, () => {
        const error = refused(() => checkTlsOptions(given(), argument), argument + path, ...words);
        assert.ok(!error.message.includes(SECRET), error.message);
      });
    }
  }
});

describe('checkTlsOptions, names', () => {
  for (const [slip, meant] of [
    ['caa', 'ca'],
    ['CA', 'ca'],
    ['rejectUnauthorised', 'rejectUnauthorized'],
    ['serverName', 'servername'],
  ] as const) {
    it(`takes '${slip}' for '${meant}', and says so`, () => {
      assert.throws(
        () => checkTlsOptions({ [slip]: 'x' }, 'tls'),
        (error) => error instanceof InvalidArgumentError && error.message.includes(`did you mean 'tls.${meant}'?`),
      );
    });
  }

  it('lets through what is near to nothing: Node may have options that are not known here', () => {
    assert.deepEqual(checkTlsOptions({ allowPartialTrustChain: true }, 'tls'), { allowPartialTrustChain: true });
  });
});

describe('guardTlsFunctions', () => {
  type Check = (host: string, cert: object) => unknown;
  function guard(check: Check): { verdict: () => unknown; told: CallbackError[] } {
    const told: CallbackError[] = [];
    const options = { checkServerIdentity: check as never, servername: 'a' };
    const guarded = guardTlsFunctions(options, (error) => told.push(error));
    assert.equal(guarded.servername, 'a');
    assert.equal(options.checkServerIdentity, check, 'the object that was given is left alone');
    return { verdict: () => (guarded.checkServerIdentity as Check)('host', { subject: 'x' }), told };
  }

  it('passes on what a verifier answers, and what it is asked', () => {
    const no = new Error('not this one');
    assert.equal(guard(() => undefined).verdict(), undefined);
    assert.equal(guard(() => no).verdict(), no);
    const seen: unknown[] = [];
    guard((...args) => void seen.push(...args)).verdict();
    assert.deepEqual(seen, ['host', { subject: 'x' }]);
  });

  for (const [what, check] of [
    ['throws', thrower()],
    ['answers with a promise', async () => undefined],
    ['answers with a promise that rejects', () => Promise.reject(new Error('late'))],
    ['answers with something whose then cannot be read', () => throwing('then')],
    ['answers with a proxy', () => hostileProxy()],
    ['answers with true', () => true],
    ['answers with false', () => false],
    ['answers with a string', () => 'ok'],
  ] as [string, Check][]) {
    it(`counts a verifier that ${what} as "not verified", and tells`, async () => {
      const { verdict, told } = guard(check);
      const reasons = await unhandled(() => assert.ok(verdict() instanceof Error));
      assert.deepEqual(reasons, []);
      assert.equal(told.length, 1);
      assert.ok(told[0] instanceof CallbackError);
      assert.match(told[0].message, /'checkServerIdentity'/);
    });
  }

  it('ends the handshake when the key cannot be had', async () => {
    const key = { psk: Buffer.from('k'), identity: 'me' };
    for (const [callback, answer, tells] of [
      [() => key, key, 0],
      [() => null, null, 0],
      [thrower(), null, 1],
      [() => Promise.resolve(key), null, 1],
      [() => ({ psk: 'k', identity: 'me' }), null, 1],
      [() => ({ ...key, identity: 'x'.repeat(1000) }), null, 1],
    ] as const) {
      let told = 0;
      const { pskCallback } = guardTlsFunctions({ pskCallback: callback as never }, () => told++);
      const reasons = await unhandled(() => assert.deepEqual(pskCallback!('hint'), answer));
      assert.deepEqual([told, reasons], [tells, []]);
    }
  });

  it('wraps every other function as well', () => {
    let told = 0;
    const options = { lookup: thrower() as never, ca: 'x' };
    const guarded = guardTlsFunctions(options, () => told++);
    assert.equal((guarded.lookup as unknown as () => unknown)(), undefined);
    assert.equal(told, 1);
  });
});

describe('the option tls', () => {
  const connect = (servers: unknown, options?: unknown) => resolveConnectOptions(servers, options);

  it('may be a function, which is not called before the dial', () => {
    const tls = (): never => assert.fail('called');
    assert.equal(connect('tls://a', { tls }).tls, tls);
    assert.equal(connect('a,tls://b', { tls }).tls, tls);
  });

  it('says for a mixed list that all of it is meant', () => {
    for (const tls of [true, {}, { minVersion: 'TLSv1.3' }]) {
      assert.deepEqual(connect(['nats://a', 'tls://b', 'c'], { tls }).tls, tls);
    }
  });

  for (const servers of ['nats://a,tls://b', ['tls://b', 'a'], ['tls://b:4222', 'tls://c', 'nats://me:hunter2@a']]) {
    it(`refuses ${String(servers).replace(/hunter2/, '…')} without it`, () => {
      for (const options of [undefined, {}, { tls: undefined }]) {
        const error = refused(
          () => connect(servers, options),
          'servers',
          'tls://b:4222',
          'nats://a:4222',
          'in the clear',
        );
        assert.ok(!error.message.includes('hunter2'));
      }
    });
  }

  it('takes lists of one kind, and one server by both schemes', () => {
    assert.equal(connect(['tls://a', 'tls://b']).tls, false);
    assert.equal(connect(['nats://a', 'b']).tls, false);
    assert.deepEqual(
      connect(['nats://a', 'tls://a']).servers.map(({ url }) => url),
      ['tls://a:4222'],
    );
  });
});
