/** One trial: a group of each kind on one channel, steady traffic, one fault, and what became of it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan, type Logger } from '../../src/index.js';
import { Proxy, waitFor, type StanCluster, type StanNode } from '../../src/testing/index.js';
import type { Fault, Kind, Scene } from './matrix.js';
import { Tally, type Outcome } from './tally.js';
import { Traffic } from './traffic.js';

/** The server's own default, in ms, and that of `subscribe()`. */
const ACK_WAIT = 30_000;
/** For so long traffic goes on when everything is mended, in ms. */
const AFTERWARDS = 4000;

export interface GroupOutcome extends Outcome {
  kind: Kind;
  fault: Fault;
  /** Another leader came, or the same one again: what only the old one knew is gone. */
  leaderEnded: boolean;
  /** Handed over by the server again, and dropped. */
  dropped: number;
  losses: number;
  suspicions: number;
  /** What its clients had to say, and what came again when: for whoever wants to know why. In ms from the fault on. */
  log: string[];
}

interface Group {
  kind: Kind;
  clients: ResilientStan[];
  tally: Tally;
  lines: [at: number, text: string][];
}

type Paths = ReadonlyMap<StanNode, Proxy>;

export class Trial {
  readonly #cluster: StanCluster;
  readonly #fault: Fault;
  readonly #run = randomUUID().slice(0, 8);
  readonly #channel = `groups.${this.#run}`;
  readonly #groups: Group[] = [];
  #scene!: Scene;
  #traffic!: Traffic;
  #struck = NaN;
  #mended = NaN;
  #leaderEnded = false;

  private constructor(cluster: StanCluster, fault: Fault) {
    this.#cluster = cluster;
    this.#fault = fault;
  }

  /** Resolves when all groups are there, and messages come. */
  static async begin(cluster: StanCluster, fault: Fault, kinds: readonly Kind[], rate: number): Promise<Trial> {
    const trial = new Trial(cluster, fault);
    await cluster.settled();
    const leader = await cluster.leader();
    const attached = fault.attached === 'leader' ? leader : cluster.nodes.find((node) => node !== leader)!;
    trial.#scene = { cluster, leader, attached, paths: [await pathsTo(cluster), await pathsTo(cluster)] };
    for (const kind of kinds) await trial.#add(kind);
    // Around the ways that are broken: it is not what is measured.
    const urls = cluster.nodes.map(({ ports }) => `nats://127.0.0.1:${ports.client}`);
    const publisher = await ResilientStan.connect(urls, { clientId: `publisher-${trial.#run}` });
    trial.#traffic = new Traffic(publisher, trial.#channel, rate);
    return trial;
  }

  /**
   * The fault. Resolves when it is mended, and traffic has gone on for a while.
   * @returns false: another node leads by now, so it would be another fault
   */
  async strike(): Promise<boolean> {
    const { cluster, leader, attached } = this.#scene;
    const astray = this.#groups.some(({ clients }) => clients.some((client) => !this.#isAt(client, attached)));
    if (astray || (await cluster.leader()) !== leader) return false;
    const { servingSince } = leader;
    this.#struck = performance.now();
    await this.#fault.strike(this.#scene);
    this.#mended = performance.now();
    await sleep(AFTERWARDS);
    await this.#traffic.stop();
    this.#leaderEnded = (await cluster.leader()) !== leader || leader.servingSince !== servingSince;
    return true;
  }

  /** Resolves when nothing can come any more: what is not acknowledged comes again after `ackWait`. */
  async finish(): Promise<GroupOutcome[]> {
    const { acknowledged } = this.#traffic;
    const complete = (): boolean => this.#groups.every(({ tally }) => tally.missing(acknowledged).length === 0);
    await sleep(Math.max(0, this.#mended + ACK_WAIT + 2000 - performance.now()));
    await waitFor(async () => complete() || undefined, {
      timeout: ACK_WAIT,
      interval: 100,
      what: () => 'not everything has come',
    }).catch(() => undefined);
    return this.#groups.map((group) => this.#judge(group));
  }

  async end(): Promise<void> {
    await this.#traffic.end();
    await Promise.all(this.#groups.flatMap(({ clients }) => clients.map((client) => client.close({ timeout: 1000 }))));
    await Promise.all(this.#scene.paths.flatMap((paths) => [...paths.values()].map((path) => path.close())));
  }

  async #add(kind: Kind): Promise<void> {
    const group: Group = { kind, clients: [], tally: new Tally(), lines: [] };
    this.#groups.push(group);
    for (const [i, members] of kind.clients.entries()) {
      const name = `${kind.id}-${i + 1}`;
      const client = await ResilientStan.connect(this.#urls(this.#scene.paths[i]!), {
        clientId: `${name}-${this.#run}`,
        // One way is one node's, and no other leads there.
        randomize: false,
        discover: false,
        logger: collect(name, group.lines),
      });
      group.clients.push(client);
      for (let member = 0; member < members; member++) {
        await client.subscribe(
          this.#channel,
          async (message) => group.tally.note(message.sequence, message.string(), name, performance.now()),
          { queueGroup: kind.id, ...(kind.durable && { durableName: 'd' }), ackWait: ACK_WAIT },
        );
      }
    }
  }

  /** That of the node to be attached to comes first. */
  #urls(paths: Paths): string[] {
    const { attached } = this.#scene;
    const nodes = [attached, ...this.#cluster.nodes.filter((node) => node !== attached)];
    return nodes.map((node) => `nats://127.0.0.1:${paths.get(node)!.port}`);
  }

  #isAt({ server }: ResilientStan, node: StanNode): boolean {
    return this.#scene.paths.some((paths) => server === `nats://127.0.0.1:${paths.get(node)!.port}`);
  }

  #judge({ kind, clients, tally, lines }: Group): GroupOutcome {
    const { acknowledged } = this.#traffic;
    const since = (at: number): number => Math.round(at - this.#struck);
    const log = [
      ...lines.filter(([at]) => at > this.#struck - 1000).map(([at, text]) => `${since(at)} ${text}`),
      ...tally.repeated.map(
        ({ sequence, times, by }) =>
          `repeated ${sequence}: ${times.map((at, i) => `${since(at)} ${by[i]}`).join(', ')}`,
      ),
      ...tally
        .missing(acknowledged)
        .map((value) => `missing ${value}, published ${since(Number(value.split(' ')[1]))}`),
    ];
    const sum = (of: 'losses' | 'suspicions' | 'duplicatesDropped'): number =>
      clients.reduce((total, client) => total + client.stats()[of], 0);
    return {
      kind,
      fault: this.#fault,
      ...tally.outcome(acknowledged, this.#struck),
      leaderEnded: this.#leaderEnded,
      dropped: sum('duplicatesDropped'),
      losses: sum('losses'),
      suspicions: sum('suspicions'),
      log,
    };
  }
}

async function pathsTo(cluster: StanCluster): Promise<Paths> {
  const paths = new Map<StanNode, Proxy>();
  for (const node of cluster.nodes) paths.set(node, await Proxy.listen({ target: { port: node.ports.client } }));
  return paths;
}

function collect(name: string, lines: [number, string][]): Logger {
  const note =
    (level: string) =>
    (message: string, details?: unknown): void => {
      const more = details === undefined ? '' : ` ${JSON.stringify(details)}`;
      lines.push([performance.now(), `${name} ${level}: ${message}${more}`]);
    };
  return { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
}
