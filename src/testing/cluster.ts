import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import '../dispose.js';
import { InvalidArgumentError, ResilientStanError, TimeoutError } from '../errors.js';
import { checkClusterOptions, type CheckedClusterOptions, type ClusterOptions } from './cluster-options.js';
import type { ClusterMode, StoreKind } from './config.js';
import { ServerStartError } from './errors.js';
import type { Channelz } from '../monitoring/pages.js';
import type { Cut, Network } from './network.js';
import { NOT_PROXIED, StanNode } from './node.js';
import type { Proxy } from './proxy.js';
import type { ClusterConnectOptions } from './security.js';
import { resolveServer } from './server-binary/index.js';
import { Site } from './site.js';
import { waitFor } from './wait.js';

/** How often the start is tried with other ports, when another process takes one of ours before we listen. */
const PORT_TRIES = 4;

/**
 * How long to wait for the cluster.
 * @category Cluster
 */
export interface WaitingOptions {
  /** Time after which it rejects with a `TimeoutError`, in ms. Default 15 000. */
  timeout?: number;
}

/**
 * A real NATS Streaming cluster on this machine, whose nodes can be killed, frozen and cut off. It needs a POSIX system. No
 * server outlives this process, however the process ends.
 *
 * @example
 * ```ts
 * await using cluster = await StanCluster.start({ nodes: 3 });
 * const stan = await ResilientStan.connect(cluster.urls, cluster.connectOptions);
 * const leader = await cluster.leader();
 * await leader.kill();
 * ```
 * @category Cluster
 */
export class StanCluster {
  /** How the nodes work together. */
  readonly mode: ClusterMode;
  /** Where the nodes keep messages. */
  readonly store: StoreKind;
  /** The cluster ID of the nodes. */
  readonly clusterId: string;
  /** The directory with configuration, stores and Raft logs. */
  readonly dir: string;
  /** All nodes, up or down, in the order of their names. */
  readonly nodes: readonly StanNode[];
  /**
   * The options a client needs: cluster ID, credentials and TLS. They fit
   * `ResilientStan.connect(cluster.urls, cluster.connectOptions)`.
   */
  readonly connectOptions: ClusterConnectOptions;

  readonly #site: Site;
  #stopping: Promise<void> | undefined;

  private constructor(options: CheckedClusterOptions, server: string, site: Site) {
    const { network, security } = site;
    this.#site = site;
    this.mode = options.mode;
    this.store = options.store;
    this.clusterId = options.clusterId;
    this.dir = site.dir;
    this.connectOptions = { clusterId: options.clusterId, ...security.connectOptions };
    this.nodes = site.places.map((place) => {
      const { name, ports } = place;
      const proxy = network?.clients(name);
      return new StanNode({
        server,
        dir: site.home(name),
        url: `nats://127.0.0.1:${proxy?.port ?? ports.client}`,
        config: site.configOf(place),
        proxy,
        onListening: network && (() => network.up(name)),
        onEnd: network && (() => void network.down(name)),
      });
    });
  }

  /**
   * Boots a cluster. The promise resolves when the cluster serves and every node is a part of it. After an error nothing that
   * was started is left.
   *
   * @param options default: three nodes with a file store
   * @throws InvalidArgumentError when an option is wrong
   * @throws ServerBinaryError when no server can be found, downloaded or built
   * @throws ServerStartError with the server's own words, when a server refuses to run
   * @throws TimeoutError when `startTimeout` is over
   */
  static async start(options: ClusterOptions = {}): Promise<StanCluster> {
    const checked = checkClusterOptions(options);
    if (process.platform === 'win32') {
      throw new ResilientStanError(
        'ERR_STAN_SERVER_START',
        'the harness needs a POSIX system, to freeze and end processes by signals: run it in WSL or in a container',
      );
    }
    const server = await resolveServer(checked.server === undefined ? {} : { server: checked.server });
    for (let tries = 1; ; tries++) {
      try {
        return await StanCluster.#boot(checked, server);
      } catch (error) {
        // Another process took a port after we had found it free.
        const taken =
          (error instanceof ServerStartError && error.addressInUse !== undefined) ||
          (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
        if (tries < PORT_TRIES && taken && checked.port === undefined) continue;
        throw error;
      }
    }
  }

  static async #boot(options: CheckedClusterOptions, server: string): Promise<StanCluster> {
    const deadline = performance.now() + options.startTimeout;
    const left = () => Math.max(Math.round(deadline - performance.now()), 1);
    const cluster = new StanCluster(options, server, await Site.take(options));
    try {
      await Promise.all(cluster.nodes.map((node) => node.start({ timeout: left() })));
      await cluster.settled({ timeout: left() });
      return cluster;
    } catch (error) {
      await cluster.#end('kill');
      throw error;
    }
  }

