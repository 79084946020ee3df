/**
 * `npm run endurance`: a client in a long outage, or through one loss after the other, and what that costs in memory. Not a part
 * of `npm test`, which has a short run of both (test/server/outage-memory.test.ts).
 *
 *     npm run endurance -- --attempts 50000      the only server is gone, and each attempt to reach it fails
 *     npm run endurance -- --reconnects 20000    each connection is reset as soon as the client is up
 *
 * Both by default. Exit code 0: the heap was flat, and nothing was left over. Exit code 1: not so.
 */
import { parseArgs } from 'node:util';
import { endure, type Mode } from './endure.js';
import { leftOvers } from './verdict.js';
import { slope } from './slope.js';

const { values } = parseArgs({ options: { attempts: { type: 'string' }, reconnects: { type: 'string' } } });
const neither = values.attempts === undefined && values.reconnects === undefined;
const wanted: Partial<Record<Mode, string>> = neither ? { attempts: '50000', reconnects: '20000' } : values;

let good = true;
for (const mode of ['attempts', 'reconnects'] as const) {
  if (wanted[mode] === undefined) continue;
  const count = Number(wanted[mode]);
  if (!Number.isInteger(count) || count < 40) {
    console.error(`--${mode} is a whole number from 40 on, not '${wanted[mode]}'`);
    process.exit(2);
  }
  const began = performance.now();
  const endured = await endure(mode, count);
  const wrong = leftOvers(mode, count, endured);
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `${wrong.length === 0 ? '✓' : '✗'} ${count} ${mode} in ${seconds.toFixed(0)} s: ` +
      `${slope(endured.samples).toFixed(1)} bytes each`,
  );
  for (const { at, heap } of endured.samples.filter((_, i) => i % 4 === 3)) {
    console.log(`    after ${String(at).padStart(6)}: ${(heap / 1e6).toFixed(2)} MB`);
  }
  for (const sentence of wrong) console.log(`    ${sentence}`);
  good &&= wrong.length === 0;
}
process.exit(good ? 0 : 1);
