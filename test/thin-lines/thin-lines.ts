/**
 * `npm run thin-lines`: large and small messages over thin lines, by node-nats-streaming and by this library in turn.
 * About 25 minutes. Not a part of `npm test`, which has a short run of it (test/cluster/thin-line.test.ts).
 *
 *     npm run thin-lines -- --only cluster-3,deliver --rate 10,20 --size 900 --json reports/thin-lines.json
 *
 * Options: `--only` (topologies `single`, `cluster-1`, `cluster-3`; works `deliver`, `publish`), `--rate` (Mbit/s), `--size`
 * (KB), `--seconds` (what the line needs for the bytes of a case, 8), `--line each` (each connection has a line of its own: the
 * default) or `shared` (one for all, as a client's own access line), `--factor` (1.2), `--json` (a file).
 *
 * Exit code 0: no case took longer than 1.2 times what the raw client needed, nothing was stored or handed over twice, nothing
 * is missing, no session was lost. Exit code 1: not so. Exit code 2: wrong options.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { columns } from '../../src/cli/verify/verdict-view.js';
import { StanCluster } from '../../src/testing/index.js';
import { makeThin, thinLine } from '../support/thin-line.js';
import { measure, type Case, type Outcome, type Work } from './measure.js';

const TOPOLOGIES = {
  /** One server, one URL. */
  single: { nodes: 1, urls: 1 },
  /** Three servers, of which one is listed. */
  'cluster-1': { nodes: 3, urls: 1 },
  /** Three servers, all of them listed. */
  'cluster-3': { nodes: 3, urls: 3 },
} as const;
type Topology = keyof typeof TOPOLOGIES;
const ALL_TOPOLOGIES = Object.keys(TOPOLOGIES) as Topology[];
const ALL_WORKS: readonly Work[] = ['deliver', 'publish'];

function usage(message: string): never {
  console.error(message);
  process.exit(2);
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rate: { type: 'string', default: '0.5,2.4,10,20' },
    size: { type: 'string', default: '10,100,900' },
    seconds: { type: 'string', default: '8' },
    line: { type: 'string', default: 'each' },
    factor: { type: 'string', default: '1.2' },
    json: { type: 'string' },
  },
});

function numbers(name: string, text: string): number[] {
  const list = text.split(',').map(Number);
  return list.every((n) => n > 0 && Number.isFinite(n)) ? list : usage(`--${name} is numbers above 0, not '${text}'`);
}

const rates = numbers('rate', values.rate);
const sizes = numbers('size', values.size);
const [seconds] = numbers('seconds', values.seconds) as [number];
const [factor] = numbers('factor', values.factor) as [number];
if (sizes.some((size) => size > 1000)) usage('--size is at most 1000: a server takes messages of up to 1 MiB');
if (!['each', 'shared'].includes(values.line)) usage(`--line is 'each' or 'shared', not '${values.line}'`);
const only = values.only.split(',').filter(Boolean);
const unknown = only.find((word) => ![...ALL_TOPOLOGIES, ...ALL_WORKS].includes(word as Topology));
if (unknown !== undefined) usage(`--only takes ${[...ALL_TOPOLOGIES, ...ALL_WORKS].join(', ')}, not '${unknown}'`);
const chosen = <T extends string>(all: readonly T[]): readonly T[] => {
  const named = all.filter((one) => only.includes(one));
  return named.length > 0 ? named : all;
};

interface Result extends Case {
  topology: Topology;
  raw: Outcome;
  ours: Outcome;
  ratio: number;
  /** What is wrong with ours. */
  faults: string[];
}

function judge(raw: Outcome, ours: Outcome): { ratio: number; faults: string[] } {
  const ratio = ours.time / raw.time;
  const faults = [
    ours.failure,
    // Where the raw client fails, there is nothing to compare with: then it counts that ours is complete.
    Number.isFinite(ratio) && ratio > factor && `took ${ratio.toFixed(2)} times as long`,
    ours.missing > 0 && `${ours.missing} missing`,
    ours.storedTwice > 0 && `${ours.storedTwice} stored twice`,
    ours.handedOverTwice > 0 && `${ours.handedOverTwice} handed over twice`,
    ours.losses > 0 && `${ours.losses} sessions lost`,
  ];
  return { ratio, faults: faults.filter((fault) => typeof fault === 'string') };
}

const took = ({ time, failure }: Outcome): string =>
  Number.isFinite(time) ? `${(time / 1000).toFixed(1)} s` : (failure ?? 'failed');
const both = (raw: number, ours: number): string => `${raw} / ${ours}`;

const HEADS = ['topology', 'work', 'Mbit/s', 'messages', 'raw', 'ours', 'ratio'];
const COUNTS = ['missing', 'stored twice', 'handed over twice', 'losses', 'suspicions'];

function row({ topology, work, rate, size, count, raw, ours, ratio, faults }: Result): string[] {
  return [
    topology,
    work,
    String(rate),
    `${count} x ${size / 1000} KB`,
    took(raw),
    took(ours),
    Number.isFinite(ratio) && ratio > 0 ? ratio.toFixed(2) : '–',
    both(raw.missing, ours.missing),
    both(raw.storedTwice, ours.storedTwice),
    both(raw.handedOverTwice, ours.handedOverTwice),
    both(raw.losses, ours.losses),
    String(ours.suspicions),
    faults.length === 0 ? 'good' : 'NOT GOOD',
  ];
}

const results: Result[] = [];
for (const topology of chosen(ALL_TOPOLOGIES)) {
  const { nodes, urls } = TOPOLOGIES[topology];
  for (const rate of rates) {
    // A fresh one each time: the stores of all cases together would be several GB. With the server's own Raft timings:
    // with fast ones large messages alone can cost a leader its office.
    await using cluster = await StanCluster.start(
      nodes === 1 ? { mode: 'single', store: 'memory', proxied: true } : { nodes, proxied: true, raft: 'default' },
    );
    makeThin(cluster, thinLine(rate, values.line === 'shared'));
    for (const size of sizes) {
      const count = Math.max(1, Math.round((seconds * rate * 125) / size));
      for (const work of chosen(ALL_WORKS)) {
        const which: Case = { work, rate, size: size * 1000, count };
        const { raw, ours } = await measure(cluster, cluster.urls.slice(0, urls), which);
        const result: Result = { topology, ...which, raw, ours, ...judge(raw, ours) };
        results.push(result);
        const { faults } = result;
        console.log(
          `${faults.length === 0 ? '✓' : '✗'} ${topology} ${work} ${count} x ${size} KB at ${rate} Mbit/s: ` +
            `raw ${took(raw)}, ours ${took(ours)}${faults.length === 0 ? '' : `: ${faults.join(', ')}`}`,
        );
      }
    }
  }
}

const paint = (_: unknown, text: string): string => text;
console.log();
console.log(columns([...HEADS, ...COUNTS, 'verdict'], results.map(row), paint).join('\n'));
console.log('counts with a slash: raw / ours');
if (values.json !== undefined) {
  await mkdir(dirname(values.json), { recursive: true });
  await writeFile(values.json, `${JSON.stringify({ factor, seconds, line: values.line, results }, undefined, 2)}\n`);
}
const bad = results.filter(({ faults }) => faults.length > 0).length;
console.log(bad === 0 ? `all ${results.length} cases are good` : `${bad} of ${results.length} cases are not good`);
process.exit(bad === 0 ? 0 : 1);
