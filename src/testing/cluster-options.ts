import { randomInt } from 'node:crypto';
import { resolve as absolute } from 'node:path';
import { OptionReader, type OptionNames } from '../option-reader.js';
import { checkClusterId, show } from '../validation.js';
import type { AuthOption, TlsOption } from './security.js';
import { MONITORS_ABOVE } from './ports.js';
import { FAST_RAFT, type ClusterMode, type ConfigValue, type RaftTimings, type StoreKind } from './config.js';

/**
 * Options of {@link StanCluster.start}. Times are milliseconds, and an unknown name is refused.
 *
 * @example
 * ```ts
 * await using cluster = await StanCluster.start({
 *   proxied: true, // for cuts and slow lines
 *   raft: 'default', // the server's own timings
 *   config: { streaming: { store_limits: { max_msgs: 100 } } },
 * });
 * ```
 * @category Cluster
 */
export interface ClusterOptions {
  /** How many servers, 1 to 25. Default 3; in fault-tolerant mode 2; in single mode 1. */
  nodes?: number;
  /** How the servers work together. Default `'clustered'`. */
  mode?: ClusterMode;
  /** The cluster ID. Default `'test-cluster'`. */
  clusterId?: string;
  /** Where messages are kept. Default `'file'`. The server takes `'memory'` in single mode only. */
  store?: StoreKind;
  /**
   * The timings of Raft, in ms, with lease ≤ heartbeat ≤ election. Default
   * `{ heartbeat: 200, election: 200, lease: 100, commit: 20 }`, with which there is a new leader within a second.
   * `'default'`: the server's own, with which it takes five to eight seconds.
   */
  raft?: Partial<RaftTimings> | 'default';
  /**
   * The directory for configuration, stores and Raft logs. It is kept, and a later cluster in it has its messages. Default: a
   * temporary directory, which is removed at the end.
   */
  dir?: string;
  /** Path of the server. Default: what {@link resolveServer} finds. */
  server?: string;
  /**
   * More configuration for each server, with the server's own names. It wins over the harness's. For example
   * `{ max_payload: 4096, streaming: { store_limits: { max_msgs: 100 } } }`. Default: none.
   */
  config?: { readonly [key: string]: ConfigValue | undefined };
  /**
   * Whether the servers have JetStream, too: NATS Streaming 0.25.6 contains nats-server 2.9.24. Streams and durables then live in
   * the directory of each node, and {@link StanCluster.natsServers} are for the time after NATS Streaming. Default false.
   */
  jetstream?: boolean;
  /**
   * Whether there is a proxy in front of each node, and between the nodes. {@link StanCluster.isolate},
   * {@link StanCluster.partition} and {@link StanNode.proxy} need them. Default false.
   */
  proxied?: boolean;
  /**
   * `true`: clients have to use TLS. `{ verify: true }`: they also have to show a certificate. What a client needs is in
   * {@link StanCluster.connectOptions}. Default false.
   */
  tls?: TlsOption;
  /** The credentials that clients have to show. Default: none. */
  auth?: AuthOption;
  /**
   * The port for clients of the first node, on 127.0.0.1, as 4222. The other nodes have the next ones; monitoring is 4000
   * above (8222), and what the nodes need between them 2000 above (6222). Not together with `proxied`. Default: free ports.
   */
  port?: number;
  /** The seed of the chance in the proxies. Default: a new one each time. */
  seed?: number;
  /** How long the start may take, in ms, without the time to get a server. Default 30 000. */
  startTimeout?: number;
}

/** How the servers of a cluster know their clients. */
export interface ReadSecurity {
  tls: TlsOption;
  auth: AuthOption | undefined;
}

export interface CheckedClusterOptions extends ReadSecurity {
  nodes: number;
  mode: ClusterMode;
  clusterId: string;
  store: StoreKind;
  raft: RaftTimings | undefined;
  dir: string | undefined;
  server: string | undefined;
  config: { readonly [key: string]: ConfigValue | undefined } | undefined;
  jetstream: boolean;
  proxied: boolean;
  port: number | undefined;
  seed: number;
  startTimeout: number;
}

const MODES = ['clustered', 'fault-tolerant', 'single'] as const;
const STORES = ['file', 'memory'] as const;
const OPTIONS: OptionNames = {
  known: [
    ...['nodes', 'mode', 'clusterId', 'store', 'raft', 'dir', 'server', 'config', 'proxied', 'tls', 'auth', 'seed'],
    'jetstream',
    'port',
    'startTimeout',
  ],
  hints: { size: "it is called 'nodes'", replicas: "it is called 'nodes'", proxy: "it is called 'proxied'" },
};
/** More nodes are refused, because ports are found for all of them at once and each node dials each other. */
const MAX_NODES = 25;

