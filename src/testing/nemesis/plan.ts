/**
 * Plans of faults. Kinds, order, lengths and overlaps follow from a seed, so that a run can be repeated. Pure. A plan cannot
 * know which node will lead, so it says "the leader".
 */
import { InvalidArgumentError } from '../../errors.js';
import { suggest } from '../../suggest.js';
import { between, pick, randomFrom, shuffled, type Random } from '../random.js';
import type { ClusterMode } from '../config.js';

/**
 * All kinds of faults: see {@link FaultKind}.
 * @category Planned faults
 */
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
  // New kinds come at the end, so that the plan of a seed without them stays the same.
  'client-pause',
  'client-replace',
  'handler-fail',
  'group-kill',
  'host-sleep',
] as const;

/**
 * The kind of a fault.
 *
 * Of nodes:
 *
 * - `kill`: a node gets SIGKILL, and is started again;
 * - `stop`: a node gets SIGTERM, and is started again;
 * - `pause`: a node is frozen with SIGSTOP, and goes on with SIGCONT;
 * - `rolling-restart`: the nodes are stopped and started, one after the other;
 * - `full-outage`: all nodes are down at once;
 * - `wipe`: a node is killed, loses its store, and is started again.
 *
 * Of the network:
 *
 * - `partition`: a node is cut off from the others, in one direction or both, and sometimes from its clients;
 * - `black-hole`: what clients and a node send each other is lost;
 * - `reset`: all connections of clients are reset;
 * - `slow`: latency with jitter, and sometimes a limit of bandwidth, between clients and nodes.
 *
 * Of clients:
 *
 * - `client-kill`: the process of a client gets SIGKILL, and is started again;
 * - `client-pause`: the process of a client is frozen, and goes on;
 * - `client-replace`: the same, and meanwhile another process takes over its client ID, handles messages, and leaves;
 * - `handler-fail`: the handlers of a client fail for some messages.
 *
 * Of several at once:
 *
 * - `group-kill`: members of a queue group are killed, and then the leader;
 * - `host-sleep`: all nodes and all clients are frozen, as on a host that sleeps.
 *
 * @category Planned faults
 */
export type FaultKind = (typeof FAULT_KINDS)[number];

/**
 * What a fault happens to, as far as a plan can say it: the leader, a follower, a node with clients (`'attached'`), all nodes, or
 * a client.
 * @category Planned faults
 */
export type Target = 'leader' | 'follower' | 'attached' | 'all' | 'client';

/**
 * The part of a planned fault that all kinds have.
 * @category Planned faults
 */
export interface FaultBase {
  /** Number of the fault in its plan, from 1. */
  id: number;
  /** What the fault happens to. */
  target: Target;
  /** Time from the beginning until it is mended, in ms. 0: it is a moment. */
  duration: number;
  /** Quiet time before it, in ms: after all others are over, or if it overlaps, after the one before has begun. */
  gap: number;
  /** Whether it begins while others last. */
  overlaps: boolean;
  /** A number from 0 to 1 that chooses the node or the client, where there is a choice. */
  choice: number;
}

/**
 * One fault of a plan.
 * @category Planned faults
 */
export type PlannedFault = FaultBase &
  (
    | {
        /** Kind of the fault. */
        kind: 'kill' | 'stop' | 'pause' | 'black-hole' | 'reset' | 'wipe' | 'host-sleep';
      }
    | {
        /** Kind of the fault. */
        kind: 'client-kill' | 'client-pause' | 'client-replace';
      }
    | {
        /** Kind of the fault. */
        kind: 'handler-fail';
        /** For which part of the messages handlers fail, from 0 to 1. */
        share: number;
        /** How often the handler fails for each of these messages. */
        times: number;
      }
    | {
        /** Kind of the fault. */
        kind: 'group-kill';
        /** How many members are killed. */
        members: number;
        /** Time from the members' death, or from their return, to the death of the leader, in ms. */
        lag: number;
        /** Whether the members are started again before the leader dies. Then it has given what they had to others. */
        returned: boolean;
      }
    | {
        /** Kind of the fault. */
        kind: 'partition';
        /** What is cut: what the node sends (`'out'`), what it is sent (`'in'`), or both. */
        direction: 'both' | 'out' | 'in';
        /** Whether it is cut off from its clients as well. */
        clients: boolean;
      }
    | {
        /** Kind of the fault. */
        kind: 'slow';
        /** Latency in each direction, in ms. */
        latency: number;
        /** By how much that may be more or less, in ms. */
        jitter: number;
        /** The limit of bandwidth in each direction, in KB (1000 bytes) a second. Undefined: none. */
        rate: number | undefined;
      }
    | {
        /** Kind of the fault. */
        kind: 'rolling-restart';
        /** Time between two nodes, in ms. */
        pauseBetween: number;
      }
    | {
        /** Kind of the fault. */
        kind: 'full-outage';
        /** How the nodes end: with SIGKILL or with SIGTERM. */
        by: 'kill' | 'stop';
      }
  );

