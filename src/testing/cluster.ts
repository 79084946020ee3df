import { join } from 'node:path';
import '../dispose.js';
import { InvalidArgumentError } from '../errors.js';
import { checkClusterOptions, type CheckedClusterOptions, type ClusterOptions } from './cluster-options.js';
import { nodeConfig, renderConfig, serverName, type ClusterMode, type NodeConfig, type StoreKind } from './config.js';
import { JetStreamCluster } from './jetstream/jetstream-cluster.js';
import type { NatsServerChoice } from './jetstream/jetstream-options.js';
import { hasStored, isJetStreamSettled, whatLeadersHave, type Peer } from './jetstream/jetstream-state.js';
import type { Channelz } from '../monitoring/pages.js';
import { StanNode } from './node.js';
import type { ClusterConnectOptions } from './security.js';
import { resolveServer } from './server-binary/index.js';
import { checkPosix, ServerCluster, withFreePorts, type WaitingOptions } from './server-cluster.js';
import { Site, type Place } from './site.js';

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
export class StanCluster extends ServerCluster<StanNode> {
  /** How the nodes work together. */
  readonly mode: ClusterMode;
  /** Where the nodes keep messages. */
  readonly store: StoreKind;
  /** The cluster ID of the nodes. */
  readonly clusterId: string;
  /**
   * The options a client needs: cluster ID, credentials and TLS. They fit
   * `ResilientStan.connect(cluster.urls, cluster.connectOptions)`.
   */
  readonly connectOptions: ClusterConnectOptions;

  readonly #site: Site;
  readonly #options: CheckedClusterOptions;
  /** The nodes by the names that JetStream knows. */
  readonly #peers: readonly Peer[];
  #jetstream: boolean;
  readonly #successors: JetStreamCluster[] = [];

  private constructor(options: CheckedClusterOptions, server: string, site: Site) {
    const { mode, clusterId, jetstream, store } = options;
    const nodes = site.places.map((place) => {
      const config = configOf(options, site, place);
      return new StanNode({
        ...site.footingOf(place),
        mode,
        server,
        config: { file: 'server.conf', text: renderConfig(nodeConfig(config)) },
        stores: [config.storeDir, config.raftDir, ...(config.jetstreamDir === undefined ? [] : [config.jetstreamDir])],
      });
    });
    super(site, clusterId, nodes);
    this.#site = site;
    this.#options = options;
    this.mode = mode;
    this.store = store;
    this.clusterId = clusterId;
    this.#jetstream = jetstream;
    this.connectOptions = { clusterId, ...site.security.connectOptions };
    this.#peers = nodes.map((node) => ({ node, serverName: serverName({ clusterId, name: node.name }) }));
  }

  /** Whether the nodes have JetStream, too. */
  get jetstream(): boolean {
    return this.#jetstream;
  }

  /**
   * @internal Notes that all nodes have got JetStream by a change of their configuration, in the directories where they would have
   * had it from the start.
   */
  gotJetStream(): void {
    this.#jetstream = true;
  }

  /** @internal The directory where JetStream of a node stores, or would store. */
  jetstreamDir(node: StanNode): string {
    return this.#site.jetstreamDir(node.name);
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
    checkPosix();
    const server = await resolveServer(checked.server === undefined ? {} : { server: checked.server });
    return withFreePorts(() => StanCluster.#boot(checked, server), checked.port !== undefined);
  }

  static async #boot(options: CheckedClusterOptions, server: string): Promise<StanCluster> {
    const deadline = performance.now() + options.startTimeout;
    const left = () => Math.max(Math.round(deadline - performance.now()), 1);
    const cluster = new StanCluster(
      options,
      server,
      await Site.take({ ...options, routed: options.mode !== 'single' }),
    );
    try {
      await Promise.all(cluster.nodes.map((node) => node.start({ timeout: left() })));
      await cluster.settled({ timeout: left() });
      return cluster;
    } catch (error) {
      await cluster.end('kill');
      throw error;
    }
  }

  /**
   * Waits for the node that serves: the leader, the active node, or the only one. A frozen node does not count. If two nodes
   * believe that they lead, it is the one that began later.
   * @throws TimeoutError when no node serves in time
   */
  override leader(options: WaitingOptions = {}): Promise<StanNode> {
    return super.leader(options);
  }

  /**
   * Same as {@link leader}: in fault-tolerant mode the node that serves is called the active one.
   * @throws TimeoutError when no node serves in time
   */
  active(options: WaitingOptions = {}): Promise<StanNode> {
    return this.leader(options);
  }

