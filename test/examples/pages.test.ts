/** The pages of recipes and frameworks show the examples that the tests run, and each example is on a page. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/copied.js';

interface ExamplesInPages {
  PAGES: string[];
  EXAMPLES: string[];
  withExamples(page: string): { text: string; examples: string[] };
}

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

describe('the examples', () => {
  let pages: ExamplesInPages;

  before(async () => {
    pages = (await import(join(ROOT, 'scripts/examples-in-pages.mjs'))) as ExamplesInPages;
  });

  it('are on their pages as they are (if not: node scripts/examples-in-pages.mjs)', () => {
    assert.ok(pages.PAGES.length >= 14);
    for (const page of pages.PAGES) assert.equal(read(page), pages.withExamples(page).text, page);
  });

  it('are on one page each', () => {
    const shown = pages.PAGES.flatMap((page) => pages.withExamples(page).examples);
    assert.deepEqual([...shown].sort(), [...pages.EXAMPLES].sort());
  });

  it('can be copied alone: what they import is of Node, or a package, or beside them in a folder of its own', () => {
    for (const example of pages.EXAMPLES) {
      const local = [...read(example).matchAll(/\b(?:from |require\(|import\()'(\.[^']*)'/g)].map(([, name]) => name!);
      for (const name of local)
        assert.ok(/^examples\/deploy\//.test(example) && name.startsWith('./'), `${example}: ${name}`);
    }
  });

  it('are all listed in examples/README.md', () => {
    const list = read('examples/README.md');
    const links = new Set([...list.matchAll(/\]\(([^)#]+?)\/?\)/g)].map(([, target]) => target!));
    const all = readdirSync(join(ROOT, 'examples'), { withFileTypes: true }).flatMap((entry) =>
      ['recipes', 'frameworks'].includes(entry.name)
        ? readdirSync(join(ROOT, 'examples', entry.name)).map((name) => `${entry.name}/${name}`)
        : [entry.name],
    );
    for (const name of all) if (name !== 'README.md') assert.ok(links.has(name), `${name} is not listed`);
  });
});
