/** Carries out a plan of faults on a cluster, and mends what it broke. */
import { describe, InvalidArgumentError, TimeoutError } from '../../errors.js';
import type { ServerCluster } from '../server-cluster.js';
import type { ServerNode } from '../server-node.js';
import { sleep } from '../wait.js';
import {
  CLIENT_FAULTS,
  describeFault,
  PROXIED_FAULTS,
  type FaultKind,
  type PlannedFault,
  type Target,
} from './plan.js';

/**
 * How handlers have to fail.
 * @category Planned faults
 */
export interface HandlerFailures {
  /** For which part of the messages, from 0 to 1. With 0 no further message fails; those that have failed go on up to `times`. */
  share: number;
  /** How often the handler fails for each of these messages. */
  times: number;
  /** A number from 0 to 1 that chooses the messages. */
  choice: number;
}

/**
 * A client in a process of its own. A fault can happen to it only if it has the method for it.
 * @category Planned faults
 */
export interface KillableClient {
  /** Name of the client. */
  name: string;
  /** The kinds of faults that may happen to it. Default `client-kill`. `host-sleep` happens to every client. */
  faults?: readonly FaultKind[];
  /** Kills the process. Resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts the process again. Resolves when the client works. */
  start(): Promise<void>;
  /** Freezes the process. Resolves when it stands still. */
  pause?(): Promise<void>;
  /** Lets a frozen process go on. */
  resume?(): Promise<void>;
  /**
   * Starts another process that takes over the client ID and the durables of this one, which is frozen. Resolves when that
   * process works, to a function that makes it leave in good order.
   */
  replace?(): Promise<() => Promise<void>>;
  /** Makes the handlers fail from now on. */
  failHandlers?(how: HandlerFailures): void;
}

/**
 * One thing that happened in a run.
 * @category Planned faults
 */
export interface TimelineEntry {
  /** When it happened, by the clock of the run, in ms. */
  at: number;
  /** Number of the fault in its plan. */
  id: number;
  /** The fault began, its last blow had fallen, its mending began, it was over, or it could not be carried out. */
  event: 'begin' | 'struck' | 'mend' | 'mended' | 'skipped';
  /** Kind of the fault. */
  kind: PlannedFault['kind'];
  /** What the fault was planned for. */
  target: Target;
  /** Names of the nodes and clients that it happened to. */
  whom: readonly string[];
  /** The entry in one line. */
  text: string;
}

/**
 * Options of a {@link Nemesis}.
 * @category Planned faults
 */
export interface NemesisOptions {
  /** The clock of the timeline, in ms. Default `performance.now`. */
  now?: () => number;
  /**
   * Called when a fault begins. The answer's `struck`, if it has one, is called when the last blow of the fault has fallen, and
   * `mended` when it is over. {@link ContinuityChecker.fault} fits.
   */
  onFault?: (name: string) => {
    /** Called when the last blow of the fault has fallen: what it breaks is broken. */
    struck?(): void;
    /** Called when the fault is over. */
    mended(): void;
  };
  /** Called at each entry of the timeline. */
  onEvent?: (entry: TimelineEntry) => void;
  /** The clients that faults may happen to. Default: none. */
  clients?: readonly KillableClient[];
  /**
   * Who is meant by the leader. Default: whom the cluster's `findLeader()` finds. In a {@link JetStreamCluster} that is the leader of
   * JetStream as a whole; the leader of a stream is `() => jetstream.findLeader('orders')`.
   */
  findLeader?: () => Promise<ServerNode | undefined>;
  /** When it is aborted, everything is mended and {@link Nemesis.run} resolves. Default: none. */
  signal?: AbortSignal;
}

/** A fault that is under way. */
interface Ongoing {
  readonly fault: PlannedFault;
  readonly whom: readonly string[];
  /** Resolves when the fault is mended and the cluster is whole again. */
  readonly over: Promise<void>;
}

/** How long a cluster may take to be whole again, in ms. */
const RECOVERY = 60_000;

/**
 * Carries out a plan of faults on a cluster, and mends what it broke.
 *
 * @example
 * ```ts
 * const nemesis = new Nemesis(cluster, { onFault: (name) => checker.fault(name), signal: AbortSignal.timeout(60_000) });
 * await nemesis.run(planFaults({ seed: 42, faults: ['kill', 'pause', 'rolling-restart'] }));
 * ```
 * @category Planned faults
 */
export class Nemesis {
  /** What has happened so far. */
  readonly timeline: TimelineEntry[] = [];
  readonly #cluster: ServerCluster;
  readonly #options: NemesisOptions;
  readonly #now: () => number;
  readonly #ongoing = new Set<Ongoing>();
  #begun = 0;
  #failure: unknown;

