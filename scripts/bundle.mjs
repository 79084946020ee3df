/** Makes the JavaScript of the package: one implementation in CommonJS, with what exists as ECMAScript modules only built in. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { ENTRIES, fileOf, PROGRAMS } from './entries.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * Writes all entries and programs into a directory.
 * @param {string} dir
 */
export async function bundleInto(dir) {
  const inputs = { ...PROGRAMS };
  for (const [entry, { source }] of Object.entries(ENTRIES)) inputs[fileOf(entry)] = source;
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const dependencies = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
  const bundle = await rolldown({
    cwd: ROOT,
    input: inputs,
    platform: 'node',
    external: (id) => dependencies.some((name) => id === name || id.startsWith(`${name}/`)),
    transform: { target: 'node18' },
    // A package that is missing is no warning.
    onLog: (level, log) => {
      if (level === 'warn') throw new Error(log.message);
    },
  });
  const { output } = await bundle.write({
    dir,
    format: 'cjs',
    exports: 'named',
    strict: true,
    generatedCode: { symbols: false },
    // Without the mark, every bundler gives `import x from` the whole of it, as Node does.
    esModule: false,
    // Side by side, so that one finds another whatever is split off.
    entryFileNames: '[name].js',
    chunkFileNames: 'shared-[name].js',
  });
  await bundle.close();
  return output;
}
