/**
 * What can be imported, by its name in `exports`. A new one is one line here; the build writes it into package.json.
 * `default`: also the whole of it, for `import all from`, as CommonJS packages give it.
 */
export const ENTRIES = {
  '.': { source: 'src/index.ts' },
  './stan': { source: 'src/stan/index.ts', default: true },
  './testing': { source: 'src/testing/index.ts' },
  './migrate': { source: 'src/migrate/index.ts' },
};

/** What is run, by the name of its file in `dist`. */
export const PROGRAMS = {
  cli: 'src/cli/main.ts',
  worker: 'src/testing/verification/worker.ts',
};

/** The name of an entry's files in `dist`. */
export const fileOf = (entry) => (entry === '.' ? 'index' : entry.slice(2));
