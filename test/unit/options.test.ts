import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import selfsigned from 'selfsigned';
import { resolveCloseOptions, resolveConnectOptions, resolveFlushOptions } from '../../src/options.js';
import { resolvePublishOptions } from '../../src/publishing/publisher-options.js';
import { resolveMessagesOptions, resolveSubscribeOptions } from '../../src/subscribing/subscribe-options.js';
import { InvalidArgumentError } from '../../src/errors.js';
import { checkChannel, checkPayload } from '../../src/validation.js';
import { SEED } from '../support/nkeys.js';
import { hostileProxy, revokedProxy, throwing } from '../support/hostile.js';
import { refused } from '../support/refused.js';

/** Options, the argument the error is about, and words of its message. */
type Refusal = [options: unknown, argument: string, ...words: (string | RegExp)[]];

const connect = (options?: unknown) => resolveConnectOptions('nats://a:4222', options);
const label = (options: unknown) =>
  JSON.stringify(options, (_, value: unknown) => {
    if (typeof value === 'number' || typeof value === 'bigint') return String(value);
    return typeof value === 'function' ? 'function' : value;
  });

describe('resolveConnectOptions', () => {
  it('has the defaults of the contract', () => {
    const { clientId, name, logger, ...rest } = resolveConnectOptions();
    assert.deepEqual(rest, {
      servers: [{ url: 'nats://localhost:4222', host: 'localhost', port: 4222, tls: false }],
      clusterId: 'test-cluster',
      clientIdGenerated: true,
      pings: { interval: 1000, maxOut: 3 },
      connectTimeout: 2000,
      initialConnect: {
        retries: 3,
        factor: 2,
        minTimeout: 100,
        maxTimeout: 1000,
        randomize: true,
        maxRetryTime: Infinity,
      },
      reconnect: {
        retries: Infinity,
        factor: 1.5,
        minTimeout: 50,
        maxTimeout: 500,
        randomize: true,
        maxRetryTime: Infinity,
      },
      clientIdConflict: 'retry',
      publishing: {
        ordering: 'pipelined',
        maxInFlight: 1024,
        ackTimeout: 30_000,
        maxPending: 100_000,
        maxPendingBytes: 268_435_456,
        whenFull: 'reject',
      },
      randomize: true,
      discover: true,
      staticCredentials: { kind: 'none' },
      tls: false,
    });
    assert.equal(name, clientId);
    assert.deepEqual(Object.keys(logger), ['debug', 'info', 'warn', 'error']);
  });

  it('generates client IDs that are legal, different, and name the host', () => {
    const ids = new Set(Array.from({ length: 100 }, () => resolveConnectOptions().clientId));
    assert.equal(ids.size, 100);
    for (const id of ids) {
      assert.match(id, /^[a-zA-Z0-9_-]{1,255}$/);
      assert.ok(
        id.includes(
          hostname()
            .replace(/[^a-zA-Z0-9_-]/g, '-')
            .slice(0, 40),
        ),
      );
    }
  });

  it('takes everything that is given', () => {
    const signal = new AbortController().signal;
    const connectionLostHandler = () => 'close' as const;
    const options = {
      clusterId: 'c',
      clientId: 'me',
      pings: { interval: 5000, maxOut: 1 },
      connectTimeout: 1,
      initialConnect: { retries: 0, factor: 1, minTimeout: 7, maxTimeout: 7, randomize: false, maxRetryTime: 9 },
      reconnect: {
        retries: Infinity,
        factor: 1.25,
        minTimeout: 1,
        maxTimeout: 2,
        randomize: false,
        maxRetryTime: Infinity,
      },
      clientIdConflict: 'close' as const,
      publishing: {
        ordering: 'strict' as const,
        maxInFlight: 1,
        ackTimeout: 2,
        maxPending: 3,
        maxPendingBytes: 4,
        whenFull: 'wait' as const,
      },
      randomize: false,
      discover: false,
      name: 'n',
    };
    const resolved = connect({ ...options, signal, connectionLostHandler });
    for (const [name, value] of Object.entries(options)) {
      assert.deepEqual(resolved[name as keyof typeof resolved], value, name);
    }
    assert.equal(resolved.clientIdGenerated, false);
    assert.equal(resolved.signal, signal);
    assert.equal(resolved.connectionLostHandler, connectionLostHandler);
    assert.equal(connect({ reconnect: false }).reconnect, false);
  });

  it('takes undefined for absent, at every place', () => {
    const nothing = Object.fromEntries(Object.keys(connect({ clientId: 'x' })).map((name) => [name, undefined]));
    delete nothing.servers;
    delete nothing.clientIdGenerated;
    delete nothing.staticCredentials;
    const { clientId, name, logger, ...rest } = connect(nothing);
    const { clientId: otherId, name: otherName, logger: otherLogger, ...expected } = connect();
    assert.deepEqual(rest, expected);
    assert.deepEqual(
      connect({ publishing: { maxPending: undefined }, pings: { interval: undefined } }).publishing,
      expected.publishing,
    );
    assert.ok(clientId !== otherId && name !== otherName && typeof logger === typeof otherLogger);
  });

  it('shares nothing with what was passed', () => {
    const options = {
      reconnect: { retries: 1 },
      publishing: { maxPending: 5 },
      pings: { interval: 2000 },
      tls: { minVersion: 'TLSv1.3' },
    };
    const resolved = connect(options);
    options.reconnect.retries = -1;
    options.publishing.maxPending = -1;
    options.pings.interval = -1;
    options.tls.minVersion = 'none';
    assert.ok(resolved.reconnect !== false && resolved.reconnect.retries === 1);
    assert.equal(resolved.publishing.maxPending, 5);
    assert.equal(resolved.pings.interval, 2000);
    assert.deepEqual(resolved.tls, { minVersion: 'TLSv1.3' });
  });

  it('moves the default of one delay when the other is beyond it', () => {
    const { initialConnect } = connect({ initialConnect: { minTimeout: 5000 } });
    assert.deepEqual([initialConnect.minTimeout, initialConnect.maxTimeout], [5000, 5000]);
    const { reconnect } = connect({ reconnect: { maxTimeout: 20 } });
    assert.ok(reconnect !== false);
    assert.deepEqual([reconnect.minTimeout, reconnect.maxTimeout], [20, 20]);
  });

  it('makes an endless delay one that a timer can wait for', () => {
    const { initialConnect } = connect({ initialConnect: { maxTimeout: Infinity } });
    assert.equal(initialConnect.maxTimeout, 2 ** 31 - 1);
  });

  const refusals: Refusal[] = [
    [null, 'options', 'must be an object', 'null'],
    [[], 'options', 'must be an object', 'an empty array'],
    [
      'client',
      'options',
      'must be an object',
      "'client'",
      "connect('nats://host:4222', { clusterId: 'cluster', clientId: 'client' })",
    ],
    [() => 1, 'options', 'must be an object', 'a function'],
    // Names
    [{ clusterID: 'x' }, 'clusterID', "no option 'clusterID'", "did you mean 'clusterId'?"],
    [{ cluster_id: 'x' }, 'cluster_id', "did you mean 'clusterId'?"],
    [{ clientld: 'x' }, 'clientld', "did you mean 'clientId'?"],
    [{ reconect: {} }, 'reconect', "did you mean 'reconnect'?"],
    [{ Logger: {} }, 'Logger', "did you mean 'logger'?"],
    [{ onConnectionLost: () => 1 }, 'onConnectionLost', 'no option', 'connectionLostHandler'],
    [{ zzz: 1 }, 'zzz', 'the options here are', 'clusterId', 'logger'],
    [{ zzz: undefined }, 'zzz', 'no option'],
    [{ '': 1 }, '', 'no option'],
    [{ __proto__: null, constructor: 1 }, 'constructor', 'no option'],
    [{ publishing: { maxInflight: 1 } }, 'publishing.maxInflight', "did you mean 'publishing.maxInFlight'?"],
    [{ publishing: { timeout: 1 } }, 'publishing.timeout', 'each publish', 'publishing.ackTimeout'],
    [{ pings: { intervall: 1000 } }, 'pings.intervall', "did you mean 'pings.interval'?"],
    [{ reconnect: { retires: 1 } }, 'reconnect.retires', "did you mean 'reconnect.retries'?"],
    [{ reconnect: { forever: true } }, 'reconnect.forever', 'retries: Infinity'],
    [{ initialConnect: { min: 1 } }, 'initialConnect.min', 'minTimeout'],
    [{ maxInFlight: 1 }, 'maxInFlight', "did you mean 'publishing.maxInFlight'?"],
    [{ ackTimeout: 1 }, 'ackTimeout', "did you mean 'publishing.ackTimeout'?"],
    [{ retries: 1 }, 'retries', "'reconnect.retries'", "'initialConnect.retries'"],
    [{ stanPingInterval: 1 }, 'stanPingInterval', "'pings.interval'"],
    [{ stanMaxPingOut: 1 }, 'stanMaxPingOut', "'pings.maxOut'"],
    [{ maxPubAcksInflight: 1 }, 'maxPubAcksInflight', "'publishing.maxPending'"],
    [{ maxReconnectAttempts: -1 }, 'maxReconnectAttempts', "'reconnect.retries'"],
    [{ waitOnFirstConnect: true }, 'waitOnFirstConnect', 'initialConnect: { retries: Infinity }'],
    [{ noRandomize: true }, 'noRandomize', 'randomize: false'],
    [{ url: 'nats://a' }, 'url', 'first argument'],
    [{ servers: ['nats://a'] }, 'servers', 'first argument'],
    [{ password: 'hunter2' }, 'password', "'pass'"],
    // Numbers
    [{ connectTimeout: 0 }, 'connectTimeout', 'milliseconds', 'not 0'],
    [{ connectTimeout: -5 }, 'connectTimeout', 'not -5'],
    [{ connectTimeout: 1.5 }, 'connectTimeout', 'whole number', 'not 1.5'],
    [{ connectTimeout: NaN }, 'connectTimeout', 'NaN'],
    [{ connectTimeout: Infinity }, 'connectTimeout', 'Infinity'],
    [{ connectTimeout: 2 ** 31 }, 'connectTimeout', '2147483647', 'not 2147483648'],
    [{ connectTimeout: '2000' }, 'connectTimeout', "'2000'", 'without quotes'],
    [{ connectTimeout: '2s' }, 'connectTimeout', /not '2s'$/],
    [{ connectTimeout: null }, 'connectTimeout', 'null'],
    [{ connectTimeout: 5n }, 'connectTimeout', '5n'],
    [{ connectTimeout: new Date() }, 'connectTimeout', 'a Date'],
    [{ pings: { interval: 500 } }, 'pings.interval', '1000', 'whole seconds'],
    [{ pings: { interval: 1500 } }, 'pings.interval', 'multiple of 1000', 'whole seconds', '1500'],
    [{ pings: { interval: 1000.5 } }, 'pings.interval', 'whole number'],
    [{ pings: { maxOut: 0 } }, 'pings.maxOut', '1'],
    [{ pings: { maxOut: 2.5 } }, 'pings.maxOut', 'whole number'],
    [{ pings: 1000 }, 'pings', 'must be an object', '1000'],
    [{ pings: null }, 'pings', 'must be an object', 'null'],
    [{ reconnect: { retries: -1 } }, 'reconnect.retries', 'Infinity', 'not -1'],
    [{ reconnect: { retries: 1.5 } }, 'reconnect.retries', 'whole number'],
    [{ reconnect: { factor: 0.5 } }, 'reconnect.factor', '1 or more'],
    [{ reconnect: { factor: Infinity } }, 'reconnect.factor', 'Infinity'],
    [{ reconnect: { minTimeout: 0 } }, 'reconnect.minTimeout', 'not 0'],
    [{ reconnect: { minTimeout: 10, maxTimeout: 5 } }, 'reconnect.minTimeout', "'reconnect.maxTimeout' (5)", '10'],
    [{ reconnect: { maxRetryTime: 0 } }, 'reconnect.maxRetryTime', 'not 0'],
    [{ reconnect: { randomize: 1 } }, 'reconnect.randomize', 'true or false'],
    [{ reconnect: true }, 'reconnect', 'not true', 'for ever'],
    [{ reconnect: 5 }, 'reconnect', 'must be an object', '5'],
    [{ initialConnect: false }, 'initialConnect', 'not false', 'retries: 0'],
    [{ initialConnect: { retries: '3' } }, 'initialConnect.retries', 'without quotes'],
    [{ publishing: { maxInFlight: 0 } }, 'publishing.maxInFlight', 'messages', 'not 0'],
    [{ publishing: { maxInFlight: Infinity } }, 'publishing.maxInFlight', 'Infinity'],
    [{ publishing: { maxPending: -1 } }, 'publishing.maxPending', 'messages'],
    [{ publishing: { maxPending: Infinity } }, 'publishing.maxPending', 'Infinity'],
    [{ publishing: { maxPendingBytes: 0.5 } }, 'publishing.maxPendingBytes', 'bytes'],
    [{ publishing: { ackTimeout: 0 } }, 'publishing.ackTimeout', 'milliseconds'],
    [{ publishing: 'strict' }, 'publishing', 'must be an object', "'strict'"],
    // Choices
    [{ publishing: { ordering: 'stict' } }, 'publishing.ordering', "'pipelined' or 'strict'", "did you mean 'strict'?"],
    [{ publishing: { ordering: true } }, 'publishing.ordering', 'not true'],
    [{ publishing: { whenFull: 'block' } }, 'publishing.whenFull', "'reject' or 'wait'", "'block'"],
    [{ clientIdConflict: 'Close' }, 'clientIdConflict', "did you mean 'close'?"],
    [{ clientIdConflict: null }, 'clientIdConflict', 'null'],
    [{ randomize: 'false' }, 'randomize', 'true or false', 'without quotes'],
    [{ randomize: 0 }, 'randomize', 'true or false'],
    // IDs and names
    [{ clientId: '' }, 'clientId', 'is empty'],
    [{ clientId: 'a.b' }, 'clientId', "'.'"],
    [{ clientId: null }, 'clientId', 'null'],
    [{ clusterId: '' }, 'clusterId', 'is empty'],
    [{ clusterId: 'a b' }, 'clusterId', 'a space'],
    [{ clusterId: null }, 'clusterId', 'null'],
    [{ name: '' }, 'name', 'empty string'],
    [{ name: 5 }, 'name', 'must be a string', '5'],
    // Callbacks and signals
    [{ connectionLostHandler: 'close' }, 'connectionLostHandler', 'must be a function', '(error, stan)'],
    [{ credentials: { user: 'a' } }, 'credentials', 'must be a function'],
    [{ signal: new AbortController() }, 'signal', 'controller.signal'],
    [{ signal: {} }, 'signal', 'AbortSignal', 'an object'],
    [{ signal: true }, 'signal', 'AbortSignal', 'true'],
    [{ signal: null }, 'signal', 'AbortSignal', 'null'],
    [{ logger: 'debug' }, 'logger', 'functions', "'debug'"],
    [{ logger: null }, 'logger', 'functions', 'null'],
    [{ logger: {} }, 'logger', 'at least one'],
    [{ logger: { log: () => 1 } }, 'logger', 'at least one'],
    [{ logger: { info: () => 1, warn: true } }, 'logger.warn', 'must be a function', 'true'],
    // Credentials
    [{ user: 'me' }, 'user', "'pass'", "'token'"],
    [{ pass: 'hunter2' }, 'pass', "'user'"],
    [{ user: 'me', pass: 'hunter2', token: 'hunter2' }, 'token', "'user'", 'one kind'],
    [{ token: 'hunter2', nkey: SEED }, 'nkey', "'token'", 'one kind'],
    [{ user: '', pass: 'hunter2' }, 'user', 'empty'],
    [{ token: '' }, 'token', 'empty'],
    [{ token: 31337 }, 'token', 'must be a string', 'a number'],
    [{ pass: ['hunter2'], user: 'me' }, 'pass', 'an array'],
    [{ nkey: 'SUnonsense' }, 'nkey', 'seed', 'SU'],
    [{ userJWT: 'hunter2' }, 'userJWT', "'nkey'"],
    [{ userCreds: '/does/not/exist.creds' }, 'userCreds', 'cannot be read', '/does/not/exist.creds'],
    [{ userCreds: tmpdir() }, 'userCreds', 'cannot be read'],
    [{ userCreds: '' }, 'userCreds', 'empty'],
    [{ credentials: () => ({ token: 'x' }), token: 'hunter2' }, 'token', "'credentials'", 'before every dial'],
    // TLS
    [{ tls: 'yes' }, 'tls', 'true, false or an object', "'yes'"],
    [{ tls: null }, 'tls', 'null'],
    [{ tls: { caFile: 'ca.pem' } }, 'tls.caFile', 'readFileSync'],
    [{ tls: { socket: {} } }, 'tls.socket', 'no option'],
    [{ discover: 'no' }, 'discover', 'true or false'],
    [{ ignoreClusterUpdates: true }, 'ignoreClusterUpdates', "'discover: false'"],
    [{ tls: { key: 'hunter2', cert: 'hunter2' } }, 'tls.cert', 'PEM', 'path', 'readFileSync'],
    [{ tls: { pfx: Buffer.from('x') } }, 'tls', 'cannot be used'],
    [{ tls: { minVersion: 'TLSv9' } }, 'tls', 'cannot be used'],
  ];
  for (const [options, argument, ...words] of refusals) {
    it(`refuses ${label(options)}`, () => {
      const error = refused(() => connect(options), argument, ...words);
      for (const secret of ['hunter2', '31337', SEED]) assert.ok(!error.message.includes(secret), error.message);
    });
  }

  it('refuses credentials in a URL and in the options', () => {
    for (const [option, value] of [
      ['token', { token: 'hunter2' }],
      ['user', { user: 'me', pass: 'hunter2' }],
      ['nkey', { nkey: SEED }],
      ['credentials', { credentials: () => ({ token: 'hunter2' }) }],
    ] as const) {
      const error = refused(
        () => resolveConnectOptions('a,you:hunter2@b', value),
        option,
        'nats://b:4222',
        'one of the two',
      );
      assert.ok(!error.message.includes('hunter2'), error.message);
    }
  });

  it('takes TLS on and off', () => {
    assert.equal(connect({ tls: true }).tls, true);
    assert.equal(connect({ tls: false }).tls, false);
    assert.equal(resolveConnectOptions('tls://a').tls, false, 'that URL asks for it by itself');
    assert.equal(resolveConnectOptions('tls://a').servers[0]!.tls, true);
  });

  it('refuses tls: false beside a tls:// URL', () => {
    refused(() => resolveConnectOptions('a,tls://b', { tls: false }), 'tls', 'tls://b:4222');
  });

  it('checks that key and certificate fit each other', async () => {
    const one = await selfsigned.generate([{ name: 'commonName', value: 'a' }], { keySize: 2048 });
    const other = await selfsigned.generate([{ name: 'commonName', value: 'b' }], { keySize: 2048 });
    const good = { ca: one.cert, cert: one.cert, key: one.private };
    assert.deepEqual(connect({ tls: good }).tls, good);
    refused(() => connect({ tls: { cert: one.cert, key: other.private } }), 'tls', 'cannot be used');
  });

  it('takes each kind of credentials', () => {
    const dir = mkdtempSync(join(tmpdir(), 'options-test-'));
    try {
      const file = join(dir, 'me.creds');
      const credsFile = (jwt: string, seed: string) =>
        `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n` +
        `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`;
      writeFileSync(file, credsFile('e.y.J', SEED));
      for (const [options, expected] of [
        [
          { user: 'me', pass: 'x' },
          { kind: 'password', user: 'me', pass: 'x' },
        ],
        [
          { user: 'me', pass: '' },
          { kind: 'password', user: 'me', pass: '' },
        ],
        [{ token: 'x' }, { kind: 'token', token: 'x' }],
        [{ nkey: SEED }, { kind: 'nkey', nkey: SEED }],
        [
          { nkey: SEED, userJWT: 'e.y.J' },
          { kind: 'nkey', nkey: SEED, userJWT: 'e.y.J' },
        ],
        [{ userCreds: file }, { kind: 'file', userCreds: file }],
      ] as const) {
        assert.deepEqual(connect(options).staticCredentials, expected);
      }
      for (const [content, word] of [
        ['', 'no user JWT'],
        ['e.y.J\n', 'no user JWT'],
        [credsFile('e.y.J', SEED).slice(0, 100), 'no seed'],
        [credsFile('e.y.J', SEED.slice(0, -1)), 'of its seed'],
      ] as const) {
        writeFileSync(file, content);
        const error = refused(() => connect({ userCreds: file }), 'userCreds', 'me.creds', word);
        assert.ok(!error.message.includes(SEED.slice(0, 20)), error.message);
      }
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('throws nothing but InvalidArgumentError, whatever it is given, and never changes it', () => {
    const name = fc.constantFrom(...Object.keys(connect()), 'user', 'token', 'retries', 'ordering', 'x');
    const value = fc.oneof(
      fc.anything(),
      fc.dictionary(fc.constantFrom('retries', 'interval', 'ordering', 'maxPending'), fc.anything()),
    );
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.dictionary(name, value)), (options) => {
        const before = fc.stringify(options);
        try {
          connect(options);
        } catch (error) {
          assert.ok(error instanceof InvalidArgumentError, String(error));
        }
        assert.equal(fc.stringify(options), before);
      }),
      { numRuns: 500 },
    );
  });
});

