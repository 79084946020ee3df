/** Help, and docs/command-line.md, which has the help of every command. Pure: nothing is run. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import ts from 'typescript';
import { snippet } from '../../src/cli/cluster.js';
import { COMMANDS } from '../../src/cli/commands.js';
import { renderHelp, renderOverview } from '../../src/cli/help.js';
import { widthOf } from '../../src/cli/style.js';
import { table } from '../../src/cli/table.js';
import { definitions, wrap } from '../../src/cli/text.js';

const DOCUMENT = fileURLToPath(new URL('../../docs/command-line.md', import.meta.url));
const BEGIN = '<!-- The rest is the help of the commands: UPDATE=1 npx mocha test/cli/help.test.ts writes it. -->';

describe('the help', () => {
  for (const width of [40, 69, 79, 100]) {
    it(`fits into ${width} columns, but for a word or an example that is longer`, () => {
      for (const command of COMMANDS) {
        for (const line of renderHelp(command, width).split('\n')) {
          const isExample = command.examples?.some((example) => line === `  ${example.command}`);
          const isUsage = line.startsWith('Usage: ') || line.startsWith('  -') || line.startsWith('  <');
          if (widthOf(line) > width && !isExample && !isUsage) assert.equal(line.trim().includes(' '), false, line);
        }
      }
      for (const line of renderOverview(COMMANDS, width).split('\n')) {
        if (!line.startsWith('  ') && !line.startsWith('Usage: ')) assert.ok(widthOf(line) <= width, line);
      }
    });
  }

  it('examples fit into 79 columns', () => {
    for (const { examples = [] } of COMMANDS) {
      for (const { command } of examples) assert.ok(widthOf(command) <= 77, command);
    }
  });

  it('the program of cluster fits into 70 columns, and compiles', () => {
    const urls = ['nats://127.0.0.1:24222', 'nats://127.0.0.1:24223'];
    const lines = snippet(urls, 'test-cluster');
    for (const line of lines) assert.ok(widthOf(line) < 70, line);
    const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
    const { diagnostics } = ts.transpileModule(lines.join('\n'), {
      compilerOptions: options,
      reportDiagnostics: true,
    });
    assert.deepEqual(diagnostics, []);
  });

  it('names every option of a command, and every command', () => {
    for (const command of COMMANDS) {
      const help = renderHelp(command, 80);
      for (const option of Object.keys(command.options)) assert.ok(help.includes(`--${option}`), option);
      assert.ok(renderOverview(COMMANDS, 80).includes(`  ${command.name}`));
    }
  });

  it('every command that reaches servers names them and its credentials in the same way', () => {
    const shared = ['servers', 'cluster-id', 'config', 'user', 'pass', 'token', 'nkey', 'creds', 'tls', 'tls-ca'];
    for (const name of ['pub', 'sub', 'tail', 'doctor']) {
      const { options } = COMMANDS.find((command) => command.name === name)!;
      for (const option of shared) {
        assert.deepEqual(options[option], COMMANDS.find((command) => command.name === 'pub')!.options[option], option);
      }
    }
  });

  it('the table of settings in docs/command-line.md is complete', () => {
    const text = readFileSync(DOCUMENT, 'utf8');
    const rows = new Map(
      [...text.matchAll(/^\| `--([\w-]+)` +\|([^|]*)\|([^|]*)\|/gm)].map(([, name, variables, place]) => [
        name!,
        [...variables!.matchAll(/`(\w+)`/g), ...place!.matchAll(/`([\w.]+)`/g)].map(([, each]) => each!),
      ]),
    );
    const settings = new Map(
      COMMANDS.filter(({ name }) => name !== 'verify') // it takes its servers from the command line only
        .flatMap(({ options }) => Object.entries(options))
        .filter(([, { env }]) => env !== undefined)
        .map(([name, { env = [], file }]) => [name, [...env, ...(file === undefined ? [] : [file])]]),
    );
    assert.deepEqual(Object.fromEntries(rows), Object.fromEntries(settings));
  });

  it('is in docs/command-line.md as it is', () => {
    const text = readFileSync(DOCUMENT, 'utf8');
    const begin = text.indexOf(BEGIN);
    assert.notEqual(begin, -1);
    const sections = COMMANDS.map(
      (command) => `### ${command.name}\n\n\`\`\`text help\n${renderHelp(command, 100)}\n\`\`\`\n`,
    );
    const wanted = `${text.slice(0, begin)}${BEGIN}\n\n${sections.join('\n')}`;
    if (process.env['UPDATE'] !== undefined) writeFileSync(DOCUMENT, wanted);
    assert.equal(readFileSync(DOCUMENT, 'utf8'), wanted);
  });
});

describe('the layout of text', () => {
  const words = fc.array(fc.stringMatching(/^[a-zäß]{1,12}$/), { minLength: 1, maxLength: 40 });

  it('wrap loses nothing, cuts nothing, and keeps the width', () => {
    fc.assert(
      fc.property(words, fc.integer({ min: 12, max: 80 }), (all, width) => {
        const lines = wrap(all.join(' '), width);
        assert.equal(lines.join(' '), all.join(' '));
        for (const line of lines) assert.ok(widthOf(line) <= width);
      }),
    );
  });

  it('a list of terms keeps all words, and the width', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.stringMatching(/^[a-z-]{1,30}$/), words), { minLength: 1 }), (rows) => {
        const lines = definitions(
          rows.map(([term, text]) => [term, text.join(' ')]),
          70,
        );
        const found = lines.join(' ').split(' ').filter(Boolean);
        assert.deepEqual(
          found,
          rows.flatMap(([term, text]) => [term, ...text]),
        );
        for (const line of lines) assert.ok(widthOf(line) <= 70, line);
      }),
    );
  });

  it('a table that does not fit becomes a block for each row, with every cell whole', () => {
    const columns = [{ head: 'name' }, { head: 'count', right: true }, { head: 'clients' }];
    const rows = [
      ['a', '1', 'x'.repeat(60)],
      ['b', '22', 'y'],
    ];
    assert.deepEqual(table(columns, rows, 200), [
      `  name  count  clients`,
      `  a         1  ${'x'.repeat(60)}`,
      `  b        22  y`,
    ]);
    assert.deepEqual(table(columns, rows, 69), [
      '  a',
      '    count    1',
      `    clients  ${'x'.repeat(60)}`,
      '  b',
      '    count    22',
      '    clients  y',
    ]);
  });
});
