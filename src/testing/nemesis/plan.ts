/**
 * Which faults, in which order, how long, overlapping how: all of it follows from a seed, so what went wrong once can be
 * made to happen again. Pure. Which node leads at the time cannot be planned: a plan says "the leader".
 */
import { InvalidArgumentError } from '../../errors.js';
import { suggest } from '../../suggest.js';
import { between, pick, randomFrom, shuffled, type Random } from '../random.js';
import type { ClusterMode } from '../config.js';

export const FAULT_KINDS = [
  'kill',
  'stop',
  'pause',
  'partition',
  'black-hole',
  'reset',
  'slow',
  'rolling-restart',
  'full-outage',
  'wipe',
  'client-kill',
  // Appended, so that a plan of the kinds before follows from its seed as ever.
  'client-pause',
  'client-replace',
  'handler-fail',
  'group-kill',
  'host-sleep',
] as const;

/**
 * - `kill`: SIGKILL of a node, which is started again; `stop`: the same by SIGTERM; `pause`: SIGSTOP and SIGCONT;
 * - `partition`: a node is cut off from the others, one way or both, perhaps from its clients too;
 * - `black-hole`: what clients and a node send each other vanishes; `reset`: all connections of clients are reset;
 *   `slow`: latency with jitter, or little bandwidth, between clients and nodes;
 * - `rolling-restart`: one node after the other; `full-outage`: all of them at once; `wipe`: a node loses its disk;
 * - `client-kill`: a client's process is killed, and started again; `client-pause`: SIGSTOP and SIGCONT of it;
 *   `client-replace`: the same, and meanwhile another process takes over its client ID, handles for a while, and leaves;
 * - `handler-fail`: handlers of a client fail for some messages the first time or times;
 * - `group-kill`: members of a queue group are killed, and the leader with them;
 * - `host-sleep`: all servers and all clients stand still, as on a host that sleeps.
 */
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Whom it befalls, as far as it can be said beforehand. `attached`: a node that has clients. */
export type Target = 'leader' | 'follower' | 'attached' | 'all' | 'client';

/** What all planned faults have. */
export interface FaultBase {
  /** 1, 2, 3 … in the plan. */
  id: number;
  target: Target;
  /** ms from its beginning to the beginning of its mending. 0: it is over at once. */
  duration: number;
  /** ms of quiet before it: after everything is mended, or, if it overlaps, after the one before has begun. */
  gap: number;
  /** It begins while others last. */
  overlaps: boolean;
  /** Decides, where there is a choice, which node: from 0 to 1. */
  choice: number;
}

export type PlannedFault = FaultBase &
  (
    | { kind: 'kill' | 'stop' | 'pause' | 'black-hole' | 'reset' | 'wipe' | 'host-sleep' }
    | { kind: 'client-kill' | 'client-pause' | 'client-replace' }
    | {
        kind: 'handler-fail';
        /** Of how many messages: from 0 to 1. */
        share: number;
        /** How often for each of them. */
        times: number;
      }
    | {
        kind: 'group-kill';
        /** How many members. */
        members: number;
        /** Between their death, or their return, and that of the leader, in ms. */
        lag: number;
        /** They are started again before the leader dies: it has given what they had in hand to others. */
        returned: boolean;
      }
    | {
        kind: 'partition';
        /** Which words of it do not reach the others, or it. */
        direction: 'both' | 'out' | 'in';
        clients: boolean;
      }
    | { kind: 'slow'; latency: number; jitter: number; rate: number | undefined }
    | { kind: 'rolling-restart'; pauseBetween: number }
    | { kind: 'full-outage'; by: 'kill' | 'stop' }
  );

export interface FaultPlanOptions {
  seed: number;
  /** Which kinds. Default: all that the cluster can have. */
  faults?: readonly FaultKind[];
  /** Quiet between two faults, in ms. Default 300 to 1500. */
  gap?: readonly [min: number, max: number];
  /** The longest a fault lasts, in ms. Default 4000. */
  maxDuration?: number;
  /** The probability that a fault begins while the one before still lasts. Default 0.3. */
  overlap?: number;
}

/** Nobody else's fault may be under way: two at once could take the only copies of a message, as no cluster survives. */
const ALONE: ReadonlySet<FaultKind> = new Set([
  ...['rolling-restart', 'full-outage', 'wipe', 'host-sleep'],
  // A leader that dies forgets what was acknowledged in its last second, and then it is right to handle it again.
  'client-replace',
] as const);

/** These befall one client. */
export const CLIENT_FAULTS: ReadonlySet<FaultKind> = new Set([
  ...(['client-kill', 'client-pause', 'client-replace', 'handler-fail'] as const),
]);

/** These need proxies. */
export const PROXIED_FAULTS: ReadonlySet<FaultKind> = new Set(['partition', 'black-hole', 'reset', 'slow']);

/** What this kind of cluster can have. */
export function possibleFaults(cluster: {
  mode: ClusterMode;
  store: 'file' | 'memory';
  proxied: boolean;
  clients: boolean;
  /** Default 3. */
  nodes?: number;
}): FaultKind[] {
  return FAULT_KINDS.filter((kind) => {
    if (PROXIED_FAULTS.has(kind) && !cluster.proxied) return false;
    if ((CLIENT_FAULTS.has(kind) || kind === 'host-sleep' || kind === 'group-kill') && !cluster.clients) return false;
    if (kind === 'group-kill') return cluster.store === 'file';
    // Two others must have everything.
    if (kind === 'wipe') return cluster.mode === 'clustered' && (cluster.nodes ?? 3) >= 3;
    if (kind === 'partition') return cluster.mode !== 'single';
    if (['kill', 'stop', 'rolling-restart', 'full-outage'].includes(kind)) return cluster.store === 'file';
    return true;
  });
}

