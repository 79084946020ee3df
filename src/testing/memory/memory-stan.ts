/** A client of a server in memory. */
import type { AbortWatch } from '../../abort-signal.js';
import { InvalidArgumentError } from '../../errors.js';
import type { ResolvedConnectOptions } from '../../options.js';
import { ResilientStan, type ConnectOptions, type Footing, type MakeStan } from '../../resilient-stan.js';
import { show } from '../../validation.js';
import type { Broker, Guest } from './broker.js';
import { MemoryGateway } from './gateway.js';
import { MemoryServer } from './memory-server.js';

/** The client, without its static methods, because these take servers of another kind. */
const Client = ResilientStan as unknown as new (...wiring: unknown[]) => ResilientStan;

/**
 * A double of {@link ResilientStan} for unit tests, on a {@link MemoryServer}. It is a `ResilientStan`, so it can be handed to code
 * that takes one, and all of it is the real client: checks of arguments, outbox, subscriptions, acknowledgements, events, errors.
 * Only what is below a session is in memory. Servers and credentials are checked and not used.
 *
 * Nothing of it keeps the process alive after `close()`.
 *
 * @example
 * ```ts
 * import { MemoryStan } from 'resilient-stan/testing';
 *
 * const stan = await MemoryStan.connect();
 * const service = new OrderService(stan);
 * await service.place({ id: 1 });
 * await stan.memory.idle();
 * assert.deepEqual(stan.memory.published('orders').map((message) => message.json()), [{ id: 1 }]);
 * await stan.close();
 * ```
 * @category In memory
 */
export class MemoryStan extends Client {
  /** The server of this client: what is stored there, its faults, and its time. */
  readonly memory: MemoryServer;

  /**
   * Connects to a server in memory.
   *
   * @param server default: a new one, see {@link memory}
   * @param options as for {@link ResilientStan.connect}; default of `clusterId`: that of the server
   * @throws the errors of {@link ResilientStan.connect}
   * @example
   * ```ts
   * const server = new MemoryServer();
   * const one = await MemoryStan.connect(server, { clientId: 'one' });
   * const two = await MemoryStan.connect(server, { clientId: 'two' });
   * ```
   */
  static async connect(server: MemoryServer = new MemoryServer(), options?: ConnectOptions): Promise<MemoryStan> {
    const { make, url } = MemoryStan.#at(server, 'connect()');
    return await ResilientStan.connectAs(make, url, withClusterId(options, server.clusterId));
  }

  /**
   * Makes a client at once, which connects in the background, as {@link ResilientStan.create} does.
   *
   * @param server default: a new one, see {@link memory}
   * @param options as for {@link connect}
   * @throws InvalidArgumentError at once, synchronously
   * @example
   * ```ts
   * const stan = MemoryStan.create();
   * void stan.publish('orders', 'hello');
   * await stan.memory.idle();
   * ```
   */
  static create(server: MemoryServer = new MemoryServer(), options?: ConnectOptions): MemoryStan {
    const { make, url } = MemoryStan.#at(server, 'create()');
    return ResilientStan.createAs(make, undefined, url, withClusterId(options, server.clusterId));
  }

  static #at(server: MemoryServer, what: string): { make: MakeStan<MemoryStan>; url: string } {
    if (!(server instanceof MemoryServer)) {
      throw new InvalidArgumentError(
        'server',
        `${what}: the server must be a MemoryServer, or undefined for a new one, not ${show(server)}: options are the second argument`,
      );
    }
    const broker = MemoryServer.brokerOf(server);
    return { make: (options, abort) => new MemoryStan(server, broker, options, abort), url: broker.url };
  }

  private constructor(
    server: MemoryServer,
    broker: Broker,
    options: ResolvedConnectOptions<ResilientStan>,
    abort: AbortWatch | undefined,
  ) {
    let gateway: MemoryGateway | undefined;
    const footing: Footing = {
      clock: broker.time,
      makeGateway: (parts) => (gateway = new MemoryGateway(broker, parts)),
    };
    super(options, abort, footing);
    this.memory = server;
    const guest = guestOf(this, () => gateway?.open === true);
    broker.guests.add(guest);
    void this.closed().then(() => broker.guests.delete(guest));
  }
}

/** @param open whether the server would take the client */
function guestOf(stan: ResilientStan, open: () => boolean): Guest {
  const subscriptions = ResilientStan.subscriptionsOf(stan);
  return {
    get coming() {
      return (stan.state === 'connecting' || stan.state === 'reconnecting') && open();
    },
    changed: () =>
      new Promise((resolve) => {
        const events = ['state', 'connecting', 'reconnecting', 'client_id_conflict', 'close'] as const;
        const end = (): void => {
          for (const event of events) stan.off(event, end);
          resolve();
        };
        for (const event of events) stan.on(event, end);
      }),
    get handling() {
      return subscriptions.handling;
    },
    handled: () => subscriptions.handled(),
    get busy() {
      return subscriptions.busy;
    },
  };
}

/** A server of another cluster would never answer. */
function withClusterId(options: ConnectOptions | undefined, clusterId: string): ConnectOptions | undefined {
  if (options === undefined) return { clusterId };
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return options;
  try {
    return options.clusterId === undefined ? { ...options, clusterId } : options;
  } catch {
    // Whoever reads the options tells what is wrong with them.
    return options;
  }
}
