import { InvalidArgumentError } from '../errors.js';
import type { NodePorts } from './config.js';
import { Proxy, type AppliedToxic } from './proxy.js';
import type { Random } from './random.js';
import type { Direction } from './line.js';

/**
 * A cut in the network, made by {@link StanCluster.partition} or {@link StanCluster.isolate}.
 * @category Network
 */
export interface Cut {
  /** Heals this cut, and no other. It may be called again. */
  heal(): void;
}

/**
 * The network of a proxied cluster. There is a proxy in front of each node for clients, and one for each node and each other
 * node that it dials. The servers know each other by these proxies only.
 */
export class Network {
  readonly #names: readonly string[];
  readonly #clients: ReadonlyMap<string, Proxy>;
  /** The proxies between nodes, by the node that dials and then by the node that is dialled. */
  readonly #routes: ReadonlyMap<string, ReadonlyMap<string, Proxy>>;

  private constructor(
    names: readonly string[],
    clients: ReadonlyMap<string, Proxy>,
    routes: ReadonlyMap<string, ReadonlyMap<string, Proxy>>,
  ) {
    this.#names = names;
    this.#clients = clients;
    this.#routes = routes;
  }

  /** How many ports the proxies need. */
  static portsNeeded(nodes: number, routed: boolean): number {
    return nodes + (routed ? nodes * (nodes - 1) : 0);
  }

  static async create(
    nodes: readonly { name: string; ports: NodePorts }[],
    ports: readonly number[],
    routed: boolean,
    random: Random,
  ): Promise<Network> {
    const left = [...ports];
    const opened: Proxy[] = [];
    const open = async (name: string, target: number): Promise<Proxy> => {
      const proxy = await Proxy.listen({ name, port: left.shift() as number, target: { port: target }, random });
      opened.push(proxy);
      return proxy;
    };
    try {
      const clients = new Map<string, Proxy>();
      const routes = new Map<string, Map<string, Proxy>>();
      for (const { name, ports: own } of nodes) clients.set(name, await open(`clients to ${name}`, own.client));
      for (const from of nodes) {
        const dialled = new Map<string, Proxy>();
        routes.set(from.name, dialled);
        for (const to of routed ? nodes : []) {
          if (to !== from) dialled.set(to.name, await open(`${from.name} to ${to.name}`, to.ports.route));
        }
      }
      return new Network(
        nodes.map(({ name }) => name),
        clients,
        routes,
      );
    } catch (error) {
      await Promise.all(opened.map((proxy) => proxy.close()));
      throw error;
    }
  }

  /** The proxy in front of a node, for clients. */
  clients(node: string): Proxy {
    return this.#clients.get(node) as Proxy;
  }

  /** The proxy through which one node dials another. */
  route(from: string, to: string): Proxy {
    return this.#routes.get(from)?.get(to) as Proxy;
  }

  /** The addresses that a node dials, as `host:port`. */
  routesOf(node: string): string[] {
    return [...(this.#routes.get(node)?.values() ?? [])].map((proxy) => `127.0.0.1:${proxy.port}`);
  }

  /** A node listens, so its proxies accept connections. */
  async up(node: string): Promise<void> {
    await Promise.all(this.#to(node).map((proxy) => proxy.up()));
  }

  /** A node does not listen any more, so its proxies refuse connections. Open ones end by themselves. */
  async down(node: string): Promise<void> {
    await Promise.all(this.#to(node).map((proxy) => proxy.down({ connections: 'keep' })));
  }

  #to(node: string): Proxy[] {
    const routes = this.#names.flatMap((from) => this.#routes.get(from)?.get(node) ?? []);
    return [this.clients(node), ...routes];
  }

  /** Cuts what two groups of nodes send each other; with `oneWay` only what the first group sends. */
  partition(one: readonly string[], other: readonly string[], oneWay: boolean): Cut {
    const both = one.find((node) => other.includes(node));
    if (both !== undefined) {
      throw new InvalidArgumentError('partition', `node '${both}' cannot be on both sides of a partition`);
    }
    const cuts: AppliedToxic[] = [];
    for (const a of one) {
      for (const b of other) {
        cuts.push(this.#cut(this.route(a, b), oneWay ? 'upstream' : 'both'));
        cuts.push(this.#cut(this.route(b, a), oneWay ? 'downstream' : 'both'));
      }
    }
    return asCut(cuts);
  }

  isolate(node: string, clients: boolean): Cut {
    const others = this.#names.filter((name) => name !== node);
    const routes = this.partition([node], others, false);
    if (!clients) return routes;
    const own = this.#cut(this.clients(node), 'both');
    return {
      heal: () => {
        routes.heal();
        own.remove();
      },
    };
  }

  /** Removes all cuts and all toxics. */
  heal(): void {
    for (const proxy of this.#all()) proxy.clear();
  }

  async close(): Promise<void> {
    await Promise.all(this.#all().map((proxy) => proxy.close()));
  }

  /** Cuts a path. TCP sends again what did not arrive, so nothing is lost: it arrives after the cut or never. */
  #cut(proxy: Proxy, stream: Direction | 'both'): AppliedToxic {
    return proxy.add({ type: 'stall', stream });
  }

  #all(): Proxy[] {
    return [...this.#clients.values(), ...[...this.#routes.values()].flatMap((dialled) => [...dialled.values()])];
  }
}

function asCut(toxics: readonly AppliedToxic[]): Cut {
  return {
    heal: () => {
      for (const toxic of toxics) toxic.remove();
    },
  };
}
