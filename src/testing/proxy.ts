/** A TCP proxy that breaks connections, as toxiproxy does, in the process of the test. It keeps no process alive. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import '../dispose.js';
import { InvalidArgumentError } from '../errors.js';
import { sharedLine, type SharedLine } from './line.js';
import type { Random } from './random.js';
import { checkToxic, Link, type Toxic } from './toxics.js';

/**
 * Options of {@link Proxy.listen}.
 * @category Network
 */
export interface ProxyOptions {
  /** Name of the proxy, for error messages. Default: made of its target. */
  name?: string;
  /** Port to listen on, on 127.0.0.1. Default 0: the operating system chooses one, which the proxy then keeps. */
  port?: number;
  /** Where the connections lead to. */
  target: {
    /** Host. Default 127.0.0.1. */
    host?: string;
    /** Port. */
    port: number;
  };
  /** The source of chance for jitter, sizes and toxicity. Default `Math.random`. */
  random?: Random;
}

/**
 * A toxic that was added to a proxy.
 * @category Network
 */
export interface AppliedToxic {
  /** Name of the toxic in its proxy. */
  readonly name: string;
  /** What it does. */
  readonly toxic: Toxic;
  /** Removes the toxic. It may be called again. */
  remove(): void;
  /** Removes the toxic at the end of a scope with `using`. */
  [Symbol.dispose](): void;
}

/** A toxic and the line that its connections share. */
interface InPlace {
  toxic: Toxic;
  /** The line of all connections. Undefined when each has a line of its own, or none. */
  line: SharedLine | undefined;
}

/**
 * A TCP proxy on 127.0.0.1 that can delay, limit and break its connections. It keeps no process alive.
 *
 * @example
 * ```ts
 * const proxy = await Proxy.listen({ target: { port: 4222 } });
 * using slow = proxy.add({ type: 'latency', latency: 300, jitter: 50 });
 * const stan = await ResilientStan.connect(`nats://127.0.0.1:${proxy.port}`);
 * ```
 * @category Network
 */
export class Proxy {
  /** Name of the proxy, for error messages. */
  readonly name: string;
  readonly #target: { host: string; port: number };
  readonly #random: Random;
  readonly #toxics = new Map<string, InPlace>();
  readonly #connections = new Set<Connection>();
  #port: number;
  #server: Server | undefined;
  #changing: Promise<void> = Promise.resolve();
  #named = 0;
  #accepted = 0;
  readonly #bytes = { upstream: 0, downstream: 0 };

  private constructor(options: ProxyOptions) {
    this.#port = options.port ?? 0;
    this.#target = { host: '127.0.0.1', ...options.target };
    this.#random = options.random ?? Math.random;
    this.name = options.name ?? `proxy to ${this.#target.host}:${this.#target.port}`;
  }

  /**
   * Makes a proxy that listens.
   * @param options the target at least
   * @throws an error with the code `EADDRINUSE` when the port is taken
   */
  static async listen(options: ProxyOptions): Promise<Proxy> {
    const proxy = new Proxy(options);
    await proxy.up();
    return proxy;
  }

  /** The port it listens on, on 127.0.0.1. */
  get port(): number {
    return this.#port;
  }

  /** Whether the proxy accepts connections. */
  get enabled(): boolean {
    return this.#server !== undefined;
  }

