import '../../dispose.js';
import { TimeoutError } from '../../errors.js';
import { natsConfig, renderConfig, serverName } from '../config.js';
import type { ServerConnectOptions } from '../security.js';
import { resolveServer } from '../server-binary/index.js';
import { checkPosix, ServerCluster, withFreePorts, type WaitingOptions } from '../server-cluster.js';
import type { ServerNode } from '../server-node.js';
import { Site } from '../site.js';
import { JetStreamNode } from './jetstream-node.js';
import { checkJetStreamOptions, type JetStreamClusterOptions, type NatsServerChoice } from './jetstream-options.js';
import {
  awake,
  findMetaLeader,
  findStreamLeader,
  hasStored,
  isJetStreamSettled,
  whatLeadersHave,
  type Peer,
} from './jetstream-state.js';

/**
 * How long to wait for a leader, and of what.
 * @category Cluster
 */
export interface JetStreamLeaderOptions extends WaitingOptions {
  /** Name of the stream. Default: the leader of JetStream as a whole, which makes and places streams. */
  stream?: string;
}

/**
 * Options of {@link JetStreamCluster.takeOver}.
 * @category Cluster
 */
export interface TakeOverOptions extends WaitingOptions {
  /** How long each replacement may take, in ms. Default 30 000. */
  timeout?: number;
  /** Called with each streaming server before it is ended, and awaited. Default: none. */
  onReplace?: (former: ServerNode) => void | Promise<void>;
  /** Called with each server that has taken a place. Default: none. */
  onReplaced?: (node: JetStreamNode) => void;
}

/** What a JetStream cluster is made of. */
interface Making {
  site: Site;
  /** Name of the cluster. */
  name: string;
  /** Path of the server. */
  server: string;
  /** More configuration. */
  extra: NonNullable<Parameters<typeof natsConfig>[0]['extra']>;
  /** The streaming servers in whose places these servers can be. */
  former: readonly ServerNode[];
}

/**
 * Real `nats-server`s with JetStream on this machine, whose nodes can be killed, frozen and cut off, as those of a
 * {@link StanCluster}. It needs a POSIX system. No server outlives this process, however the process ends.
 *
 * @example
 * ```ts
 * import { connect } from '@nats-io/transport-node';
 * import { jetstreamManager } from '@nats-io/jetstream';
 *
 * await using jetstream = await JetStreamCluster.start({ nodes: 3 });
 * const nats = await connect({ servers: jetstream.urls });
 * const manager = await jetstreamManager(nats);
 * await manager.streams.add({ name: 'orders', subjects: ['orders'], num_replicas: 3 });
 * await (await jetstream.leader({ stream: 'orders' })).kill();
 * ```
 * @category Cluster
 */
export class JetStreamCluster extends ServerCluster<JetStreamNode> {
  /** Name of the cluster. */
  readonly name: string;
  /** How the nodes work together, in the words of a {@link StanCluster}. */
  readonly mode: 'clustered' | 'single';
  /** Where the nodes keep messages. */
  readonly store = 'file';
  /** The credentials and certificates that a client needs. Without any it is empty. */
  readonly connectOptions: ServerConnectOptions;

  readonly #peers: readonly Peer<JetStreamNode>[];
  readonly #former: readonly ServerNode[];

  private constructor({ site, name, server, extra, former }: Making) {
    const nodes = site.places.map((place) => {
      const jetstreamDir = site.jetstreamDir(place.name);
      const config = natsConfig({ ...site.addressesOf(place), clusterId: name, jetstreamDir, extra });
      return new JetStreamNode({
        ...site.footingOf(place),
        server,
        config: { file: 'nats-server.conf', text: renderConfig(config) },
        stores: [jetstreamDir],
      });
    });
    super(site, former.length === 0 ? name : `${name}-nats`, nodes);
    this.name = name;
    this.mode = nodes.length === 1 ? 'single' : 'clustered';
    this.connectOptions = site.security.connectOptions;
    this.#former = former;
    this.#peers = nodes.map((node) => ({ node, serverName: serverName({ clusterId: name, name: node.name }) }));
  }

