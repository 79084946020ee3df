/**
 * `npm run bench:gate`: fails when a message has become more expensive. It measures CPU time and allocated bytes of a message,
 * as ratios to the raw client in the same run, because noise of the machine hardly changes these.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { StanCluster } from '../../src/testing/index.js';
import { Contestant } from '../contestant.js';
import type { Command } from '../protocol.js';
import { columns, progressLine } from '../report.js';
import { median, pairedRatio } from '../statistics.js';
import { excesses, TOLERANCE, type Costs, type Excess } from './verdict.js';

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
/** How many pairs of rounds there are for CPU time, and for allocations, which hardly differ from round to round. */
const CPU_PAIRS = 20;
const ALLOCATION_PAIRS = 5;
const ALLOCATION_MESSAGES = 4000;

const WORK: Readonly<Record<string, (count: number) => Work>> = {
  'publish + ack': (count) => ({
    do: 'publish',
    size: SIZE,
    payload: 'bytes',
    load: { channels: ['gate.publish'], count, window: WINDOW, strict: false },
  }),
  'deliver + ack': (count) => ({
    do: 'deliver',
    load: { channel: 'gate.deliver', count, maxInFlight: WINDOW },
  }),
};

interface Pair {
  raw: Contestant;
  resilient: Contestant;
}

/** The size of a young generation that holds the garbage of a round. */
const NO_COLLECTION = ['--min-semi-space-size=256', '--max-semi-space-size=256'];

async function connected(cluster: StanCluster, what: string, flags: readonly string[]): Promise<Pair> {
  const pair = { raw: new Contestant('raw', flags), resilient: new Contestant('resilient', flags) };
  for (const contestant of [pair.raw, pair.resilient]) {
    const { urls, clusterId } = cluster;
    const load = {
      urls,
      clusterId,
      clientId: `${what}-${contestant.name}`,
      window: 256,
      ordering: 'pipelined',
    } as const;
    await contestant.ask({ do: 'connect', load });
  }
  return pair;
}

/** The order of the rounds: A B B A A B … */
async function alternate(
  pairs: number,
  { raw, resilient }: Pair,
  measure: (contestant: Contestant) => Promise<number>,
): Promise<{ raw: number[]; resilient: number[] }> {
  const figures = { raw: [] as number[], resilient: [] as number[] };
  for (let i = 0; i < pairs; i++) {
    for (const contestant of i % 2 === 0 ? [raw, resilient] : [resilient, raw]) {
      figures[contestant.name].push(await measure(contestant));
    }
  }
  return figures;
}

async function costs(work: (count: number) => Work, cpuPair: Pair, memoryPair: Pair): Promise<Costs> {
  const cpu = async (contestant: Contestant): Promise<number> => (await contestant.ask(work(STORED))).cpu! / STORED;
  const bytes = async (contestant: Contestant): Promise<number> =>
    (await contestant.ask({ do: 'allocations', of: work(ALLOCATION_MESSAGES) })).bytes! / ALLOCATION_MESSAGES;
  // These rounds warm up, until everything is compiled.
  await alternate(3, cpuPair, cpu);
  await alternate(4, memoryPair, async (contestant) => (await contestant.ask(work(STORED))).cpu!);
  await alternate(2, memoryPair, bytes);
  const worse = { cpu: Number(values['worse-cpu']) / 100, bytes: Number(values['worse-allocations']) / 100 };
  if (worse.cpu > 0 || worse.bytes > 0) {
    const now = {
      cpu: median((await alternate(5, cpuPair, cpu)).resilient),
      bytes: median((await alternate(3, memoryPair, bytes)).resilient),
    };
    const more = { do: 'worsen', cpu: now.cpu * worse.cpu, bytes: now.bytes * worse.bytes } as const;
    await cpuPair.resilient.ask(more);
    await memoryPair.resilient.ask(more);
    await alternate(2, cpuPair, cpu);
  }
  const spent = await alternate(CPU_PAIRS, cpuPair, cpu);
  const allocated = await alternate(ALLOCATION_PAIRS, memoryPair, bytes);
  const none = { do: 'worsen', cpu: 0, bytes: 0 } as const;
  await cpuPair.resilient.ask(none);
  await memoryPair.resilient.ask(none);
  return {
    cpu: pairedRatio(spent.resilient, spent.raw).median,
    allocations: pairedRatio(allocated.resilient, allocated.raw).median,
  };
}

async function measureAll(): Promise<Map<string, Costs>> {
  const progress = progressLine(process.stderr);
  const measured = new Map<string, Costs>();
  await using cluster = await StanCluster.start({
    mode: 'single',
    store: 'memory',
    config: { streaming: { store_limits: { max_msgs: STORED } } },
  });
  const pairs = [await connected(cluster, 'cpu', []), await connected(cluster, 'memory', NO_COLLECTION)] as const;
  try {
    const prefill = { channels: ['gate.deliver'], count: STORED, window: 64, strict: false };
    await pairs[0].resilient.ask({ do: 'publish', size: SIZE, payload: 'bytes', load: prefill });
    for (const [what, work] of Object.entries(WORK)) {
      progress(what);
      measured.set(what, await costs(work, ...pairs));
    }
  } finally {
    await Promise.all(pairs.flatMap(({ raw, resilient }) => [raw.end(), resilient.end()]));
  }
  progress('');
  return measured;
}

async function main(): Promise<void> {
  const measured = await measureAll();
  if (values.write) {
    const rounded = [...measured].map(([what, { cpu, allocations }]) => [
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
  for (const { what, cost, measured: is, expected: was } of failed) {
    const percent = Math.round((is / was - 1) * 100);
    console.error(`${what}: ${cost} per message, as a ratio to the raw client, is ${percent} % above what it was`);
  }
  process.exitCode = failed.length > 0 ? 1 : 0;
}

function judge(measured: ReadonlyMap<string, Costs>, expected: Readonly<Record<string, Costs>>): Excess[] {
  const rows = [...measured].flatMap(([what, costs]) =>
    (['cpu', 'allocations'] as const).map((cost) => {
      const was = expected[what]?.[cost] ?? NaN;
      return [what, cost, ...[costs[cost], was, was * TOLERANCE[cost]].map((ratio) => ratio.toFixed(3))];
    }),
  );
  console.log(columns([['per message, ratio to raw', 'of', 'measured', 'expected', 'limit'], ...rows]).join('\n'));
  return excesses(measured, expected);
}

if (values.help) console.log(USAGE);
else await main();
