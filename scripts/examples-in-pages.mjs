/**
 * The recipes and frameworks show their examples whole: `node scripts/examples-in-pages.mjs` writes each example, without the comment
 * at its top, into the block of its page that has its name (```ts file=worker.ts). A test fails when a page is not as this writes it.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(join(ROOT, path), 'utf8');
const list = (folder) => readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`);

/** The pages, and the examples that they show. */
export const PAGES = ['docs/recipes', 'docs/frameworks'].flatMap(list).filter((name) => name.endsWith('.md'));
export const EXAMPLES = ['examples/recipes', 'examples/frameworks', 'examples/deploy', 'examples/frameworks/node-red']
  .flatMap(list)
  .filter((name) => /\.(m?[jt]s|yaml|json)$|\/Dockerfile$/.test(name));

/** What a page shows of an example: what the comment at its top says, the page says in its own words. */
const shown = (example) => read(example).replace(/^\/\*\*.*?\*\/\n/s, '');

/** A page as it should be, and the examples on it. */
export function withExamples(page) {
  const examples = [];
  const text = read(page).replace(
    /^(```(?:(\w+) file=(\S+)|(dockerfile))[^\n]*\n)(.*?)^```$/gms,
    (all, open, _language, file, dockerfile) => {
      const name = dockerfile === undefined ? file : 'Dockerfile';
      const found = EXAMPLES.filter((example) => basename(example) === name);
      // There are two of the name package.json.
      const example = found.find((each) => each.includes(basename(page, '.md'))) ?? found[0];
      if (example === undefined) return all;
      examples.push(example);
      return `${open}${shown(example)}\`\`\``;
    },
  );
  return { text, examples };
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  for (const page of PAGES) writeFileSync(join(ROOT, page), withExamples(page).text);
}
