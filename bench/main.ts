/** `npm run bench`: measures this library beside the raw client, in one run. See docs/performance.md. */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { CASES } from './cases.js';
import { progressLine, table } from './report.js';
import { runCase, type CaseResult } from './run-case.js';

const USAGE = `npm run bench -- [options]
  --only TEXT     only the cases whose name contains TEXT (repeatable)
  --rounds N      rounds of each contestant in a case (default 10)
  --seconds S     length of a round, about (default 0.5)
  --json FILE     where the figures go (default reports/bench.json)
  --profiles DIR  leave a CPU profile of each process there
  --list          the names of the cases`;

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '0.5' },
    json: { type: 'string', default: 'reports/bench.json' },
    profiles: { type: 'string' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const { only } = values;
const cases = CASES.filter(({ name }) => !only || only.some((text) => name.includes(text)));
if (values.help) {
  console.log(USAGE);
} else if (values.list) {
  console.log(cases.map(({ name }) => name).join('\n'));
} else {
  await main();
}

async function main(): Promise<void> {
  const effort = { rounds: Number(values.rounds), seconds: Number(values.seconds), profiles: values.profiles };
  const progress = progressLine(process.stderr);
  const results: CaseResult[] = [];
  const startedAt = new Date();
  for (const [i, benchCase] of cases.entries()) {
    const what = `[${i + 1}/${cases.length}] ${benchCase.name}`;
    progress(what, '…');
    results.push(await runCase(benchCase, effort, (detail) => progress(what, detail)));
  }
  progress('');
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, node: process.version, load: loadavg() };
  console.log(table(results));
  await mkdir(dirname(values.json), { recursive: true });
  await writeFile(values.json, `${JSON.stringify({ startedAt, machine, effort, results }, undefined, 2)}\n`);
  console.log(`\nFigures in ${values.json}. ${machine.cpus} CPUs (${machine.model}), Node ${machine.node}.`);
}
