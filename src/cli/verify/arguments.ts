/** Reads the command line of `verify`. Pure. */
import { FAULT_KINDS, type FaultKind, type VerifyOptions } from '../../testing/index.js';
import type { Options, Values } from '../command.js';
import { CONNECTION_OPTIONS, type Connection } from '../connection-options.js';
import { UsageError } from '../usage.js';

export const ARGUMENTS = {
  minutes: { type: 'string', value: '<n>', help: 'how long (default 2, fractions are fine)', sets: 'publishFor' },
  count: { type: 'string', value: '<n>', help: 'end after so many faults instead', sets: 'faultCount' },
  seed: {
    type: 'string',
    value: '<n>',
    help: 'what happens follows from it (default: another one each time; it is printed)',
  },
  ordering: { type: 'string', value: '<o>', help: 'strict or pipelined (default pipelined)' },
  faults: {
    type: 'string',
    value: '<list>',
    list: true,
    help:
      'which kinds, separated by commas, or none (default: all that the mode can have): kill, stop, pause, partition, ' +
      'black-hole, reset, slow, rolling-restart, full-outage, wipe, client-kill, client-pause, client-replace, ' +
      'handler-fail, group-kill, host-sleep',
  },
  'fault-seconds': {
    type: 'string',
    value: '<n>',
    help: "the longest that a fault lasts, the cluster's own recovery aside (default 4)",
    sets: 'maxFaultDuration',
  },
  nodes: { type: 'string', value: '<n>', help: "how many servers, as of 'cluster' (default 3)" },
  mode: { type: 'string', value: '<mode>', help: 'clustered, fault-tolerant or single (default clustered)' },
  'raft-timeout': { type: 'string', value: '<ms>', help: 'heartbeat and election timeout of the nodes (default 500)' },
  'group-members': {
    type: 'string',
    value: '<n>',
    help:
      'members of each queue group (default 1: with more, the server itself may lose messages when a member leaves and ' +
      'the leader dies right after)',
  },
  'max-messages': {
    type: 'string',
    value: '<n>',
    help: 'the channel keeps no more: what is gone has to be told (default: it keeps all)',
  },
  subscriptions: {
    type: 'string',
    value: '<n>',
    help: 'idle subscriptions of one of the clients, half of them durable (default 0)',
  },
  rate: { type: 'string', value: '<n>', help: 'messages a second, all publishers together (default 200)' },
  size: { type: 'string', value: '<n>', help: 'bytes of a message (default: no more than needed)' },
  client: {
    type: 'string',
    value: '<file>',
    help: 'module with the adapter of another client (default: this library)',
  },
  out: {
    type: 'string',
    value: '<dir>',
    help:
      'where report.json and report.html go, and the logs when something is wrong ' +
      '(default reports/verify-<seed>-<ordering>)',
  },
  svg: { type: 'string', value: '<file>', help: 'write the picture alone, too' },
  ...CONNECTION_OPTIONS,
  servers: {
    ...CONNECTION_OPTIONS.servers,
    help: 'run against these, and leave them alone: break them yourself (default: a cluster of its own)',
    // Whoever has them in the environment does not want to load them by a command that usually boots its own.
    env: [],
  },
} as const satisfies Options;

export interface VerifyArguments {
  options: VerifyOptions;
  out: string | undefined;
  svg: string | undefined;
}

/**
 * The options that the command line asks for. The library checks their values.
 * @param connection how to reach servers of the user's own; undefined: a cluster is booted
 * @throws UsageError for what the library cannot tell in the words of the command line
 */
export function readArguments(values: Values<typeof ARGUMENTS>, connection?: Connection): VerifyArguments {
  const { faults, ordering, mode, client } = values;
  if (connection === undefined) refuseConnection(values);
  const { clusterId, ...connectOptions } = connection?.options ?? {};
  return {
    options: {
      publishFor: lengthOf('minutes', values.minutes, { unit: 60_000, most: MOST_MINUTES }),
      faultCount: numberOf(values.count),
      seed: numberOf(values.seed),
      ordering: ordering as VerifyOptions['ordering'],
      faults: faults === undefined ? undefined : listOf(faults),
      maxFaultDuration: lengthOf('fault-seconds', values['fault-seconds'], { unit: 1000, most: MOST_FAULT_SECONDS }),
      nodes: numberOf(values.nodes),
      mode: mode as VerifyOptions['mode'],
      raftTimeout: numberOf(values['raft-timeout']),
      servers: connection?.servers.join(','),
      clusterId,
      ...(connection && { connectOptions }),
      groupMembers: numberOf(values['group-members']),
      maxMessages: numberOf(values['max-messages']),
      subscriptions: numberOf(values.subscriptions),
      rate: numberOf(values.rate),
      size: numberOf(values.size),
      client,
    },
    out: values.out,
    svg: values.svg,
  };
}

/** Twenty days, which timers can wait. */
const MOST_MINUTES = 28_800;
const MOST_FAULT_SECONDS = 3600;

function refuseConnection(values: Values<typeof ARGUMENTS>): void {
  const given = Object.keys(CONNECTION_OPTIONS).find((name) => values[name as keyof typeof values] !== undefined);
  if (given === undefined) return;
  throw new UsageError(`--${given} goes with --servers: the cluster that is booted has its own`);
}

/** A length of time, in ms. */
function lengthOf(name: string, value: string | undefined, { unit, most }: { unit: number; most: number }) {
  if (value === undefined) return undefined;
  const length = numberOf(value);
  if (typeof length !== 'number') {
    throw new UsageError(
      `--${name} must be a number, not '${value}': more than 0, at most ${most}, fractions are fine`,
    );
  }
  if (!(length > 0 && length <= most)) {
    throw new UsageError(`--${name} must be more than 0 and at most ${most}, not '${value}'`);
  }
  return Math.max(Math.round(length * unit), 1);
}

/** A number, or the text itself, which the library refuses with the numbers that it takes. */
function numberOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value.trim()) ? Number(value) : (value as unknown as number);
}

function listOf(faults: string): FaultKind[] {
  const names = faults.split(',').map((name) => name.trim());
  if (names.length === 1 && names[0] === 'none') return [];
  const wrong = names.includes('')
    ? 'has an empty name'
    : names.includes('none')
      ? "has 'none' beside others"
      : undefined;
  if (wrong !== undefined) {
    throw new UsageError(`--faults ${wrong}: give none, or kinds separated by commas: ${FAULT_KINDS.join(', ')}`);
  }
  // The library checks the names of the faults.
  return names as FaultKind[];
}
