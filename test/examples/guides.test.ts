/** The guides are whole: each has its place, each promise its test, each error code and each failure its lines. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { runOf } from '../failures/page.js';
import { SCENARIOS } from '../failures/scenarios.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');
/** The pages below a folder, also those in its folders. */
const pagesIn = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((name) => name.endsWith('.md') && !name.startsWith(join('docs', 'api')));
const PAGES = pagesIn('docs');
const site = JSON.parse(read('typedoc.json')) as { projectDocuments: string[]; categoryOrder: string[] };

interface Matter {
  title?: string;
  category?: string;
  children?: string[];
}

function matterOf(page: string): Matter {
  const [, yaml] = /^---\n(.*?)\n---\n/s.exec(read(page)) ?? [];
  return yaml === undefined ? {} : (parse(yaml) as Matter);
}

/** The codes in the first cells of a table. */
function firstCells(page: string, heading: string): string[] {
  const lines = read(page).split('\n');
  const start = lines.findIndex((line) => line.startsWith(heading));
  assert.notEqual(start, -1, `${page} has no table '${heading}'`);
  const rows = lines.slice(start + 2);
  const end = rows.findIndex((line) => !line.startsWith('|'));
  return rows.slice(0, end).map((line) => /`([^`]+)`/.exec(line.split('|')[1]!)![1]!);
}

/** The texts of a union of strings in `src/errors.ts`. */
function membersOf(type: string): string[] {
  const text = new RegExp(`export type ${type} =(.*?);`, 's').exec(read('src/errors.ts'))![1]!;
  return [...text.matchAll(/'(\w+)'/g)].map(([, name]) => name!);
}

describe('the guides', () => {
  it('have a title and a category that the site knows', () => {
    for (const page of PAGES) {
      const { title, category } = matterOf(page);
      assert.ok(title, `${page} needs a frontmatter with a title`);
      assert.ok(category !== undefined && site.categoryOrder.includes(category), `${page}: category '${category}'`);
    }
  });

  it('are all in the site, once', () => {
    const listed = site.projectDocuments.flatMap((pattern) => {
      if (basename(pattern) !== '*.md') return [pattern];
      return pagesIn(dirname(pattern)).filter((page) => dirname(page) === dirname(pattern));
    });
    const all = listed.flatMap((page) => [
      page,
      ...(matterOf(page).children ?? []).map((child) => relative(ROOT, join(ROOT, dirname(page), child))),
    ]);
    assert.deepEqual(all.filter((page) => page.startsWith('docs')).sort(), [...PAGES].sort());
  });

  it('are all in their index', () => {
    const index = read('docs/README.md');
    const children = PAGES.flatMap((page) =>
      (matterOf(page).children ?? []).map((child) => relative(ROOT, join(ROOT, dirname(page), child))),
    );
    for (const page of PAGES) {
      if (page === join('docs', 'README.md') || children.includes(page)) continue;
      assert.ok(index.includes(`](${relative('docs', page)})`), `docs/README.md has no link to ${page}`);
    }
  });
});

describe('guarantees', () => {
  it('name for each promise a test that is there', () => {
    const rows = read('docs/guarantees.md')
      .split('\n')
      .filter((line) => line.startsWith('| ') && !/^\| (---|Promise) /.test(line));
    assert.ok(rows.length > 20, `${rows.length} promises`);
    for (const row of rows) {
      const [, file, titles] = /\| `(test\/[^`]+)`: (.*) \|$/.exec(row) ?? assert.fail(`no test: ${row}`);
      assert.ok(existsSync(join(ROOT, file!)), `${file} is not there`);
      const source = read(file!);
      for (const [, title] of titles!.matchAll(/_([^_]+)_/g)) {
        assert.ok(source.includes(`it('${title}'`), `${file} has no test '${title}'`);
      }
    }
  });
});

describe('troubleshooting', () => {
  it('has every error code, and no other', () => {
    const codes = membersOf('ErrorCode');
    assert.ok(codes.length > 10);
    assert.deepEqual(firstCells('docs/troubleshooting.md', '| Code |').sort(), codes.sort());
  });

  it('has every reason for a loss, and no other', () => {
    assert.deepEqual(firstCells('docs/troubleshooting.md', '| `reason` |').sort(), membersOf('LossReason').sort());
  });
});

describe('failures', () => {
  it('has a run of every scenario below its title, and a line in the table that leads to it', () => {
    const page = read('docs/failures.md');
    for (const { id, title } of SCENARIOS) {
      assert.ok(page.includes(`## ${title}\n`), `no heading '${title}'`);
      assert.match(runOf(page, id) ?? '', /^```text measured\n.* s {2}.*\n```$/s, `no run of '${id}'`);
      const anchor = title.toLowerCase().replace(/[^\w\- ]/g, '');
      assert.ok(page.includes(`](#${anchor.replaceAll(' ', '-')}) |`), `no line in the table for '${title}'`);
    }
  });
});
