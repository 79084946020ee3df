import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { waitFor } from '../../src/testing/index.js';
import { Proxy } from '../../src/testing/proxy.js';
import { randomFrom } from '../../src/testing/random.js';
import type { Toxic } from '../../src/testing/toxics.js';

/** A client that keeps what it hears. */
class Client {
  readonly socket: Socket;
  text = '';
  ended = false;
  error: NodeJS.ErrnoException | undefined;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.setEncoding('utf8');
    this.socket.on('data', (data: string) => (this.text += data));
    this.socket.on('end', () => (this.ended = true));
    this.socket.on('error', (error) => (this.error = error));
  }

  heard(text: string): Promise<true> {
    return until(() => this.text === text, `'${text}' not heard, but '${this.text}'`);
  }

  closed(): Promise<true> {
    return until(() => this.socket.closed, 'the connection is still open');
  }
}

function until(condition: () => boolean, what: string): Promise<true> {
  return waitFor(() => condition() || undefined, { timeout: 5000, interval: 2, what: () => what });
}

/** Long enough for loopback to have delivered, when nothing is to come: the only way to see that nothing does. */
const quiet = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60));

describe('testing: Proxy', () => {
  let echo: Server;
  let atServer: Socket[];
  let heard: string;
  let proxy: Proxy;
  let clients: Client[];

  beforeEach(async () => {
    atServer = [];
    clients = [];
    heard = '';
    echo = createServer((socket) => {
      atServer.push(socket);
      socket.on('error', () => {});
      socket.on('data', (data) => {
        heard += data.toString();
        socket.write(data);
      });
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    proxy = await Proxy.listen({ target: { port: (echo.address() as AddressInfo).port }, random: randomFrom(1) });
  });
  afterEach(async () => {
    await proxy.close();
    for (const socket of [...atServer, ...clients.map((client) => client.socket)]) socket.destroy();
    if (echo.listening) {
      echo.close();
      await once(echo, 'close');
    }
  });

  function client(): Client {
    const made = new Client(proxy.port);
    clients.push(made);
    return made;
  }

  async function talking(): Promise<Client> {
    const made = client();
    made.socket.write('hello');
    await made.heard('hello');
    heard = '';
    made.text = '';
    return made;
  }

  it('passes on what is said, both ways, and counts it', async () => {
    const one = await talking();
    one.socket.write('x'.repeat(3_000_000));
    await until(() => one.text.length === 3_000_000, 'not everything came back');
    assert.deepEqual(proxy.stats, { connections: 1, accepted: 1, upstream: 3_000_005, downstream: 3_000_005 });
  });

  it('passes on the end of either side', async () => {
    const one = await talking();
    one.socket.end('bye');
    await one.heard('bye');
    await until(() => one.ended, 'the server has not ended');
    await until(() => proxy.stats.connections === 0, 'the proxy still has the connection');
    const two = await talking();
    atServer[1]?.end();
    await until(() => two.ended, 'the end did not come');
  });

  it('passes on a reset', async () => {
    const one = await talking();
    atServer[0]?.resetAndDestroy();
    await one.closed();
    assert.equal(one.error?.code, 'ECONNRESET');
    await until(() => proxy.stats.connections === 0, 'the proxy still has the connection');
  });

  it('resets who comes when there is no server', async () => {
    echo.close();
    const one = client();
    await one.closed();
    assert.equal(one.error?.code, 'ECONNRESET');
  });

  it('down: refuses new connections, closes the open ones, and comes back on its port', async () => {
    const one = await talking();
    const { port } = proxy;
    await proxy.down();
    assert.equal(proxy.enabled, false);
    await one.closed();
    const two = client();
    await two.closed();
    assert.equal(two.error?.code, 'ECONNREFUSED');
    await proxy.up();
    assert.equal(proxy.port, port);
    await talking();
  });

  it('down: can leave the open ones alone', async () => {
    const one = await talking();
    await proxy.down({ connections: 'keep' });
    one.socket.write('still here');
    await one.heard('still here');
  });

  it('resetConnections: resets those there are', async () => {
    const one = await talking();
    proxy.resetConnections();
    await one.closed();
    assert.equal(one.error?.code, 'ECONNRESET');
    await talking();
  });

  it('latency: delays each way', async () => {
    const one = await talking();
    proxy.add({ type: 'latency', latency: 40 });
    const before = performance.now();
    one.socket.write('x');
    await one.heard('x');
    assert.ok(performance.now() - before >= 79, 'at least twice the latency');
  });

  it('black hole: both sides open and mute, a closed connection when it is over', async () => {
    const one = await talking();
    const hole = proxy.add({ type: 'timeout' });
    one.socket.write('into the void');
    await quiet();
    assert.equal(heard, '');
    assert.equal(one.socket.readyState, 'open');
    assert.equal(atServer[0]?.readyState, 'open');
    // Who gives up is not heard of at the other side, either.
    one.socket.destroy();
    await quiet();
    assert.equal(atServer[0]?.readyState, 'open');
    hole.remove();
    await until(() => atServer[0]?.closed === true, 'the server still has the connection');
    await talking();
  });

  it('black hole in one direction: heard, and not answered', async () => {
    const one = await talking();
    proxy.add({ type: 'timeout', stream: 'downstream' });
    one.socket.write('can you hear me');
    await until(() => heard === 'can you hear me', 'the server hears nothing');
    await quiet();
    assert.equal(one.text, '');
  });

  it('stall: what was said arrives when the path is mended; who dials meanwhile waits', async () => {
    const one = await talking();
    const cut = proxy.add({ type: 'stall' });
    one.socket.write('later');
    const two = client();
    two.socket.write('me too');
    await until(() => two.socket.readyState === 'open', 'not accepted');
    await quiet();
    assert.equal(heard, '');
    assert.equal(atServer.length, 1, 'the server has not heard of the second one');
    cut.remove();
    await one.heard('later');
    await two.heard('me too');
  });

  it('stall: holds back a writer like a network does, and no more than that', async () => {
    const one = await talking();
    const cut = proxy.add({ type: 'stall', stream: 'upstream' });
    const chunk = Buffer.alloc(1 << 20, 'x');
    for (let i = 0; i < 32; i++) one.socket.write(chunk);
    await quiet();
    assert.ok(one.socket.writableLength > 16 << 20, 'most of it is still with the sender');
    cut.remove();
    await until(() => one.text.length === 32 << 20, 'not everything came');
  });

  it('reset_peer, limit_data, slicer, bandwidth: as their names say', async () => {
    const one = await talking();
    proxy.add({ type: 'reset_peer', name: 'r' });
    await one.closed();
    assert.equal(one.error?.code, 'ECONNRESET');
    proxy.remove('r');

    const two = await talking();
    proxy.add({ type: 'limit_data', bytes: 3, stream: 'downstream', name: 'l' });
    two.socket.write('abcdef');
    await until(() => two.ended || two.socket.closed, 'not closed');
    assert.equal(two.text, 'abc');
    proxy.clear();

    const three = await talking();
    proxy.add({ type: 'slicer', average_size: 2, delay: 1000 });
    three.socket.write('abcdefghij');
    await three.heard('abcdefghij');
    proxy.clear();

    const four = await talking();
    proxy.add({ type: 'bandwidth', rate: 10, stream: 'upstream' });
    const before = performance.now();
    four.socket.write('x'.repeat(1000));
    await four.heard('x'.repeat(1000));
    assert.ok(performance.now() - before >= 99, '1000 bytes at 10 000 a second');
  });

  it('bandwidth: holds a sender back when its buffer is full', async () => {
    const one = await talking();
    proxy.add({ type: 'bandwidth', rate: 20, buffer: 20, stream: 'upstream', name: 'thin' });
    const chunk = Buffer.alloc(1 << 20, 'x');
    for (let i = 0; i < 16; i++) one.socket.write(chunk);
    await until(() => heard.length >= 2000, 'nothing comes');
    // What is not with the sender is in the system's buffers, which are far smaller than this.
    assert.ok(one.socket.writableLength > 8 << 20, `${one.socket.writableLength} bytes are still with the sender`);
    proxy.remove('thin');
    await until(() => one.text.length === 16 << 20, 'not everything came');
  });

  it('bandwidth, shared: one limit for the connections of several proxies', async () => {
    const other = await Proxy.listen({ target: { port: (echo.address() as AddressInfo).port } });
    try {
      const one = await talking();
      const two = new Client(other.port);
      clients.push(two);
      two.socket.write('hello');
      await two.heard('hello');
      const shared: Toxic = { type: 'bandwidth', rate: 10, stream: 'upstream', shared: true };
      const before = performance.now();
      for (const each of [proxy, other]) each.add(shared);
      one.socket.write('x'.repeat(1000));
      two.socket.write('y'.repeat(1000));
      await one.heard('x'.repeat(1000));
      await two.heard(`hello${'y'.repeat(1000)}`);
      assert.ok(performance.now() - before >= 190, '2000 bytes at 10 000 a second');
    } finally {
      await other.close();
    }
  });

  it('toxicity: concerns a part of the connections', async () => {
    proxy.add({ type: 'timeout', toxicity: 0.5 });
    const many = Array.from({ length: 40 }, () => client());
    for (const one of many) one.socket.write('x');
    await until(() => many.filter((one) => one.text === 'x').length >= 5, 'nobody is answered');
    await quiet();
    const answered = many.filter((one) => one.text === 'x').length;
    assert.ok(answered > 5 && answered < 35, `${answered} of 40`);
  });

  it('names toxics, lists them, and takes the right one away', () => {
    const first = proxy.add({ type: 'latency', latency: 1 });
    const second = proxy.add({ type: 'latency', latency: 2, name: 'mine' });
    assert.deepEqual(
      proxy.toxics.map(({ name }) => name),
      [first.name, 'mine'],
    );
    assert.throws(() => proxy.add({ type: 'stall', name: 'mine' }), /has a toxic 'mine' already/);
    proxy.remove('mine');
    const third = proxy.add({ type: 'stall', name: 'mine' });
    second.remove(); // long gone
    assert.deepEqual(
      proxy.toxics.map(({ toxic }) => toxic.type),
      ['latency', 'stall'],
    );
    third.remove();
    first.remove();
    assert.equal(proxy.toxics.length, 0);
  });

  it('says so when its port is taken', async () => {
    await assert.rejects(Proxy.listen({ port: proxy.port, target: { port: 1 } }), { code: 'EADDRINUSE' });
  });
});
