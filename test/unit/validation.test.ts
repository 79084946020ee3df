import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import {
  checkChannel,
  checkClientId,
  checkClusterId,
  checkPayload,
  checkSubscriptionName,
  kindOf,
  quote,
  show,
} from '../../src/validation.js';
import { refused } from '../support/refused.js';

const long = 'x'.repeat(256);
const asciiToken = /^[\x21-\x7e]+$/;

describe('checkChannel', () => {
  for (const channel of [
    'foo',
    'a.b.c',
    'orders.created-v2',
    'A_1',
    '$x',
    '_STAN.x',
    '!"#%&()+,-:;<=?@[]^`{|}~',
    'x'.repeat(255),
  ]) {
    it(`takes ${channel.slice(0, 40)}`, () => checkChannel(channel));
  }

  for (const [channel, ...words] of [
    ['', 'is empty'],
    ['.', "starts with a '.'"],
    ['.a', "'.a'", "starts with a '.'"],
    ['a.', "ends with a '.'"],
    ['a..b', "'a..b'", 'two dots in a row', 'character 2'],
    ['abc...d', 'two dots in a row', 'character 4'],
    ['*', 'wildcard', "'*'", 'character 1'],
    ['a.*.b', 'wildcard', 'character 3'],
    ['a*', 'wildcard', 'character 2'],
    ['>', 'wildcard', "'>'"],
    ['a.>', 'wildcard', "'>'", 'character 3'],
    ['a/b', "'/'", 'character 2', "'.' instead"],
    ['a b', 'a space', 'character 2'],
    [' a', 'a space', 'character 1'],
    ['a\tb', 'a tab', 'character 2'],
    ['a\nb', 'a line feed', 'character 2', "'a\\nb'"],
    ['a\r\nPUB x 0\r\n', 'a carriage return', 'character 2', '\\r\\n'],
    ['a\0', 'NUL', 'character 2'],
    ['a\x1b[31m', 'U+001B', '\\u001b'],
    ['a\x7f', 'U+007F'],
    ['é', 'U+00E9', 'ASCII'],
    ['chann€l', "'€'", 'character 6'],
    ['a\u00a0b', 'white space', 'U+00A0'],
    ['a\u200b', 'U+200B'],
    ['a\u202eb', 'U+202E', '\\u202e'],
    ['😀', '😀', 'U+1F600'],
    ['\ud800', 'U+D800'],
    [long, '256', '255'],
    [undefined, 'must be a string', 'undefined'],
    [null, 'must be a string', 'null'],
    [5, 'must be a string', '5'],
    [['a'], 'must be a string', 'an array'],
    [{}, 'must be a string', 'an object'],
    [Symbol('x'), 'must be a string', 'Symbol'],
    [new String('a'), 'must be a string', 'a String'],
    [Buffer.from('a'), 'must be a string', 'a Buffer'],
  ] as [unknown, ...string[]][]) {
    it(`refuses ${typeof channel === 'string' ? quote(channel) : show(channel)}`, () => {
      refused(() => checkChannel(channel), 'channel', ...words);
    });
  }

  it('says what a publish needs to know of its message', () => {
    assert.equal(refused(() => checkChannel('a b', { delivery: 'not-sent' }), 'channel').delivery, 'not-sent');
    assert.equal(refused(() => checkChannel('a b'), 'channel').delivery, undefined);
  });

  it('takes exactly the names that the server and NATS take', () => {
    // The rule once more, in the words of the server's own check and of a NATS subject.
    const legal = (name: string) =>
      name.length <= 255 &&
      !/[*>/]/.test(name) &&
      name.split('.').every((token) => token !== '' && asciiToken.test(token));
    const nearly = fc.string({
      unit: fc.constantFrom('a', 'Z', '0', '.', '-', '_', '*', '>', '/', ' ', '~', '!', ',', '+', '\n', 'é'),
    });
    fc.assert(
      fc.property(fc.oneof(nearly, fc.string(), fc.string({ unit: 'binary' })), (name) => {
        if (legal(name)) checkChannel(name);
        else refused(() => checkChannel(name), 'channel');
      }),
      { numRuns: 1000 },
    );
  });
});

describe('checkClientId', () => {
  for (const id of ['a', 'A-b_9', 'x'.repeat(255)]) it(`takes ${id.slice(0, 20)}`, () => checkClientId(id));

  for (const [id, ...words] of [
    ['', 'is empty'],
    ['a.b', "'.'", 'character 2', 'letters, digits'],
    ['a b', 'a space', 'character 2'],
    ['a\n', 'a line feed', 'character 2'],
    ['ä', 'U+00E4'],
    ['me@host', "'@'", 'character 3'],
    [long, '256', '255'],
    [7, 'must be a string', '7'],
    [null, 'must be a string', 'null'],
  ] as [unknown, ...string[]][]) {
    it(`refuses ${typeof id === 'string' ? quote(id) : show(id)}`, () => {
      refused(() => checkClientId(id), 'clientId', 'client ID', ...words);
    });
  }

  it("is the server's rule", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'Z', '0', '-', '_', '.', ' ', '\n', 'é'), maxLength: 4 }),
        (id) => {
          if (/^[a-zA-Z0-9_-]+$/.test(id) && !id.endsWith('\n')) checkClientId(id);
          else refused(() => checkClientId(id), 'clientId');
        },
      ),
    );
  });
});

