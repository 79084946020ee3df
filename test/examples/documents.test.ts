/** What pages say of the code is true: their tables are complete, and the places they name are there. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import * as library from '../../src/index.js';
import { resolveConnectOptions } from '../../src/options.js';
import { resolveSubscribeOptions } from '../../src/subscribing/subscribe-options.js';
import { FAULT_KINDS } from '../../src/testing/index.js';
import { PAGES, readPage, ROOT } from '../documents/pages.js';

/** Where the tables are that have to be complete. */
const OPTIONS = 'docs/reference/options.md';
const PUBLISHING = 'docs/reference/publishing.md';
const SUBSCRIPTIONS = 'docs/reference/subscriptions.md';
const EVENTS = 'docs/reference/events.md';
const HEALTH = 'docs/reference/health.md';
const ERRORS = 'docs/reference/errors.md';
const RECOVERY = 'docs/reference/recovery.md';
const read = readPage;

/** The first cells of the table below a heading row that begins like this; several names in one cell are several. */
function namesInTable(document: string, heading: string): string[] {
  const lines = read(document).split('\n');
  const start = lines.findIndex((line) => line.startsWith(heading));
  assert.notEqual(start, -1, `${document} has no table '${heading}'`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith('|'));
  return lines
    .slice(start + 2, end)
    .flatMap((line) => [...line.split('|')[1]!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
}

describe('the documents', function () {
  this.timeout(60_000);
  let program: ts.Program;
  let checker: ts.TypeChecker;

  before(() => {
    const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), (name) => ts.sys.readFile(name)) as {
      config: unknown;
    };
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
    program = ts.createProgram([join(ROOT, 'src/index.ts')], options);
    checker = program.getTypeChecker();
  });

  const membersOf = (file: string, name: string): string[] => {
    const source = program.getSourceFile(join(ROOT, file))!;
    const symbol = checker.getExportsOfModule(checker.getSymbolAtLocation(source)!).find((each) => each.name === name);
    assert.ok(symbol, `${file} exports no ${name}`);
    return checker
      .getDeclaredTypeOfSymbol(symbol)
      .getProperties()
      .map((property) => property.name);
  };

  it('name places in the code that are there', () => {
    const missing: string[] = [];
    let places = 0;
    for (const document of PAGES.filter((name) => /internals|architecture/.test(name))) {
      for (const line of read(document).split('\n')) {
        let file: string | undefined;
        // Right after a file stand places: names that it declares. In the words that follow, up to the next file, a name
        // has to occur in it.
        let end = 0;
        let isPlace = false;
        for (const match of line.matchAll(/`([^`]+)`/g)) {
          const code = match[1]!;
          const between = line.slice(end, match.index);
          end = match.index + match[0].length;
          if (/^((src|test|bench|examples)\/[^*]*|[\w.]+)\.(ts|mjs|js)$/.test(code)) {
            file = code;
            isPlace = true;
            places++;
            if (!existsSync(join(ROOT, file))) missing.push(`${document}: ${file}`);
            continue;
          }
          isPlace &&= /^(,| and|, and) $/.test(between);
          const name = /^(#?\w+(?:\.#?\w+)*)(?:\(\))?$/.exec(code)?.[1];
          if (file === undefined || name === undefined || !existsSync(join(ROOT, file))) continue;
          places++;
          const { declared, used } = namesIn(file);
          if (isPlace) {
            if (!declared.has(name)) missing.push(`${document}: ${file} declares no '${code}'`);
          } else if (!name.split('.').every((part) => used.has(part))) {
            missing.push(`${document}: ${file} has no '${code}'`);
          }
        }
      }
    }
    assert.deepEqual(missing, []);
    assert.ok(places > 200, `${places} places`);
  });

  it('list every option of connect, with its default', () => {
    const nested = (name: string, members: string[]): string[] => members.map((member) => `${name}.${member}`);
    const expected = membersOf('src/index.ts', 'ConnectOptions').flatMap((name) =>
      name === 'pings'
        ? nested(name, membersOf('src/index.ts', 'PingOptions'))
        : name === 'publishing'
          ? nested(name, membersOf('src/index.ts', 'PublishingOptions'))
          : [name],
    );
    const listed = namesInTable(OPTIONS, '| Option | Default | |');
    assert.deepEqual([...new Set(listed)].sort(), expected.sort());

    const defaults = resolveConnectOptions() as unknown as Record<string, unknown>;
    const cell = (name: string): string => {
      const row = read(OPTIONS)
        .split('\n')
        .find((line) => line.startsWith(`| \`${name}\` |`));
      return row!.split('|')[2]!.trim();
    };
    for (const name of [
      'connectTimeout',
      'clusterId',
      'clientIdConflict',
      'randomize',
      'initialConnect',
      'reconnect',
    ]) {
      assert.equal(cell(name), `\`${literal(defaults[name])}\``.replace(/^`(\d+)`$/, '$1'), name);
    }
    for (const group of ['pings', 'publishing']) {
      for (const [name, value] of Object.entries(defaults[group] as object)) {
        assert.equal(
          cell(`${group}.${name}`),
          typeof value === 'number' ? String(value) : `'${value}'`.replace(/.*/, '`$&`'),
        );
      }
    }
  });

  it('list every option of publish and subscribe', () => {
    const names = (page: string): string[] => namesInTable(page, '| Option | Default | |').sort();
    assert.deepEqual(names(PUBLISHING), membersOf('src/index.ts', 'PublishOptions').sort());
    assert.deepEqual(names(SUBSCRIPTIONS), membersOf('src/index.ts', 'SubscribeOptions').sort());
    const { maxInFlight, ackWait, concurrency, startAt } = resolveSubscribeOptions('c', () => {}, undefined, {
      clientIdGenerated: true,
      now: Date.now(),
    });
    for (const [name, value] of Object.entries({ maxInFlight, ackWait, concurrency, startAt })) {
      assert.match(
        read(SUBSCRIPTIONS),
        new RegExp(`\\| \`${name}\` \\| ${typeof value === 'number' ? value : `\`'${startAt as string}'\``} \\|`),
      );
    }
  });

  it('list every event and every counter', () => {
    assert.deepEqual(
      namesInTable(EVENTS, '| On the client').filter(isFirst).sort(),
      membersOf('src/events.ts', 'ResilientStanEvents').sort(),
    );
    assert.deepEqual(
      namesInTable(EVENTS, '| On a subscription').sort(),
      membersOf('src/subscribing/subscription.ts', 'SubscriptionEvents').sort(),
    );
    const counters = /`stan\.stats\(\)` counts \((.*?)\)/s.exec(read(HEALTH))![1]!;
    const listed = [...counters.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
    assert.deepEqual(listed.sort(), membersOf('src/resilient-stan.ts', 'StanStats').sort());
  });

  it('list every error, with its code', () => {
    const classes = Object.entries(library)
      .filter(([, value]) => typeof value === 'function' && value.prototype instanceof library.ResilientStanError)
      .map(([name]) => name);
    const listed = namesInTable(ERRORS, '| Class | `code` |');
    assert.deepEqual(listed.sort(), classes.sort());
    const source = read('src/errors.ts');
    for (const name of classes) {
      const code = new RegExp(`class ${name} .*?'(ERR_STAN_\\w+)'`, 's').exec(source)![1]!;
      assert.ok(read(ERRORS).includes(`| \`${name}\` | \`${code}\` |`), `${name} has code ${code}`);
    }
  });

  it('name every reason for a loss, and every kind of fault', () => {
    const reasons = [.../export type LossReason =(.*?);/s.exec(read('src/errors.ts'))![1]!.matchAll(/'(\w+)'/g)];
    assert.ok(reasons.length > 3);
    for (const [, reason] of reasons) assert.ok(read(RECOVERY).includes(`\`${reason}\``), reason);
    assert.deepEqual(namesInTable(join('docs', 'testing.md'), '| Kind |').sort(), [...FAULT_KINDS].sort());
  });
});