/**
 * Options of {@link planFaults}.
 * @category Planned faults
 */
export interface FaultPlanOptions {
  /** The seed that the plan follows from. */
  seed: number;
  /** The kinds of faults. Default: all of {@link FAULT_KINDS}. */
  faults?: readonly FaultKind[];
  /** The shortest and the longest quiet time before a fault, in ms. Default `[300, 1500]`. */
  gap?: readonly [min: number, max: number];
  /** The longest duration of a fault, in ms. Default 4000. */
  maxDuration?: number;
  /** The probability that a fault begins while others last, from 0 to 1. Default 0.3. */
  overlap?: number;
}

/** Kinds that must not overlap with others: two at once could take all copies of a message, which no cluster survives. */
const ALONE: ReadonlySet<FaultKind> = new Set([
  ...['rolling-restart', 'full-outage', 'wipe', 'host-sleep'],
  // A leader that dies forgets acknowledgements of its last second, and then handling a message again is not wrong.
  'client-replace',
] as const);

/** Kinds that happen to one client. */
export const CLIENT_FAULTS: ReadonlySet<FaultKind> = new Set([
  ...(['client-kill', 'client-pause', 'client-replace', 'handler-fail'] as const),
]);

/** Kinds that need proxies. */
export const PROXIED_FAULTS: ReadonlySet<FaultKind> = new Set(['partition', 'black-hole', 'reset', 'slow']);

/**
 * The kinds of faults that a cluster can have.
 * @param cluster the cluster, or what is known of it
 * @category Planned faults
 */
export function possibleFaults(cluster: {
  /** How the nodes work together. */
  mode: ClusterMode;
  /** Where the nodes keep messages. */
  store: 'file' | 'memory';
  /** Whether there are proxies. */
  proxied: boolean;
  /** Whether there are clients that can be killed. */
  clients: boolean;
  /** How many nodes there are. Default 3. */
  nodes?: number;
}): FaultKind[] {
  return FAULT_KINDS.filter((kind) => {
    if (PROXIED_FAULTS.has(kind) && !cluster.proxied) return false;
    if ((CLIENT_FAULTS.has(kind) || kind === 'host-sleep' || kind === 'group-kill') && !cluster.clients) return false;
    if (kind === 'group-kill') return cluster.store === 'file';
    // Two other nodes must have every message.
    if (kind === 'wipe') return cluster.mode === 'clustered' && (cluster.nodes ?? 3) >= 3;
    if (kind === 'partition') return cluster.mode !== 'single';
    if (['kill', 'stop', 'rolling-restart', 'full-outage'].includes(kind)) return cluster.store === 'file';
    return true;
  });
}

/**
 * Checks names of kinds of faults. Each is returned once.
 * @throws InvalidArgumentError when there is no such kind, or no name
 * @category Planned faults
 */
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
 * A plan of faults, without an end. Each kind comes once before any comes again.
 *
 * @param options the seed at least
 * @throws InvalidArgumentError (at the first fault) when there is no such kind
 * @example
 * ```ts
 * const plan = planFaults({ seed: 42, faults: ['kill', 'pause'] });
 * for (let i = 0; i < 3; i++) console.log(describeFault(plan.next().value));
 * ```
 * @category Planned faults
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

/** Plans one fault. Each kind takes its random numbers in a fixed order. */
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

/**
 * A planned fault in one line, as `#7 pause of the leader for 1800 ms while others last`.
 * @category Planned faults
 */
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
