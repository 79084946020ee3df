import { EventEmitter } from 'node:events';
import { throwLater } from './tell.js';

/**
 * A server as nats 1.4.12 lists it.
 * @category Connecting
 */
export interface NatsServer {
  /** URL of the server, with the credentials that it was given with. */
  readonly url: URL;
  /** Returns the URL as text. */
  toString(): string;
}

/** The part of a client that its {@link NatsView} uses. */
export interface NatsViewOwner {
  flush(): Promise<void>;
  close(): void;
}

/**
 * What `Stan.nc` is: the events and the facts of a NATS connection. Each session has a connection of its own, which comes and
 * goes, so plain NATS cannot be published or subscribed to here.
 * @category Connecting
 */
export class NatsView extends EventEmitter {
  /** The encoding of the connection. */
  readonly encoding = 'binary';
  /** The options of the client. */
  readonly options: object;
  /** The servers that the client was given. */
  readonly servers: NatsServer[];
  /** The server of this session, or of the last one. */
  currentServer: NatsServer | undefined;
  /** Whether there is a session. */
  connected = false;
  /** Whether a session was lost, and the next one is not there yet. */
  reconnecting = false;
  /** Whether the client is closed. */
  closed = false;
  readonly #owner: NatsViewOwner;

  /** @internal */
  constructor(owner: NatsViewOwner, options: object, servers: readonly string[]) {
    super();
    this.#owner = owner;
    this.options = options;
    this.servers = servers.flatMap((server) => serverOf(server) ?? []);
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

  /** Calls back when each message published before this call has its answer. */
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

  /** Closes the client, and calls back when it is closed. */
  drain(callback?: () => void): void {
    if (callback) this.once('close', callback);
    this.close();
  }

  /** Not available, because this object has no connection for plain NATS. @throws Error always */
  publish(): never {
    return noPlainNats('publish');
  }
  /** Not available, because this object has no connection for plain NATS. @throws Error always */
  subscribe(): never {
    return noPlainNats('subscribe');
  }
  /** Not available, because this object has no connection for plain NATS. @throws Error always */
  unsubscribe(): never {
    return noPlainNats('unsubscribe');
  }
  /** Not available, because this object has no connection for plain NATS. @throws Error always */
  request(): never {
    return noPlainNats('request');
  }
  /** Not available, because this object has no connection for plain NATS. @throws Error always */
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

/** Returns undefined for a URL that cannot be read. The core says what is wrong with it. */
function serverOf(address: string): NatsServer | undefined {
  try {
    const url = new URL(address);
    return { url, toString: () => url.href };
  } catch {
    return undefined;
  }
}