  /** Whether the cluster has proxies. */
  get proxied(): boolean {
    return this.#site.network !== undefined;
  }

  /** The URLs for clients, of all nodes. */
  get urls(): string[] {
    return this.nodes.map((node) => node.url);
  }

  /**
   * The node with this name.
   * @param name `a`, `b`, `c` …
   * @throws InvalidArgumentError (at once) when there is none
   */
  node(name: string): StanNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found) return found;
    const names = this.nodes.map((node) => node.name).join(', ');
    throw new InvalidArgumentError('name', `there is no node '${name}'; there are: ${names}`);
  }

  /**
   * Waits for the node that serves: the leader, the active node, or the only one. A frozen node does not count. If two nodes
   * believe that they lead, it is the one that began later.
   * @throws TimeoutError when no node serves in time
   */
  leader(options: WaitingOptions = {}): Promise<StanNode> {
    const { timeout = 15_000 } = options;
    return waitFor(() => this.findLeader(), { timeout, what: () => `no node leads. ${this.#overview()}` });
  }

  /**
   * Same as {@link leader}: in fault-tolerant mode the node that serves is called the active one.
   * @throws TimeoutError when no node serves in time
   */
  active(options: WaitingOptions = {}): Promise<StanNode> {
    return this.leader(options);
  }

  /** The node that serves now. Undefined when there is none. */
  async findLeader(): Promise<StanNode | undefined> {
    // The logs come first, because the monitoring says "Leader" before the node is ready to serve.
    const candidates = this.nodes
      .filter((node) => node.serving && !node.paused)
      .sort((x, y) => y.servingSince - x.servingSince);
    for (const node of candidates) {
      const said = await node.monitor.serverz();
      const leads = this.mode === 'clustered' ? said?.role === 'Leader' : said !== undefined;
      if (leads && node.serving && !node.paused) return node;
    }
    return undefined;
  }

  /**
   * Resolves when the cluster serves clients.
   * @throws TimeoutError when no node serves in time
   */
  async ready(options: WaitingOptions = {}): Promise<void> {
    await this.leader(options);
  }

  /**
   * Resolves when the cluster serves clients, and each other node that runs and is not paused follows or stands by. From
   * then on the next node may be taken down. A node that was down for seconds may need as long again until it gets messages,
   * because the leader tries it with growing pauses: see {@link replicated}.
   * @throws TimeoutError when it is not so in time
   */
  async settled(options: WaitingOptions = {}): Promise<void> {
    const { timeout = 15_000 } = options;
    await waitFor(async () => ((await this.#isSettled()) ? true : undefined), {
      timeout,
      what: () => `not every node is in the cluster. ${this.#overview()}`,
    });
  }

  async #isSettled(): Promise<boolean> {
    const leader = await this.findLeader();
    if (!leader) return false;
    if (this.mode === 'single') return true;
    const members = this.nodes.filter((node) => node.running && !node.paused);
    const joined = await Promise.all(
      members.map(async (node) => {
        // A Raft node calls itself a follower from its start. Its routes show whether it reaches the others.
        const [serverz, routez] = await Promise.all([node.monitor.serverz(), node.monitor.routez()]);
        if (!serverz || !routez || routez.num_routes < members.length - 1) return false;
        if (node === leader) return true;
        return this.mode === 'fault-tolerant' ? node.standby : serverz.role === 'Follower';
      }),
    );
    return joined.every(Boolean);
  }

  /**
   * Cuts the network between two groups of nodes, in a proxied cluster. Nothing that one group sends reaches the other. As in
   * a real network, connections stay open and are silent, and what was sent arrives after the cut or never.
   *
   * @param one nodes on one side
   * @param other nodes on the other side
   * @param options `oneWay`: cuts only what `one` sends; default false
   * @returns what heals this cut
   * @throws InvalidArgumentError when the cluster is not proxied, or a node is on both sides
   */
  async partition(
    one: readonly StanNode[],
    other: readonly StanNode[],
    options: { oneWay?: boolean } = {},
  ): Promise<Cut> {
    const names = (nodes: readonly StanNode[]) => nodes.map((node) => this.#own(node).name);
    return this.#proxied().partition(names(one), names(other), options.oneWay ?? false);
  }

  /**
   * Cuts one node off from the other nodes, in a proxied cluster. Clients still reach it.
   *
   * @param node the node to cut off
   * @param options `clients`: cuts it off from clients as well; default false
   * @returns what heals this cut
   * @throws InvalidArgumentError when the cluster is not proxied
   */
  async isolate(node: StanNode, options: { clients?: boolean } = {}): Promise<Cut> {
    return this.#proxied().isolate(this.#own(node).name, options.clients ?? false);
  }

  /**
   * Heals the network of a proxied cluster: removes all cuts and all toxics.
   * @throws InvalidArgumentError when the cluster is not proxied
   */
  async heal(): Promise<void> {
    this.#proxied().heal();
  }

  /**
   * The proxy through which one node dials another, in a proxied cluster. Two nodes keep one connection, and either of them
   * may have dialled it. So a toxic for the pair has to be added to both proxies, `route(a, b)` and `route(b, a)`.
   *
   * @param from the node that dials
   * @param to the node that is dialled
   * @throws InvalidArgumentError (at once) when the cluster is not proxied, or both are the same node
   */
  route(from: StanNode, to: StanNode): Proxy {
    if (from === to) throw new InvalidArgumentError('to', `node '${to.name}' does not dial itself`);
    return this.#proxied().route(this.#own(from).name, this.#own(to).name);
  }

  #proxied(): Network {
    if (this.#site.network) return this.#site.network;
    throw new InvalidArgumentError('proxied', NOT_PROXIED);
  }

  #own(node: StanNode): StanNode {
    if (this.nodes.includes(node)) return node;
    throw new InvalidArgumentError('node', `${describeNode(node)} is not a node of this cluster`);
  }

  /**
   * Resolves when each node that runs and is not paused has stored what the leader had stored at the call. From then on one
   * node may lose its store, and no message is lost.
   * @throws TimeoutError when it is not so in time
   */
  async replicated(options: WaitingOptions = {}): Promise<void> {
    const { timeout = 15_000 } = options;
    const leader = await this.leader(options);
    const members = this.nodes.filter((node) => node !== leader && node.running && !node.paused);
    if (this.mode !== 'clustered' || members.length === 0) return;
    const wanted = await waitFor(() => lastSequences(leader), { timeout, what: () => 'the leader says nothing' });
    const behind = new Set(members);
    await waitFor(
      async () => {
        for (const node of behind) {
          const has = await lastSequences(node);
          if (has && [...wanted].every(([channel, last]) => (has.get(channel) ?? 0) >= last)) behind.delete(node);
        }
        return behind.size === 0 ? true : undefined;
      },
      { timeout, what: () => `not all messages have reached ${[...behind].map((node) => node.name).join(', ')}` },
    );
  }

  #overview(): string {
    return this.nodes
      .map((node) => {
        const state = !node.running
          ? 'down'
          : node.paused
            ? 'paused'
            : node.serving
              ? 'serving'
              : node.standby
                ? 'standing by'
                : 'running';
        return `${node.name}: ${state}`;
      })
      .join(', ');
  }

  /**
   * Writes the log of each node to `<dir>/<cluster ID>-<node>.log`, for a run that has failed.
   * @param dir directory, which is made if it is not there
   * @returns paths of the files
   */
  async writeLogs(dir: string): Promise<string[]> {
    await mkdir(dir, { recursive: true });
    return Promise.all(
      this.nodes.map(async (node) => {
        const file = join(dir, `${this.clusterId}-${node.name}.log`);
        await writeFile(
          file,
          node
            .log()
            .map((line) => `${line}\n`)
            .join(''),
        );
        return file;
      }),
    );
  }

  /** Ends all servers, paused ones as well, and removes the directory unless it was given. It may be called again. */
  stop(): Promise<void> {
    // Servers whose stores are removed need no orderly shutdown.
    this.#stopping ??= this.#end(this.#site.temporary ? 'kill' : 'stop');
    return this.#stopping;
  }

  async #end(how: 'kill' | 'stop'): Promise<void> {
    const ended = await Promise.allSettled(this.nodes.map((node) => node[how]()));
    await this.#site.release();
    const failed = ended.find((outcome) => outcome.status === 'rejected');
    if (failed && !(failed.reason instanceof TimeoutError)) throw failed.reason;
  }

  /** Stops the cluster as {@link stop} does, at the end of a scope with `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

function describeNode(node: unknown): string {
  return node instanceof StanNode ? `node '${node.name}'` : String(node);
}

/** The last sequence that a node has stored of each channel. Undefined when it does not answer. */
async function lastSequences(node: StanNode): Promise<Map<string, number> | undefined> {
  const page = await node.monitor.get<{ channels?: Channelz[] }>('/streaming/channelsz?subs=1&limit=100000');
  return page && new Map(page.channels?.map(({ name, last_seq }) => [name, last_seq]));
}
