import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseServers, redact, shuffle, type ServerAddress } from '../../../src/connection/servers.js';
import { refused } from '../../support/refused.js';

const one = (url: string): ServerAddress => {
  const [address, ...more] = parseServers(url);
  assert.deepEqual(more, []);
  return address!;
};

describe('parseServers', () => {
  it('takes localhost when there is no list', () => {
    assert.deepEqual(parseServers(), [{ url: 'nats://localhost:4222', host: 'localhost', port: 4222, tls: false }]);
  });

  for (const [url, expected] of [
    ['nats://a.example:4223', { url: 'nats://a.example:4223', host: 'a.example', port: 4223, tls: false }],
    ['a.example', { url: 'nats://a.example:4222', host: 'a.example', port: 4222, tls: false }],
    ['a.example:1', { url: 'nats://a.example:1', host: 'a.example', port: 1, tls: false }],
    ['localhost:65535', { url: 'nats://localhost:65535', host: 'localhost', port: 65535, tls: false }],
    ['tls://a.example', { url: 'tls://a.example:4222', host: 'a.example', port: 4222, tls: true }],
    ['NATS://A.Example:4222/', { url: 'nats://a.example:4222', host: 'a.example', port: 4222, tls: false }],
    ['  nats://a:4222\n', { url: 'nats://a:4222', host: 'a', port: 4222, tls: false }],
    ['10.0.0.7:4222', { url: 'nats://10.0.0.7:4222', host: '10.0.0.7', port: 4222, tls: false }],
    ['nats_1.my-net', { url: 'nats://nats_1.my-net:4222', host: 'nats_1.my-net', port: 4222, tls: false }],
    ['a.example.', { url: 'nats://a.example.:4222', host: 'a.example.', port: 4222, tls: false }],
    [
      'bücher.example',
      { url: 'nats://xn--bcher-kva.example:4222', host: 'xn--bcher-kva.example', port: 4222, tls: false },
    ],
    ['me:secret@a', { url: 'nats://a:4222', host: 'a', port: 4222, tls: false, user: 'me', pass: 'secret' }],
    ['nats://me:@a', { url: 'nats://a:4222', host: 'a', port: 4222, tls: false, user: 'me', pass: '' }],
    ['nats://t0ken@a:1', { url: 'nats://a:1', host: 'a', port: 1, tls: false, token: 't0ken' }],
    [
      'nats://m%40e:s%3Ae%2Fc%25@a',
      { url: 'nats://a:4222', host: 'a', port: 4222, tls: false, user: 'm@e', pass: 's:e/c%' },
    ],
    [
      'nats://me:s:e@c/r#e?t@a',
      { url: 'nats://a:4222', host: 'a', port: 4222, tls: false, user: 'me', pass: 's:e@c/r#e?t' },
    ],
  ] as [string, ServerAddress][]) {
    it(`takes ${JSON.stringify(url)}`, () => assert.deepEqual(one(url), expected));
  }

  it('takes several, in their order', () => {
    const urls = ['nats://c:1', 'nats://a:2', 'nats://b:3'];
    assert.deepEqual(
      parseServers(urls).map(({ url }) => url),
      urls,
    );
    assert.deepEqual(parseServers('c:1, nats://a:2 ,b:3'), parseServers(urls));
    assert.deepEqual(parseServers(['c:1,a:2', 'b:3']), parseServers(urls));
  });

  it('drops duplicates, however they are written', () => {
    assert.deepEqual(
      parseServers(['a', 'nats://a:4222', 'A:4222/', 'b', 'a']).map(({ url }) => url),
      ['nats://a:4222', 'nats://b:4222'],
    );
  });

  it('keeps TLS when one of two entries for a server has it', () => {
    assert.deepEqual(
      parseServers('a,tls://a').map(({ url }) => url),
      ['tls://a:4222'],
    );
    assert.deepEqual(
      parseServers('tls://a,b,a').map(({ url }) => url),
      ['tls://a:4222', 'nats://b:4222'],
    );
  });

  for (const [servers, ...words] of [
    ['', 'empty string', 'nats://host:4222'],
    ['   ', 'empty string'],
    [[], 'empty', 'leave it out'],
    [['a', ''], 'empty string'],
    ['a,,b', "'a,,b'", 'empty entry', 'comma'],
    ['a,', 'empty entry'],
    [null, 'must be a URL', 'null'],
    [4222, 'must be a URL', '4222'],
    [[4222], 'as a string', '4222'],
    [[['a']], 'as a string', 'an array'],
    [new URL('nats://a:1'), 'must be a URL or an array'],
    [[new URL('nats://a:1')], 'url.href'],
    [{ clusterId: 'x' }, 'second argument', 'connect(servers, options)'],
    ['http://a:4222', "'http://a:4222'", "'http:'", 'nats: and tls:', 'write nats://host:port'],
    ['stan://a', "'stan:'"],
    ['ws://a', "'ws:'"],
    ['nats://', 'no host'],
    ['nats://:4222', 'no host'],
    ['nats://a:', "no port after the ':'"],
    ['a:0', '0', 'out of range', '1 to 65535'],
    ['a:65536', '65536', 'out of range'],
    ['a:-1', "'-1'", 'not a number'],
    ['a:4222x', "'4222x'", 'not a number'],
    ['nats://${host}:${port}', "'$'"],
    ['nats://undefined:undefined', "'undefined'", 'not a number'],
    ['[::1]:4222', 'IPv6', 'not supported', 'host name'],
    ['nats://[2001:db8::1]', 'IPv6'],
    ['::1', 'IPv6'],
    ['nats://a/foo', 'path'],
    ['nats://a:4222?tls=true', 'query'],
    ['nats://a:4222#x', 'fragment'],
    ['nats://a b', "' '"],
    ['nats://a\r\nPUB', "'\\r'"],
    ['nats://a$', "'$'"],
    ['nats://..', 'IPv4'],
    ['nats://.a', 'not a legal name'],
    ['nats://\u00ad', 'not a legal name'],
    ['nats://a..b', 'not a legal name'],
    ['nats://' + 'a'.repeat(254), 'not a legal name'],
    ['999.1.1.1', 'IPv4'],
    ['1.2.3', 'IPv4'],
    ['nats://@a', "before the '@'"],
    ['nats://:x@a', "before the '@'"],
    ['me:1@a,you:2@a', 'twice', 'different credentials'],
  ] as [unknown, ...string[]][]) {
    it(`refuses ${typeof servers === 'string' ? JSON.stringify(servers.slice(0, 40)) : String(JSON.stringify(servers))}`, () => {
      refused(() => parseServers(servers), 'servers', ...words);
    });
  }

  it('shows no credentials in its errors', () => {
    for (const url of [
      'http://me:hunter2@a',
      'nats://me:hunter2@[::1]',
      'me:hunter2@a:99999',
      'nats://me:hunter%2@a',
      'nats://hunter2@',
      'nats://me:hunter2,more@a',
      'nats://me:x,hunter2@a:1/path',
      'nats://me:hunter2@b@a:x',
      'ok:1,,me:hunter2@a',
    ]) {
      const error = refused(() => parseServers(url), 'servers');
      assert.ok(!error.message.includes('hunter2'), error.message);
    }
  });

  it('tells how to write a comma in a password', () => {
    refused(() => parseServers('nats://me:pa,ss@a'), 'servers', '%2C', 'entry 1');
    assert.equal(one('nats://me:pa%2Css@a').pass, 'pa,ss');
  });

  it('finds what was put together, for any host, port and credentials', () => {
    const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/);
    const host = fc.oneof(
      fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.')),
      fc.ipV4(),
    );
    const secret = fc.string({ minLength: 1, unit: 'grapheme' });
    fc.assert(
      fc.property(
        fc.boolean(),
        host,
        fc.integer({ min: 1, max: 65535 }),
        secret,
        secret,
        (tls, name, port, user, pass) => {
          const scheme = tls ? 'tls' : 'nats';
          const url = `${scheme}://${encodeURIComponent(user)}:${encodeURIComponent(pass)}@${name}:${port}`;
          assert.deepEqual(one(url), { url: `${scheme}://${name}:${port}`, host: name, port, tls, user, pass });
        },
      ),
    );
  });

  it('never throws anything but InvalidArgumentError', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.anything()), (servers) => {
        fc.pre(servers !== undefined);
        try {
          for (const { host, port } of parseServers(servers)) assert.ok(host !== '' && port > 0 && port < 65536);
        } catch (error) {
          refused(() => {
            throw error;
          }, 'servers');
        }
      }),
    );
  });
});

