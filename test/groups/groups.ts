/**
 * `npm run groups`: what a queue group is handed again, and what it misses, when its members lose their sessions. Faults × kinds
 * of groups, on a real cluster of three, with the default `ackWait` of 30 s. All kinds go through a fault together; about 45 s
 * for each fault and round. Not a part of `npm test`.
 *
 *     npm run groups -- --rounds 3 --only reset,leader-killed,durable-one --logs reports/groups
 *
 * Options: `--rounds` (3; 0: no run, only the table of `--from`), `--from` (files of `--json`, whose figures are counted in), `--only` (ids of faults and kinds, see matrix.ts), `--rate` (messages a second, 200), `--warm-up` (for
 * how many seconds messages come before the fault, 35: more than `ackWait`, so that all that could be repeated is there), `--json`
 * (a file), `--logs` (a directory: what the clients of a group said that was handed more than a second of traffic again, or
 * misses something), `--raft` (heartbeat and election timeout of the servers in ms, 500).
 *
 * Exit code 0: nothing is missing that was promised. Exit code 1: something is. Exit code 2: wrong options.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { StanCluster } from '../../src/testing/index.js';
import { FAULTS, KINDS, type Fault } from './matrix.js';
import { asMarkdown, asText, brokenBy, cellsOf } from './table.js';
import { Trial, type GroupOutcome } from './trial.js';

function usage(message: string): never {
  console.error(message);
  process.exit(2);
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    rate: { type: 'string', default: '200' },
    'warm-up': { type: 'string', default: '35' },
    raft: { type: 'string', default: '500' },
    from: { type: 'string', default: '' },
    json: { type: 'string' },
    logs: { type: 'string' },
  },
});

function positive(name: 'rounds' | 'rate' | 'warm-up' | 'raft'): number {
  const value = Number(values[name]);
  return value > 0 && Number.isFinite(value) ? value : usage(`--${name} is a number above 0, not '${values[name]}'`);
}

const rounds = values.rounds === '0' ? 0 : positive('rounds');
const rate = positive('rate');
const warmUp = positive('warm-up') * 1000;
const raft = positive('raft');
const only = values.only.split(',').filter(Boolean);
const ids = [...FAULTS, ...KINDS].map(({ id }) => id);
const unknown = only.find((word) => !ids.includes(word));
if (unknown !== undefined) usage(`--only takes ${ids.join(', ')}, not '${unknown}'`);
const chosen = <T extends { id: string }>(all: readonly T[]): readonly T[] => {
  const named = all.filter(({ id }) => only.includes(id));
  return named.length > 0 ? named : all;
};
const faults = chosen(FAULTS);
const kinds = chosen(KINDS);

/** More than about a second of traffic came again, or something did not come at all. */
const worthALook = ({ repeated, missing }: GroupOutcome): boolean => repeated > rate || missing > 0;

const outcomes: GroupOutcome[] = [];
let trials = 0;

interface Figures {
  rate: number;
  outcomes: (Omit<GroupOutcome, 'fault' | 'kind' | 'log'> & { fault: string; kind: string })[];
}
for (const file of values.from.split(',').filter(Boolean)) {
  const earlier = JSON.parse(await readFile(file, 'utf8')) as Figures;
  if (earlier.rate !== rate) usage(`--from ${file} has another rate, ${earlier.rate}: say --rate ${earlier.rate}`);
  for (const { fault, kind, ...rest } of earlier.outcomes) {
    const [itsFault, itsKind] = [FAULTS.find(({ id }) => id === fault), KINDS.find(({ id }) => id === kind)];
    if (itsFault === undefined || itsKind === undefined) usage(`--from ${file} has an unknown fault or kind`);
    outcomes.push({ ...rest, fault: itsFault, kind: itsKind, log: [] });
  }
}

async function report(finished: readonly GroupOutcome[]): Promise<void> {
  trials++;
  outcomes.push(...finished);
  for (const outcome of finished) {
    const { fault, kind, repeated, reach, missing, silence, dropped, losses, suspicions } = outcome;
    console.log(
      `${brokenBy(outcome) === 0 ? '✓' : '✗'} ${fault.id}, ${kind.id}: ${repeated} repeated, back to ` +
        `${(reach / 1000).toFixed(2)} s; ${missing} missing, ${dropped} dropped; silent for ${(silence / 1000).toFixed(2)} s, ` +
        `${losses} losses, ${suspicions} suspicions`,
    );
    if (values.logs === undefined || !worthALook(outcome)) continue;
    await mkdir(values.logs, { recursive: true });
    await writeFile(join(values.logs, `${trials}-${fault.id}-${kind.id}.log`), `${outcome.log.join('\n')}\n`);
  }
}

/** The next trial warms up while it is seen whether anything comes late to the one before. */
async function run(cluster: StanCluster, plan: readonly Fault[]): Promise<void> {
  let finishing: Promise<void> = Promise.resolve();
  for (const fault of plan) {
    const fitting = kinds.filter(({ clients }) => !fault.needsTwo || clients.length > 1);
    if (fitting.length === 0) continue;
    for (let struck = false; !struck;) {
      const trial = await Trial.begin(cluster, fault, fitting, rate);
      await Promise.all([finishing, sleep(warmUp)]);
      struck = await trial.strike();
      if (!struck) console.log(`  ${fault.id}: another node leads, or somebody moved, before the fault; once more`);
      finishing = struck
        ? trial
            .finish()
            .then(report)
            .finally(() => trial.end())
        : trial.end();
    }
  }
  await finishing;
}

if (rounds > 0) {
  await using cluster = await StanCluster.start({
    nodes: 3,
    raft: { heartbeat: raft, election: raft, lease: raft / 2, commit: 50 },
  });
  const plan = Array.from({ length: rounds }, () => faults).flat();
  await run(cluster, plan);
}

const cells = cellsOf(outcomes);
console.log(`\n${asText(cells, rate)}\n\n${asMarkdown(cells, rate)}\n`);
if (values.json !== undefined) {
  await mkdir(dirname(values.json), { recursive: true });
  const figures: Figures = {
    rate,
    outcomes: outcomes.map(({ fault, kind, log: _, ...rest }) => ({ ...rest, fault: fault.id, kind: kind.id })),
  };
  await writeFile(values.json, `${JSON.stringify(figures, undefined, 2)}\n`);
}
const broken = outcomes.reduce((sum, outcome) => sum + brokenBy(outcome), 0);
const excused = outcomes.reduce((sum, { missing }) => sum + missing, 0) - broken;
if (excused > 0) console.log(`${excused} messages are missing that are not promised: see docs/groups.md`);
console.log(broken === 0 ? 'nothing is missing that was promised' : `${broken} messages are missing`);
process.exit(broken === 0 ? 0 : 1);