  /**
   * @param cluster the cluster to break: of NATS Streaming or of JetStream
   * @param options all optional
   */
  constructor(cluster: ServerCluster, options: NemesisOptions = {}) {
    this.#cluster = cluster;
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** How many faults have begun. */
  get begun(): number {
    return this.#begun;
  }

  /** Names of the faults that are under way. */
  get current(): readonly string[] {
    return [...this.#ongoing].map(({ fault, whom }) => nameOf(fault, whom));
  }

  /**
   * Carries out the faults until the plan ends or the signal is aborted. The promise resolves when everything is mended and
   * the cluster is whole.
   * @param plan as {@link planFaults} makes it
   * @throws an error when the cluster cannot be made whole; what could be mended is mended
   */
  async run(plan: Iterable<PlannedFault>): Promise<void> {
    try {
      for (const fault of plan) {
        if (!fault.overlaps) await this.#allOver();
        if (this.#ended) break;
        await this.#pause(fault.gap);
        if (this.#ended) break;
        await this.#begin(fault);
      }
    } catch (error) {
      this.#failure ??= error;
    }
    await this.#allOver();
    if (this.#failure !== undefined) throw this.#failure as Error;
  }

  get #ended(): boolean {
    return this.#failure !== undefined || (this.#options.signal?.aborted ?? false);
  }

  /** Resolves when no fault is under way and the cluster is whole. */
  async #allOver(): Promise<void> {
    while (this.#ongoing.size > 0) await Promise.all([...this.#ongoing].map(({ over }) => over));
    try {
      await this.#cluster.settled({ timeout: RECOVERY });
    } catch (error) {
      this.#failure ??= error;
    }
  }

  async #begin(fault: PlannedFault): Promise<void> {
    const act = await this.#choose(fault);
    if ('skipped' in act) {
      this.#tell(fault, 'skipped', [], `${describeFault(fault)} is skipped: ${act.skipped}`);
      return;
    }
    const { whom } = act;
    this.#begun++;
    this.#tell(fault, 'begin', whom, `${describeFault(fault)}: ${namesOf(fault, whom)}`);
    const told = this.#options.onFault?.(nameOf(fault, whom));
    const ongoing: Ongoing = {
      fault,
      whom,
      over: this.#carryOut(fault, act, () => told?.struck?.())
        .catch((error: unknown) => {
          this.#failure ??= new Error(`fault ${describeFault(fault)} (${whom.join(', ')}): ${describe(error)}`, {
            cause: error,
          });
        })
        .finally(() => {
          told?.mended();
          this.#ongoing.delete(ongoing);
          this.#tell(fault, 'mended', whom, `#${fault.id} ${fault.kind} is over: ${namesOf(fault, whom)}`);
        }),
    };
    this.#ongoing.add(ongoing);
  }

  async #carryOut(fault: PlannedFault, act: Act, struck: () => void): Promise<void> {
    try {
      await act.break();
      struck();
      this.#tell(fault, 'struck', act.whom, `#${fault.id} ${fault.kind} has struck: ${namesOf(fault, act.whom)}`);
      await this.#pause(fault.duration);
    } finally {
      this.#tell(fault, 'mend', act.whom, `#${fault.id} ${fault.kind} is being mended: ${namesOf(fault, act.whom)}`);
      await act.mend();
    }
  }

