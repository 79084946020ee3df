import { StanCluster } from '../src/testing/index.js';
import type { BacklogCase, BenchCase, DeliverCase, PublishCase, ServerKind, SubscriptionsCase } from './cases.js';
import { Contestant } from './contestant.js';
import { disturb } from './disturb.js';
import type { Answer, Usage } from './protocol.js';
import { median, pairedRatio, spread, type Ratio } from './statistics.js';

export interface Effort {
  /** Of each contestant. */
  rounds: number;
  /** Of one round, about. */
  seconds: number;
  /** Where each contestant's process leaves a CPU profile. */
  profiles?: string | undefined;
}

export interface Figures {
  /** Messages a second. */
  rate: number;
  /** Of the rate: half the distance between the quartiles, as a part of the median. */
  spread: number;
  /** CPU time of the client's process, µs a message. */
  cpu: number;
  /** The most memory its process ever had, bytes. */
  peak: number;
}

export interface CaseResult {
  name: string;
  kind: BenchCase['kind'];
  raw: Figures;
  resilient: Figures;
  /** This library to the raw client, medians of pairs of adjacent rounds. */
  ratio: { rate: Ratio; cpu: Ratio };
  /** Messages in one round. */
  count: number;
  rounds: number;
  /** What only some cases have. */
  more: Record<string, number>;
}

/** Enough for one round of deliveries, and no more than a small machine has room for. */
const STORED = 50_000;
const STORED_BYTES = 128 * 1024 * 1024;

const SECOND = 1000;
/** ms. */
const IDLE = { before: 10_000, measured: 20_000 };
/** Of a round in which something goes on once a second. */
const DISTURBED_SECONDS = 2;
const PAYLOAD_BYTES_OF_A_PREFILL = 64 * 1024 * 1024;