  /**
   * Boots a cluster. The promise resolves when JetStream serves and every node is a part of it. After an error nothing that was
   * started is left.
   *
   * @param options default: three nodes of the newest tested version
   * @throws InvalidArgumentError when an option is wrong
   * @throws ServerBinaryError when no server can be found or built
   * @throws ServerStartError with the server's own words, when a server refuses to run
   * @throws TimeoutError when `startTimeout` is over
   */
  static async start(options: JetStreamClusterOptions = {}): Promise<JetStreamCluster> {
    const checked = checkJetStreamOptions(options);
    checkPosix();
    const server = await findNatsServer(checked);
    const { name, nodes, startTimeout } = checked;
    const boot = async (): Promise<JetStreamCluster> => {
      const deadline = performance.now() + startTimeout;
      const left = () => Math.max(Math.round(deadline - performance.now()), 1);
      const site = await Site.take({ ...checked, routed: nodes > 1 });
      const extra = [site.security.config, checked.config ?? {}];
      const cluster = new JetStreamCluster({ site, name, server, extra, former: [] });
      try {
        await Promise.all(cluster.nodes.map((node) => node.start({ timeout: left() })));
        await cluster.settled({ timeout: left() });
        return cluster;
      } catch (error) {
        await cluster.end('kill');
        throw error;
      }
    };
    return withFreePorts(boot, checked.port !== undefined);
  }

  /** @internal Made by {@link StanCluster.natsServers}: servers that are down, for the places of streaming servers. */
  static async inPlace(making: Omit<Making, 'server'>, choice: NatsServerChoice): Promise<JetStreamCluster> {
    return new JetStreamCluster({ ...making, server: await findNatsServer(choice) });
  }

  /**
   * Waits for the node that leads a stream, or JetStream as a whole. A frozen node does not count.
   * @throws TimeoutError when no node leads in time
   */
  override leader(options: JetStreamLeaderOptions = {}): Promise<JetStreamNode> {
    const { stream, timeout = 15_000 } = options;
    return this.waitFor(() => this.findLeader(stream), {
      timeout,
      what: () => `no node leads${stream === undefined ? '' : ` stream '${stream}'`}. ${this.overview()}`,
    });
  }

  /**
   * The node that leads a stream now. Undefined when there is none.
   * @param stream name of the stream. Default: the leader of JetStream as a whole
   */
  override async findLeader(stream?: string): Promise<JetStreamNode | undefined> {
    const found = await (stream === undefined ? findMetaLeader(this.#peers) : findStreamLeader(this.#peers, stream));
    return found?.node;
  }

  override async replicated(options: WaitingOptions = {}): Promise<void> {
    const { timeout = 15_000 } = options;
    await this.leader(options);
    const wanted = await whatLeadersHave(this.#peers);
    const behind = new Set(awake(this.#peers));
    await this.waitFor(
      async () => {
        for (const peer of behind) if (await hasStored(peer, wanted)) behind.delete(peer);
        return behind.size === 0 ? true : undefined;
      },
      { timeout, what: () => `not all messages have reached ${[...behind].map(({ node }) => node.name).join(', ')}` },
    );
  }

  /**
   * In the places of a {@link StanCluster}: ends its servers and starts these, one after the other, each on the same ports and with
   * the same store. While one is replaced the others serve JetStream, so a stream with three replicas goes on. The promise resolves
   * when all are replaced and JetStream serves. Elsewhere, it does nothing.
   * Whoever has much to do with a stream before 2.10 lets it choose its leader anew before each replacement, by a request to
   * `$JS.API.STREAM.LEADER.STEPDOWN.<stream>`: otherwise a replica that has refused messages may store as many twice.
   * @param options default: 30 s for each replacement
   * @throws ServerStartError with the server's own words, when a server refuses to run
   * @throws TimeoutError when the cluster is not whole again after one was replaced
   */
  async takeOver(options: TakeOverOptions = {}): Promise<void> {
    const { timeout = 30_000, onReplace, onReplaced } = options;
    for (const [index, former] of this.#former.entries()) {
      await onReplace?.(former);
      // A streaming server may hang in its own shutdown, and is then killed, as an operator would do.
      await former.stop().catch((error: unknown) => {
        if (!(error instanceof TimeoutError)) throw error;
      });
      const node = this.nodes[index] as JetStreamNode;
      await node.start({ timeout });
      await this.settled({ timeout });
      onReplaced?.(node);
    }
  }

  protected override isSettled(): Promise<boolean> {
    // Where a streaming server still has its place, it is the one that counts.
    const peers = this.#peers.map(({ node, serverName }, i) => {
      const former = this.#former[i];
      return { serverName, node: former?.running ? former : node };
    });
    return isJetStreamSettled(peers);
  }
}

function findNatsServer({
  version,
  server,
}: Partial<Record<keyof NatsServerChoice, string | undefined>>): Promise<string> {
  return resolveServer({
    program: 'nats-server',
    ...(version !== undefined && { version }),
    ...(server !== undefined && { server }),
  });
}
