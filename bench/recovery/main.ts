/** `npm run bench:recovery`: measures how long it takes until everything goes on after a fault. See docs/performance.md. */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { StanCluster } from '../../src/testing/index.js';
import { columns, progressLine } from '../report.js';
import { quantile } from '../statistics.js';
import { Worker } from '../worker-process.js';
import { FAULTS, type Fault } from './faults.js';
import { trial, type Outcome, type PairProcess } from './trial.js';

const USAGE = `npm run bench:recovery -- [options]
  --only NAME       only this fault (repeatable): ${FAULTS.map(({ name }) => name).join(', ')}
  --trials N        of each fault (default 30)
  --raw N           in so many of them the raw client is beside it, which makes them longer (default 5)
  --raft default    with the server's own timings instead of 200/200/100/20 ms
  --json FILE       where the figures go (default reports/recovery.json)`;

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    trials: { type: 'string', default: '30' },
    raw: { type: 'string', default: '5' },
    raft: { type: 'string', default: 'fast' },
    json: { type: 'string', default: 'reports/recovery.json' },
    help: { type: 'boolean', default: false },
  },
});

interface FaultResult {
  fault: string;
  title: string;
  /** How many trials did not count, because the cluster changed its leader by itself. */
  void: number;
  readyAfter: number[];
  resilient: Outcome[];
  raw: Outcome[];
}

/** The fields of an outcome that are numbers. */
type Measure = Exclude<keyof Outcome, 'log'>;

async function main(): Promise<void> {
  const faults = FAULTS.filter(({ name }) => !values.only || values.only.includes(name));
  const progress = progressLine(process.stderr);
  const startedAt = new Date();
  const results: FaultResult[] = [];
  const resilient: PairProcess = new Worker('./recovery/worker.js', 'resilient');
  const raw: PairProcess = new Worker('./recovery/worker.js', 'raw');
  try {
    for (const fault of faults) results.push(await run(fault, resilient, raw, progress));
  } finally {
    await Promise.all([resilient.end(), raw.end()]);
  }
  progress('');
  console.log(table(results));
  console.log(outliers(results).join('\n'));
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, node: process.version, load: loadavg() };
  await mkdir(dirname(values.json), { recursive: true });
  await writeFile(values.json, `${JSON.stringify({ startedAt, machine, raft: values.raft, results }, undefined, 1)}\n`);
  console.log(`Figures and logs in ${values.json}. ${machine.cpus} CPUs (${machine.model}), Node ${machine.node}.`);
}

async function run(
  fault: Fault,
  resilient: PairProcess,
  raw: PairProcess,
  progress: (what: string, detail?: string) => void,
): Promise<FaultResult> {
  const trials = Number(values.trials);
  const withRaw = Number(values.raw);
  const result: FaultResult = {
    fault: fault.name,
    title: fault.title,
    void: 0,
    readyAfter: [],
    resilient: [],
    raw: [],
  };
  await using cluster = await StanCluster.start({
    nodes: 3,
    proxied: fault.proxied ?? false,
    ...(values.raft === 'default' && { raft: 'default' }),
  });
  while (result.readyAfter.length < trials && result.void < 2 * trials) {
    const done = result.readyAfter.length;
    progress(fault.title, `${done + 1}/${trials}`);
    const seen = await trial(fault, cluster, done < withRaw ? [resilient, raw] : [resilient]);
    if (seen.void) {
      result.void++;
      continue;
    }
    result.readyAfter.push(seen.readyAfter);
    const ours = seen.outcomes.get(resilient);
    const theirs = seen.outcomes.get(raw);
    if (ours) result.resilient.push(ours);
    if (theirs) result.raw.push(theirs);
  }
  return result;
}

function table(results: readonly FaultResult[]): string {
  const header = ['fault, p50 / p95 / max in ms', 'ready after', 'ack after ready', 'delivery after ready'];
  header.push('ack silence', 'delivery silence', 'duplicates p50 / max', 'losses', 'unacknowledged', 'void');
  const row = (who: string, result: FaultResult, outcomes: readonly Outcome[]): string[] => {
    const of = (measure: Measure): string => figures(outcomes.map((outcome) => outcome[measure]));
    const duplicates = outcomes.map((outcome) => outcome.duplicates);
    return [
      `${result.title}, ${who} (${outcomes.length})`,
      figures(result.readyAfter.slice(0, outcomes.length)),
      of('ackAfterReady'),
      of('deliveryAfterReady'),
      of('ackSilence'),
      of('deliverySilence'),
      `${quantile(duplicates, 0.5)} / ${Math.max(...duplicates)}`,
      String(sum(outcomes, 'losses')),
      String(sum(outcomes, 'unacknowledged')),
      String(result.void),
    ];
  };
  const rows = results.flatMap((result) => [
    row('ours', result, result.resilient),
    ...(result.raw.length > 0 ? [row('raw', result, result.raw)] : []),
  ]);
  return columns([header, ...rows]).join('\n');
}

function sum(outcomes: readonly Outcome[], measure: Measure): number {
  return outcomes.reduce((total, outcome) => total + outcome[measure], 0);
}

function figures(values: readonly number[]): string {
  return [0.5, 0.95, 1].map((part) => ms(quantile(values, part))).join(' / ');
}

const ms = (value: number): string => (Number.isFinite(value) ? value.toFixed(0) : 'never');

/** Maxima above three times the p95, each with the log of the client, so that they are not lost in an average. */
function outliers(results: readonly FaultResult[]): string[] {
  const measures: Measure[] = ['ackAfterReady', 'deliveryAfterReady', 'ackSilence', 'deliverySilence'];
  return results.flatMap(({ title, resilient }) =>
    measures.flatMap((measure) => {
      const all = resilient.map((outcome) => outcome[measure]);
      const p95 = quantile(all, 0.95);
      return resilient
        .filter((outcome) => outcome[measure] > 3 * p95)
        .flatMap((outcome) => [
          `\n${title}: ${measure} was once ${ms(outcome[measure])} ms, and its p95 is ${ms(p95)} ms. The client's log:`,
          ...outcome.log.map((line) => `  ${line}`),
        ]);
    }),
  );
}

if (values.help) console.log(USAGE);
else await main();
