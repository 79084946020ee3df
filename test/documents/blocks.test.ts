/** How blocks are read, and how output is compared. Pure. */
import assert from 'node:assert/strict';
import { blocksOf, installedBy, packagesOf, programsOf } from './blocks.js';
import { expected, written } from './output.js';

const page = (...lines: string[]): string => lines.join('\n');
const faults = (...lines: string[]): string[] => blocksOf('p.md', page(...lines)).faults;

describe('the blocks of a page', () => {
  it('have a language, and only words that are known', () => {
    assert.match(faults('```', 'x', '```')[0]!, /^p\.md:1: a block needs a language/);
    assert.match(faults('', '```py', 'x', '```')[0]!, /^p\.md:2: 'py' is none of/);
    assert.match(faults('```ts kept', 'x', '```')[0]!, /'ts' has no word 'kept'/);
    assert.match(faults('```text', 'x', '```')[0]!, /a text says what it is/);
    assert.match(faults('# A', '', '    x = 1')[0]!, /p\.md:3: a block by indentation/);
    assert.deepEqual(faults('```text diagram', 'x', '```'), []);
  });

  it('are left out for one of a few reasons only', () => {
    assert.match(faults('```ts not-run=later', 'x', '```')[0]!, /'later' is no reason/);
    assert.match(faults('```diff', '-x', '```')[0]!, /nothing can run 'diff'/);
    assert.deepEqual(faults('```diff not-run=repository', '-x', '```'), []);
  });

  it('are found in lists as well, with their lines', () => {
    const { blocks } = blocksOf('p.md', page('1. First', '', '   ```sh', '   ls', '   ```'));
    assert.deepEqual([blocks[0]!.line, blocks[0]!.code], [3, 'ls\n']);
  });

  it('give their output to the program before them', () => {
    const { blocks } = blocksOf('p.md', page('```ts', 'x', '```', '```text output', 'one', '```'));
    assert.equal(blocks[0]!.output, 'one\n');
    assert.match(faults('```text output', 'one', '```')[0]!, /stands right behind/);
    assert.match(
      faults('```ts not-run=servers', 'x', '```', '```text output', 'one', '```')[0]!,
      /stands right behind/,
    );
  });

  it('continue the one of their language before them, which is then run with it only', () => {
    const { blocks } = blocksOf('p.md', page('```ts', 'a', '```', '```js', 'b', '```', '```ts continued', 'c', '```'));
    assert.deepEqual(
      programsOf(blocks).map(({ code, run, offset }) => [code, run, offset]),
      [
        ['a\n', false, 0],
        ['b\n', true, 0],
        ['a\n\nc\n', true, 2],
      ],
    );
    assert.match(faults('```ts continued', 'c', '```')[0]!, /no 'ts' before it/);
  });

  it('are files, which others may use', () => {
    const text = page(
      '```ts file=worker.ts',
      'a',
      '```',
      '```sh',
      'npx tsx worker.ts',
      '```',
      '```js',
      "require('a')",
      '```',
    );
    const [worker, cjs] = programsOf(blocksOf('p.md', text).blocks);
    assert.deepEqual([worker!.file, worker!.run], ['worker.ts', false]);
    assert.equal(cjs!.file, 'block-7.cjs');
  });

  it('say which packages they need, and which they install', () => {
    const code =
      "import a from '@a/b/c';\nimport 'd';\nimport fs from 'node:fs';\nconst e = require('e/f'); import './g.js'; // from 'h'";
    assert.deepEqual(packagesOf(code), ['@a/b', 'd', 'e']);
    const { blocks } = blocksOf('p.md', page('```sh', 'npm install -D @a/b@1 d   # both', 'npm i e && x', '```'));
    assert.deepEqual(installedBy(blocks), ['@a/b', 'd', 'e']);
  });
});

describe('the output of a page', () => {
  const fits = (said: string, text: string): boolean => expected(said).all.test(written(text));

  it('is compared line by line', () => {
    assert.ok(fits('one (1)\ntwo\n', 'one (1)\n\u001b[1mtwo\u001b[0m  \n'));
    assert.ok(!fits('one\n', 'one\ntwo\n'));
    assert.ok(!fits('one\ntwo\n', 'one\n'));
  });

  it('may leave out a part of a line, or lines', () => {
    assert.ok(fits('port …, and\n…\nend\n', 'port 4711, and\na\nb\nend\n'));
    for (const text of ['one', 'one\ntwo', 'one\ntwo\nthree']) assert.ok(fits('one\n…\n', text), text);
    assert.ok(fits('…\nend', 'a\nb\nend') && fits('…\nend', 'end'));
    assert.ok(!fits('a\n…\nend', 'aend'));
  });

  it('has a place where Ctrl-C is pressed', () => {
    const { before, all, interrupt } = expected('one\n^C\nbye\n');
    assert.ok(interrupt && before.test('one') && !before.test('one\nbye') && all.test('one\nbye'));
  });
});
