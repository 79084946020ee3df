/** A man in the middle: passes on what a real server and a client say, rewrites the INFO, and reads what it can. */
import { connect as dial, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { connect as dialSecurely } from 'node:tls';

/** The first byte of a TLS handshake. */
const HANDSHAKE = 0x16;

export class LyingProxy {
  /** Makes of the server's INFO, as text, the bytes that the client gets instead. */
  rewrite: (info: Record<string, unknown>) => string = (info) => `INFO ${JSON.stringify(info)}\r\n`;
  dials = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #clear = '';

  private constructor(target: number) {
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket, target));
  }

  static async before(url: string): Promise<LyingProxy> {
    const proxy = new LyingProxy(Number(new URL(url).port));
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** All that clients have sent in the clear. */
  get clearText(): string {
    return this.#clear;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(client: Socket, target: number): void {
    this.dials += 1;
    const server = dial(target, '127.0.0.1');
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        client.destroy();
        server.destroy();
      });
    }
    let greeting = '';
    const greet = (data: Buffer): void => {
      greeting += data.toString('latin1');
      if (!greeting.includes('\r\n')) return;
      server.off('data', greet);
      client.write(this.rewrite(JSON.parse(greeting.slice(5)) as Record<string, unknown>));
      client.once('data', (first: Buffer) => {
        if (first[0] === HANDSHAKE) {
          server.write(first);
          client.pipe(server).pipe(client);
          return;
        }
        // The client believes it. The server would not, so towards it there is TLS.
        const secure = dialSecurely({ socket: server, rejectUnauthorized: false });
        secure.on('error', () => client.destroy());
        const read = (data: Buffer): void => {
          this.#clear += data.toString('latin1');
          secure.write(data);
        };
        read(first);
        client.on('data', read);
        secure.pipe(client);
      });
    };
    server.on('data', greet);
  }
}
