/**
 * `npm run matrix`: the packed package in everything that loads it: versions of Node, Bun, Deno, TypeScript, test runners,
 * bundlers, package managers, at the versions of versions.ts. In each it connects to a real cluster, publishes, and its leader
 * is killed. Installs a gigabyte, one after the other. Not a part of `npm test`, but for a few cases.
 *
 *     npm run matrix -- --only bun,jest-30/require,ts-
 *
 * Options: `--only` (the beginnings of what is to be run; default: all), `--list` (only says what there is).
 *
 * Exit code 0: all of it works. 1: something does not. 2: wrong options.
 */
import { parseArgs } from 'node:util';
import { GROUPS } from './cases.js';
import { runMatrix, type Outcome } from './run.js';

const { values } = parseArgs({ options: { only: { type: 'string', default: '' }, list: { type: 'boolean' } } });
const only = values.only.split(',').filter(Boolean);
const ids = GROUPS.flatMap(({ id, cases }) => Object.keys(cases).map((name) => `${id}/${name}`));
const unknown = only.find((start) => !ids.some((id) => id.startsWith(start)));
if (unknown !== undefined) {
  console.error(`--only: nothing begins with '${unknown}'. There is:\n  ${ids.join('\n  ')}`);
  process.exit(2);
}
if (values.list) {
  console.log(ids.join('\n'));
  process.exit(0);
}

const outcomes: Outcome[] = [];
const began = performance.now();
await runMatrix(
  GROUPS,
  (outcome) => {
    outcomes.push(outcome);
    const at = `${Math.round((performance.now() - began) / 1000)} s`.padStart(7);
    console.log(`${at}  ${outcome.error ? 'FAILED' : 'works '}  ${outcome.id}`);
    if (outcome.error) console.log(outcome.error.message.replace(/^/gm, '    '));
  },
  (id) => only.length === 0 || only.some((start) => id.startsWith(start)),
);
const failed = outcomes.filter(({ error }) => error);
console.log(
  `${outcomes.length - failed.length} work, ${failed.length} do not${failed.map(({ id }) => `\n  ${id}`).join('')}`,
);
process.exitCode = failed.length > 0 ? 1 : 0;