  /** The node that serves now. Undefined when there is none. */
  override async findLeader(): Promise<StanNode | undefined> {
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
   * Resolves when the cluster serves clients, and each other node that runs and is not paused follows or stands by. From
   * then on the next node may be taken down. A node that was down for seconds may need as long again until it gets messages,
   * because the leader tries it with growing pauses: see {@link replicated}.
   * @throws TimeoutError when it is not so in time
   */
  override settled(options: WaitingOptions = {}): Promise<void> {
    return super.settled(options);
  }

  protected override async isSettled(): Promise<boolean> {
    if (this.jetstream && !(await isJetStreamSettled(this.#peers))) return false;
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
   * Resolves when each node that runs and is not paused has stored what the leader had stored at the call. From then on one
   * node may lose its store, and no message is lost. With JetStream, the same holds of its streams.
   * @throws TimeoutError when it is not so in time
   */
  override async replicated(options: WaitingOptions = {}): Promise<void> {
    const { timeout = 15_000 } = options;
    const leader = await this.leader(options);
    const members = this.nodes.filter((node) => node !== leader && node.running && !node.paused);
    if (this.mode !== 'clustered' || members.length === 0) return;
    const wanted = await this.waitFor(() => lastSequences(leader), { timeout, what: () => 'the leader says nothing' });
    const peers = this.jetstream ? this.#peers : [];
    const streams = await whatLeadersHave(peers);
    const hasStreams = async (node: StanNode): Promise<boolean> => {
      const peer = peers.find((each) => each.node === node);
      return peer === undefined || (await hasStored(peer, streams));
    };
    const behind = new Set(members);
    await this.waitFor(
      async () => {
        for (const node of behind) {
          const has = await lastSequences(node);
          const hasAll = has && [...wanted].every(([channel, last]) => (has.get(channel) ?? 0) >= last);
          if (hasAll && (await hasStreams(node))) behind.delete(node);
        }
        return behind.size === 0 ? true : undefined;
      },
      { timeout, what: () => `not all messages have reached ${[...behind].map((node) => node.name).join(', ')}` },
    );
  }

  protected override stateOf(node: StanNode): string {
    if (!node.running || node.paused) return super.stateOf(node);
    return node.serving ? 'serving' : node.standby ? 'standing by' : 'running';
  }

  /**
   * Plain `nats-server`s for the places of these servers, for a move to JetStream without other machines: each has the name, the
   * ports, the proxy, the credentials and the streams of the streaming server with the same name. They are down. A node can be
   * started when the streaming server in its place is down; {@link JetStreamCluster.takeOver} does so with one after the other.
   *
   * They end with this cluster.
   *
   * @param choice version, or path of the server; default: the newest tested version
   * @throws InvalidArgumentError when this cluster has no JetStream
   * @throws ServerBinaryError when no `nats-server` can be found or built
   * @example
   * ```ts
   * await using cluster = await StanCluster.start({ jetstream: true });
   * // … copy, hand over the durables, cut …
   * const after = await cluster.natsServers();
   * await after.takeOver();
   * ```
   */
  async natsServers(choice: NatsServerChoice = {}): Promise<JetStreamCluster> {
    if (!this.jetstream) {
      const what = 'has no JetStream, so there is nothing that plain servers could go on with';
      throw new InvalidArgumentError('jetstream', `the cluster ${what}: start it with { jetstream: true }`);
    }
    const { clusterId: name, config = {} } = this.#options;
    const extra = [this.#site.security.config, config];
    const servers = await JetStreamCluster.inPlace({ site: this.#site, name, extra, former: this.nodes }, choice);
    this.#successors.push(servers);
    return servers;
  }

  protected override async end(how: 'kill' | 'stop'): Promise<void> {
    // Before the site that all of them stand on is released.
    await Promise.all(this.#successors.map((servers) => servers.retire(how)));
    await super.end(how);
  }
}

/** The configuration of the server at a place. */
function configOf(options: CheckedClusterOptions, site: Site, place: Place): NodeConfig {
  const { mode, clusterId, store, raft, config, jetstream } = options;
  const home = site.home(place.name);
  return {
    ...site.addressesOf(place),
    mode,
    clusterId,
    store,
    peers: site.places.map(({ name }) => name),
    storeDir: join(mode === 'fault-tolerant' ? site.dir : home, 'store'),
    raftDir: join(home, 'raft'),
    jetstreamDir: jetstream ? site.jetstreamDir(place.name) : undefined,
    raft,
    extra: [site.security.config, config ?? {}],
  };
}

/** The last sequence that a node has stored of each channel. Undefined when it does not answer. */
async function lastSequences(node: StanNode): Promise<Map<string, number> | undefined> {
  const page = await node.monitor.get<{ channels?: Channelz[] }>('/streaming/channelsz?subs=1&limit=100000');
  return page && new Map(page.channels?.map(({ name, last_seq }) => [name, last_seq]));
}