describe('options that throw when they are read', () => {
  const context = { clientIdGenerated: false, now: Date.now() };
  const subscribe = (options: unknown) => resolveSubscribeOptions('foo', () => undefined, options, context);
  const resolvers: [string, (options: unknown) => unknown, string[]][] = [
    ['connect', connect, Object.keys(connect()).filter((name) => !/servers|Generated|staticC/.test(name))],
    ['subscribe', subscribe, ['durableName', 'queueGroup', 'startAt', 'ackWait', 'deadLetter', 'signal']],
    ['publish', resolvePublishOptions, ['timeout', 'signal']],
    ['flush', resolveFlushOptions, ['timeout']],
    ['close', resolveCloseOptions, ['timeout']],
  ];

  for (const [what, resolve, names] of resolvers) {
    it(`of ${what}() are told by name`, () => {
      for (const name of names) {
        refused(() => resolve(throwing(name)), name, `option '${name}' cannot be read`, 'thrown by the caller');
        refused(() => resolve(Object.create(throwing(name))), name, 'thrown by the caller');
      }
    });

    it(`of ${what}() may be a proxy that throws`, () => {
      refused(() => resolve(hostileProxy()), 'options', 'thrown by the caller');
      refused(() => resolve(revokedProxy()), 'options', 'cannot be read');
    });

    it(`of ${what}() are read once`, () => {
      const reads = new Map<string | symbol, number>();
      resolve(
        new Proxy(
          {},
          {
            get(_, name) {
              reads.set(name, (reads.get(name) ?? 0) + 1);
              return undefined;
            },
          },
        ),
      );
      for (const name of names) assert.equal(reads.get(name), 1, name);
      assert.ok([...reads.values()].every((count) => count === 1));
    });
  }

  it('may be inherited', () => {
    assert.equal(subscribe(Object.create({ durableName: 'd' })).durableName, 'd');
  });

  it('may lie in an object within', () => {
    refused(() => connect({ reconnect: throwing('retries') }), 'reconnect.retries', 'cannot be read');
    refused(() => connect({ pings: hostileProxy() }), 'pings', 'thrown by the caller');
    refused(() => connect({ logger: throwing('warn') }), 'logger.warn', 'cannot be read');
    refused(() => connect({ logger: hostileProxy() }), 'logger.debug', 'cannot be read');
    refused(() => connect({ signal: throwing('aborted') }), 'signal', 'thrown by the caller');
    refused(() => subscribe({ startAt: throwing('sequence') }), 'startAt.sequence', 'cannot be read');
    refused(() => subscribe({ startAt: revokedProxy() }), 'startAt', 'cannot be read');
    refused(() => subscribe({ startAt: { time: Object.create(Date.prototype) as Date } }), 'startAt.time', 'a Date');
    const time = Object.assign(new Date(5), { getTime: () => assert.fail('asked') });
    assert.deepEqual(subscribe({ startAt: { time } }).startAt, { time: new Date(5) });
  });

  it('are not the only arguments that do', () => {
    for (const bad of [hostileProxy<unknown>(), revokedProxy<unknown>(), throwing<unknown>('toString')]) {
      refused(() => checkChannel(bad), 'channel', 'must be a string');
      refused(() => checkPayload(bad), 'data');
      refused(() => resolveConnectOptions(bad), 'servers');
      refused(() => resolveConnectOptions([bad]), 'servers');
      refused(() => connect({ clientId: bad }), 'clientId');
      refused(() => connect({ connectTimeout: bad }), 'connectTimeout');
      refused(() => connect({ reconnect: { retries: bad } }), 'reconnect.retries');
    }
    refused(() => resolveConnectOptions(hostileProxy([])), 'servers', 'thrown by the caller');
    refused(() => resolveConnectOptions(revokedProxy([])), 'servers', 'cannot be read');
    refused(() => resolveConnectOptions(throwing('0', ['a'])), 'servers');
    const bytes = Object.setPrototypeOf(new ArrayBuffer(2), throwing('constructor')) as ArrayBuffer;
    refused(() => checkPayload(bytes), 'data', 'new Uint8Array(data)');
  });
});

