/** What the options of node-nats-streaming come to. */
import assert from 'node:assert/strict';
import { connectArguments, parseOptions, type StanOptions } from '../../src/stan/options.js';
import { StartPosition } from '../../src/stan/start-position.js';
import { SubscriptionOptions, subscribeOptionsOf } from '../../src/stan/subscription-options.js';

const argumentsOf = (given?: StanOptions | string | number) =>
  connectArguments('cluster', 'client', parseOptions(given), given);
const optionsOf = (given?: StanOptions) => argumentsOf(given).options;

describe('options of node-nats-streaming', () => {
  describe('servers', () => {
    const cases: [StanOptions | string | number | undefined, string[]][] = [
      [undefined, ['nats://localhost:4222']],
      [4223, ['nats://localhost:4223']],
      ['a', ['nats://a']],
      ['http://a:1/path?query', ['nats://a:1']],
      ['TLS://a:1', ['tls://a:1']],
      ['nats://me:se/c@a:1', ['nats://me:se/c@a:1']],
      [{ url: 'a:1,b:2' }, ['nats://a:1', 'nats://b:2']],
      [{ servers: ['a:1', 'b:2'] }, ['nats://a:1', 'nats://b:2']],
      [{ servers: 'a:1,b:2' }, ['nats://a:1', 'nats://b:2']],
      [{ url: 'c:3', servers: ['a:1', 'c:3'] }, ['nats://c:3', 'nats://a:1']],
      [{ url: '', servers: [] }, ['nats://localhost:4222']],
      [{ nc: { encoding: 'binary', servers: [{ url: new URL('nats://u:p@a:1') }] } as never }, ['nats://u:p@a:1']],
    ];
    for (const [given, servers] of cases) {
      it(`${JSON.stringify(given)} are ${servers.join(', ')}`, () => {
        assert.deepEqual(argumentsOf(given).servers, servers);
      });
    }
  });

  it('pings: under 3 s they are the default here', () => {
    for (const stanPingInterval of [undefined, 1, 500, 2999]) {
      assert.deepEqual(optionsOf({ stanPingInterval }).pings, { interval: 1000, maxOut: 3 });
      assert.deepEqual(optionsOf({ stanPingInterval, stanMaxPingOut: 1 }).pings, { interval: 1000, maxOut: 3 });
      assert.deepEqual(optionsOf({ stanPingInterval, stanMaxPingOut: 9 }).pings, { interval: 1000, maxOut: 9 });
    }
    assert.deepEqual(optionsOf({ stanPingInterval: 3500, stanMaxPingOut: 1 }).pings, { interval: 4000, maxOut: 1 });
  });

  it('the first connect: as connect() does it, or for connectTimeout, or for ever', () => {
    assert.deepEqual(optionsOf().initialConnect, { retries: 3 });
    assert.deepEqual(optionsOf({ connectTimeout: 200 }).initialConnect, { retries: 3 });
    assert.deepEqual(optionsOf({ connectTimeout: 30_000 }).initialConnect, { retries: Infinity, maxRetryTime: 30_000 });
    assert.deepEqual(optionsOf({ waitOnFirstConnect: true }).initialConnect, { retries: Infinity });
    assert.equal(optionsOf({ connectTimeout: 30_000 }).connectTimeout, undefined);
  });

  it('an outage: for ever, or for so many waits as nats would have had, or not at all', () => {
    assert.deepEqual(optionsOf().reconnect, { retries: Infinity });
    assert.deepEqual(optionsOf({ maxReconnectAttempts: 10 }).reconnect, { retries: Infinity, maxRetryTime: 20_000 });
    assert.deepEqual(optionsOf({ maxReconnectAttempts: 10, reconnectTimeWait: 500 }).reconnect, {
      retries: Infinity,
      factor: 1,
      minTimeout: 500,
      maxTimeout: 500,
      randomize: false,
      maxRetryTime: 5000,
    });
    assert.equal(optionsOf({ reconnect: false }).reconnect, false);
    assert.equal(optionsOf({ maxReconnectAttempts: 0 }).reconnect, false);
  });

  it('credentials of the options go before those of a URL, which hold for the servers after it', () => {
    const of = (given: StanOptions): unknown => {
      const { servers, options } = argumentsOf(given);
      const { user, pass, token } = options;
      return { servers, ...(user !== undefined && { user, pass }), ...(token !== undefined && { token }) };
    };
    const me = { user: 'me', pass: 'right' };
    assert.deepEqual(of({ url: 'nats://me:wrong@a:1', ...me }), { servers: ['nats://a:1'], ...me });
    const two = { url: 'nats://x:y@a:1', servers: ['nats://b:1'] };
    assert.deepEqual(of({ ...two, ...me }), { servers: ['nats://a:1', 'nats://b:1'], ...me });
    assert.deepEqual(of(two), { servers: ['nats://x:y@a:1', 'nats://x:y@b:1'] });
    assert.deepEqual(of({ servers: ['nats://b:1', 'nats://x:y@a:1'] }), {
      servers: ['nats://x:y@b:1', 'nats://x:y@a:1'],
    });
    assert.deepEqual(of({ url: 'u:p@a:1', token: 't' }), { servers: ['nats://a:1'], token: 't' });
  });

  it('stanPingInterval: the default of this library, unless one is asked for', () => {
    assert.equal(optionsOf({}).pings?.interval, 1000);
    assert.equal(optionsOf({ stanPingInterval: 500 }).pings?.interval, 1000);
    assert.equal(optionsOf({ stanPingInterval: 5000 }).pings?.interval, 5000);
  });

  it('credentials: one kind', () => {
    const { user, pass } = optionsOf({ user: 'me' });
    assert.deepEqual({ user, pass }, { user: 'me', pass: '' });
    assert.equal(optionsOf({ token: 't' }).token, 't');
    assert.deepEqual(optionsOf({ tokenHandler: () => 'fresh' }).credentials?.(), { token: 'fresh' });
    const nonceSigner = (): Buffer => Buffer.alloc(64);
    assert.equal(optionsOf({ nkey: 'U', nonceSigner }).nonceSigner, nonceSigner);
    assert.deepEqual(optionsOf({ userJWT: () => 'jwt', nonceSigner }).credentials?.(), { userJWT: 'jwt', nonceSigner });
    const nc = { encoding: 'binary', servers: [{ url: 'nats://a:1' }], options: { token: 'adopted' } };
    assert.equal(optionsOf({ nc: nc as never }).token, 'adopted');
  });

  it('a discover prefix of its own is refused, for it would be silence', () => {
    assert.throws(() => optionsOf({ discoverPrefix: 'other' }), /discover prefix/);
  });

  it('the window of publishes has room for more than the limit', () => {
    assert.equal(optionsOf({ maxPubAcksInflight: 3 }).publishing?.maxPending, 5);
  });
});

