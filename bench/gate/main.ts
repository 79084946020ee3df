/**
 * `npm run bench:gate`: fails when a message has become more expensive. It measures CPU time and allocated bytes of a message,
 * as ratios to the raw client in the same run, because noise of the machine hardly changes these. Of `resilient-stan/stan` it measures
 * the CPU time that a message costs more than by the core.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { StanCluster } from '../../src/testing/index.js';
import { Contestant } from '../contestant.js';
import type { Command, Contender } from '../protocol.js';
import { columns, progressLine } from '../report.js';
import { median, pairedRatio } from '../statistics.js';
import { excesses, FACADE_LIMITS, facadeExcesses, TOLERANCE, type Costs, type Excess } from './verdict.js';

const USAGE = `npm run bench:gate -- [options]
  --worse-cpu PERCENT           make this library so much worse first: the gate has to close
  --worse-allocations PERCENT   the same; garbage costs CPU time, too
  --write                       write the figures down as those to compare with from now on`;

/** The file in the sources, and not beside the compiled program. */
const EXPECTED = 'bench/gate/expected.json';

const { values } = parseArgs({
  options: {
    'worse-cpu': { type: 'string', default: '0' },
    'worse-allocations': { type: 'string', default: '0' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

type Work = Command & { do: 'publish' | 'deliver' };

const SIZE = 128;
const STORED = 20_000;
/** How many messages are in flight. With many they come in large batches; in small ones the work of the kernel counts, and varies. */
const WINDOW = 4096;
/** How many of them the core sends without an answer. The facade has no such limit, so they are compared with as many in flight. */
const IN_FLIGHT = 256;
/** How many pairs of rounds there are for CPU time, and for allocations, which hardly differ from round to round. */
const CPU_PAIRS = 20;
const ALLOCATION_PAIRS = 5;
const ALLOCATION_MESSAGES = 4000;

type MakeWork = (count: number, window?: number) => Work;

const WORK: Readonly<Record<string, MakeWork>> = {
  'publish + ack': (count, window = WINDOW) => ({
    do: 'publish',
    size: SIZE,
    payload: 'bytes',
    load: { channels: ['gate.publish'], count, window, strict: false },
  }),
  'deliver + ack': (count) => ({
    do: 'deliver',
    load: { channel: 'gate.deliver', count, maxInFlight: WINDOW },
  }),
};

/** Two clients that are measured in turn. */
interface Pair {
  base: Contestant;
  tested: Contestant;
}

const CLIENTS: Readonly<Record<'core' | 'facade', readonly [Contender, Contender]>> = {
  core: ['raw', 'resilient'],
  facade: ['resilient', 'facade'],
};

interface Measured {
  core: Map<string, Costs>;
  /** How much CPU time a message costs more by the facade than by the core, in µs. */
  facade: Map<string, number>;
}

/** The size of a young generation that holds the garbage of a round. */
const NO_COLLECTION = ['--min-semi-space-size=256', '--max-semi-space-size=256'];

async function connected(
  cluster: StanCluster,
  what: string,
  [base, tested]: readonly [Contender, Contender],
  flags: readonly string[] = [],
): Promise<Pair> {
  const pair = { base: new Contestant(base, flags), tested: new Contestant(tested, flags) };
  for (const contestant of [pair.base, pair.tested]) {
    const { urls, clusterId } = cluster;
    const load = {
      urls,
      clusterId,
      clientId: `${what}-${contestant.name}`,
      window: IN_FLIGHT,
      ordering: 'pipelined',
    } as const;
    await contestant.ask({ do: 'connect', load });
  }
  return pair;
}

/** The order of the rounds: A B B A A B … */
async function alternate(
  pairs: number,
  pair: Pair,
  measure: (contestant: Contestant) => Promise<number>,
): Promise<{ base: number[]; tested: number[] }> {
  const figures = { base: [] as number[], tested: [] as number[] };
  for (let i = 0; i < pairs; i++) {
    for (const which of i % 2 === 0 ? (['base', 'tested'] as const) : (['tested', 'base'] as const)) {
      figures[which].push(await measure(pair[which]));
    }
  }
  return figures;
}

/** CPU time of a message, in µs. */
const cpuOf =
  (work: MakeWork, window?: number) =>
  async (contestant: Contestant): Promise<number> =>
    (await contestant.ask(work(STORED, window))).cpu! / STORED;

async function costs(work: MakeWork, cpuPair: Pair, memoryPair: Pair): Promise<Costs> {
  const cpu = cpuOf(work);
  const bytes = async (contestant: Contestant): Promise<number> =>
    (await contestant.ask({ do: 'allocations', of: work(ALLOCATION_MESSAGES) })).bytes! / ALLOCATION_MESSAGES;
  // These rounds warm up, until everything is compiled.
  await alternate(3, cpuPair, cpu);
  await alternate(4, memoryPair, async (contestant) => (await contestant.ask(work(STORED))).cpu!);
  await alternate(2, memoryPair, bytes);
  const worse = { cpu: Number(values['worse-cpu']) / 100, bytes: Number(values['worse-allocations']) / 100 };
  if (worse.cpu > 0 || worse.bytes > 0) {
    const now = {
      cpu: median((await alternate(5, cpuPair, cpu)).tested),
      bytes: median((await alternate(3, memoryPair, bytes)).tested),
    };
    const more = { do: 'worsen', cpu: now.cpu * worse.cpu, bytes: now.bytes * worse.bytes } as const;
    await cpuPair.tested.ask(more);
    await memoryPair.tested.ask(more);
    await alternate(2, cpuPair, cpu);
  }
  const spent = await alternate(CPU_PAIRS, cpuPair, cpu);
  const allocated = await alternate(ALLOCATION_PAIRS, memoryPair, bytes);
  const none = { do: 'worsen', cpu: 0, bytes: 0 } as const;
  await cpuPair.tested.ask(none);
  await memoryPair.tested.ask(none);
  return {
    cpu: pairedRatio(spent.tested, spent.base).median,
    allocations: pairedRatio(allocated.tested, allocated.base).median,
  };
}

/** How much CPU time a message costs more by the facade than by the core, in µs. */
async function facadeCost(work: MakeWork, pair: Pair): Promise<number> {
  const cpu = cpuOf(work, IN_FLIGHT);
  await alternate(3, pair, cpu);
  const worse = Number(values['worse-cpu']) / 100;
  if (worse > 0) {
    await pair.tested.ask({ do: 'worsen', cpu: median((await alternate(3, pair, cpu)).base) * worse, bytes: 0 });
    await alternate(2, pair, cpu);
  }
  const { base, tested } = await alternate(CPU_PAIRS, pair, cpu);
  await pair.tested.ask({ do: 'worsen', cpu: 0, bytes: 0 });
  return median(tested.map((spent, i) => spent - base[i]!));
}

async function measureAll(): Promise<Measured> {
  const progress = progressLine(process.stderr);
  const measured: Measured = { core: new Map(), facade: new Map() };
  await using cluster = await StanCluster.start({
    mode: 'single',
    store: 'memory',
    config: { streaming: { store_limits: { max_msgs: STORED } } },
  });
  const cpuPair = await connected(cluster, 'cpu', CLIENTS.core);
  const memoryPair = await connected(cluster, 'memory', CLIENTS.core, NO_COLLECTION);
  const facadePair = await connected(cluster, 'facade', CLIENTS.facade);
  try {
    const prefill = { channels: ['gate.deliver'], count: STORED, window: 64, strict: false };
    await cpuPair.tested.ask({ do: 'publish', size: SIZE, payload: 'bytes', load: prefill });
    for (const [what, work] of Object.entries(WORK)) {
      progress(what);
      measured.core.set(what, await costs(work, cpuPair, memoryPair));
      measured.facade.set(what, await facadeCost(work, facadePair));
    }
  } finally {
    await Promise.all([cpuPair, memoryPair, facadePair].flatMap(({ base, tested }) => [base.end(), tested.end()]));
  }
  progress('');
  return measured;
}

async function main(): Promise<void> {
  const measured = await measureAll();
  if (values.write) {
    const rounded = [...measured.core].map(([what, { cpu, allocations }]) => [
      what,
      { cpu: Number(cpu.toFixed(3)), allocations: Number(allocations.toFixed(3)) },
    ]);
    await writeFile(EXPECTED, `${JSON.stringify(Object.fromEntries(rounded), undefined, 2)}\n`);
  }
  const expected = JSON.parse(await readFile(EXPECTED, 'utf8')) as Record<string, Costs>;
  let failed = judge(measured, expected);
  if (failed.length > 0) {
    // The gate measures once more, because noise hardly has the same effect twice.
    console.error('Too dear, at first sight. Measuring again.');
    const again = judge(await measureAll(), expected);
    failed = again.filter(({ what, cost }) => failed.some((first) => first.what === what && first.cost === cost));
  }
  for (const { what, cost, measured: is, limit } of failed) {
    console.error(`${what}: ${cost} of a message is ${is.toFixed(3)}, and the limit is ${limit.toFixed(3)}`);
  }
  process.exitCode = failed.length > 0 ? 1 : 0;
}

function judge({ core, facade }: Measured, expected: Readonly<Record<string, Costs>>): Excess[] {
  const rows = [...core].flatMap(([what, costs]) =>
    (['cpu', 'allocations'] as const).map((cost) => {
      const was = expected[what]?.[cost] ?? NaN;
      return [what, cost, ...[costs[cost], was, was * TOLERANCE[cost]].map((ratio) => ratio.toFixed(3))];
    }),
  );
  console.log(columns([['per message, ratio to raw', 'of', 'measured', 'expected', 'limit'], ...rows]).join('\n'));
  const more = [...facade].map(([what, cpu]) => [what, cpu.toFixed(2), FACADE_LIMITS[what]!.toFixed(2)]);
  console.log(
    columns([['resilient-stan/stan, more CPU than the core in µs', 'measured', 'limit'], ...more]).join('\n'),
  );
  return [...excesses(core, expected), ...facadeExcesses(facade)];
}

if (values.help) console.log(USAGE);
else await main();