describe('resolveSubscribeOptions', () => {
  const handler = () => undefined;
  const subscribe = (options?: unknown, clientIdGenerated = false) =>
    resolveSubscribeOptions('foo', handler, options, { clientIdGenerated, now: Date.now() });

  it('has the defaults of the contract', () => {
    assert.deepEqual(subscribe(), {
      startAt: 'new',
      maxInFlight: 1024,
      ackWait: 30_000,
      manualAck: false,
      concurrency: 1,
    });
  });

  it('takes everything that is given', () => {
    const options = {
      durableName: 'd',
      queueGroup: 'q',
      startAt: 'first',
      maxInFlight: 10,
      ackWait: 1000,
      manualAck: true,
      concurrency: 10,
      maxDeliveries: 1,
      deadLetter: () => Promise.resolve(),
      retry: { retries: 1, factor: 1, minTimeout: 2, maxTimeout: 3, randomize: false, maxRetryTime: 4 },
      signal: new AbortController().signal,
    };
    assert.deepEqual(subscribe(options), options);
  });

  it('has defaults for retry, and deadLetter beside it needs no maxDeliveries', () => {
    const deadLetter = () => undefined;
    const retry = { retries: 5, factor: 2, minTimeout: 200, maxTimeout: 5000, randomize: true, maxRetryTime: Infinity };
    assert.deepEqual(subscribe({ retry: {} }).retry, retry);
    assert.deepEqual(subscribe({ retry: { retries: 1 }, deadLetter }).retry, { ...retry, retries: 1 });
    for (const ends of [
      { retry: { retries: Infinity, maxRetryTime: 5 } },
      { retry: { retries: Infinity }, maxDeliveries: 5 },
    ]) {
      assert.equal(subscribe({ ...ends, deadLetter }).deadLetter, deadLetter);
    }
  });

  it('rounds ackWait up to whole seconds', () => {
    for (const [given, rounded] of [
      [1000, 1000],
      [1001, 2000],
      [29_999, 30_000],
      [30_000, 30_000],
    ]) {
      assert.equal(subscribe({ ackWait: given }).ackWait, rounded);
    }
  });

  for (const startAt of [
    'new',
    'last',
    'first',
    { sequence: 1 },
    { sequence: 2 ** 53 - 1 },
    { ago: 0 },
    { ago: 1e13 },
    { time: new Date(5) },
  ]) {
    it(`starts at ${label(startAt)}`, () => assert.deepEqual(subscribe({ startAt }).startAt, startAt));
  }

  it('takes a Date of another realm', () => {
    const time = runInNewContext('new Date(5)') as Date;
    assert.deepEqual(subscribe({ startAt: { time } }).startAt, { time: new Date(5) });
  });

  it('reads the error of another realm', () => {
    const foreign = {
      get() {
        throw runInNewContext("new TypeError('not today')");
      },
    };
    refused(
      () => subscribe(Object.defineProperty({}, 'startAt', { enumerable: true, ...foreign })),
      'startAt',
      'threw: not today',
    );
  });

  it('takes a time to come, for a durable or a queue group up to a minute ahead', () => {
    const later = { time: new Date(Date.now() + 3_600_000) };
    assert.deepEqual(subscribe({ startAt: later }).startAt, later);
    for (const kind of [{ durableName: 'd' }, { queueGroup: 'q' }]) {
      refused(() => subscribe({ startAt: later, ...kind }), 'startAt', later.time.toISOString(), "Use 'new'");
      const soon = { time: new Date(Date.now() + 30_000) };
      assert.deepEqual(subscribe({ startAt: soon, ...kind }).startAt, soon);
    }
  });

  it('keeps the time it was given, whatever becomes of that Date', () => {
    const time = new Date(5);
    const { startAt } = subscribe({ startAt: { time } });
    time.setTime(6);
    assert.deepEqual(startAt, { time: new Date(5) });
  });

  it('takes a signal of another make', () => {
    const signal = { aborted: false, addEventListener: () => undefined, removeEventListener: () => undefined };
    assert.equal(subscribe({ signal }).signal, signal);
  });

  it('refuses a durable of a generated client ID, unless it is a queue group', () => {
    refused(() => subscribe({ durableName: 'd' }, true), 'durableName', 'client ID of your own', "'clientId'");
    assert.equal(subscribe({ durableName: 'd' }, false).durableName, 'd');
    assert.equal(subscribe({ durableName: 'd', queueGroup: 'q' }, true).durableName, 'd');
  });

  const refusals: Refusal[] = [
    [null, 'options', 'must be an object', 'null'],
    [{ durable: 'x' }, 'durable', "'durableName'"],
    [{ queue: 'x' }, 'queue', "'queueGroup'"],
    [{ qGroup: 'x' }, 'qGroup', "'queueGroup'"],
    [{ maxInflight: 1 }, 'maxInflight', "'maxInFlight'"],
    [{ manualAcks: true }, 'manualAcks', "'manualAck'"],
    [{ startPosition: 4 }, 'startPosition', "'startAt'"],
    [{ deliverAllAvailable: true }, 'deliverAllAvailable', "startAt: 'first'"],
    [{ durableName: '' }, 'durableName', 'is empty'],
    [{ durableName: 'a:b' }, 'durableName', "':'"],
    [{ durableName: null }, 'durableName', 'null'],
    [{ queueGroup: 'a b' }, 'queueGroup', 'a space'],
    [{ queueGroup: 5 }, 'queueGroup', 'must be a string'],
    [{ ackWait: 999 }, 'ackWait', '1000', 'whole seconds', 'not 999'],
    [{ ackWait: 0 }, 'ackWait', 'not 0'],
    [{ ackWait: -1000 }, 'ackWait', 'not -1000'],
    [{ ackWait: 1000.5 }, 'ackWait', 'whole number'],
    [{ ackWait: NaN }, 'ackWait', 'NaN'],
    [{ ackWait: '30s' }, 'ackWait', "'30s'"],
    [{ ackWait: 2 ** 31 }, 'ackWait', '2147483647'],
    [{ maxInFlight: 0 }, 'maxInFlight', 'messages', 'not 0'],
    [{ maxInFlight: 1.5 }, 'maxInFlight', 'whole number'],
    [{ maxInFlight: 2 ** 31 }, 'maxInFlight', '2147483647'],
    [{ concurrency: 0 }, 'concurrency', 'handlers'],
    [{ concurrency: Infinity }, 'concurrency', 'Infinity'],
    [{ concurrency: 3, maxInFlight: 2 }, 'concurrency', "'maxInFlight' (2)", 'it is 3'],
    [{ concurrency: 2000 }, 'concurrency', "'maxInFlight' (1024)"],
    [{ manualAck: 'yes' }, 'manualAck', 'true or false'],
    [{ maxDeliveries: 0 }, 'maxDeliveries', 'deliveries'],
    [{ maxDeliveries: Infinity }, 'maxDeliveries', 'Infinity'],
    [{ deadLetter: () => 1 }, 'deadLetter', "'maxDeliveries' or 'retry'"],
    [{ deadLetter: () => 1, retry: { retries: Infinity } }, 'deadLetter', 'never end', "'retry.retries'"],
    [{ retry: true }, 'retry', 'use {}'],
    [{ retry: false }, 'retry', 'leave it out'],
    [{ retry: 3 }, 'retry', '{ retries: 3 }'],
    [{ retry: { retires: 3 } }, 'retry.retires', "'retry.retries'"],
    [{ retry: { shouldRetry: () => true } }, 'retry.shouldRetry', 'message.ack()'],
    [{ retry: { minTimeout: 5, maxTimeout: 4 } }, 'retry.minTimeout', "'retry.maxTimeout' (4)"],
    [{ retries: 3 }, 'retries', "'retry.retries'"],
    [{ deadLetter: 'dlq', maxDeliveries: 3 }, 'deadLetter', 'must be a function', "'dlq'"],
    [{ signal: 1 }, 'signal', 'AbortSignal'],
    [{ startAt: 'begin' }, 'startAt', "'new', 'last' or 'first'"],
    [{ startAt: 'frist' }, 'startAt', "did you mean 'first'?"],
    [{ startAt: '' }, 'startAt', "'first'"],
    [{ startAt: null }, 'startAt', 'null'],
    [{ startAt: 5 }, 'startAt', '{ sequence: 5 }'],
    [{ startAt: new Date() }, 'startAt', '{ time: date }'],
    [{ startAt: [] }, 'startAt', 'an empty array'],
    [{ startAt: {} }, 'startAt', 'exactly one', 'none'],
    [{ startAt: { sequence: 1, ago: 1 } }, 'startAt', 'exactly one', 'sequence and ago'],
    [{ startAt: { sequnce: 1 } }, 'startAt.sequnce', "'startAt.sequence'"],
    [{ startAt: { sequence: 0 } }, 'startAt.sequence', '1 or more'],
    [{ startAt: { sequence: 1.5 } }, 'startAt.sequence', 'whole number'],
    [{ startAt: { sequence: 2 ** 53 } }, 'startAt.sequence', 'whole number'],
    [{ startAt: { sequence: '7' } }, 'startAt.sequence', 'without quotes'],
    [{ startAt: { ago: -1 } }, 'startAt.ago', 'milliseconds'],
    [{ startAt: { ago: Infinity } }, 'startAt.ago', 'Infinity'],
    [{ startAt: { time: 1700000000000 } }, 'startAt.time', 'must be a Date', 'new Date('],
    [{ startAt: { time: '2024-01-01' } }, 'startAt.time', 'must be a Date'],
    [{ startAt: { time: new Date(NaN) } }, 'startAt.time', 'invalid Date'],
  ];
  for (const [options, argument, ...words] of refusals) {
    it(`refuses ${label(options)}`, () => {
      refused(() => subscribe(options), argument, ...words);
    });
  }

  it('refuses a bad channel and a missing handler', () => {
    const context = { clientIdGenerated: false, now: Date.now() };
    refused(() => resolveSubscribeOptions('a.*', handler, {}, context), 'channel', 'wildcard');
    for (const bad of [undefined, null, {}, 'handler']) {
      refused(() => resolveSubscribeOptions('a', bad, undefined, context), 'handler', 'must be a function');
    }
    refused(
      () => resolveSubscribeOptions('a', {}, handler, context),
      'handler',
      'subscribe(channel, handler, options)',
    );
  });
});

