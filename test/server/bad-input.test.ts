/** What can never work, at a live client: a typed error as a rejection, before a byte is sent, and the session lives on. */
import assert from 'node:assert/strict';
import {
  ClosedError,
  InvalidArgumentError,
  PayloadTooLargeError,
  type ResilientStan,
  type CloseOptions,
  type FlushOptions,
  type MessageHandler,
  type PublishOptions,
  type SubscribeOptions,
} from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { Clients, Recorder, readBack, rejection, uniqueName, until } from '../support/clients.js';

const CHANNELS: [string, unknown, string | RegExp][] = [
  ['empty', '', 'is empty'],
  ['two dots in a row', 'a..b', 'two dots'],
  ['a dot at the start', '.a', 'starts with'],
  ['a dot at the end', 'a.', 'ends with'],
  ['the wildcard *', '*', "wildcard '*'"],
  ['the wildcard >', 'a.>', "wildcard '>'"],
  ['a wildcard within a token', 'a*b', "wildcard '*'"],
  ['a slash', 'a/b', "a '/'"],
  ['a space', 'a b', 'a space'],
  ['a tab', 'a\tb', 'a tab'],
  ['CR LF and a command', 'a 1\r\nx\r\nPUB b 1\r\ny', 'a space'],
  ['a line feed', 'a\nb', 'a line feed'],
  ['a carriage return', 'a\rb', 'a carriage return'],
  ['NUL', 'a\0b', 'a NUL'],
  ['a control character', 'a\x7f', 'U+007F'],
  ['non-ASCII', 'bestellung.größe', 'ASCII'],
  ['an emoji', 'a.😀', 'ASCII'],
  ['half a surrogate pair', 'a\ud800', 'ASCII'],
  ['absurdly long', 'a'.repeat(100_000), '255'],
  ['undefined', undefined, 'undefined'],
  ['null', null, 'null'],
  ['a number', 5, '5'],
  ['an object', {}, 'an object'],
  ['a String object', Object('a'), 'a String'],
  ['something whose toString throws', { toString: () => assert.fail('it was asked') }, 'an object'],
];

const PAYLOADS: [string, unknown, string | RegExp][] = [
  ['undefined', undefined, 'empty string'],
  ['null', null, 'empty string'],
  ['a number', 5, 'String(data)'],
  ['a boolean', true, 'String(data)'],
  ['an object', { a: 1 }, 'JSON.stringify'],
  ['an array', [1, 2], 'JSON.stringify'],
  ['an ArrayBuffer', new ArrayBuffer(2), 'new Uint8Array(data)'],
  ['a DataView', new DataView(new ArrayBuffer(2)), 'new Uint8Array(data.buffer'],
  ['a Uint16Array', new Uint16Array(2), 'new Uint8Array(data.buffer'],
  ['a Promise', Promise.resolve('x'), 'await it'],
  ['a function', () => 'x', 'a function'],
  ['a symbol', Symbol('x'), 'a symbol'],
];

const PUBLISH_OPTIONS: [string, unknown, string, ...(string | RegExp)[]][] = [
  ['an unknown name', { timout: 5 }, 'timout', "did you mean 'timeout'?"],
  ['a timeout of another type', { timeout: '5' }, 'timeout'],
  ['a negative timeout', { timeout: -1 }, 'timeout'],
  ['a fractional timeout', { timeout: 1.5 }, 'timeout'],
  ['NaN', { timeout: NaN }, 'timeout'],
  ['a signal that is none', { signal: {} }, 'signal'],
  ['no object', 5, 'options'],
  ['null', null, 'options'],
];

const SUBSCRIBE_OPTIONS: [string, unknown, string, ...(string | RegExp)[]][] = [
  ['an unknown name', { durable: 'x' }, 'durable', "did you mean 'durableName'?"],
  ['a misspelt name', { queuGroup: 'x' }, 'queuGroup', "did you mean 'queueGroup'?"],
  ['an ackWait under 1 s', { ackWait: 999 }, 'ackWait', '1000'],
  ['a fractional ackWait', { ackWait: 1000.5 }, 'ackWait'],
  ['an ackWait as a string', { ackWait: '30s' }, 'ackWait'],
  ['maxInFlight 0', { maxInFlight: 0 }, 'maxInFlight'],
  ['maxInFlight over 32 bits', { maxInFlight: 2 ** 31 }, 'maxInFlight'],
  ['more concurrency than maxInFlight', { maxInFlight: 1, concurrency: 2 }, 'concurrency'],
  ['concurrency 0', { concurrency: 0 }, 'concurrency'],
  ['maxDeliveries 0', { maxDeliveries: 0 }, 'maxDeliveries'],
  ['a deadLetter that would never be called', { deadLetter: () => {} }, 'deadLetter', 'maxDeliveries'],
  ['a deadLetter that is no function', { maxDeliveries: 2, deadLetter: 'x' }, 'deadLetter'],
  ['manualAck that is no boolean', { manualAck: 1 }, 'manualAck'],
  ['an empty durable name', { durableName: '' }, 'durableName', 'empty'],
  ['a durable name with a colon', { durableName: 'a:b' }, 'durableName', "':'"],
  ['a durable name with a space', { durableName: 'a b' }, 'durableName', 'a space'],
  ['a durable name with CR LF', { durableName: 'a\r\nb' }, 'durableName', 'carriage return'],
  ['a durable name that is no string', { durableName: 5 }, 'durableName'],
  ['a durable name that is too long', { durableName: 'x'.repeat(256) }, 'durableName', '255'],
  ['an empty queue group', { queueGroup: '' }, 'queueGroup', 'empty'],
  ['a queue group with a colon', { queueGroup: 'a:b' }, 'queueGroup', "':'"],
  ['a queue group with a line feed', { queueGroup: 'a\nb' }, 'queueGroup', 'line feed'],
  ['a start that does not exist', { startAt: 'begin' }, 'startAt'],
  ['a bare number as the start', { startAt: 5 }, 'startAt', '{ sequence: 5 }'],
  ['a bare Date as the start', { startAt: new Date() }, 'startAt', '{ time: date }'],
  ['two starts', { startAt: { sequence: 1, ago: 1 } }, 'startAt', 'exactly one'],
  ['sequence 0', { startAt: { sequence: 0 } }, 'startAt.sequence'],
  ['an invalid Date', { startAt: { time: new Date(NaN) } }, 'startAt.time', 'invalid'],
  ['a negative ago', { startAt: { ago: -1 } }, 'startAt.ago'],
  ['a signal that is none', { signal: 'x' }, 'signal'],
  ['null', null, 'options'],
];

