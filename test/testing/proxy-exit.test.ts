import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROXY = fileURLToPath(new URL('../../src/testing/proxy.ts', import.meta.url));

describe('a proxy at the end of its process', () => {
  it('holds up no exit when it resets a connection that is being ended', async () => {
    const script = `
      import { createServer, connect, Socket } from 'node:net';
      import { once } from 'node:events';
      import { Proxy } from ${JSON.stringify(PROXY)};
      const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).resume().unref());
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const proxy = await Proxy.listen({ target: { port: server.address().port } });
      // The end of the stream is being passed on, and that very moment everything is reset.
      const { end } = Socket.prototype;
      Socket.prototype.end = function (...args) {
        end.apply(this, args);
        if (this.remotePort === server.address().port) proxy.resetConnections();
        return this;
      };
      const client = connect({ port: proxy.port, allowHalfOpen: true });
      client.on('error', () => {}).unref();
      const over = new Promise((resolve) => client.once('close', resolve));
      client.end('last words');
      await over;
      await proxy.close();
      server.close();
      console.log('done');
    `;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 20_000,
      killSignal: 'SIGKILL',
    });
    const said = once(child.stdout, 'data');
    assert.deepEqual(await once(child, 'exit'), [0, null]);
    assert.equal(String((await said)[0]).trim(), 'done');
  });
});
