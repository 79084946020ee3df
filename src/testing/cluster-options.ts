import { randomInt } from 'node:crypto';
import { resolve as absolute } from 'node:path';
import { InvalidArgumentError } from '../errors.js';
import { checkClusterId } from '../validation.js';
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

const MODES: readonly ClusterMode[] = ['clustered', 'fault-tolerant', 'single'];
const STORES: readonly StoreKind[] = ['file', 'memory'];
const KNOWN: readonly (keyof ClusterOptions)[] = [
  'nodes',
  'mode',
  'clusterId',
  'store',
  'raft',
  'dir',
  'server',
  'config',
  'proxied',
  'tls',
  'auth',
  'seed',
  'startTimeout',
];
/** Ports are found for all of them at once, and every node dials every other. */
const MAX_NODES = 25;

/** @throws InvalidArgumentError */
export function checkClusterOptions(options: ClusterOptions): CheckedClusterOptions {
  for (const name of Object.keys(options)) {
    if (!KNOWN.includes(name as keyof ClusterOptions)) {
      throw invalid(name, `there is no option '${name}'; there are: ${KNOWN.join(', ')}`);
    }
  }
  const mode = oneOf('mode', options.mode ?? 'clustered', MODES);
  const store = oneOf('store', options.store ?? 'file', STORES);
  const nodes = options.nodes ?? { clustered: 3, 'fault-tolerant': 2, single: 1 }[mode];
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES) {
    throw invalid('nodes', `nodes must be a whole number from 1 to ${MAX_NODES}, not ${String(nodes)}`);
  }
  if (mode === 'single' && nodes !== 1) {
    throw invalid('nodes', `mode 'single' is one server, not ${nodes}: leave nodes out, or use mode 'clustered'`);
  }
  if (mode !== 'single' && store === 'memory') {
    throw invalid('store', `mode '${mode}' needs store 'file': the server refuses a memory store there`);
  }
  const clusterId = options.clusterId ?? 'test-cluster';
  checkClusterId(clusterId);
  for (const name of ['dir', 'server'] as const) {
    const value: unknown = options[name];
    if (value !== undefined && (typeof value !== 'string' || value === '')) {
      throw invalid(name, `${name} must be a path, not ${String(value) || 'an empty string'}`);
    }
  }
  const proxied: unknown = options.proxied ?? false;
  if (typeof proxied !== 'boolean') throw invalid('proxied', `proxied must be true or false, not ${String(proxied)}`);
  const seed: unknown = options.seed ?? randomInt(2 ** 31);
  if (typeof seed !== 'number' || !Number.isInteger(seed)) {
    throw invalid('seed', `seed must be a whole number, not ${String(seed)}`);
  }
  const startTimeout = positive('startTimeout', options.startTimeout ?? 30_000);
  return {
    nodes,
    mode,
    clusterId,
    store,
    raft: checkRaft(options.raft ?? {}),
    dir: options.dir === undefined ? undefined : absolute(options.dir),
    server: options.server,
    config: options.config,
    proxied,
    tls: checkTls(options.tls ?? false),
    auth: options.auth === undefined ? undefined : checkAuth(options.auth),
    seed,
    startTimeout,
  };
}

function checkRaft(raft: Partial<RaftTimings> | 'default'): RaftTimings | undefined {
  if (raft === 'default') return undefined;
  if (typeof raft !== 'object' || raft === null) {
    throw invalid('raft', `raft must be 'default' or an object of timings in ms, not ${String(raft)}`);
  }
  for (const [name, value] of Object.entries(raft)) {
    if (!(name in FAST_RAFT)) {
      throw invalid(
        `raft.${name}`,
        `there is no Raft timing '${name}'; there are: ${Object.keys(FAST_RAFT).join(', ')}`,
      );
    }
    positive(`raft.${name}`, value);
  }
  const timings = { ...FAST_RAFT, ...raft };
  if (timings.lease > timings.heartbeat || timings.heartbeat > timings.election) {
    throw invalid(
      'raft',
      `the server wants lease ≤ heartbeat ≤ election, and these are ` +
        `${timings.lease}, ${timings.heartbeat}, ${timings.election} ms`,
    );
  }
  return timings;
}

function checkTls(tls: TlsOption): TlsOption {
  if (typeof tls === 'boolean') return tls;
  if (typeof tls !== 'object' || tls === null || typeof (tls.verify ?? false) !== 'boolean') {
    throw invalid('tls', `tls must be true, false or { verify: true }, not ${String(tls)}`);
  }
  return tls;
}

function checkAuth(auth: AuthOption): AuthOption {
  const given = auth as { readonly [name: string]: unknown } | null;
  const has = (...names: string[]) => names.every((name) => typeof given?.[name] === 'string' && given[name] !== '');
  if (typeof given === 'object' && given !== null) {
    if (has('user', 'pass') || has('token') || given['nkey'] === true) return auth;
  }
  throw invalid('auth', 'auth must be { user, pass }, { token } or { nkey: true }');
}

function positive(name: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) {
    throw invalid(name, `${name} must be a positive whole number of ms, not ${String(value)}`);
  }
  return value;
}

function oneOf<T extends string>(name: string, value: T, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value;
  throw invalid(name, `${name} must be one of ${allowed.map((a) => `'${a}'`).join(', ')}, not '${String(value)}'`);
}

function invalid(name: string, message: string): InvalidArgumentError {
  return new InvalidArgumentError(name, `StanCluster.start: ${message}`);
}