describe('bad input to a live client', function () {
  this.timeout(30_000);
  const clients = new Clients();
  let cluster: StanCluster;
  let stan: ResilientStan;
  let generated: ResilientStan;
  let recorder: Recorder;
  const good = uniqueName('good');

  before(async () => {
    cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      proxied: true,
      config: { max_payload: 4096 },
    });
    // Pings are the only thing that an idle client sends.
    stan = await clients.connect(cluster.urls, { clientId: uniqueName('me'), pings: { interval: 600_000 } });
    recorder = new Recorder(stan);
    generated = await clients.connect(cluster.urls, { pings: { interval: 600_000 } });
    await generated.publish(good, 'before');
  });
  after(async () => {
    await clients.closeAll();
    await cluster.stop();
  });

  /** Calls, without a throw; the rejection; and not a byte has gone out meanwhile. */
  async function refused(call: () => Promise<unknown>, ...words: (string | RegExp)[]): Promise<InvalidArgumentError> {
    const { proxy } = cluster.nodes[0]!;
    const before = proxy.stats.upstream;
    const subscriptions = stan.stats().subscriptions;
    const promise = call();
    assert.ok(promise instanceof Promise);
    const error = await rejection(promise, InvalidArgumentError, ...words);
    // Its own turn for whatever would be sent.
    await new Promise((resolve) => setTimeout(resolve, 2));
    assert.equal(proxy.stats.upstream, before, 'something was sent');
    assert.equal(stan.stats().subscriptions, subscriptions);
    assert.equal(error.code, 'ERR_STAN_INVALID_ARGUMENT');
    assert.match(error.message, /^[^\p{Cc}]+$/u, 'one line, without control characters');
    assert.ok(error.message.length < 400, `too long: ${error.message}`);
    return error;
  }

  describe('the channel of publish(), subscribe() and messages()', () => {
    for (const [what, channel, word] of CHANNELS) {
      it(what, async () => {
        const published = await refused(() => stan.publish(channel as string, 'x'), word);
        assert.equal(published.argument, 'channel');
        assert.equal(published.delivery, 'not-sent');
        const subscribed = await refused(() => stan.subscribe(channel as string, () => {}), word);
        assert.equal(subscribed.argument, 'channel');
        assert.equal((await refused(() => stan.messages(channel as string).next(), word)).argument, 'channel');
      });
    }
  });

  describe('the payload of publish()', () => {
    for (const [what, data, word] of PAYLOADS) {
      it(what, async () => {
        const error = await refused(() => stan.publish(good, data as string), word);
        assert.equal(error.argument, 'data');
        assert.equal(error.delivery, 'not-sent');
      });
    }

    it("over the server's limit, protocol overhead included", async () => {
      const { proxy } = cluster.nodes[0]!;
      const before = proxy.stats.upstream;
      for (const data of ['x'.repeat(4096), Buffer.alloc(1_000_000), 'é'.repeat(2048)]) {
        const error = await rejection(stan.publish(good, data), PayloadTooLargeError, good, '4096', 'max_payload');
        assert.equal(error.delivery, 'not-sent');
        assert.equal(error.limit, 4096);
        assert.ok(error.size > 4096);
      }
      assert.equal(proxy.stats.upstream, before);
    });

    it('exactly at the limit it is taken, and one byte more is not', async () => {
      const channel = uniqueName('limit');
      const { size } = await rejection(stan.publish(channel, Buffer.alloc(4096)), PayloadTooLargeError);
      const most = 4096 - (size - 4096);
      await rejection(stan.publish(channel, Buffer.alloc(most + 1)), PayloadTooLargeError);
      await stan.publish(channel, Buffer.alloc(most, 'x'));
      const [value] = await readBack(cluster.urls, channel);
      assert.equal(value?.length, most);
    });
  });

  describe('the options of publish()', () => {
    for (const [what, options, argument, ...words] of PUBLISH_OPTIONS) {
      it(what, async () => {
        const error = await refused(() => stan.publish(good, 'x', options as PublishOptions), ...words);
        assert.equal(error.argument, argument);
        assert.equal(error.delivery, 'not-sent');
      });
    }
  });

  describe('the options of subscribe()', () => {
    for (const [what, options, argument, ...words] of SUBSCRIBE_OPTIONS) {
      it(what, async () => {
        const error = await refused(() => stan.subscribe(good, () => {}, options as SubscribeOptions), ...words);
        assert.equal(error.argument, argument);
        assert.equal((await refused(() => stan.messages(good, options as SubscribeOptions).next())).argument, argument);
      });
    }

    it('a durable without a client ID of its own', async () => {
      const error = await refused(() => generated.subscribe(good, () => {}, { durableName: 'd' }), "Set 'clientId'");
      assert.equal(error.argument, 'durableName');
      // A queue group's belongs to the group.
      const queue = await generated.subscribe(good, () => {}, { durableName: 'd', queueGroup: uniqueName('q') });
      await queue.unsubscribe();
    });
  });

  describe('the handler of subscribe()', () => {
    for (const [what, handler] of [
      ['missing', undefined],
      ['null', null],
      ['options instead', { durableName: 'x' }],
      ['a string', 'x'],
    ] as const) {
      it(what, async () => {
        const error = await refused(() => stan.subscribe(good, handler as unknown as MessageHandler), 'a function');
        assert.equal(error.argument, 'handler');
      });
    }

    it('a queue group in its place, as in node-nats-streaming', async () => {
      const call = (): unknown => stan.subscribe(good, 'workers' as never, {});
      assert.equal((await refused(call as never, "{ queueGroup: 'workers' }")).argument, 'handler');
    });

    it('in the place of the options of messages()', async () => {
      const options = (() => {}) as unknown as SubscribeOptions;
      assert.equal((await refused(() => stan.messages(good, options).next(), 'no handler')).argument, 'options');
    });
  });

  describe('the options of flush() and close()', () => {
    for (const [what, options] of [
      ['an unknown name', { timeuot: 5 }],
      ['a negative timeout', { timeout: -1 }],
      ['a timeout of another type', { timeout: '5' }],
      ['no object', 5],
    ] as const) {
      it(what, async () => {
        await refused(() => stan.flush(options as FlushOptions));
        await refused(() => stan.close(options as unknown as CloseOptions));
        assert.equal(stan.state, 'connected', 'a refused close() closes nothing');
      });
    }
  });

  it('and after all of it the session lives, and nothing of it was stored', async () => {
    assert.deepEqual(
      recorder.names.filter((name) => name !== 'connect'),
      [],
    );
    const got: string[] = [];
    const subscription = await stan.subscribe(good, (message) => void got.push(message.string()), { startAt: 'first' });
    await stan.publish(good, 'after');
    await until(
      () => got.length === 2,
      () => `got ${got.join()}`,
    );
    assert.deepEqual(got, ['before', 'after']);
    await subscription.close();
    assert.equal(stan.stats().losses, 0);
    assert.equal(stan.stats().subscriptions, 0);
    const channels = await cluster.nodes[0]!.monitor.get<{ names: string[] }>('/streaming/channelsz');
    assert.ok(
      channels?.names.every((name) => name === good || name.startsWith('limit-')),
      channels?.names.join(),
    );
  });

  it('use after close()', async () => {
    const closed = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
    const subscription = await closed.subscribe(good, () => {});
    const iterator = closed.messages(good, { startAt: 'first' });
    const waiting = closed.messages(good);
    assert.equal((await iterator.next()).done, false);
    const asked = waiting.next();
    const closing = closed.close();
    // Asks for the next one, by which the first is done: nothing is left to wait for.
    const last = iterator.next();
    await closing;
    assert.deepEqual(await asked, { done: true, value: undefined });
    assert.deepEqual(await last, { done: true, value: undefined });
    const error = await rejection(closed.publish(good, 'x'), ClosedError, 'closed');
    assert.equal(error.delivery, 'not-sent');
    assert.equal(error.code, 'ERR_STAN_CLOSED');
    await rejection(
      closed.subscribe(good, () => {}),
      ClosedError,
      'closed',
    );
    await rejection(closed.messages(good).next(), ClosedError, 'closed');
    // Bad input is told as such all the same.
    await rejection(closed.publish('a b', 'x'), InvalidArgumentError);
    assert.deepEqual(await iterator.next(), { done: true, value: undefined });
    await closed.flush();
    await closed.close();
    await subscription.close();
    await subscription.unsubscribe();
    assert.equal(await closed.closed(), undefined);
    assert.equal(closed.state, 'closed');
    assert.equal(closed.server, undefined);
    assert.equal(closed.health().healthy, false);
    assert.equal(closed.stats().subscriptions, 0);
  });
});
