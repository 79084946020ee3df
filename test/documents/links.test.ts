/** The links and pictures of all pages lead somewhere: here, and in the packed package. Nothing is fetched. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import MarkdownIt, { type Token } from 'markdown-it';
import { PAGES, readPage, ROOT } from './pages.js';

const parser = new MarkdownIt({ html: true });

/** As GitHub names the headings of a page; a name that is there already gets a number. */
function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>();
  const tokens = parser.parse(markdown, {});
  for (const [index, { type }] of tokens.entries()) {
    if (type !== 'heading_open') continue;
    const text = (tokens[index + 1]!.children ?? []).map(({ content }) => content).join('');
    const bare = text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\-_ ]/gu, '')
      .replaceAll(' ', '-');
    let anchor = bare;
    for (let count = 1; anchors.has(anchor); count++) anchor = `${bare}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

function targetsOf(markdown: string): string[] {
  const inside = (token: Token): Token[] => [token, ...(token.children ?? []).flatMap(inside)];
  return parser
    .parse(markdown, {})
    .flatMap(inside)
    .flatMap((token) => token.attrGet('href') ?? token.attrGet('src') ?? [])
    .map((target) => decodeURI(target));
}

interface Link {
  page: string;
  target: string;
  file: string;
  anchor: string | undefined;
}

const links: Link[] = PAGES.flatMap((page) =>
  targetsOf(readPage(page))
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path, anchor] = target.split('#') as [string, string?];
      return { page, target, file: path === '' ? page : posix.join(posix.dirname(page), path), anchor };
    }),
);

describe('the links of the pages', () => {
  it('lead to files that are there, below the root', () => {
    assert.ok(links.length > 100);
    const dead = links.filter(({ file }) => file.startsWith('..') || !existsSync(join(ROOT, file)));
    assert.deepEqual(dead.map(describeLink), []);
  });

  it('lead to headings that are there', () => {
    const anchors = new Map(PAGES.map((page) => [page, anchorsOf(readPage(page))]));
    const dead = links.filter(({ file, anchor }) => anchor !== undefined && anchors.get(file)?.has(anchor) !== true);
    assert.deepEqual(dead.map(describeLink), []);
  });

  it('use https for what is elsewhere', () => {
    const wrong = PAGES.flatMap((page) =>
      targetsOf(readPage(page))
        .filter((target) => /^(?!https:|mailto:)[a-z]+:/.test(target))
        .map((target) => `${page}: ${target}`),
    );
    assert.deepEqual(wrong, []);
  });

  it('of pages that are in the package lead to what is in the package', () => {
    const { files } = (
      JSON.parse(
        execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, encoding: 'utf8' }),
      ) as { files: { path: string }[] }[]
    )[0]!;
    const packed = new Set(files.map(({ path }) => path));
    const has = (file: string): boolean =>
      packed.has(file) ||
      (statSync(join(ROOT, file)).isDirectory() && [...packed].some((each) => each.startsWith(`${file}/`)));
    const left = PAGES.filter((page) => !packed.has(page));
    assert.deepEqual(left, []);
    assert.deepEqual(links.filter(({ file }) => existsSync(join(ROOT, file)) && !has(file)).map(describeLink), []);
  });
});

const describeLink = ({ page, target }: Link): string => `${page}: ${target}`;