  /** Chooses the nodes or clients of a fault, and says how it is made and mended. */
  async #choose(fault: PlannedFault): Promise<Act | { skipped: string }> {
    if (CLIENT_FAULTS.has(fault.kind)) return this.#clientAct(fault);
    if (PROXIED_FAULTS.has(fault.kind) && !this.#cluster.proxied) {
      throw new InvalidArgumentError('plan', `fault '${fault.kind}' needs a cluster with { proxied: true }`);
    }
    if (fault.target === 'all') return this.#wholeAct(fault);
    if (fault.kind === 'wipe' && this.#cluster.nodes.length < 3) {
      return { skipped: 'a node can be wiped when two others have everything, and there are not two others' };
    }
    const node = await this.#nodeFor(fault);
    if (!node) return { skipped: 'there is no node left to do it to' };
    return fault.kind === 'group-kill' ? this.#groupAct(fault, node) : this.#nodeAct(fault, node);
  }

  /** A node that has no other fault now. */
  async #nodeFor(fault: PlannedFault): Promise<ServerNode | undefined> {
    const taken = new Set([...this.#ongoing].flatMap(({ whom, fault: { target } }) => (target === 'all' ? [] : whom)));
    const free = this.#cluster.nodes.filter((node) => node.running && !node.paused && !taken.has(node.name));
    const chosen = (nodes: readonly ServerNode[]): ServerNode | undefined =>
      nodes[Math.min(Math.floor(fault.choice * nodes.length), nodes.length - 1)];
    if (fault.target === 'attached') {
      return chosen(free.filter((node) => node.proxy.stats.connections > 0)) ?? chosen(free);
    }
    const leader = await (this.#options.findLeader?.() ?? this.#cluster.findLeader());
    const isLeader = (node: ServerNode): boolean => node === leader;
    const wanted = free.filter((node) => isLeader(node) === (fault.target === 'leader'));
    return chosen(wanted) ?? chosen(free);
  }

  #nodeAct(fault: PlannedFault, node: ServerNode): Act {
    const whom = [node.name];
    const start = async (): Promise<void> => {
      await node.start({ timeout: RECOVERY });
      await this.#whole();
    };
    switch (fault.kind) {
      case 'kill':
        return { whom, break: () => node.kill(), mend: start };
      case 'stop':
        return { whom, break: () => stop(node), mend: start };
      case 'pause':
        return {
          whom,
          break: () => node.pause(),
          mend: async () => {
            await node.resume();
            await this.#whole();
          },
        };
      case 'wipe':
        return {
          whom,
          break: () => node.kill(),
          mend: async () => {
            // A wiped node has forgotten what it acknowledged, and votes for any other one. So before it comes back, each
            // acknowledged message has to be stored by a leader and a follower among the others.
            await this.#cluster.replicated({ timeout: RECOVERY });
            await node.wipe();
            await start();
            await this.#cluster.replicated({ timeout: RECOVERY });
          },
        };
      case 'partition': {
        let heal = (): void => {};
        return {
          whom,
          break: async () => {
            const others = this.#cluster.nodes.filter((other) => other !== node);
            const [one, other] = fault.direction === 'in' ? [others, [node]] : [[node], others];
            const oneWay = fault.direction !== 'both';
            const cut = await this.#cluster.partition(one, other, { oneWay });
            const clients = fault.clients ? node.proxy.add({ type: 'stall' }) : undefined;
            heal = () => {
              cut.heal();
              clients?.remove();
            };
          },
          mend: async () => {
            heal();
            await this.#whole();
          },
        };
      }
      case 'black-hole': {
        let heal = (): void => {};
        return {
          whom,
          break: async () => {
            const hole = node.proxy.add({ type: 'timeout' });
            heal = () => hole.remove();
          },
          mend: async () => heal(),
        };
      }
      default:
        throw new InvalidArgumentError('plan', `fault '${fault.kind}' does not befall a single node`);
    }
  }

  #wholeAct(fault: PlannedFault): Act {
    const { nodes } = this.#cluster;
    const whom = nodes.map((node) => node.name);
    switch (fault.kind) {
      case 'reset':
        return {
          whom,
          break: async () => {
            for (const node of nodes) node.proxy.resetConnections();
          },
          mend: async () => {},
        };
      case 'slow': {
        const heals: (() => void)[] = [];
        return {
          whom,
          break: async () => {
            for (const { proxy } of nodes) {
              const toxics = [
                proxy.add({ type: 'latency', latency: fault.latency, jitter: fault.jitter }),
                ...(fault.rate === undefined ? [] : [proxy.add({ type: 'bandwidth', rate: fault.rate })]),
              ];
              for (const toxic of toxics) heals.push(() => toxic.remove());
            }
          },
          mend: async () => {
            for (const heal of heals) heal();
          },
        };
      }
      case 'host-sleep': {
        const clients = (this.#options.clients ?? []).filter(
          (client) => client.pause !== undefined && client.resume !== undefined,
        );
        const asleep = [...nodes.filter((node) => node.running), ...clients] as Sleeper[];
        return {
          whom: asleep.map(({ name }) => name),
          break: async () => void (await Promise.all(asleep.map((one) => one.pause()))),
          mend: async () => {
            await Promise.all(asleep.map((one) => one.resume()));
            await this.#whole();
          },
        };
      }
      case 'rolling-restart':
        return {
          whom,
          break: async () => {
            for (const [i, node] of nodes.entries()) {
              if (i > 0) await this.#pause(fault.pauseBetween);
              await stop(node);
              if (i === nodes.length - 1) return;
              await node.start({ timeout: RECOVERY });
              await this.#whole();
            }
          },
          mend: () => this.#startAll(),
        };
      case 'full-outage':
        return {
          whom,
          break: async () => {
            await Promise.all(nodes.map((node) => (fault.by === 'kill' ? node.kill() : stop(node))));
          },
          mend: () => this.#startAll(),
        };
      default:
        throw new InvalidArgumentError('plan', `fault '${fault.kind}' does not befall a whole cluster`);
    }
  }

  #clientAct(fault: PlannedFault): Act | { skipped: string } {
    const [client] = this.#clientsFor(fault);
    if (!client) return { skipped: `there is no client left for a ${fault.kind}` };
    const whom = [client.name];
    switch (fault.kind) {
      case 'client-kill':
        return { whom, break: () => client.kill(), mend: () => client.start() };
      case 'client-pause':
        return { whom, break: () => client.pause!(), mend: () => client.resume!() };
      case 'client-replace': {
        let leave = async (): Promise<void> => {};
        return {
          whom,
          break: async () => {
            await client.pause!();
            leave = await client.replace!();
          },
          mend: async () => {
            try {
              await leave();
            } finally {
              await client.resume!();
            }
          },
        };
      }
      case 'handler-fail': {
        const { share, times, choice } = fault;
        return {
          whom,
          break: async () => client.failHandlers!({ share, times, choice }),
          mend: async () => client.failHandlers!({ share: 0, times, choice }),
        };
      }
      default:
        throw new InvalidArgumentError('plan', `fault '${fault.kind}' does not befall a client`);
    }
  }

  #groupAct(fault: PlannedFault & { kind: 'group-kill' }, node: ServerNode): Act | { skipped: string } {
    const members = this.#clientsFor(fault).slice(0, fault.members);
    if (members.length === 0) return { skipped: 'there is no member of a group left to kill' };
    const dead = new Set<KillableClient>();
    const start = (): Promise<unknown> =>
      Promise.all(
        [...dead].map(async (member) => {
          dead.delete(member);
          await member.start();
        }),
      );
    return {
      whom: [node.name, ...members.map(({ name }) => name)],
      break: async () => {
        for (const member of members) dead.add(member);
        await Promise.all(members.map((member) => member.kill()));
        if (fault.returned) await start();
        await this.#pause(fault.lag);
        await node.kill();
      },
      mend: async () => {
        await node.start({ timeout: RECOVERY });
        await Promise.all([start(), this.#whole()]);
      },
    };
  }

  /** The clients without another fault now to which this kind may happen: the chosen one first, then the others. */
  #clientsFor({ kind, choice }: PlannedFault): KillableClient[] {
    const taken = new Set([...this.#ongoing].flatMap(({ whom }) => whom));
    const free = (this.#options.clients ?? []).filter(
      (client) =>
        !taken.has(client.name) &&
        (client.faults ?? ['client-kill']).includes(kind) &&
        (NEEDED[kind] ?? []).every((method) => client[method] !== undefined),
    );
    const first = Math.min(Math.floor(choice * free.length), free.length - 1);
    return free.length === 0 ? [] : [...free.slice(first), ...free.slice(0, first)];
  }

  async #startAll(): Promise<void> {
    await Promise.all(this.#cluster.nodes.map((node) => node.start({ timeout: RECOVERY })));
    await this.#whole();
  }

  /** Waits until the cluster is whole, for the last fault that is mended. While others last it cannot be whole. */
  async #whole(): Promise<void> {
    if (this.#ongoing.size > 1) return;
    await this.#cluster.settled({ timeout: RECOVERY });
  }

  /** Waits, and ends early when the run ends. */
  async #pause(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    while (!this.#ended) {
      const left = deadline - performance.now();
      if (left <= 0) return;
      await sleep(Math.min(left, 50));
    }
  }

  #tell(fault: PlannedFault, event: TimelineEntry['event'], whom: readonly string[], text: string): void {
    const { id, kind, target } = fault;
    const entry: TimelineEntry = { at: this.#now(), id, event, kind, target, whom, text };
    this.timeline.push(entry);
    this.#options.onEvent?.(entry);
  }
}