/** @throws InvalidArgumentError for a kind that does not exist */
export function checkFaultKinds(names: readonly string[]): FaultKind[] {
  for (const name of names) {
    if ((FAULT_KINDS as readonly string[]).includes(name)) continue;
    const near = suggest(name, FAULT_KINDS);
    const help = near === undefined ? `there are: ${FAULT_KINDS.join(', ')}` : `did you mean '${near}'?`;
    throw new InvalidArgumentError('faults', `there is no fault '${name}': ${help}`);
  }
  if (names.length === 0) throw new InvalidArgumentError('faults', 'no faults are named');
  return [...new Set(names)] as FaultKind[];
}

/**
 * The faults, one after the other, without end. Every kind comes once before any comes again.
 * @throws InvalidArgumentError
 */
export function* planFaults(options: FaultPlanOptions): Generator<PlannedFault, never> {
  const {
    seed,
    faults = FAULT_KINDS,
    gap: [shortest, longest] = [300, 1500],
    maxDuration = 4000,
    overlap = 0.3,
  } = options;
  const kinds = checkFaultKinds(faults);
  const random = randomFrom(seed);
  let id = 0;
  let before: FaultKind | undefined;
  for (;;) {
    for (const kind of shuffled(random, kinds)) {
      const beside = before !== undefined && !ALONE.has(kind) && !ALONE.has(before);
      const overlaps = random() < overlap && beside;
      yield {
        ...planOne(kind, random, maxDuration),
        id: ++id,
        overlaps,
        gap: between(random, shortest, longest),
        choice: random(),
      } as PlannedFault;
      before = kind;
    }
  }
}

/** Every kind takes the random numbers it needs, in a fixed order. */
function planOne(kind: FaultKind, random: Random, maxDuration: number): Partial<PlannedFault> {
  const last = (from: number): number => between(random, Math.min(from, maxDuration), maxDuration);
  const oneNode = (): Target => (random() < 0.6 ? 'leader' : 'follower');
  switch (kind) {
    case 'kill':
    case 'stop':
      return { kind, target: oneNode(), duration: last(100) };
    case 'pause':
      return { kind, target: oneNode(), duration: last(200) };
    case 'partition':
      return {
        kind,
        target: oneNode(),
        duration: last(500),
        direction: pick(random, ['both', 'both', 'both', 'out', 'in'] as const),
        clients: random() < 0.25,
      };
    case 'black-hole':
      return { kind, target: 'attached', duration: last(500) };
    case 'reset':
      return { kind, target: 'all', duration: 0 };
    case 'slow': {
      const latency = between(random, 20, 300);
      const jitter = between(random, 0, latency);
      const rate = random() < 0.3 ? between(random, 50, 500) : undefined;
      return { kind, target: 'all', duration: last(1000), latency, jitter, rate };
    }
    case 'rolling-restart':
      return { kind, target: 'all', duration: 0, pauseBetween: between(random, 0, 300) };
    case 'full-outage':
      return { kind, target: 'all', duration: last(500), by: pick(random, ['kill', 'stop'] as const) };
    case 'wipe':
      return { kind, target: oneNode(), duration: between(random, 0, 500) };
    case 'client-kill':
      return { kind, target: 'client', duration: between(random, 0, Math.min(2000, maxDuration)) };
    case 'client-pause':
    case 'client-replace':
      return { kind, target: 'client', duration: last(500) };
    case 'handler-fail':
      return {
        kind,
        target: 'client',
        duration: last(500),
        share: between(random, 2, 30) / 100,
        times: between(random, 1, 2),
      };
    case 'group-kill':
      return {
        kind,
        target: 'leader',
        duration: last(100),
        members: between(random, 1, 2),
        lag: between(random, 0, 800),
        returned: random() < 0.5,
      };
    case 'host-sleep':
      return { kind, target: 'all', duration: last(1000) };
  }
}

/** One line about a planned fault: `#7 pause of the leader for 1800 ms, while others last`. */
export function describeFault(fault: PlannedFault): string {
  const whom = {
    leader: 'the leader',
    follower: 'a follower',
    attached: 'a node with clients',
    all: 'all',
    client: 'a client',
  };
  const details: string[] = [];
  if (fault.kind === 'partition') {
    const direction = { both: '', out: 'of what it sends', in: 'of what it is sent' }[fault.direction];
    details.push(direction, fault.clients ? 'its clients too' : '');
  } else if (fault.kind === 'slow') {
    details.push(
      `${fault.latency} ± ${fault.jitter} ms each way`,
      fault.rate === undefined ? '' : `${fault.rate} KB/s`,
    );
  } else if (fault.kind === 'full-outage') {
    details.push(`by ${fault.by}`);
  } else if (fault.kind === 'handler-fail') {
    details.push(
      `${Math.round(fault.share * 100)} % of the messages, ${fault.times === 1 ? 'once' : `${fault.times} times`}`,
    );
  } else if (fault.kind === 'group-kill') {
    const who = fault.members === 1 ? 'a member of a group' : `${fault.members} members of a group`;
    const what = fault.returned ? 'that came back' : 'that died';
    details.push(`and ${who} ${what} ${fault.lag} ms before`);
  }
  const parts = [
    `#${fault.id} ${fault.kind} of ${whom[fault.target]}`,
    fault.duration > 0 ? `for ${fault.duration} ms` : '',
    ...details.filter(Boolean).map((detail) => `(${detail})`),
    fault.overlaps ? 'while others last' : '',
  ];
  return parts.filter(Boolean).join(' ');
}
