import { EventEmitter } from 'node:events';
import { throwLater } from './tell.js';

/** A server as nats 1.4.12 lists it. */
export interface NatsServer {
  readonly url: URL;
  toString(): string;
}

/** What a {@link NatsView} asks of its client. */
export interface NatsViewOwner {
  flush(): Promise<void>;
  close(): void;
}

/**
 * What `Stan.nc` is: the events and the facts of a NATS connection. Each session has a connection of its own, which comes and
 * goes, so nothing can be published or subscribed here.
 */
export class NatsView extends EventEmitter {
  readonly encoding = 'binary';
  readonly options: object;
  readonly servers: NatsServer[];
  /** The one that it is connected to, or was last. */
  currentServer: NatsServer | undefined;
  connected = false;
  reconnecting = false;
  closed = false;
  readonly #owner: NatsViewOwner;

  /** @internal */
  constructor(owner: NatsViewOwner, options: object, servers: readonly string[]) {
    super();
    this.#owner = owner;
    this.options = options;
    this.servers = servers.map(serverOf);
    this.currentServer = this.servers[0];
  }

  /** @internal */
  attached(server: string): void {
    this.currentServer = this.servers.find(({ url }) => url.host === new URL(server).host) ?? serverOf(server);
    this.connected = true;
    this.reconnecting = false;
  }

  /** @internal */
  detached(): void {
    this.connected = false;
    this.reconnecting = true;
  }

  /** @internal */
  ended(): void {
    this.connected = this.reconnecting = false;
    this.closed = true;
  }

  /** Calls back when everything that was published so far has its answer. */
  flush(callback?: () => void): void {
    void this.#owner.flush().then(() => {
      try {
        callback?.();
      } catch (error) {
        throwLater(error);
      }
    });
  }

  /** Closes the client. */
  close(): void {
    this.#owner.close();
  }

  /** The same, after which it calls back. */
  drain(callback?: () => void): void {
    if (callback) this.once('close', callback);
    this.close();
  }

  /** @throws Error: always */
  publish(): never {
    return noPlainNats('publish');
  }
  /** @throws Error: always */
  subscribe(): never {
    return noPlainNats('subscribe');
  }
  /** @throws Error: always */
  unsubscribe(): never {
    return noPlainNats('unsubscribe');
  }
  /** @throws Error: always */
  request(): never {
    return noPlainNats('request');
  }
  /** @throws Error: always */
  requestOne(): never {
    return noPlainNats('requestOne');
  }
}

function noPlainNats(what: string): never {
  throw new Error(
    `nc.${what}() is not there: each session of this client has a NATS connection of its own, which ends with it. For plain ` +
      `NATS, make a connection with the package 'nats'`,
  );
}

function serverOf(address: string): NatsServer {
  const url = new URL(address);
  return { url, toString: () => url.href };
}
