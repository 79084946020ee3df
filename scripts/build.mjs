/**
 * Builds the package for both module systems.
 *
 * There is one implementation, in CommonJS (see bundle.mjs), which everything can load. What `import` gets is a few lines around
 * it, so a process has one copy of each class, whichever way it is loaded.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleInto } from './bundle.mjs';
import { ENTRIES, fileOf } from './entries.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist');
const require = createRequire(import.meta.url);

const read = (path) => readFileSync(join(ROOT, path), 'utf8');
const json = (value) => `${JSON.stringify(value, undefined, 2)}\n`;

function write(path, text) {
  mkdirSync(dirname(join(ROOT, path)), { recursive: true });
  writeFileSync(join(ROOT, path), text);
}

/** What is committed and follows from other files: only a person's build changes it. */
function keep(path, text) {
  const there = existsSync(join(ROOT, path)) ? read(path) : undefined;
  if (there === text) return;
  if (process.env.CI)
    throw new Error(`${path} is not as the build makes it: run 'npm run build' and commit what it changes`);
  write(path, text);
}

/** package.json with the fields that follow from the entries. */
function withEntries(manifest) {
  const exports = {};
  const typesVersions = {};
  const files = new Set(manifest.files);
  for (const entry of Object.keys(ENTRIES)) {
    const name = fileOf(entry);
    const file = `./dist/${name}`;
    exports[entry] = {
      import: { types: `${file}.d.mts`, default: `${file}.mjs` },
      default: { types: `${file}.d.ts`, default: `${file}.js` },
    };
    if (entry === '.') continue;
    // For resolvers that do not read `exports`.
    typesVersions[name] = [`${file}.d.ts`];
    files.add(name);
  }
  exports['./package.json'] = './package.json';
  return { ...manifest, exports, typesVersions: { '*': typesVersions }, files: [...files] };
}

/** The folders of the packages that were built in, from the paths of the modules. */
function builtIn(chunks) {
  const folders = new Set();
  for (const { moduleIds = [] } of chunks) {
    for (const id of moduleIds) {
      const folder = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id.replaceAll('\\', '/'))?.[0];
      if (folder !== undefined) folders.add(folder);
    }
  }
  return [...folders].sort();
}

/** Their licences demand that they go with the code. */
function licences(folders) {
  const parts = folders.map((folder) => {
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((name) => /^licen[cs]e(\.|$)/i.test(name));
    if (file === undefined) throw new Error(`${name} is built in, and has no licence`);
    return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
  });
  return `Parts of these packages are in the files of this folder.\n\n${parts.join('\n---\n\n')}`;
}

const manifest = JSON.parse(read('package.json'));
if (!read('src/version.ts').includes(`'${manifest.version}'`)) {
  throw new Error(`src/version.ts does not say ${manifest.version}, as package.json does: write the same into both`);
}
keep('package.json', json(withEntries(manifest)));
rmSync(DIST, { recursive: true, force: true });

const output = await bundleInto(DIST);

// The declarations, file by file.
execFileSync(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', join(ROOT, 'tsconfig.build.json')], {
  cwd: ROOT,
  stdio: 'inherit',
});

write('dist/package.json', json({ type: 'commonjs', sideEffects: false }));
write('dist/LICENSES.txt', licences(builtIn(output)));
for (const [entry, { source, default: whole = false }] of Object.entries(ENTRIES)) {
  const file = fileOf(entry);
  const types = `./types/${relative('src', source).replace(/\.ts$/, '.js')}`;
  const names = Object.keys(require(join(DIST, `${file}.js`))).sort();
  const lines = (...all) =>
    all
      .filter(Boolean)
      .map((line) => `${line}\n`)
      .join('');
  write(`dist/${file}.d.ts`, lines(`export * from '${types}';`));
  write(
    `dist/${file}.d.mts`,
    lines(`export * from '${types}';`, whole && `import * as all from '${types}';`, whole && 'export default all;'),
  );
  write(
    `dist/${file}.mjs`,
    lines(
      `import all from './${file}.js';`,
      ...names.map((name) => `export const ${name} = all.${name};`),
      whole && 'export default all;',
    ),
  );
  // For resolvers that do not read `exports`.
  if (entry !== '.') {
    const up = '../'.repeat(file.split('/').length);
    keep(
      `${file}/package.json`,
      json({ type: 'commonjs', main: `${up}dist/${file}.js`, types: `${up}dist/${file}.d.ts` }),
    );
  }
}
