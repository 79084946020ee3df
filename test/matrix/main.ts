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
import { Matrix } from './matrix.js';

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

const wanted = (id: string): boolean => only.length === 0 || only.some((start) => id.startsWith(start));
const began = performance.now();
const failed: string[] = [];
let works = 0;

function tell(id: string, error?: Error): void {
  if (error) failed.push(id);
  else works += 1;
  const at = `${Math.round((performance.now() - began) / 1000)} s`.padStart(7);
  console.log(`${at}  ${error ? 'FAILED' : 'works '}  ${id}`);
  if (error) console.log(error.message.replace(/^/gm, '    '));
}

const matrix = await Matrix.start();
try {
  for (const group of GROUPS) {
    const names = Object.keys(group.cases).filter((name) => wanted(`${group.id}/${name}`));
    if (names.length === 0) continue;
    const project = await matrix.install(group).catch((error: Error) => error);
    for (const name of names) {
      const error =
        project instanceof Error ? project : await matrix.run(group, name, project).catch((error: Error) => error);
      tell(`${group.id}/${name}`, error ?? undefined);
    }
    await matrix.clear(group);
  }
} finally {
  await matrix.stop();
}
console.log(`${works} work, ${failed.length} do not${failed.map((id) => `\n  ${id}`).join('')}`);
process.exitCode = failed.length > 0 ? 1 : 0;
