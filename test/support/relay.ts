/** A way to one server that can fall silent just when somebody asks something. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class Relay {
  readonly #server: Server;
  readonly #port: number;
  readonly #sockets = new Set<Socket>();
  /** What makes it silent. */
  #at: RegExp | undefined;
  #silent = false;
  #onSilent: (() => void) | undefined;
  readonly #waiting: { what: RegExp; resolve: () => void }[] = [];

  private constructor(port: number) {
    this.#port = port;
    this.#server = createServer((client) => this.#relay(client));
  }

  /** @param url of the server, as `nats://host:port` */
  static async open(url: string): Promise<Relay> {
    const relay = new Relay(Number(new URL(url).port));
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  /** `host:port` of this end. */
  get place(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many clients are connected. */
  get clients(): number {
    return this.#sockets.size;
  }

  /**
   * From the moment on at which a client sends what fits, nothing passes any more, in both directions.
   * @returns resolves when it is so
   */
  silentAt(what: RegExp): Promise<void> {
    this.#at = what;
    return new Promise((resolve) => (this.#onSilent = resolve));
  }

  /** Resolves when a client sends what fits. */
  heard(what: RegExp): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ what, resolve }));
  }

  /** Lets everything pass again, for those who connect from now on. */
  pass(): void {
    this.#at = undefined;
    this.#silent = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.pass();
    this.#server.close();
  }

  #relay(client: Socket): void {
    this.#sockets.add(client);
    const server = connect(this.#port, '127.0.0.1');
    client
      .on('error', () => undefined)
      .on('close', () => {
        this.#sockets.delete(client);
        server.destroy();
      });
    server
      .on('error', () => undefined)
      .on('close', () => {
        if (!this.#silent) client.destroy();
      });
    client.on('data', (data: Buffer) => {
      for (const { what, resolve } of this.#waiting) if (what.test(data.toString('latin1'))) resolve();
      if (this.#at?.test(data.toString('latin1')) === true && !this.#silent) {
        this.#silent = true;
        this.#onSilent?.();
      }
      if (!this.#silent) server.write(data);
    });
    server.on('data', (data: Buffer) => {
      if (!this.#silent) client.write(data);
    });
  }
}