interface Names {
  /** Classes, functions, types, members and constants. A member is there as `member`, and as `Owner.member`. */
  declared: ReadonlySet<string>;
  /** All words, in comments as well. */
  used: ReadonlySet<string>;
}

const known = new Map<string, Names>();

function namesIn(file: string): Names {
  const found = known.get(file);
  if (found !== undefined) return found;
  const declared = new Set<string>();
  const visit = (node: ts.Node, owner: string | undefined): void => {
    const name = declaredName(node);
    if (name !== undefined) {
      declared.add(name);
      if (owner !== undefined) declared.add(`${owner}.${name}`);
    }
    const inside = ts.isConstructorDeclaration(node) ? owner : (name ?? owner);
    ts.forEachChild(node, (child) => visit(child, inside));
  };
  const text = read(file);
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true), undefined);
  const names = { declared, used: new Set(text.match(/#?\w+/g)) };
  known.set(file, names);
  return names;
}

function declaredName(node: ts.Node): string | undefined {
  if (ts.isConstructorDeclaration(node)) return 'constructor';
  const declares =
    ts.isClassLike(node) ||
    ts.isFunctionLike(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isVariableDeclaration(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isPropertySignature(node) ||
    ts.isPropertyAssignment(node) ||
    (ts.isParameter(node) && ts.isParameterPropertyDeclaration(node, node.parent));
  if (!declares || node.name === undefined) return undefined;
  return ts.isIdentifier(node.name) || ts.isPrivateIdentifier(node.name) ? node.name.text : undefined;
}

const isFirst = (name: string, index: number, names: string[]): boolean => names.indexOf(name) === index;

/** A default as it stands on its page. */
function literal(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value !== 'object' || value === null) return String(value);
  return `{ ${Object.entries(value)
    .map(([name, each]) => `${name}: ${literal(each)}`)
    .join(', ')} }`;
}