describe('resolveMessagesOptions', () => {
  const messages = (options?: unknown) =>
    resolveMessagesOptions('foo', options, { clientIdGenerated: false, now: Date.now() });

  it('takes the options of a subscription', () => {
    assert.deepEqual(messages({ durableName: 'd', startAt: 'first' }).startAt, 'first');
  });

  it('refuses what has no meaning in a loop', () => {
    refused(() => messages({ manualAck: true }), 'manualAck', 'no meaning');
    refused(() => messages({ concurrency: 2 }), 'concurrency', 'no meaning', 'subscribe()');
    refused(() => messages({ retry: {} }), 'retry', 'no meaning', 'ends the loop', 'subscribe()');
    refused(() => messages(() => 1), 'options', 'no handler', 'subscribe()');
    refused(
      () => resolveMessagesOptions('a b', {}, { clientIdGenerated: false, now: Date.now() }),
      'channel',
      'a space',
    );
  });
});

describe('resolvePublishOptions', () => {
  it('takes nothing, a timeout, a signal', () => {
    const signal = new AbortController().signal;
    assert.deepEqual(resolvePublishOptions(), {});
    assert.deepEqual(resolvePublishOptions({}), {});
    assert.deepEqual(resolvePublishOptions({ timeout: 500, signal }), { timeout: 500, signal });
    assert.deepEqual(resolvePublishOptions({ timeout: Infinity }), {});
  });

  for (const [options, argument, ...words] of [
    [null, 'options', 'must be an object'],
    [5000, 'options', 'must be an object', '5000'],
    [() => {}, 'options', 'must be an object', 'await publish(channel, data)'],
    [{ timeout: 0 }, 'timeout', 'not 0'],
    [{ timeout: -1 }, 'timeout', 'not -1'],
    [{ timeout: 0.5 }, 'timeout', 'whole number'],
    [{ timeout: NaN }, 'timeout', 'NaN'],
    [{ timeout: '500' }, 'timeout', 'without quotes'],
    [{ timeOut: 5 }, 'timeOut', "'timeout'"],
    [{ ackTimeout: 5 }, 'ackTimeout', 'publishing.ackTimeout', "'timeout'"],
    [{ signal: 'x' }, 'signal', 'AbortSignal'],
  ] as Refusal[]) {
    it(`refuses ${label(options)}, and says that nothing was sent`, () => {
      assert.equal(refused(() => resolvePublishOptions(options), argument, ...words).delivery, 'not-sent');
    });
  }
});

