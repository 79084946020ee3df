import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MOST_ANNOUNCED, ServerList } from '../../../src/connection/server-list.js';
import { announcedServers, type ServerAddress } from '../../../src/connection/servers.js';

const server = (host: string, port = 4222): ServerAddress => ({
  url: `nats://${host}:${port}`,
  host,
  port,
  tls: false,
});
const names = (list: ServerList): string => list.inOrder.map(({ host }) => host).join(' ');

describe('the list of servers', () => {
  it('has who failed last, and among the listed ones until it failed twice', () => {
    const list = new ServerList([server('a'), server('b')]);
    list.announce([server('a'), server('b'), server('c'), server('d')], server('a'));
    assert.equal(names(list), 'a b c d');
    list.failed('nats://a:4222');
    assert.equal(names(list), 'b a c d');
    list.failed('nats://a:4222');
    assert.equal(names(list), 'b c d a');
    list.failed('nats://c:4222');
    assert.equal(names(list), 'b d a c');
    list.served('nats://a:4222');
    assert.equal(names(list), 'a b d c');
  });

  it('forgets who is not announced any more, and nobody for an announcement that says nothing', () => {
    const list = new ServerList([server('a')]);
    list.announce([server('a'), server('c')], server('a'));
    list.announce([], server('a'));
    // As it knows itself, after a start.
    list.announce([server('10.0.0.1')], server('a'));
    assert.equal(names(list), 'a c');
    list.announce([server('d', 1)], server('a'));
    assert.equal(names(list), 'a d');
  });

  it('has each server once, the listed ones always, and never more than a bound (property)', () => {
    const host = fc.integer({ min: 0, max: 200 }).map((n) => `h${n}`);
    const step = fc.oneof(
      host.map((name) => (list: ServerList) => list.failed(`nats://${name}:4222`)),
      host.map((name) => (list: ServerList) => list.served(`nats://${name}:4222`)),
      fc.array(host, { maxLength: 150 }).map(
        (announced) => (list: ServerList) =>
          list.announce(
            announced.map((each) => server(each)),
            server('h0'),
          ),
      ),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const listed = ['h0', 'h1', 'h2'];
        const list = new ServerList(listed.map((name) => server(name)));
        for (const act of steps) act(list);
        const urls = list.inOrder.map(({ url }) => url);
        assert.equal(new Set(urls).size, urls.length);
        assert.ok(listed.every((name) => urls.includes(`nats://${name}:4222`)));
        assert.ok(urls.length <= listed.length + MOST_ANNOUNCED);
      }),
    );
  });
});

describe('announced servers', () => {
  const by: ServerAddress = {
    ...server('a.example'),
    url: 'tls://a.example:4222',
    tls: true,
    user: 'me',
    pass: 'secret',
  };

  it('are reached as who announced them is, and may be certified for his name, and for their own when that can be believed', () => {
    const [c] = announcedServers(['10.0.0.3:4223'], by, { most: 9, ownNames: false });
    assert.deepEqual(c, {
      url: 'tls://10.0.0.3:4223',
      host: '10.0.0.3',
      port: 4223,
      tls: true,
      user: 'me',
      pass: 'secret',
      names: ['a.example'],
    });
    const [d] = announcedServers(['d.example:1'], c, { most: 9, ownNames: true });
    assert.deepEqual(d!.names, ['a.example', 'd.example'], 'names do not pile up');
  });

  it('are left out when they are malformed, IPv6 literals, or too many', () => {
    const announced = [
      '',
      'x',
      'x:',
      ':1',
      'x:0',
      'x:99999',
      'x:1/',
      'u:p@x:1',
      'x y:1',
      '[::1]:4222',
      'x:1,y:2',
      'x\r\n:1',
    ];
    assert.deepEqual(announcedServers(announced, by, { most: 9, ownNames: false }), []);
    const many = Array.from({ length: 100 }, (_, n) => `h${n}:4222`);
    assert.equal(announcedServers(many, by, { most: 9, ownNames: false }).length, 9);
  });
});
