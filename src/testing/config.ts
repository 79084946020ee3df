/** Renders the configuration file of one node. Pure: what is written follows from what is passed. */

/** A value of the server's configuration language. */
export type ConfigValue =
  string | number | boolean | readonly ConfigValue[] | { readonly [key: string]: ConfigValue | undefined };

/** Raft timings in ms. The server wants lease ≤ heartbeat ≤ election. */
export interface RaftTimings {
  heartbeat: number;
  election: number;
  lease: number;
  commit: number;
}

/** A new leader within a second of the old one's death, where the server's own defaults take five to eight. */
export const FAST_RAFT: RaftTimings = { heartbeat: 200, election: 200, lease: 100, commit: 20 };

export type ClusterMode = 'clustered' | 'fault-tolerant' | 'single';
export type StoreKind = 'file' | 'memory';

/** Where one node listens and whom it dials, by port on 127.0.0.1. */
export interface NodePorts {
  client: number;
  monitor: number;
  route: number;
}

export interface NodeConfig {
  name: string;
  mode: ClusterMode;
  clusterId: string;
  store: StoreKind;
  ports: NodePorts;
  /** `host:port` of the routes to solicit. */
  routes: readonly string[];
  /** Names of all nodes of the cluster, this one included. */
  peers: readonly string[];
  /** Absolute; of this node alone, except in fault-tolerant mode, where all nodes share it. */
  storeDir: string;
  /** Absolute. */
  raftDir: string;
  /** Undefined: the server's own defaults. */
  raft: RaftTimings | undefined;
  /** What this node tells clients and other nodes about where it can be reached, when that is not where it listens. */
  advertise?: { client: string; route: string } | undefined;
  /** Laid over all this, one after the other. */
  extra?: readonly { readonly [key: string]: ConfigValue | undefined }[] | undefined;
}

const HOST = '127.0.0.1';

/** The configuration as a tree. */
export function nodeConfig(node: NodeConfig): { readonly [key: string]: ConfigValue | undefined } {
  const { mode, ports, raft } = node;
  const joined = mode !== 'single';
  const own: Tree = {
    server_name: `${node.clusterId}-${node.name}`,
    listen: `${HOST}:${ports.client}`,
    http: `${HOST}:${ports.monitor}`,
    client_advertise: node.advertise?.client,
    cluster: joined
      ? {
          // Without a name the servers negotiate one at every restart and drop their routes over it.
          name: node.clusterId,
          listen: `${HOST}:${ports.route}`,
          routes: node.routes.map((route) => `nats://${route}`),
          // What is behind proxies must not be told of a way around them. Clients are told of the proxies.
          ...(node.advertise && { advertise: node.advertise.route }),
        }
      : undefined,
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

type Tree = { readonly [key: string]: ConfigValue | undefined };

function isTree(value: ConfigValue | undefined): value is Tree {
  return typeof value === 'object' && !Array.isArray(value);
}

/** `over` wins; trees are merged, everything else is replaced. */
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
  // Always quoted: a bare word may be a number with a unit, a variable or a boolean to the server.
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value !== 'object') return String(value);
  if (isTree(value)) return `{\n${renderEntries(value, `${indent}  `)}${indent}}`;
  return `[${value.map((item) => renderValue(item, indent)).join(', ')}]`;
}

/** a, b, c … z, n27, n28 … */
export function nodeName(index: number): string {
  return index < 26 ? String.fromCharCode(97 + index) : `n${index + 1}`;
}
