import { randomInt } from 'node:crypto';
import { resolve as absolute } from 'node:path';
import { OptionReader, type OptionNames } from '../option-reader.js';
import { checkClusterId, show } from '../validation.js';
import type { AuthOption, TlsOption } from './security.js';
import { FAST_RAFT, type ClusterMode, type ConfigValue, type RaftTimings, type StoreKind } from './config.js';

export interface ClusterOptions {
  /** How many servers. Default 3; 2 in fault-tolerant mode; 1 in single mode. */
  nodes?: number;
  /**
   * - `clustered` (default): each node has its own store, Raft keeps them equal, a leader serves;
   * - `fault-tolerant`: all nodes share one store, one of them is active, the others stand by;
   * - `single`: one server.
   */
  mode?: ClusterMode;
  /** Default `test-cluster`. */
  clusterId?: string;
  /** Default `file`. `memory` loses everything at a restart, and is for single mode only: the server refuses it elsewhere. */
  store?: StoreKind;
  /**
   * Raft timings in ms, those left out being heartbeat 200, election 200, lease 100, commit 20: a new leader within a
   * second. `default`: the server's own (five to eight seconds). The server wants lease ≤ heartbeat ≤ election.
   */
  raft?: Partial<RaftTimings> | 'default';
  /**
   * Where configuration, stores and Raft logs go. It is kept, and a later cluster in it finds its messages again.
   * Default: a temporary directory that is removed.
   */
  dir?: string;
  /** Path of the server. Default: what {@link resolveServer} finds. */
  server?: string;
  /**
   * More configuration for every server, in its own words, laid over the harness's: for example
   * `{ max_payload: 4096, streaming: { store_limits: { max_msgs: 100 } } }`.
   */
  config?: { readonly [key: string]: ConfigValue | undefined };
  /**
   * Puts a proxy before each node and between the nodes, for {@link StanCluster.isolate}, {@link StanCluster.partition}
   * and {@link StanNode.proxy}. Default false.
   */
  proxied?: boolean;
  /**
   * `true`: clients connect with TLS; certificate and authority are made for this cluster. `{ verify: true }`: clients
   * have to show a certificate, too. What a client needs is in {@link StanCluster.connectOptions}. Default false.
   */
  tls?: TlsOption;
  /**
   * What clients have to show: `{ user, pass }`, with `permissions` if they may not do everything; `{ token }`;
   * `{ nkey: true }` for a key made for this cluster. Default: nothing.
   */
  auth?: AuthOption;
  /** What chance does in the proxies follows from it. Default: another one each time. */
  seed?: number;
  /** How long the whole start may take, in ms (without getting a server binary). Default 30 000. */
  startTimeout?: number;
}

export interface CheckedClusterOptions {
  nodes: number;
  mode: ClusterMode;
  clusterId: string;
  store: StoreKind;
  raft: RaftTimings | undefined;
  dir: string | undefined;
  server: string | undefined;
  config: { readonly [key: string]: ConfigValue | undefined } | undefined;
  proxied: boolean;
  tls: TlsOption;
  auth: AuthOption | undefined;
  seed: number;
  startTimeout: number;
}

const MODES = ['clustered', 'fault-tolerant', 'single'] as const;
const STORES = ['file', 'memory'] as const;
const OPTIONS: OptionNames = {
  known: [
    ...['nodes', 'mode', 'clusterId', 'store', 'raft', 'dir', 'server', 'config', 'proxied', 'tls', 'auth', 'seed'],
    'startTimeout',
  ],
  hints: { size: "it is called 'nodes'", replicas: "it is called 'nodes'", proxy: "it is called 'proxied'" },
};
/** Ports are found for all of them at once, and every node dials every other. */
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
  if (options.config !== undefined && (typeof options.config !== 'object' || options.config === null)) {
    read.refuse('config', `must be an object of server configuration, not ${show(options.config)}`);
  }
  return {
    nodes,
    mode,
    clusterId,
    store,
    raft: checkRaft(read),
    dir: dir === undefined ? undefined : absolute(dir),
    server: read.string('server', undefined),
    config: options.config,
    proxied: read.boolean('proxied', false),
    tls: checkTls(read),
    auth: checkAuth(read),
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
