/** Carries a plan of faults out on a cluster, and mends everything it broke. */
import { describe, InvalidArgumentError, TimeoutError } from '../../errors.js';
import type { StanCluster } from '../cluster.js';
import type { StanNode } from '../node.js';
import { sleep } from '../wait.js';
import {
  CLIENT_FAULTS,
  describeFault,
  PROXIED_FAULTS,
  type FaultKind,
  type PlannedFault,
  type Target,
} from './plan.js';

/** How handlers are to fail. */
export interface HandlerFailures {
  /** Of how many messages: from 0 to 1. 0: no more, but those that have failed fail as often as they are to. */
  share: number;
  /** How often for each of them. */
  times: number;
  /** Decides which messages: from 0 to 1. */
  choice: number;
}

/** A client in a process of its own. Only faults that it has a method for can befall it. */
export interface KillableClient {
  name: string;
  /** Which kinds may befall it. Default `client-kill`. `host-sleep` befalls everybody. */
  faults?: readonly FaultKind[];
  /** Kills the process. Resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it again. Resolves when it is at work. */
  start(): Promise<void>;
  /** Freezes the process. Resolves when it stands still. */
  pause?(): Promise<void>;
  /** Lets it go on. */
  resume?(): Promise<void>;
  /**
   * Another process takes over the client ID and the durables of this one, which is frozen. Resolves when that is at
   * work, to what makes it leave in good order.
   */
  replace?(): Promise<() => Promise<void>>;
  /** Its handlers fail from now on. */
  failHandlers?(how: HandlerFailures): void;
}

/** What happened when. */
export interface TimelineEntry {
  /** ms, on the run's own clock. */
  at: number;
  /** The fault's number in the plan. */
  id: number;
  event: 'begin' | 'mend' | 'mended' | 'skipped';
  kind: PlannedFault['kind'];
  /** As it was planned. */
  target: Target;
  /** Names of the nodes and of the clients it befalls. */
  whom: readonly string[];
  /** For people: one line. */
  text: string;
}

export interface NemesisOptions {
  /** The clock of the timeline, in ms. Default `performance.now`. */
  now?: () => number;
  /** Is told of every fault as it begins; the answer's `mended` is called when it is over. As `ContinuityChecker.fault`. */
  onFault?: (name: string) => { mended(): void };
  /** Is told of everything as it happens. */
  onEvent?: (entry: TimelineEntry) => void;
  /** For the faults that befall clients. */
  clients?: readonly KillableClient[];
  /** Ends the run: what is broken is mended, and {@link Nemesis.run} resolves. */
  signal?: AbortSignal;
}

/** A fault under way. */
interface Ongoing {
  readonly fault: PlannedFault;
  readonly whom: readonly string[];
  /** Resolves when it is mended and the cluster has got over it. */
  readonly over: Promise<void>;
}

/** How long a cluster may take to be whole again. */
const RECOVERY = 60_000;

export class Nemesis {
  readonly timeline: TimelineEntry[] = [];
  readonly #cluster: StanCluster;
  readonly #options: NemesisOptions;
  readonly #now: () => number;
  readonly #ongoing = new Set<Ongoing>();
  #begun = 0;
  #failure: unknown;

  constructor(cluster: StanCluster, options: NemesisOptions = {}) {
    this.#cluster = cluster;
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** How many faults have begun. */
  get begun(): number {
    return this.#begun;
  }

  /** What is broken at this moment. */
  get current(): readonly string[] {
    return [...this.#ongoing].map(({ fault, whom }) => nameOf(fault, whom));
  }

  /**
   * Carries the faults out until there are no more or the signal comes, and resolves when everything is mended and the
   * cluster is whole. Rejects when it cannot be made whole; it is mended as far as it can be.
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

  /** Everything is mended, and the cluster is whole. */
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
      over: this.#carryOut(fault, act)
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

  async #carryOut(fault: PlannedFault, act: Act): Promise<void> {
    try {
      await act.break();
      await this.#pause(fault.duration);
    } finally {
      this.#tell(fault, 'mend', act.whom, `#${fault.id} ${fault.kind} is being mended: ${namesOf(fault, act.whom)}`);
      await act.mend();
    }
  }

  /** Whom it befalls now, and what is to be done. */
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

  /** One that nothing else befalls at the moment. */
  async #nodeFor(fault: PlannedFault): Promise<StanNode | undefined> {
    const taken = new Set([...this.#ongoing].flatMap(({ whom, fault: { target } }) => (target === 'all' ? [] : whom)));
    const free = this.#cluster.nodes.filter((node) => node.running && !node.paused && !taken.has(node.name));
    const chosen = (nodes: readonly StanNode[]): StanNode | undefined =>
      nodes[Math.min(Math.floor(fault.choice * nodes.length), nodes.length - 1)];
    if (fault.target === 'attached') {
      return chosen(free.filter((node) => node.proxy.stats.connections > 0)) ?? chosen(free);
    }
    const leader = await this.#cluster.findLeader();
    const isLeader = (node: StanNode): boolean => node === leader;
    const wanted = free.filter((node) => isLeader(node) === (fault.target === 'leader'));
    return chosen(wanted) ?? chosen(free);
  }

  #nodeAct(fault: PlannedFault, node: StanNode): Act {
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
          break: async () => {
            // A wiped member has forgotten what it acknowledged, and votes for anybody. What it and one other had must
            // be with a leader and a follower among the others before it may vote again, or it would be voted away.
            await node.kill();
            await this.#cluster.replicated({ timeout: RECOVERY });
            await node.wipe();
          },
          mend: async () => {
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
            for (const node of nodes) {
              await stop(node);
              await node.start({ timeout: RECOVERY });
              await this.#whole();
              await this.#pause(fault.pauseBetween);
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

  #groupAct(fault: PlannedFault & { kind: 'group-kill' }, node: StanNode): Act | { skipped: string } {
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

  /** Whom nothing else befalls at the moment, and this kind may: the chosen one first, then the others. */
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

  /** The last one to be mended sees the cluster whole; before, it cannot be. */
  async #whole(): Promise<void> {
    if (this.#ongoing.size > 1) return;
    await this.#cluster.settled({ timeout: RECOVERY });
  }

  /** Ends early when the run does. */
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

/** What of a client is needed for which kind of fault, besides killing and starting it. */
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

/** In a few words. */
function nameOf(fault: PlannedFault, whom: readonly string[]): string {
  return `${fault.kind} ${namesOf(fault, whom)}`;
}

/** Where it is everybody, servers and clients, nobody is named. */
function namesOf({ kind }: PlannedFault, whom: readonly string[]): string {
  return kind === 'host-sleep' ? 'everybody' : whom.join(', ');
}

/** A server may hang in its own shutdown. Whoever operates it kills it then, and so does this. */
async function stop(node: StanNode): Promise<void> {
  try {
    await node.stop({ timeout: 5000 });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
  }
}

interface Act {
  whom: readonly string[];
  break: () => Promise<void>;
  /** Called also when breaking failed. */
  mend: () => Promise<void>;
}
