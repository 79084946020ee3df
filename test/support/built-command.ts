/**
 * The command as it is built: it starts sooner than its source. `npm test` builds `dist` as well, but the test of the package
 * builds it again meanwhile, so this is a bundle of its own, made when the sources have changed.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleInto } from '../../scripts/bundle.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** It is inside the repository, so that the dependencies are found. */
const CACHE = join(ROOT, '.cache', 'command');

/** What the bundle is made of, as one text that is another when a file has changed. */
async function stateOfSources(): Promise<string> {
  const hash = createHash('sha256');
  const sources = await readdir(join(ROOT, 'src'), { recursive: true });
  const scripts = ['package.json', 'scripts/bundle.mjs', 'scripts/entries.mjs'];
  for (const name of [...sources.sort().map((source) => join('src', source)), ...scripts]) {
    const { size, mtimeMs } = await stat(join(ROOT, name));
    hash.update(`${name} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex').slice(0, 16);
}

async function build(): Promise<string> {
  const dir = join(CACHE, await stateOfSources());
  if (existsSync(dir)) return dir;
  await mkdir(CACHE, { recursive: true });
  const made = await mkdtemp(join(CACHE, 'new-'));
  await bundleInto(made);
  await writeFile(join(made, 'package.json'), '{ "type": "commonjs" }\n');
  // Another process may have been quicker.
  await rename(made, dir).catch(() => rm(made, { recursive: true, force: true }));
  const yesterday = Date.now() - 24 * 3600 * 1000;
  for (const old of await readdir(CACHE)) {
    const path = join(CACHE, old);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Infinity }));
    if (path !== dir && mtimeMs < yesterday) await rm(path, { recursive: true, force: true });
  }
  return dir;
}

/** Path of the command, a program for Node. */
export const COMMAND = join(await build(), 'cli.js');
