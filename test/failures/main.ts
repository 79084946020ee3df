/**
 * `npm run failures`: makes one thing after the other fail, on real servers, and writes what a client logged, emitted and said
 * of its health into docs/failures.md. About three minutes. Not a part of `npm test`, which has a few of them
 * (test/examples/failures.test.ts).
 *
 *     npm run failures -- --only cluster-down,disk-full --print
 *
 * Options: `--only` (ids, see scenarios.ts), `--print` (to the terminal, and nothing is written).
 *
 * Exit code 0: each has come to its end. Exit code 1: not so. Exit code 2: wrong options.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { withRun } from './page.js';
import { Lab, SCENARIOS } from './scenarios.js';
import { asText } from './transcript.js';

const PAGE = new URL('../../docs/failures.md', import.meta.url);

const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, print: { type: 'boolean', default: false } },
});
const only = values.only.split(',').filter(Boolean);
const unknown = only.find((id) => !SCENARIOS.some((scenario) => scenario.id === id));
if (unknown !== undefined) {
  console.error(`--only takes ${SCENARIOS.map(({ id }) => id).join(', ')}, not '${unknown}'`);
  process.exit(2);
}

const lab = new Lab();
let failed = 0;
for (const scenario of SCENARIOS) {
  if (only.length > 0 && !only.includes(scenario.id)) continue;
  console.log(`\n${scenario.id}: ${scenario.title}`);
  try {
    const outcome = await scenario.run(lab);
    console.log(`${asText(outcome.lines)}\nstats: ${JSON.stringify(outcome.stats)}`);
    if (!values.print) await writeFile(PAGE, withRun(await readFile(PAGE, 'utf8'), scenario.id, outcome));
  } catch (error) {
    failed += 1;
    console.log(error);
  }
  await lab.tidy();
}
await lab.stop();
process.exitCode = failed > 0 ? 1 : 0;
