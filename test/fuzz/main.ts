/**
 * The long fuzz: `npm run fuzz -- --count 100000 --seed 1`. A failing case is run alone, with its log, by
 * `npm run fuzz -- --seed 1 --case 4711`. Exit code 1 when something failed.
 */
import { parseArgs } from 'node:util';
import { Peer } from '../support/peer.js';
import { describePlan, plan, runCase } from './case.js';
import { fuzz } from './run.js';

/** MB that the heap may grow by between the first tenth of a run and its end. */
const GROWTH = 30;

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    lanes: { type: 'string', default: '16' },
    case: { type: 'string' },
  },
});
const seed = Number(values.seed);

if (values.case !== undefined) {
  const number = Number(values.case);
  console.log(`case ${number} of seed ${seed}: ${describePlan(plan(seed, number))}`);
  await using good = await Peer.listen();
  console.log(`the good server is ${good.url}`);
  console.log(await runCase(good, seed, number, console));
} else {
  const count = Number(values.count);
  console.log(`seed ${seed}, ${count} cases`);
  let shown = 0;
  const result = await fuzz({
    seed,
    first: 0,
    count,
    lanes: Number(values.lanes),
    onProgress: (done, { failures, losses, left }) => {
      for (; shown < failures.length; shown++) {
        const { number, what } = failures[shown]!;
        console.log(`FAILED: case ${number}: ${what}`);
      }
      if (done % 2000 === 0) console.log(`${done} cases, ${losses} sessions lost, ${left} left the liar`);
    },
  });
  console.log(JSON.stringify({ ...result, failures: result.failures.length }));
  const growth = result.heap.late - result.heap.early;
  if (growth > GROWTH) console.log(`FAILED: the heap has grown by ${growth.toFixed(1)} MB`);
  for (const { number } of result.failures.slice(0, 20)) {
    if (!Number.isNaN(number)) console.log(`npm run fuzz -- --seed ${seed} --case ${number}`);
  }
  process.exitCode = result.failures.length > 0 || growth > GROWTH ? 1 : 0;
}
