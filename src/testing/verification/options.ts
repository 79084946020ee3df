/** The options of a run, checked and with their defaults. */
import { randomInt } from 'node:crypto';
import { resolve } from 'node:path';
import { parseServers } from '../../connection/servers.js';
import { InvalidArgumentError } from '../../errors.js';
import { OptionReader, type OptionNames } from '../../option-reader.js';
import { checkClusterId } from '../../validation.js';
import type { ClusterMode, RaftTimings } from '../config.js';
import type { Ordering } from '../continuity/verdict.js';
import { checkFaultKinds, possibleFaults, PROXIED_FAULTS, type FaultKind } from '../nemesis/plan.js';
import { readConnectOptions, type VerifyConnectOptions } from './connect-options.js';
import type { Progress, RunNote } from './progress.js';

/**
 * Options of {@link verify}. Times are milliseconds, and an unknown name is refused.
 * @category Verification
 */
export interface VerifyOptions {
  /** How long to publish and to make faults, in ms. Default 120 000, or as long as `faultCount` faults take. */
  publishFor?: number | undefined;
  /** After how many faults the run ends. Default: as many as there is time for. */
  faultCount?: number | undefined;
  /** The seed from which the faults follow. Default: a new one each time. */
  seed?: number | undefined;
  /** The order that the publishers are configured for. Default `'pipelined'`. */
  ordering?: Ordering | undefined;
  /** The kinds of faults. Default: all that the cluster can have; none with `servers`. */
  faults?: readonly FaultKind[] | undefined;
  /** The longest duration of a fault, in ms, without the time that the cluster then needs. Default 4000. */
  maxFaultDuration?: number | undefined;
  /** How many nodes the cluster has. Default 3; in fault-tolerant mode 2; in single mode 1. */
  nodes?: number | undefined;
  /** How the nodes of the cluster work together. Default `'clustered'`. */
  mode?: ClusterMode | undefined;
  /**
   * Raft's heartbeat and election timeout in the cluster, in ms. Its lease is half of that, and its commit interval a tenth. A
   * leader that dies is replaced after two to four times this. With much less than the default, a busy machine alone makes
   * leaders lose their lease. Default 500.
   */
  raftTimeout?: number | undefined;
  /** URLs of servers to use instead of a cluster of its own. They are not broken: whoever runs them may do that. */
  servers?: string | readonly string[] | undefined;
  /** The cluster ID of `servers`. Default `'test-cluster'`. */
  clusterId?: string | undefined;
  /** Credentials and TLS for `servers`. They are not written into reports. Default: those in the URLs, if there are any. */
  connectOptions?: VerifyConnectOptions | undefined;
  /**
   * How many members each queue group has, 1 or 2, each in a process of its own. With 2 the server itself may lose messages,
   * if its leader dies in the second after a member has left; the verdict counts these apart. The fault `group-kill` has a
   * group of its own. Default 1.
   */
  groupMembers?: number | undefined;
  /**
   * How many messages the channel keeps. A subscription that is cut off or behind then finds messages gone, and has to tell
   * each of them as a `gap`. With `servers` it has to be their `max_msgs`. Default: all messages are kept.
   */
  maxMessages?: number | undefined;
  /** How many idle subscriptions one of the clients has during the run. Half of them are durable. Default 0. */
  subscriptions?: number | undefined;
  /** How many messages a second, of all publishers together. Default 200. */
  rate?: number | undefined;
  /** Size of a message, in bytes. Default 0: the size of its value. */
  size?: number | undefined;
  /** Path of a module whose default export is a {@link ClientAdapter}. Default: this library. */
  client?: string | undefined;
  /** Path of the server. Default: what {@link resolveServer} finds. */
  server?: string | undefined;
  /**
   * How long to wait at the end while no publish settles, and then while no delivery arrives, in ms each. Default 60 000.
   */
  settleTimeout?: number | undefined;
  /** The directory for the logs of servers and clients, when the run is not clean. Default: they are not kept. */
  logDir?: string | undefined;
  /** When it is aborted, the run ends, and the report says how far it came. Default: none. */
  signal?: AbortSignal | undefined;
  /** Called ten times a second with the state of the run. */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Called at each thing that happens. */
  onNote?: ((note: RunNote) => void) | undefined;
}