describe('redact', () => {
  for (const [text, shown] of [
    ['nats://me:secret@a:1', 'nats://***@a:1'],
    ['me:sec@ret@a', '***@a'],
    ['nats://a:1', 'nats://a:1'],
    ['a:1', 'a:1'],
    ['nats://x:1,me:secret@a', 'nats://***@a'],
  ] as const) {
    it(`makes ${shown} of ${text}`, () => assert.equal(redact(text), shown));
  }
});

describe('shuffle', () => {
  it('keeps every element, and leaves the list alone', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer()),
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        (list, draws) => {
          const before = [...list];
          const shuffled = shuffle(list, () => draws.next().value as number);
          assert.deepEqual(list, before);
          assert.deepEqual(
            shuffled.toSorted((a, b) => a - b),
            before.sort((a, b) => a - b),
          );
        },
      ),
    );
  });

  it('can make every order of a list', () => {
    // With three elements two numbers are drawn; these six pairs are the six orders.
    const orders = new Set<string>();
    for (const first of [0, 0.4, 0.7]) {
      for (const second of [0, 0.6]) {
        const draws = [first, second];
        orders.add(shuffle(['a', 'b', 'c'], () => draws.shift()!).join(''));
      }
    }
    assert.equal(orders.size, 6);
  });
});
