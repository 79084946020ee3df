/** Renders the configuration file of one node. Pure. */

/**
 * A value in a configuration file of the server.
 * @category Cluster
 */
export type ConfigValue =
  string | number | boolean | readonly ConfigValue[] | { readonly [key: string]: ConfigValue | undefined };

/**
 * The timings of Raft, in ms. The server wants lease ≤ heartbeat ≤ election.
 * @category Cluster
 */
export interface RaftTimings {
  /** How long a follower waits for the leader before it becomes a candidate, in ms. */
  heartbeat: number;
  /** How long a candidate waits for votes before it asks again, in ms. */
  election: number;
  /** How long a leader without a majority goes on leading, in ms. */
  lease: number;
  /** How long an idle leader waits before it tells the followers what is committed, in ms. */
  commit: number;
}

/** With these a new leader is there within a second. With the server's own it takes five to eight seconds. */
export const FAST_RAFT: RaftTimings = { heartbeat: 200, election: 200, lease: 100, commit: 20 };

/**
 * How the servers of a cluster work together:
 *
 * - `'clustered'`: each has its own store, Raft keeps the stores equal, and one of them leads;
 * - `'fault-tolerant'`: all share one store, one of them is active, and the others stand by;
 * - `'single'`: there is one server.
 *
 * @category Cluster
 */
export type ClusterMode = 'clustered' | 'fault-tolerant' | 'single';
/**
 * Where a server keeps messages: `'file'` on disk, `'memory'` until it ends.
 * @category Cluster
 */
export type StoreKind = 'file' | 'memory';

/** The ports on which one node listens, on 127.0.0.1. */
export interface NodePorts {
  client: number;
  monitor: number;
  route: number;
}

/** What a NATS server has to know. */
export interface NatsConfig {
  name: string;
  /** Name of the cluster. */
  clusterId: string;
  /** Whether it is a part of a cluster. */
  joined: boolean;
  ports: NodePorts;
  /** The nodes that it dials, as `host:port`. */
  routes: readonly string[];
  /** Absolute path of the directory in which JetStream stores. Undefined: without JetStream. */
  jetstreamDir?: string | undefined;
  /** The addresses that this node announces to clients and to other nodes. Undefined when it is where it listens. */
  advertise?: { client: string; route: string } | undefined;
  /** More configuration, merged in this order. A later value wins. */
  extra?: readonly { readonly [key: string]: ConfigValue | undefined }[] | undefined;
}

/** What a streaming server has to know, which is a NATS server with more. */
export interface NodeConfig extends Omit<NatsConfig, 'joined'> {
  mode: ClusterMode;
  store: StoreKind;
  /** Names of all nodes of the cluster, also of this one. */
  peers: readonly string[];
  /** Absolute path. In fault-tolerant mode all nodes share it, else each has its own. */
  storeDir: string;
  /** Absolute path. */
  raftDir: string;
  /** Undefined for the server's own timings. */
  raft: RaftTimings | undefined;
}

const HOST = '127.0.0.1';

/** The configuration of a streaming server as a tree. */
export function nodeConfig(node: NodeConfig): Tree {
  const { mode, raft } = node;
  const own: Tree = {
    ...natsTree({ ...node, joined: mode !== 'single' }),
    streaming: {
      id: node.clusterId,
      store: node.store,
      dir: node.store === 'file' ? node.storeDir : undefined,
      ft_group: mode === 'fault-tolerant' ? node.clusterId : undefined,
      cluster:
        mode === 'clustered'
          ? {
              node_id: node.name,
              peers: node.peers,
              // One node alone waits for others that it could join, unless it is told to begin.
              bootstrap: node.peers.length === 1 || undefined,
              log_path: node.raftDir,
              ...(raft && {
                raft_heartbeat_timeout: `${raft.heartbeat}ms`,
                raft_election_timeout: `${raft.election}ms`,
                raft_lease_timeout: `${raft.lease}ms`,
                raft_commit_timeout: `${raft.commit}ms`,
              }),
            }
          : undefined,
    },
  };
  return (node.extra ?? []).reduce(merge, own);
}

/** The configuration of a plain NATS server as a tree. What was meant for a streaming server is left out. */
export function natsConfig(node: NatsConfig): Tree {
  return { ...(node.extra ?? []).reduce(merge, natsTree(node)), streaming: undefined };
}

function natsTree(node: NatsConfig): Tree {
  const { ports } = node;
  return {
    server_name: serverName(node),
    listen: `${HOST}:${ports.client}`,
    http: `${HOST}:${ports.monitor}`,
    client_advertise: node.advertise?.client,
    cluster: node.joined
      ? {
          // Without a name the servers agree on one at each restart, and drop their routes for that.
          name: node.clusterId,
          listen: `${HOST}:${ports.route}`,
          routes: node.routes.map((route) => `nats://${route}`),
          // Nodes behind proxies must not learn of a way around the proxies.
          ...(node.advertise && { advertise: node.advertise.route }),
        }
      : undefined,
    jetstream: node.jetstreamDir === undefined ? undefined : { store_dir: node.jetstreamDir },
  };
}

/** The name by which a server is known to the others. JetStream finds a replica by it, so it stays the same. */
export function serverName({ clusterId, name }: { clusterId: string; name: string }): string {
  return `${clusterId}-${name}`;
}

type Tree = { readonly [key: string]: ConfigValue | undefined };

function isTree(value: ConfigValue | undefined): value is Tree {
  return typeof value === 'object' && !Array.isArray(value);
}

/** Merges two trees. Where both have a value that is not a tree, that of `over` wins. */
function merge(base: Tree, over: Tree): Tree {
  const merged: Record<string, ConfigValue | undefined> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isTree(below) && isTree(value) ? merge(below, value) : value;
  }
  return merged;
}

/** The text of a configuration file. Undefined values are left out. */
export function renderConfig(config: Tree): string {
  return renderEntries(config, '');
}

function renderEntries(tree: Tree, indent: string): string {
  return Object.entries(tree)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${indent}${key}: ${renderValue(value as ConfigValue, indent)}\n`)
    .join('');
}

function renderValue(value: ConfigValue, indent: string): string {
  // Strings are always quoted, because the server may take a bare word for a number, a variable or a boolean.
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value !== 'object') return String(value);
  if (isTree(value)) return `{\n${renderEntries(value, `${indent}  `)}${indent}}`;
  return `[${value.map((item) => renderValue(item, indent)).join(', ')}]`;
}

/** The name of a node by its index: a, b, c … z, n27, n28 … */
export function nodeName(index: number): string {
  return index < 26 ? String.fromCharCode(97 + index) : `n${index + 1}`;
}