describe('resolveFlushOptions, resolveCloseOptions', () => {
  it('have their defaults', () => {
    assert.deepEqual(resolveFlushOptions(), { timeout: undefined });
    assert.deepEqual(resolveCloseOptions(), { timeout: 10_000 });
  });

  it('take Infinity for no limit, and close takes 0 for no drain', () => {
    assert.deepEqual(resolveFlushOptions({ timeout: Infinity }), { timeout: undefined });
    assert.deepEqual(resolveCloseOptions({ timeout: Infinity }), { timeout: undefined });
    assert.deepEqual(resolveCloseOptions({ timeout: 0 }), { timeout: 0 });
    assert.deepEqual(resolveFlushOptions({ timeout: 1 }), { timeout: 1 });
  });

  it('refuse the rest', () => {
    for (const resolve of [resolveFlushOptions, resolveCloseOptions]) {
      refused(() => resolve({ timeout: -1 }), 'timeout', 'not -1');
      refused(() => resolve({ timeout: 1.5 }), 'timeout', 'whole number');
      refused(() => resolve({ timeuot: 1 }), 'timeuot', "'timeout'");
      refused(() => resolve(5000), 'options', 'must be an object');
    }
    refused(() => resolveFlushOptions({ timeout: 0 }), 'timeout', 'not 0');
  });
});