describe('options of a subscription of node-nats-streaming', () => {
  const of = (options: Partial<SubscriptionOptions>, group?: string) => subscribeOptionsOf(options, group);

  it('defaults', () => {
    assert.deepEqual(of(new SubscriptionOptions()), { startAt: 'new', maxInFlight: 16_384, ackWait: 30_000 });
    // As they come from a program that makes the object itself.
    assert.deepEqual(of({}), { startAt: 'new', maxInFlight: 16_384, ackWait: 30_000 });
  });

  it('empty names are none', () => {
    assert.deepEqual(of({ durableName: '' }, ''), of({}));
    assert.deepEqual(of({ durableName: 'd' }, 'g'), { ...of({}), durableName: 'd', queueGroup: 'g' });
  });

  it('start positions', () => {
    const starts: [Partial<SubscriptionOptions>, unknown][] = [
      [{ startPosition: StartPosition.LAST_RECEIVED }, 'last'],
      [{ startPosition: StartPosition.FIRST }, 'first'],
      [{ startPosition: StartPosition.SEQUENCE_START, startSequence: 7 }, { sequence: 7 }],
      [{ startPosition: StartPosition.SEQUENCE_START, startSequence: 0 }, 'first'],
      [{ startPosition: StartPosition.TIME_DELTA_START, startTime: 1.5e9 }, { ago: 1500 }],
      [{ startPosition: StartPosition.TIME_DELTA_START, startTime: -1.5e9 }, { ago: 0 }],
    ];
    for (const [options, startAt] of starts) assert.deepEqual(of(options).startAt, startAt);
    assert.throws(() => of({ startPosition: 7 as never }), /invalid start position/);
  });

  it('acknowledging', () => {
    assert.equal(of({ manualAcks: true }).manualAck, true);
    assert.equal(of({ manualAcks: true, ackOnResolve: true }).concurrency, undefined);
    assert.equal(of({ ackOnResolve: true, maxInFlight: 5 }).concurrency, 5);
    assert.equal(of({ ackWait: 1 }).ackWait, 1000);
  });
});