export async function runCase(
  benchCase: BenchCase,
  effort: Effort,
  progress: (what: string) => void,
): Promise<CaseResult> {
  const { disturbance } = benchCase;
  await using cluster = await boot(benchCase.server, throughProxies(benchCase));
  await using _ = disturbance === undefined ? undefined : disturb(cluster, disturbance);
  const flags = effort.profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${effort.profiles}`];
  const contestants = { raw: new Contestant('raw', flags), resilient: new Contestant('resilient', flags) };
  try {
    const paced = disturbance === undefined ? effort : { ...effort, seconds: DISTURBED_SECONDS };
    return await new CaseRun(benchCase, cluster, contestants, paced, progress).run();
  } finally {
    await Promise.all(BOTH.map((name) => contestants[name].end()));
  }
}

function boot(server: ServerKind, proxied: boolean): Promise<StanCluster> {
  const config = { streaming: { store_limits: { max_msgs: STORED, max_bytes: STORED_BYTES, max_channels: 0 } } };
  return server === 'cluster'
    ? StanCluster.start({ nodes: 3, config, proxied })
    : StanCluster.start({ mode: 'single', store: server, config, proxied });
}

function throughProxies({ kind, disturbance }: BenchCase): boolean {
  return kind === 'subscriptions' || disturbance === 'long way';
}

type Contestants = { readonly raw: Contestant<'raw'>; readonly resilient: Contestant<'resilient'> };
const BOTH = ['raw', 'resilient'] as const;

class CaseRun {
  readonly #case: BenchCase;
  readonly #cluster: StanCluster;
  readonly #contestants: Contestants;
  readonly #effort: Effort;
  readonly #progress: (what: string) => void;

  constructor(
    benchCase: BenchCase,
    cluster: StanCluster,
    contestants: Contestants,
    effort: Effort,
    progress: (what: string) => void,
  ) {
    this.#case = benchCase;
    this.#cluster = cluster;
    this.#contestants = contestants;
    this.#effort = effort;
    this.#progress = progress;
  }

  run(): Promise<CaseResult> {
    const benchCase = this.#case;
    switch (benchCase.kind) {
      case 'publish':
        return this.#publish(benchCase);
      case 'deliver':
        return this.#deliver(benchCase);
      case 'backlog':
        return this.#backlog(benchCase);
      case 'subscriptions':
        return this.#subscriptions(benchCase);
    }
  }

  async #publish(benchCase: PublishCase): Promise<CaseResult> {
    const { window, size, payload, strict } = benchCase;
    const channels = Array.from({ length: benchCase.channels }, (_, i) => `bench.${i}`);
    // Whoever publishes strictly gives the client more than one message at a time, or could do without it.
    const given = strict ? 8 * channels.length : window;
    await this.#connect(strict ? channels.length : window, strict ? 'strict' : 'pipelined');
    const round = async (contestant: Contestant, count: number): Promise<Answer> =>
      contestant.ask({ do: 'publish', size, payload, load: { channels, count, window: given, strict } });
    return this.#compare(round, Infinity);
  }

  async #deliver({ maxInFlight, size }: DeliverCase): Promise<CaseResult> {
    await this.#connect(256);
    const stored = Math.min(STORED, Math.floor(PAYLOAD_BYTES_OF_A_PREFILL / size));
    const channel = 'bench.stored';
    const load = { channels: [channel], count: stored, window: 64, strict: false };
    // By somebody else: it takes memory.
    const publisher = new Contestant('raw');
    await publisher.ask({ do: 'connect', load: this.#load('publisher', 64) });
    await publisher.ask({ do: 'publish', size, payload: 'bytes', load });
    await publisher.end();
    const round = (contestant: Contestant, count: number): Promise<Answer> =>
      contestant.ask({ do: 'deliver', load: { channel, count, maxInFlight } });
    return this.#compare(round, stored);
  }

  /** The backlog is that of this library; the raw client is beside it with what it does at its steady rate. */
  async #backlog({ count, size, payload }: BacklogCase): Promise<CaseResult> {
    const [server] = this.#cluster.nodes;
    const { raw, resilient } = this.#contestants;
    const window = 1024;
    await this.#connect(window);
    const channel = 'bench.backlog';
    const steady = (contestant: Contestant): Promise<Answer> =>
      contestant.ask({ do: 'publish', size, payload, load: { channels: [channel], count, window, strict: false } });
    // Both on a server that has just been started: one that has been running is quicker.
    const restart = async (): Promise<void> => {
      await server?.kill();
      await server?.start();
      await resilient.ask({ do: 'idle', ms: 500 });
    };
    for (const name of BOTH) await steady(this.#contestants[name]);
    const rawSteady: Usage[] = [];
    const ours: Usage[] = [];
    const flushes: Usage[] = [];
    const bytes: number[] = [];
    const { rounds } = this.#effort;
    // The raw client does not survive what follows.
    for (let i = 0; i < rounds; i++) rawSteady.push(usage(await steady(raw)));
    for (let i = 0; i < rounds; i++) {
      this.#progress(`${i + 1}/${rounds}`);
      await restart();
      ours.push(usage(await steady(resilient)));
      await server?.kill();
      const queued = await resilient.ask({ do: 'queue', channel, count, size, payload });
      bytes.push((queued.bytes ?? NaN) / count);
      await server?.start();
      flushes.push(usage(await resilient.ask({ do: 'flushed' })));
    }
    const rates = flushes.map(({ ms }) => (count / ms) * SECOND);
    return {
      ...(await this.#result(count, rawSteady, ours)),
      more: {
        'bytes per message queued': median(bytes),
        'flush rate': median(rates),
        'flush to steady rate': pairedRatio(
          rates,
          ours.map(({ ms }) => (count / ms) * SECOND),
        ).median,
        'flush CPU, µs per message': median(flushes.map(({ cpu }) => cpu / count)),
      },
    };
  }

  async #subscriptions({ count, size }: SubscriptionsCase): Promise<CaseResult> {
    await this.#connect(256);
    const channels = Array.from({ length: count }, (_, i) => `bench.${i}`);
    const publisher = new Contestant('raw');
    try {
      await publisher.ask({ do: 'connect', load: this.#load('publisher', 256) });
      const more: Record<string, number> = {};
      for (const name of BOTH) {
        more[`${name}: subscribe all, ms`] =
          (await this.#contestants[name].ask({ do: 'subscribe', channels })).ms ?? NaN;
      }
      this.#progress('idle');
      // At the same time: they do nothing, so they cannot be in each other's way. First what subscribing has left behind.
      const idle = (ms: number) => Promise.all(BOTH.map((name) => this.#contestants[name].ask({ do: 'idle', ms })));
      await idle(IDLE.before);
      const idled = await idle(IDLE.measured);
      BOTH.forEach((name, i) => {
        more[`${name}: idle CPU, µs per second`] = (usage(idled[i]!).cpu / IDLE.measured) * SECOND;
      });
      const load = (messages: number) => ({ channels, count: messages, window: 256, strict: false });
      const both = async (messages: number): Promise<[Usage, Usage]> => {
        for (const name of BOTH) await this.#contestants[name].ask({ do: 'count' });
        const counted = BOTH.map((name) => this.#contestants[name].ask({ do: 'counted', count: messages }));
        await publisher.ask({ do: 'publish', size, payload: 'bytes', load: load(messages) });
        const [raw, resilient] = await Promise.all(counted);
        return [usage(raw!), usage(resilient!)];
      };
      const messages = 10_000;
      await both(messages);
      const raw: Usage[] = [];
      const resilient: Usage[] = [];
      for (let i = 0; i < this.#effort.rounds; i++) {
        this.#progress(`${i + 1}/${this.#effort.rounds}`);
        const [a, b] = await both(messages);
        raw.push(a);
        resilient.push(b);
      }
      const again: number[] = [];
      for (let i = 0; i < 5; i++) {
        this.#cluster.nodes[0]?.proxy.resetConnections();
        again.push((await this.#contestants.resilient.ask({ do: 'reconnected', times: i + 1 })).ms ?? NaN);
      }
      more['resilient: reset to all made again, ms, median'] = median(again);
      more['resilient: reset to all made again, ms, maximum'] = Math.max(...again);
      return { ...(await this.#result(messages, raw, resilient)), more };
    } finally {
      await publisher.end();
    }
  }

  #load(clientId: string, window: number, ordering: 'pipelined' | 'strict' = 'pipelined', proxied = false) {
    const { clusterId, nodes } = this.#cluster;
    const urls = proxied ? nodes.map(({ url }) => url) : nodes.map(({ ports }) => `nats://127.0.0.1:${ports.client}`);
    return { urls, clusterId, clientId, window, ordering };
  }

  async #connect(window: number, ordering: 'pipelined' | 'strict' = 'pipelined'): Promise<void> {
    const proxied = throughProxies(this.#case);
    for (const name of BOTH) {
      await this.#contestants[name].ask({ do: 'connect', load: this.#load(name, window, ordering, proxied) });
    }
  }

  /** A B B A A B … */
  async #compare(round: (contestant: Contestant, count: number) => Promise<Answer>, most: number): Promise<CaseResult> {
    const { rounds, seconds } = this.#effort;
    const { raw, resilient } = this.#contestants;
    let count = 100;
    // Until it takes long enough to tell the rate by, which also warms up both.
    for (;;) {
      const { ms } = usage(await round(raw, Math.min(count, most)));
      await round(resilient, Math.min(count, most));
      const wanted = Math.ceil((count / ms) * seconds * SECOND);
      if (ms > 0.7 * seconds * SECOND || count >= most) {
        count = Math.min(most, wanted);
        break;
      }
      count = Math.min(most, wanted, 8 * count);
    }
    const figures: Record<(typeof BOTH)[number], Usage[]> = { raw: [], resilient: [] };
    for (let i = 0; i < rounds; i++) {
      this.#progress(`${i + 1}/${rounds}`);
      for (const contestant of i % 2 === 0 ? [raw, resilient] : [resilient, raw]) {
        figures[contestant.name].push(usage(await round(contestant, count)));
      }
    }
    return this.#result(count, figures.raw, figures.resilient);
  }

  async #result(count: number, raw: Usage[], resilient: Usage[]): Promise<CaseResult> {
    const rates = (rounds: Usage[]): number[] => rounds.map(({ ms }) => (count / ms) * SECOND);
    const cpus = (rounds: Usage[]): number[] => rounds.map(({ cpu }) => cpu / count);
    const figures = async (name: (typeof BOTH)[number], rounds: Usage[]): Promise<Figures> => ({
      rate: median(rates(rounds)),
      spread: spread(rates(rounds)),
      cpu: median(cpus(rounds)),
      peak: await this.#contestants[name].peak(),
    });
    return {
      name: this.#case.name,
      kind: this.#case.kind,
      raw: await figures('raw', raw),
      resilient: await figures('resilient', resilient),
      ratio: { rate: pairedRatio(rates(resilient), rates(raw)), cpu: pairedRatio(cpus(resilient), cpus(raw)) },
      count,
      rounds: raw.length,
      more: {},
    };
  }
}

function usage({ ms, cpu, user }: Answer): Usage {
  if (ms === undefined || cpu === undefined || user === undefined) throw new Error('the worker did not measure that');
  return { ms, cpu, user };
}