describe('checkClusterId', () => {
  for (const id of ['test-cluster', 'prod.eu', 'a/b']) it(`takes ${id}`, () => checkClusterId(id));

  for (const [id, ...words] of [
    ['', 'is empty', 'cluster_id'],
    ['test cluster', 'a space', 'character 5'],
    ['*', 'wildcard'],
    ['a.>', 'wildcard'],
    ['a..b', 'two dots in a row'],
    ['.a', "starts with a '.'"],
    ['a.', "ends with a '.'"],
    ['a\r\n', 'a carriage return'],
    ['clüster', 'U+00FC'],
    [long, '256'],
    [1, 'must be a string'],
  ] as [unknown, ...string[]][]) {
    it(`refuses ${typeof id === 'string' ? quote(id) : show(id)}`, () => {
      refused(() => checkClusterId(id), 'clusterId', 'cluster ID', ...words);
    });
  }
});

describe('checkSubscriptionName', () => {
  for (const name of ['workers', 'a.b', 'ärger', '*', 'x'.repeat(255)]) {
    it(`takes ${name.slice(0, 20)}`, () => checkSubscriptionName(name, 'durableName'));
  }

  for (const [name, ...words] of [
    ['', 'is empty'],
    ['a:b', "':'", 'character 2', 'separates'],
    ['a b', 'a space', 'character 2'],
    ['a\n', 'a line feed'],
    ['a\u2028', 'U+2028'],
    ['a\0', 'NUL'],
    ['ä'.repeat(128), '256 bytes', '255'],
    [0, 'must be a string', '0'],
    [null, 'must be a string', 'null'],
  ] as [unknown, ...string[]][]) {
    it(`refuses ${typeof name === 'string' ? quote(name) : show(name)}`, () => {
      refused(() => checkSubscriptionName(name, 'durableName'), 'durableName', "'durableName'", ...words);
      refused(() => checkSubscriptionName(name, 'queueGroup'), 'queueGroup', "'queueGroup'", ...words);
    });
  }
});

describe('checkPayload', () => {
  const other = (code: string): unknown => runInNewContext(code) as unknown;
  for (const [what, data] of [
    ['a string', 'x'],
    ['an empty string', ''],
    ['a Buffer', Buffer.from('x')],
    ['a Uint8Array', new Uint8Array(3)],
    ['an empty Uint8Array', new Uint8Array()],
    ['bytes of another realm', other('new Uint8Array(3)')],
    ['bytes in shared memory', new Uint8Array(new SharedArrayBuffer(3))],
  ] as [string, unknown][]) {
    it(`takes ${what}`, () => checkPayload(data));
  }

  for (const [what, data, ...words] of [
    ['nothing', undefined, 'undefined', 'empty string'],
    ['null', null, 'null', 'empty string'],
    ['a number', 42, '42', 'String(data)'],
    ['NaN', NaN, 'NaN'],
    ['a bigint', 42n, '42n', 'String(data)'],
    ['a boolean', false, 'false', 'String(data)'],
    ['an object', { a: 1 }, 'an object', 'JSON.stringify(data)'],
    ['an array', [1], 'an array', 'JSON.stringify(data)'],
    ['a Date', new Date(), 'a Date', 'JSON.stringify(data)'],
    ['an object without prototype', Object.create(null), 'an object', 'JSON.stringify(data)'],
    ['an ArrayBuffer', new ArrayBuffer(2), 'an ArrayBuffer', 'new Uint8Array(data)'],
    ['an ArrayBuffer of another realm', other('new ArrayBuffer(2)'), 'an ArrayBuffer', 'new Uint8Array(data)'],
    ['a SharedArrayBuffer', new SharedArrayBuffer(2), 'SharedArrayBuffer', 'new Uint8Array(data)'],
    ['a DataView', new DataView(new ArrayBuffer(2)), 'a DataView', 'data.byteOffset'],
    ['a Uint16Array', new Uint16Array(2), 'Uint16Array', 'data.byteLength'],
    ['a promise', Promise.resolve('x'), 'Promise', 'await'],
    ['a function', () => 'x', 'a function'],
    ['a symbol', Symbol('x'), 'a symbol'],
    ['a String object', new String('x'), 'a String'],
  ] as [string, unknown, ...string[]][]) {
    it(`refuses ${what}`, () => {
      const error = refused(
        () => checkPayload(data, { delivery: 'not-sent' }),
        'data',
        'string or a Uint8Array',
        ...words,
      );
      assert.equal(error.delivery, 'not-sent');
    });
  }

  it('takes nothing but strings and bytes', () => {
    fc.assert(
      fc.property(fc.anything({ withTypedArray: true, withDate: true, withBigInt: true, withMap: true }), (data) => {
        if (typeof data === 'string' || data instanceof Uint8Array) checkPayload(data);
        else refused(() => checkPayload(data), 'data');
      }),
    );
  });
});

describe('how values are shown', () => {
  it('is short and on one line', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.anything()), (value) => {
        assert.match(show(value), /^[^\p{Cc}\u2028\u2029\u202a-\u202e]{1,500}$/u);
        assert.match(kindOf(value), /^an? |^(null|undefined|-?\d+n)$/);
      }),
    );
  });

  it('never shows a secret', () => {
    for (const secret of ['hunter2', 31337, true]) assert.ok(!kindOf(secret).includes(String(secret)));
  });
});
