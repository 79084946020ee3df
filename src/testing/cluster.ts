import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import '../dispose.js';
import { InvalidArgumentError, ResilientStanError, TimeoutError } from '../errors.js';
import { checkClusterOptions, type CheckedClusterOptions, type ClusterOptions } from './cluster-options.js';
import type { ClusterMode, StoreKind } from './config.js';
import { ServerStartError } from './errors.js';
import type { Channelz } from './monitor.js';
import type { Cut, Network } from './network.js';
import { NOT_PROXIED, StanNode } from './node.js';
import type { Proxy } from './proxy.js';
import type { ClusterConnectOptions } from './security.js';
import { resolveServer } from './server-binary/index.js';
import { Site } from './site.js';
import { waitFor } from './wait.js';

/** How often other ports are tried when somebody takes ours between finding and using them. */
const PORT_TRIES = 4;

export interface WaitingOptions {
  /** ms. Default 15 000. */
  timeout?: number;
}

/**
 * A real NATS Streaming cluster on this machine, in your hands:
 *
 * ```ts
 * await using cluster = await StanCluster.start({ nodes: 3 });
 * const stan = await ResilientStan.connect(cluster.urls);
 * const leader = await cluster.leader();
 * await leader.kill();
 * ```
 *
 * Needs a POSIX system. No server outlives the process, however that ends.
 */
export class StanCluster {
  readonly mode: ClusterMode;
  readonly store: StoreKind;
  readonly clusterId: string;
  /** Configuration, stores, Raft logs. */
  readonly dir: string;
  readonly nodes: readonly StanNode[];
  /**
   * What a client needs besides the {@link urls}: cluster ID, credentials, TLS. To be passed on:
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
   * Boots a cluster. Resolves when it serves, and every node is in it.
   * @throws InvalidArgumentError; ServerBinaryError when there is no server to run; ServerStartError with the server's
   * own words when it refuses; TimeoutError. Whatever was started is ended again.
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
        // Somebody took a port between our looking and the server's listening.
        const taken =
          (error instanceof ServerStartError && error.addressInUse !== undefined) ||
          (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
        if (tries < PORT_TRIES && taken) continue;
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

  /** Whether there are proxies, to be broken. */
  get proxied(): boolean {
    return this.#site.network !== undefined;
  }

  /** Where clients connect. */
  get urls(): string[] {
    return this.nodes.map((node) => node.url);
  }

  /** The node called `name` (`a`, `b`, …). */
  node(name: string): StanNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found) return found;
    const names = this.nodes.map((node) => node.name).join(', ');
    throw new InvalidArgumentError('name', `there is no node '${name}'; there are: ${names}`);
  }

  /**
   * The node that serves: the leader, the active one, or the only one. Waits for one. A frozen node is none, and of two
   * that both believe it is the later.
   * @throws TimeoutError
   */
  leader(options: WaitingOptions = {}): Promise<StanNode> {
    const { timeout = 15_000 } = options;
    return waitFor(() => this.findLeader(), { timeout, what: () => `no node leads. ${this.#overview()}` });
  }

  /** Fault-tolerant mode's word for {@link leader}. */
  active(options: WaitingOptions = {}): Promise<StanNode> {
    return this.leader(options);
  }

  /** The node that serves at this moment, if there is one. */
  async findLeader(): Promise<StanNode | undefined> {
    // By their logs first: it says "ready", where the monitoring says "Leader" before the promotion is through.
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
   * @throws TimeoutError
   */
  async ready(options: WaitingOptions = {}): Promise<void> {
    await this.leader(options);
  }

  /**
   * Resolves when the cluster serves clients and every node that runs and is not paused is a part of it: follows the
   * leader, or stands by. The moment from which the next node may be taken down; but a node that was down for seconds may
   * take as many again until it gets what is published, because Raft's leader tries it with growing pauses.
   * @throws TimeoutError
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
        // A Raft node is a follower from its first moment on: that it is in touch with the others, its routes tell.
        const [serverz, routez] = await Promise.all([node.monitor.serverz(), node.monitor.routez()]);
        if (!serverz || !routez || routez.num_routes < members.length - 1) return false;
        if (node === leader) return true;
        return this.mode === 'fault-tolerant' ? node.standby : serverz.role === 'Follower';
      }),
    );
    return joined.every(Boolean);
  }

  /**
   * Cuts the network between two groups of nodes, in a proxied cluster: nothing that one sends reaches the other. As in a
   * real network, connections stay open and mute, and what was sent arrives late, or never.
   * @param options.oneWay only what `one` sends does not reach `other`. Default false.
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
   * Cuts one node off from the others, in a proxied cluster. Its clients still reach it: what they see of it is silence.
   * @param options.clients cut them off, too. Default false.
   * @throws InvalidArgumentError when the cluster is not proxied
   */
  async isolate(node: StanNode, options: { clients?: boolean } = {}): Promise<Cut> {
    return this.#proxied().isolate(this.#own(node).name, options.clients ?? false);
  }

  /** Mends the network of a proxied cluster: all cuts and all toxics, whoever put them there, are gone. */
  async heal(): Promise<void> {
    this.#proxied().heal();
  }

  /**
   * The proxy through which `from` dials `to`, in a proxied cluster, to put toxics in. The one connection that two nodes
   * keep may be the one or the other of them has dialled: what concerns the pair goes into both proxies.
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
   * Resolves when every node that runs and is not paused has stored what the leader had stored at the call. The moment
   * from which a node's store may be lost without losing a message.
   * @throws TimeoutError
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

  /** Writes every node's log to `<dir>/<cluster ID>-<node>.log`: for when a run fails. Returns the files. */
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

  /** Ends all servers, paused or not, and removes the directory unless it was given. Idempotent. */
  stop(): Promise<void> {
    // What is thrown away needs no good-bye.
    this.#stopping ??= this.#end(this.#site.temporary ? 'kill' : 'stop');
    return this.#stopping;
  }

  async #end(how: 'kill' | 'stop'): Promise<void> {
    const ended = await Promise.allSettled(this.nodes.map((node) => node[how]()));
    await this.#site.release();
    const failed = ended.find((outcome) => outcome.status === 'rejected');
    if (failed && !(failed.reason instanceof TimeoutError)) throw failed.reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

function describeNode(node: unknown): string {
  return node instanceof StanNode ? `node '${node.name}'` : String(node);
}

/** Of each channel the last sequence this node has stored. */
async function lastSequences(node: StanNode): Promise<Map<string, number> | undefined> {
  const page = await node.monitor.get<{ channels?: Channelz[] }>('/streaming/channelsz?subs=1&limit=100000');
  return page && new Map(page.channels?.map(({ name, last_seq }) => [name, last_seq]));
}
