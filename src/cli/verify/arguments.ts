/** Reads the command line of `verify`. Pure. */
import type { FaultKind, VerifyOptions } from '../../testing/index.js';
import type { Options } from '../command.js';
import { UsageError } from '../usage.js';

export const ARGUMENTS = {
  minutes: { type: 'string', value: '<n>', help: 'how long (default 2, fractions are fine)' },
  count: { type: 'string', value: '<n>', help: 'end after so many faults instead' },
  seed: {
    type: 'string',
    value: '<n>',
    help: 'what happens follows from it (default: another one each time; it is printed)',
  },
  ordering: { type: 'string', value: '<o>', help: 'strict or pipelined (default pipelined)' },
  faults: {
    type: 'string',
    value: '<list>',
    help:
      'which kinds, separated by commas, or none (default: all that the mode can have): kill, stop, pause, partition, ' +
      'black-hole, reset, slow, rolling-restart, full-outage, wipe, client-kill, client-pause, client-replace, ' +
      'handler-fail, group-kill, host-sleep',
  },
  'fault-seconds': {
    type: 'string',
    value: '<n>',
    help: "the longest that a fault lasts, the cluster's own recovery aside (default 4)",
  },
  nodes: { type: 'string', value: '<n>', help: "how many servers, as of 'cluster' (default 3)" },
  mode: { type: 'string', value: '<mode>', help: 'clustered, fault-tolerant or single (default clustered)' },
  'raft-timeout': { type: 'string', value: '<ms>', help: 'heartbeat and election timeout of the nodes (default 500)' },
  servers: {
    type: 'string',
    value: '<urls>',
    help: 'run against these, and leave them alone: break them yourself',
  },
  'cluster-id': { type: 'string', value: '<id>', help: 'of these servers (default test-cluster)' },
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
} as const satisfies Options;

type Values = Partial<Record<keyof typeof ARGUMENTS, string>>;

export interface VerifyArguments {
  options: VerifyOptions;
  out: string | undefined;
  svg: string | undefined;
}

/** The options that the command line asks for. The library checks their values. @throws UsageError for what is not a number */
export function readArguments(values: Values): VerifyArguments {
  const { faults, ordering, mode, servers, client, 'cluster-id': clusterId } = values;
  const positive = (name: 'minutes' | 'fault-seconds', unit: number): number | undefined => {
    const length = numberOf(name, values[name]);
    if (length === undefined) return undefined;
    if (!(length > 0)) throw new UsageError(`--${name} must be more than 0, not '${values[name]}'`);
    return Math.max(Math.round(length * unit), 1);
  };
  return {
    options: {
      publishFor: positive('minutes', 60_000),
      faultCount: numberOf('count', values.count),
      seed: numberOf('seed', values.seed),
      ordering: ordering as VerifyOptions['ordering'],
      faults: faults === undefined ? undefined : listOf(faults),
      maxFaultDuration: positive('fault-seconds', 1000),
      nodes: numberOf('nodes', values.nodes),
      mode: mode as VerifyOptions['mode'],
      raftTimeout: numberOf('raft-timeout', values['raft-timeout']),
      servers,
      clusterId,
      groupMembers: numberOf('group-members', values['group-members']),
      maxMessages: numberOf('max-messages', values['max-messages']),
      subscriptions: numberOf('subscriptions', values.subscriptions),
      rate: numberOf('rate', values.rate),
      size: numberOf('size', values.size),
      client,
    },
    out: values.out,
    svg: values.svg,
  };
}

function numberOf(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value);
  throw new UsageError(`--${name} must be a number, not '${value}'`);
}

function listOf(faults: string): FaultKind[] {
  const names = faults
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);
  // The library checks the names of the faults.
  return (names.length === 1 && names[0] === 'none' ? [] : names) as FaultKind[];
}