export interface CheckedVerifyOptions {
  publishFor: number;
  faultCount: number;
  seed: number;
  ordering: Ordering;
  faults: FaultKind[];
  maxFaultDuration: number;
  cluster:
    | { nodes: number; mode: ClusterMode; proxied: boolean; raft: Partial<RaftTimings>; server: string | undefined }
    | undefined;
  /** URLs with their credentials. */
  servers: string[];
  clusterId: string;
  connectOptions: VerifyConnectOptions;
  groupMembers: number;
  maxMessages: number | undefined;
  subscriptions: number;
  rate: number;
  size: number;
  client: string | undefined;
  settleTimeout: number;
  logDir: string | undefined;
  signal: AbortSignal | undefined;
  onProgress: (progress: Progress) => void;
  onNote: (note: RunNote) => void;
  /** The command that repeats the run. */
  replay: string;
}

const MODES = ['clustered', 'fault-tolerant', 'single'] as const;
const NAMES: OptionNames = {
  known: [
    ...['publishFor', 'faultCount', 'seed', 'ordering', 'faults', 'maxFaultDuration', 'nodes', 'mode', 'raftTimeout'],
    ...['servers', 'clusterId', 'connectOptions', 'groupMembers', 'maxMessages', 'subscriptions', 'rate'],
    ...['size', 'client', 'server', 'settleTimeout', 'logDir', 'signal', 'onProgress', 'onNote'],
  ],
  hints: { minutes: "it is called 'publishFor', in ms", duration: "it is called 'publishFor', in ms" },
};
const NO_CLUSTER = 'has no meaning with servers of your own: they are left alone';

/** @throws InvalidArgumentError */
export function checkVerifyOptions(options: VerifyOptions): CheckedVerifyOptions {
  const reader = new OptionReader(options, 'options', NAMES);
  const faultCount = reader.number('faultCount', Infinity, { min: 1, unit: 'faults' });
  const publishFor = reader.milliseconds('publishFor', faultCount === Infinity ? 120_000 : Infinity, {
    infinity: true,
  });
  const ownServers = reader.has('servers') ? parseServers(options.servers) : undefined;
  if (ownServers) {
    for (const name of ['nodes', 'mode', 'raftTimeout', 'server', 'faultCount', 'maxFaultDuration'] as const) {
      if (reader.has(name)) reader.refuse(name, NO_CLUSTER);
    }
    if ((options.faults ?? []).length > 0) reader.refuse('faults', NO_CLUSTER);
    if (publishFor === Infinity) reader.refuse('publishFor', 'must have an end');
  } else {
    for (const name of ['clusterId', 'connectOptions'] as const) {
      if (reader.has(name))
        reader.refuse(name, 'goes with servers of your own: the cluster that is booted has its own');
    }
  }
  const mode = reader.oneOf('mode', 'clustered', MODES);
  const nodes = reader.number('nodes', { clustered: 3, 'fault-tolerant': 2, single: 1 }[mode], { min: 1, max: 9 });
  const faults = ownServers ? [] : faultsFor(mode, options.faults);
  const clusterId = reader.string('clusterId', 'test-cluster');
  checkClusterId(clusterId);
  const checked = {
    publishFor,
    faultCount,
    seed: reader.number('seed', randomInt(2 ** 31), { min: 0, max: 2 ** 32 - 1 }),
    ordering: reader.oneOf('ordering', 'pipelined', ['pipelined', 'strict']),
    faults,
    maxFaultDuration: reader.milliseconds('maxFaultDuration', 4000),
    cluster: ownServers
      ? undefined
      : {
          nodes,
          mode,
          proxied: faults.some((kind) => PROXIED_FAULTS.has(kind)),
          raft: raftOf(reader.milliseconds('raftTimeout', 500, { min: 20, max: 60_000 })),
          server: reader.string('server', undefined),
        },
    servers: ownServers ? [options.servers ?? []].flat() : [],
    clusterId,
    connectOptions: ownServers ? readConnectOptions(reader, options.servers ?? []) : {},
    groupMembers: reader.number('groupMembers', 1, { min: 1, max: 2, unit: 'members' }),
    maxMessages: reader.has('maxMessages') ? reader.number('maxMessages', 1, { min: 1, unit: 'messages' }) : undefined,
    subscriptions: reader.number('subscriptions', 0, { min: 0, max: 20_000, unit: 'subscriptions' }),
    rate: reader.number('rate', 200, { min: 1, max: 20_000, unit: 'messages a second' }),
    size: reader.number('size', 0, { min: 0, max: 900_000, unit: 'bytes' }),
    client: reader.has('client') ? resolve(String(reader.string('client', undefined))) : undefined,
    settleTimeout: reader.milliseconds('settleTimeout', 60_000),
    logDir: reader.string('logDir', undefined),
    signal: reader.signal(),
    onProgress: reader.callback<(progress: Progress) => void>('onProgress', '(progress) => void') ?? (() => {}),
    onNote: reader.callback<(note: RunNote) => void>('onNote', '(note) => void') ?? (() => {}),
  };
  return { ...checked, replay: replayOf(options, checked.seed) };
}

