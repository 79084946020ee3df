/** The pages that people read: all of them are in the package, and so is what they link to. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** By their paths from the root, with `/`. What `npm run docs` makes is left out. */
export const PAGES: readonly string[] = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...[...under('docs'), ...under('examples')].filter(
    (name) => name.endsWith('.md') && !name.startsWith('docs/api/') && !name.includes('/node_modules/'),
  ),
].sort();

export const readPage = (page: string): string => readFileSync(join(ROOT, page), 'utf8');

function under(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true }).map(
    (name) => `${folder}/${String(name).replaceAll('\\', '/')}`,
  );
}