  /** The toxics of this proxy, in the order in which they were added. */
  get toxics(): readonly AppliedToxic[] {
    return [...this.#toxics].map(([name, { toxic }]) => this.#applied(name, toxic));
  }

  /** Numbers of this proxy. */
  get stats(): {
    /** How many connections are open. */
    connections: number;
    /** How many connections were accepted so far. */
    accepted: number;
    /** How much was sent on to the target, in bytes. */
    upstream: number;
    /** How much was sent back to clients, in bytes. */
    downstream: number;
  } {
    return { connections: this.#connections.size, accepted: this.#accepted, ...this.#bytes };
  }

  /**
   * Adds a toxic, for the connections that are open and for later ones.
   * @returns what removes it
   * @throws InvalidArgumentError (at once) for what is not a toxic, and for a name that is taken
   */
  add(toxic: Toxic): AppliedToxic {
    checkToxic(toxic);
    const name = toxic.name ?? this.#freeName(toxic.type);
    if (this.#toxics.has(name)) {
      throw new InvalidArgumentError(
        'name',
        `${this.name} has a toxic '${name}' already: remove it, or use another name`,
      );
    }
    const own: InPlace = {
      toxic: { ...toxic },
      line: toxic.type === 'bandwidth' && toxic.shared ? sharedLine(toxic) : undefined,
    };
    this.#toxics.set(name, own);
    for (const connection of this.#connections) connection.apply(own, this.#random);
    return this.#applied(name, own.toxic);
  }

  /** Removes the toxic with this name. Does nothing when there is none. */
  remove(name: string): void {
    const inPlace = this.#toxics.get(name);
    if (!inPlace) return;
    this.#toxics.delete(name);
    for (const connection of this.#connections) connection.remove(inPlace.toxic);
  }

  /** Removes all toxics. */
  clear(): void {
    for (const name of [...this.#toxics.keys()]) this.remove(name);
  }

  /** Resets (TCP RST) all open connections once. */
  resetConnections(): void {
    for (const connection of [...this.#connections]) connection.destroy('reset');
  }

  /**
   * Accepts connections again, on the same port.
   * @throws an error with the code `EADDRINUSE` when another process has the port
   */
  up(): Promise<void> {
    return this.#change(async () => {
      if (this.#server) return;
      const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
        this.#accept(socket),
      );
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ port: this.#port, host: '127.0.0.1', exclusive: true }, () => {
          server.off('error', reject);
          resolve();
        });
      });
      server.on('error', () => {}); // for instance too many open files; that connection is refused then
      this.#port = (server.address() as { port: number }).port;
      this.#server = server;
    }).finally(() => this.#server?.unref());
  }

  /**
   * Refuses new connections until {@link up}.
   * @param options `connections`: what happens to open ones; they are closed, reset (TCP RST), or kept; default `'close'`
   */
  down(options: { connections?: 'close' | 'reset' | 'keep' } = {}): Promise<void> {
    const { connections = 'close' } = options;
    return this.#change(async () => {
      const server = this.#server;
      this.#server = undefined;
      server?.close(); // it stops listening at once, and only its callback waits for the connections
      if (connections !== 'keep') for (const connection of [...this.#connections]) connection.destroy(connections);
    });
  }

  /** Closes the proxy and its connections. */
  async close(): Promise<void> {
    await this.down();
    for (const connection of [...this.#connections]) connection.destroy('close');
  }

  /** Closes the proxy as {@link close} does, at the end of a scope with `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Makes the changes of the listener one after the other. */
  #change(act: () => Promise<void>): Promise<void> {
    const done = this.#changing.then(act);
    this.#changing = done.catch(() => {});
    return done;
  }

  #accept(socket: Socket): void {
    this.#accepted++;
    const connection = new Connection(socket, this.#target, this.#random, this.#bytes, () =>
      this.#connections.delete(connection),
    );
    this.#connections.add(connection);
    for (const inPlace of this.#toxics.values()) connection.apply(inPlace, this.#random);
    connection.open();
  }

  #freeName(type: string): string {
    let name: string;
    do name = `${type}-${++this.#named}`;
    while (this.#toxics.has(name));
    return name;
  }

  #applied(name: string, toxic: Toxic): AppliedToxic {
    // The name alone is not enough, because another toxic may have it by now.
    const remove = () => {
      if (this.#toxics.get(name)?.toxic === toxic) this.remove(name);
    };
    return { name, toxic, remove, [Symbol.dispose]: remove };
  }
}

/** One connection: its two sockets and both directions. */
class Connection {
  readonly #client: Socket;
  readonly #target: { host: string; port: number };
  readonly #bytes: { upstream: number; downstream: number };
  readonly #over: () => void;
  readonly #up: Flow;
  readonly #down: Flow;
  #server: Socket | undefined;
  #opened = false;

  constructor(
    client: Socket,
    target: { host: string; port: number },
    random: Random,
    bytes: { upstream: number; downstream: number },
    over: () => void,
  ) {
    this.#client = client;
    this.#target = target;
    this.#bytes = bytes;
    this.#over = over;
    this.#up = new Flow(random, (how) => this.destroy(how));
    this.#down = new Flow(random, (how) => this.destroy(how));
    client.unref();
    client.once('close', () => this.#closed());
  }

  /** Reads from the client, and dials the server. While the path is cut it does not dial, as no handshake would get through. */
  open(): void {
    this.#up.from(this.#client);
    this.#down.to(this.#client, (n) => (this.#bytes.downstream += n));
    this.#opened = true;
    this.#dial();
  }

  apply({ toxic, line }: InPlace, random: Random): void {
    if ((toxic.toxicity ?? 1) <= random()) return;
    if (toxic.stream !== 'downstream') this.#up.change((link, now) => link.apply(toxic, now, line?.upstream));
    if (toxic.stream !== 'upstream') this.#down.change((link, now) => link.apply(toxic, now, line?.downstream));
  }

  remove(toxic: Toxic): void {
    this.#up.change((link, now) => link.remove(toxic, now));
    this.#down.change((link, now) => link.remove(toxic, now));
    if (this.#opened) this.#dial();
  }

  destroy(how: 'close' | 'reset'): void {
    this.#up.stop();
    this.#down.stop();
    for (const socket of [this.#client, this.#server]) {
      if (!socket || socket.destroyed) continue;
      if (how === 'close') socket.destroySoon();
      // Node cannot reset a socket that it has begun to end: the socket would never close, and the process never exit.
      else if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
    // A socket whose far side does not read would never finish by itself.
    if (how === 'close') setImmediate(() => [this.#client, this.#server].forEach((socket) => socket?.destroy()));
    this.#over();
  }

  #dial(): void {
    if (this.#server || this.#client.destroyed || this.#up.stalled || this.#down.stalled) return;
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    this.#server = server;
    server.unref();
    server.once('close', () => this.#closed());
    this.#down.from(server);
    this.#up.to(server, (n) => (this.#bytes.upstream += n));
  }

  #closed(): void {
    if (!this.#client.destroyed || (this.#server && !this.#server.destroyed)) return;
    this.#up.stop();
    this.#down.stop();
    this.#over();
  }
}

/** One direction of a connection: from the source socket through the link to the destination socket. */
class Flow {
  readonly #link: Link;
  readonly #end: (how: 'close' | 'reset') => void;
  #source: Socket | undefined;
  #destination: Socket | undefined;
  #count: (bytes: number) => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(random: Random, end: (how: 'close' | 'reset') => void) {
    this.#link = new Link(random);
    this.#end = end;
  }

  get stalled(): boolean {
    return this.#link.stalled;
  }

  from(source: Socket): void {
    this.#source = source;
    source.on('data', (data: Buffer) => {
      this.#link.receive(data, performance.now());
      this.#pump();
    });
    source.once('end', () => this.#finish('end'));
    // Whatever the error is, the far side sees a reset.
    source.once('error', () => this.#finish('reset'));
    source.on('error', () => {});
    source.resume(); // it was accepted paused
  }

  to(destination: Socket, count: (bytes: number) => void): void {
    this.#destination = destination;
    this.#count = count;
    destination.on('drain', () => this.#pump());
    this.#pump();
  }

  change(act: (link: Link, now: number) => void): void {
    act(this.#link, performance.now());
    this.#pump();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #finish(kind: 'end' | 'reset'): void {
    this.#link.finish(kind, performance.now());
    this.#pump();
  }

  #pump(): void {
    clearTimeout(this.#timer);
    const destination = this.#destination;
    while (!this.#stopped) {
      if (!destination || destination.writableNeedDrain) break;
      const now = performance.now();
      const step = this.#link.next(now);
      if (step.do === 'write') {
        if (!destination.writable) continue; // it is gone, so the data is dropped
        this.#count(step.data.length);
        destination.write(step.data);
      } else if (step.do === 'end') {
        if (destination.writable) destination.end();
      } else if (step.do === 'wait') {
        this.#timer = setTimeout(() => this.#pump(), Math.ceil(step.until - now)).unref();
        break;
      } else if (step.do === 'idle') {
        break;
      } else {
        this.#end(step.do);
        return;
      }
    }
    if (this.#link.full) this.#source?.pause();
    else if (this.#source?.isPaused() && !this.#stopped) this.#source.resume();
  }
}