function raftOf(timeout: number): Partial<RaftTimings> {
  return {
    heartbeat: timeout,
    election: timeout,
    lease: Math.round(timeout / 2),
    commit: Math.max(Math.round(timeout / 10), 1),
  };
}

/** The kinds of faults of a run: those that were asked for, or all that are possible. */
function faultsFor(mode: ClusterMode, asked: readonly FaultKind[] | undefined): FaultKind[] {
  const possible = possibleFaults({ mode, store: 'file', proxied: true, clients: true });
  if (asked === undefined) return possible;
  const kinds = asked.length === 0 ? [] : checkFaultKinds(asked);
  const impossible = kinds.find((kind) => !possible.includes(kind));
  if (impossible === undefined) return kinds;
  throw new InvalidArgumentError(
    'faults',
    `fault '${impossible}' is not possible in ${mode} mode; possible are: ${possible.join(', ')}`,
  );
}

/** The command for a shell that repeats the run. It has no credentials, because it is written into reports. */
export function replayOf(options: VerifyOptions, seed: number): string {
  const { publishFor, faultCount, maxFaultDuration, faults, servers } = options;
  const words: Record<string, string | number | undefined> = {
    seed,
    minutes: publishFor === undefined || publishFor === Infinity ? undefined : publishFor / 60_000,
    count: faultCount,
    ordering: options.ordering,
    faults: faults && (faults.join(',') || 'none'),
    'fault-seconds': maxFaultDuration && maxFaultDuration / 1000,
    nodes: options.nodes,
    mode: options.mode,
    'raft-timeout': options.raftTimeout,
    servers:
      servers &&
      parseServers(servers)
        .map(({ url }) => url)
        .join(','),
    'cluster-id': options.clusterId,
    creds: options.connectOptions?.userCreds,
    'group-members': options.groupMembers,
    'max-messages': options.maxMessages,
    subscriptions: options.subscriptions,
    rate: options.rate,
    size: options.size,
    client: options.client,
  };
  const show = (value: string | number): string =>
    typeof value === 'number' ? String(Number(value.toFixed(4))) : value;
  const given = Object.entries(words).flatMap(([name, value]) =>
    value === undefined ? [] : `--${name} ${show(value)}`,
  );
  return ['npx resilient-stan verify', ...given].join(' ');
}
