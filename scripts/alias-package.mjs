/**
 * Makes the package that stands in for node-nats-streaming, so that programs, and what they depend on, need no change at all:
 *
 *     npm run build && node scripts/alias-package.mjs [directory]
 *
 * Its root is `resilient-stan/stan`. It stands on its own: everything it needs of this library is in it, and the original is
 * installed below it under another name, so that an override of `node-nats-streaming` does not reach that.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const NAME = 'resilient-stan-as-node-nats-streaming';
/** What the original is called below it. */
const ENGINE = 'stan-engine';
/** What is of no use to a program that publishes and subscribes. */
const LEFT_OUT = /[/\\]types[/\\](testing|cli)([/\\]|$)/;

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist');

/** The names of a file of `dist` and of all that it loads of there. */
function filesOf(first) {
  const files = new Set([first]);
  // A set is gone through with what is added meanwhile.
  for (const file of files) {
    for (const [, next] of readFileSync(join(DIST, file), 'utf8').matchAll(/\brequire\("\.\/([^"]+)"\)/g))
      files.add(next);
  }
  return [...files];
}

/** @returns {Promise<string>} the directory */
export async function makeAliasPackage(directory = join(ROOT, '.cache', 'alias')) {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const { 'node-nats-streaming': engine, ...dependencies } = manifest.dependencies;
  const files = filesOf('stan.js');

  rmSync(directory, { recursive: true, force: true });
  mkdirSync(join(directory, 'dist'), { recursive: true });
  let renamed = false;
  for (const file of files) {
    const source = readFileSync(join(DIST, file), 'utf8');
    const text = source.replaceAll(/(\brequire\(")node-nats-streaming(?=["/])/g, `$1${ENGINE}`);
    renamed ||= text !== source;
    writeFileSync(join(directory, 'dist', file), text);
  }
  if (!renamed) throw new Error(`none of ${files.join(', ')} in dist loads node-nats-streaming`);
  for (const name of ['stan.d.ts', 'LICENSES.txt', 'package.json']) {
    cpSync(join(DIST, name), join(directory, 'dist', name));
  }
  cpSync(join(DIST, 'types'), join(directory, 'dist', 'types'), {
    recursive: true,
    filter: (path) => !LEFT_OUT.test(path),
  });
  for (const name of ['LICENSE', 'SECURITY.md']) cpSync(join(ROOT, name), join(directory, name));

  const stan = createRequire(import.meta.url)(join(DIST, 'stan.js'));
  const write = (name, lines) => writeFileSync(join(directory, name), `${lines.join('\n')}\n`);
  write('index.js', [
    "'use strict';",
    "const stan = require('./dist/stan.js');",
    // One by one: so that `import { connect }` finds them.
    ...Object.keys(stan).map((name) => `exports.${name} = stan.${name};`),
  ]);
  write('index.d.ts', ["export * from './dist/stan.js';"]);
  // Only this library loads this file of the original. So if it is loaded from here, the original below this library was replaced.
  const beneath =
    `The package 'node-nats-streaming' that resilient-stan stands on was replaced by '${NAME}', which stands on resilient-stan: ` +
    'it would wait for itself for ever. Keep the original below it, in package.json: ' +
    '"overrides": { "resilient-stan": { "node-nats-streaming": "0.3.2" } } (pnpm: "pnpm": { "overrides": ' +
    '{ "resilient-stan>node-nats-streaming": "0.3.2" } }; yarn: "resolutions": { "resilient-stan/node-nats-streaming": "0.3.2" })';
  mkdirSync(join(directory, 'lib', 'pb'), { recursive: true });
  write('lib/pb/index.js', [`throw new Error(${JSON.stringify(beneath)});`]);
  write('README.md', [
    '# node-nats-streaming that outlives its servers',
    '',
    'The API of node-nats-streaming 0.3.2 on resilient-stan. Installed in its place:',
    '',
    '```sh',
    `npm install node-nats-streaming@npm:${NAME}`,
    '```',
    '',
    'or below what depends on it, in package.json:',
    '',
    '```json',
    `{ "overrides": { "node-nats-streaming": "npm:${NAME}@^${stan.version}" } }`,
    '```',
  ]);
  writeJson(join(directory, 'package.json'), {
    name: NAME,
    version: stan.version,
    description: 'The API of node-nats-streaming 0.3.2, by a client that outlives its servers.',
    license: manifest.license,
    engines: manifest.engines,
    main: './index.js',
    types: './index.d.ts',
    sideEffects: false,
    dependencies: { ...dependencies, [ENGINE]: `npm:node-nats-streaming@${engine}` },
  });
  return directory;
}

function writeJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [directory] = process.argv.slice(2);
  console.log(await makeAliasPackage(directory === undefined ? undefined : resolve(directory)));
}