/** @throws InvalidArgumentError */
export function checkClusterOptions(options: ClusterOptions): CheckedClusterOptions {
  const read = new OptionReader(options, 'options', OPTIONS);
  const mode = read.oneOf('mode', 'clustered', MODES);
  const store = read.oneOf('store', 'file', STORES);
  const usual = { clustered: 3, 'fault-tolerant': 2, single: 1 }[mode];
  const nodes = read.number('nodes', usual, { min: 1, max: MAX_NODES });
  if (mode === 'single' && nodes !== 1) {
    read.refuse('nodes', `is ${nodes}, and mode 'single' is one server: leave it out, or use mode 'clustered'`);
  }
  if (mode !== 'single' && store === 'memory') {
    read.refuse('store', `is 'memory', which the server refuses in mode '${mode}': leave it out, or use mode 'single'`);
  }
  const clusterId = options.clusterId ?? 'test-cluster';
  checkClusterId(clusterId);
  const dir = read.string('dir', undefined);
  const port = read.number('port', undefined, { min: 1, max: 65_536 - MONITORS_ABOVE - nodes });
  const proxied = read.boolean('proxied', false);
  if (port !== undefined && proxied) {
    read.refuse('port', "cannot be combined with 'proxied': the proxies have ports of their own");
  }
  return {
    nodes,
    mode,
    clusterId,
    store,
    raft: checkRaft(read),
    dir: dir === undefined ? undefined : absolute(dir),
    server: read.string('server', undefined),
    config: readConfig(read),
    jetstream: read.boolean('jetstream', false),
    proxied,
    ...readSecurity(read),
    port,
    seed: read.number('seed', randomInt(2 ** 31), { min: 0 }),
    startTimeout: read.milliseconds('startTimeout', 30_000),
  };
}

function checkRaft(read: OptionReader): RaftTimings | undefined {
  const given = read.values['raft'];
  if (given === 'default') return undefined;
  if (given !== undefined && (typeof given !== 'object' || given === null)) {
    read.refuse('raft', `must be 'default' or an object of timings in milliseconds, not ${show(given)}`);
  }
  const raft = read.nested('raft', { known: Object.keys(FAST_RAFT) });
  const timings: RaftTimings = {
    heartbeat: raft.milliseconds('heartbeat', FAST_RAFT.heartbeat),
    election: raft.milliseconds('election', FAST_RAFT.election),
    lease: raft.milliseconds('lease', FAST_RAFT.lease),
    commit: raft.milliseconds('commit', FAST_RAFT.commit),
  };
  const { lease, heartbeat, election } = timings;
  if (lease > heartbeat || heartbeat > election) {
    read.refuse('raft', `must have lease ≤ heartbeat ≤ election, and these are ${lease}, ${heartbeat}, ${election} ms`);
  }
  return timings;
}

/** The option `config`. @throws InvalidArgumentError */
export function readConfig(read: OptionReader): { readonly [key: string]: ConfigValue | undefined } | undefined {
  const given = read.values['config'];
  if (given !== undefined && (typeof given !== 'object' || given === null)) {
    read.refuse('config', `must be an object of server configuration, not ${show(given)}`);
  }
  return given as { readonly [key: string]: ConfigValue | undefined } | undefined;
}

/** The options `tls` and `auth`. @throws InvalidArgumentError */
export function readSecurity(read: OptionReader): ReadSecurity {
  return { tls: checkTls(read), auth: checkAuth(read) };
}

function checkTls(read: OptionReader): TlsOption {
  const given = read.values['tls'];
  if (given === undefined || typeof given === 'boolean') return given ?? false;
  if (typeof given !== 'object' || given === null) {
    read.refuse('tls', `must be true, false or { verify: true }, not ${show(given)}`);
  }
  return { verify: read.nested('tls', { known: ['verify'] }).boolean('verify', false) };
}

function checkAuth(read: OptionReader): AuthOption | undefined {
  if (!read.has('auth')) return undefined;
  const auth = read.nested('auth', { known: ['user', 'pass', 'permissions', 'token', 'nkey'] });
  const user = auth.string('user', undefined);
  const pass = auth.secret('pass');
  const token = auth.secret('token');
  const nkey = auth.boolean('nkey', false);
  const ways = [user !== undefined && pass !== undefined, token !== undefined, nkey].filter(Boolean);
  if (ways.length !== 1) read.refuse('auth', 'must be one of { user, pass }, { token } and { nkey: true }');
  return read.values['auth'] as AuthOption;
}