/** The methods of a client that a kind of fault needs, besides those to kill and to start it. */
const NEEDED: Partial<Record<FaultKind, readonly ('pause' | 'resume' | 'replace' | 'failHandlers')[]>> = {
  'client-pause': ['pause', 'resume'],
  'client-replace': ['pause', 'resume', 'replace'],
  'handler-fail': ['failHandlers'],
};

/** A node or a client that can be frozen. */
interface Sleeper {
  name: string;
  pause(): Promise<void>;
  resume(): Promise<void>;
}

/** The name of a fault, in a few words. */
function nameOf(fault: PlannedFault, whom: readonly string[]): string {
  return `${fault.kind} ${namesOf(fault, whom)}`;
}

/** The names of those that a fault happens to. Where it is all servers and clients, none is named. */
function namesOf({ kind }: PlannedFault, whom: readonly string[]): string {
  return kind === 'host-sleep' ? 'everybody' : whom.join(', ');
}

/** Stops a node. A server may hang in its own shutdown, and is then killed, as an operator would do. */
async function stop(node: ServerNode): Promise<void> {
  try {
    await node.stop({ timeout: 5000 });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
  }
}

interface Act {
  whom: readonly string[];
  /** Resolves when the last blow has fallen. What else the fault needs, as a wait or a start, is for `mend`. */
  break: () => Promise<void>;
  /** It is called also when `break` failed. */
  mend: () => Promise<void>;
}
