/** What loads the package, and how: groups of cases that share what is installed. */
import { cp } from 'node:fs/promises';
import { Project, type Running } from './project.js';
import { PROGRAMS } from './programs.js';
import * as pinned from './versions.js';

/** Has a program judged while a leader dies under it. */
export type Judge = (start: (env: Record<string, string>) => Running) => Promise<void>;

export interface Group {
  id: string;
  /** @param tarball the packed package */
  make: (dir: string, tarball: string) => Promise<Project>;
  cases: Readonly<Record<string, (project: Project, judge: Judge) => Promise<void>>>;
}

const PROGRAM_FILES = { 'main.mjs': PROGRAMS.esm, 'main.cjs': PROGRAMS.cjs };

/** A project that has installed the package and these, with npm. */
const withNpm =
  (dependencies: Readonly<Record<string, string>>, files: Readonly<Record<string, string>> = PROGRAM_FILES) =>
  async (dir: string, tarball: string): Promise<Project> => {
    const project = await Project.make(dir, { 'resilient-stan': `file:${tarball}`, ...dependencies });
    await project.write(files);
    return project;
  };

/** Runs a program of the project: a command and its arguments. */
const runs =
  (command: (project: Project) => string, ...args: readonly string[]) =>
  (project: Project, judge: Judge): Promise<void> =>
    judge((env) => project.run(command(project), args, env));

const ownNode = (): string => process.execPath;
/** A script of an installed package, run by the Node that runs us. */
const scripts = (script: string, ...args: readonly string[]) => runs(ownNode, script, ...args);

// --- What runs JavaScript.

const PLATFORM = `${process.platform}-${process.arch}`;

const nodes: readonly Group[] = Object.entries(pinned.NODES).map(([id, version]) => {
  const node = (project: Project): string => project.path('node_modules', `node-${PLATFORM}`, 'bin', 'node');
  return {
    id,
    make: withNpm({ [`node-${PLATFORM}`]: version }),
    cases: { import: runs(node, 'main.mjs'), require: runs(node, 'main.cjs') },
  };
});

const BUN = `@oven/bun-${process.platform}-${process.arch === 'arm64' ? 'aarch64' : process.arch}`;
const bunOf = (project: Project): string => project.path('node_modules', BUN, 'bin', 'bun');
const DENO = `@deno/${PLATFORM}${process.platform === 'linux' ? '-glibc' : ''}`;
const denoOf = (project: Project): string => project.path('node_modules', DENO, 'deno');
const DENO_RUN = ['run', '--allow-all', '--node-modules-dir=manual'];

/** Boots its own servers, so there is nothing to judge but its end. */
const bootsItself =
  (command: (project: Project) => string, ...args: readonly string[]) =>
  async (project: Project): Promise<void> => {
    await project.write({ 'harness.mjs': PROGRAMS.harness });
    await project.succeed(command(project), [...args, 'harness.mjs']);
  };

const others: readonly Group[] = [
  {
    id: 'bun',
    make: withNpm({ [BUN]: pinned.BUN }),
    cases: {
      import: runs(bunOf, 'main.mjs'),
      require: runs(bunOf, 'main.cjs'),
      harness: bootsItself(bunOf),
      verify: async (project) => {
        await project.write({ 'verify.mjs': PROGRAMS.refusedVerify(/run it with Node/) });
        await project.succeed(bunOf(project), ['verify.mjs']);
      },
    },
  },
  {
    id: 'deno',
    make: withNpm({ [DENO]: pinned.DENO }),
    cases: {
      import: runs(denoOf, ...DENO_RUN, 'main.mjs'),
      require: runs(denoOf, ...DENO_RUN, 'main.cjs'),
      harness: bootsItself(denoOf, ...DENO_RUN),
    },
  },
];

// --- TypeScript.

/** Shows that the types are there, and not `any`. */
const TYPED = `${PROGRAMS.esm}
export async function typed() {
  // @ts-expect-error there is no such option
  await ResilientStan.connect('nats://a:4222', { nonsense: true });
  // @ts-expect-error there is no such option
  await StanCluster.start({ nonsense: true });
}
`;

/** How a project may be set up: by the resolution of modules, the file that is compiled, and the one that comes of it. */
const RESOLUTIONS = {
  node10: { file: 'main.ts', made: 'main.js', options: { module: 'commonjs', moduleResolution: 'node10' } },
  'node16-require': { file: 'main.cts', made: 'main.cjs', options: { module: 'node16', moduleResolution: 'node16' } },
  'node16-import': { file: 'main.mts', made: 'main.mjs', options: { module: 'node16', moduleResolution: 'node16' } },
  nodenext: { file: 'main.cts', made: 'main.cjs', options: { module: 'nodenext', moduleResolution: 'nodenext' } },
  bundler: { file: 'main.mts', made: 'main.mjs', options: { module: 'esnext', moduleResolution: 'bundler' } },
};

const major = (version: string): number => Number(version.split('.')[0]);

const typescripts: readonly Group[] = Object.entries(pinned.TYPESCRIPTS).map(([id, { version, nodeTypes }]) => ({
  id,
  make: withNpm({ typescript: version, '@types/node': nodeTypes }, {}),
  cases: Object.fromEntries(
    Object.entries(RESOLUTIONS)
      // TypeScript 7 does not have it any more.
      .filter(([name]) => !(major(version) >= 7 && name === 'node10'))
      .map(([name, { file, made, options }]) => [
        name,
        async (project: Project, judge: Judge) => {
          const compilerOptions = {
            ...options,
            ...(major(version) === 6 && name === 'node10' ? { ignoreDeprecations: '6.0' } : {}),
            ...{ target: 'es2022', lib: ['es2022'], types: ['node'], rootDir: '.', outDir: 'out' },
            ...{ strict: true, skipLibCheck: false },
            // TypeScript 6 does not have it any more.
            ...(major(version) < 6 ? { esModuleInterop: false } : {}),
          };
          await project.write({
            [`${name}/${file}`]: TYPED,
            [`${name}/tsconfig.json`]: JSON.stringify({ compilerOptions, include: ['*'] }),
          });
          await project.succeed(process.execPath, ['node_modules/typescript/bin/tsc', '-p', name]);
          await scripts(`${name}/out/${made}`)(project, judge);
        },
      ]),
  ),
}));

const tsNode: Group = {
  id: 'ts-node',
  make: withNpm(pinned.TS_NODE, {
    'cjs/main.ts': TYPED,
    'cjs/tsconfig.json': '{ "compilerOptions": { "module": "commonjs", "target": "es2022", "strict": true } }',
    'esm/main.mts': TYPED,
    'esm/tsconfig.json': '{ "compilerOptions": { "module": "nodenext", "target": "es2022", "strict": true } }',
  }),
  cases: {
    require: scripts('node_modules/ts-node/dist/bin.js', 'cjs/main.ts'),
    import: scripts('--no-warnings', '--loader', 'ts-node/esm', 'esm/main.mts'),
  },
};

// --- Test runners.

const JEST = 'node_modules/jest/bin/jest.js';
const JEST_FILES = {
  'jest.config.json': '{ "testEnvironment": "node" }',
  'cjs.test.js': PROGRAMS.cjsTest,
  'esm.test.mjs': PROGRAMS.esmTest,
};

const runners: readonly Group[] = [
  ...(['jest-29', 'jest-30'] as const).map((id) => ({
    id,
    make: withNpm(pinned.TEST_RUNNERS[id], JEST_FILES),
    cases: {
      require: scripts(JEST, '--testMatch', '**/cjs.test.js'),
      import: scripts('--experimental-vm-modules', JEST, '--testMatch', '**/esm.test.mjs'),
    },
  })),
  {
    id: 'ts-jest',
    make: withNpm(pinned.TEST_RUNNERS['ts-jest'], {
      'jest.config.json': '{ "testEnvironment": "node", "preset": "ts-jest" }',
      'tsconfig.json': '{ "compilerOptions": { "module": "commonjs", "target": "es2022", "strict": true } }',
      'main.test.ts': PROGRAMS.esmTest,
    }),
    cases: { require: scripts(JEST) },
  },
  {
    id: 'vitest',
    make: withNpm(pinned.TEST_RUNNERS.vitest, { 'main.test.ts': PROGRAMS.vitest }),
    cases: { import: scripts('node_modules/vitest/vitest.mjs', 'run') },
  },
];

// --- Bundlers: what they make runs where nothing is installed.

/** Builds into `out`, takes that away from all that is installed, and uses it. */
async function alone(
  project: Project,
  build: readonly string[],
  use: (alone: Project) => Promise<unknown>,
): Promise<void> {
  await project.succeed(process.execPath, build);
  const alone = new Project(`${project.dir}-alone`);
  await alone.remove();
  try {
    await cp(project.path('out'), alone.dir, { recursive: true });
    await use(alone);
  } finally {
    await alone.remove();
  }
}

const bundles =
  (file: string, ...build: readonly string[]) =>
  (project: Project, judge: Judge): Promise<void> =>
    alone(project, build, (alone) => scripts(file)(alone, judge));

/** In a module it wants help for CommonJS packages that load what is Node's own. */
const esbuildConfig = (entry: string, file: string, options: string): string => `
import { build } from 'esbuild';
await build({
  entryPoints: ['${entry}'],
  outfile: 'out/${file}',
  bundle: true,
  platform: 'node',
  banner: {
    js: ${options}.format === 'esm'
      ? "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
      : '',
  },
  ...${options},
});
`;

const rollupConfig = (input: string, file: string, format: string): string => `
import commonjs from '@rollup/plugin-commonjs';
import json from '@rollup/plugin-json';
import resolve from '@rollup/plugin-node-resolve';
export default {
  input: '${input}',
  output: { file: 'out/${file}', format: '${format}', inlineDynamicImports: true },
  plugins: [resolve({ preferBuiltins: true, exportConditions: ['node'] }), commonjs(), json()],
};
`;
const webpackConfig = (entry: string, mode: string): string => `
const webpack = require('webpack');
webpack(
  {
    target: 'node',
    mode: '${mode}',
    entry: './${entry}',
    output: { path: __dirname + '/out', filename: 'webpack-${mode}.cjs' },
  },
  (error, stats) => {
    if (error || stats.hasErrors()) {
      console.error(error || stats.toString());
      process.exit(1);
    }
  },
);
`;

const bundlers: readonly Group[] = [
  {
    id: 'esbuild',
    make: withNpm(pinned.BUNDLERS.esbuild, {
      ...PROGRAM_FILES,
      'a.config.mjs': esbuildConfig('main.mjs', 'a.cjs', "{ format: 'cjs' }"),
      'b.config.mjs': esbuildConfig('main.cjs', 'b.cjs', "{ format: 'cjs', minify: true }"),
      'c.config.mjs': esbuildConfig('main.mjs', 'c.mjs', "{ format: 'esm' }"),
      'verify.mjs': PROGRAMS.refusedVerify(/keep resilient-stan out of the bundle/),
      'd.config.mjs': esbuildConfig('verify.mjs', 'd.cjs', "{ format: 'cjs' }"),
      'e.config.mjs': esbuildConfig('verify.mjs', 'e.mjs', "{ format: 'esm' }"),
    }),
    cases: {
      import: bundles('a.cjs', 'a.config.mjs'),
      require: bundles('b.cjs', 'b.config.mjs'),
      module: bundles('c.mjs', 'c.config.mjs'),
      verify: async (project) => {
        await alone(project, ['d.config.mjs'], (alone) => alone.succeed(process.execPath, ['d.cjs']));
        await alone(project, ['e.config.mjs'], (alone) => alone.succeed(process.execPath, ['e.mjs']));
      },
    },
  },
  {
    id: 'rollup',
    make: withNpm(pinned.BUNDLERS.rollup, {
      ...PROGRAM_FILES,
      'a.config.mjs': rollupConfig('main.mjs', 'a.cjs', 'cjs'),
      'b.config.mjs': rollupConfig('main.cjs', 'b.cjs', 'cjs'),
      'c.config.mjs': rollupConfig('main.mjs', 'c.mjs', 'es'),
    }),
    cases: {
      import: bundles('a.cjs', 'node_modules/rollup/dist/bin/rollup', '-c', 'a.config.mjs'),
      require: bundles('b.cjs', 'node_modules/rollup/dist/bin/rollup', '-c', 'b.config.mjs'),
      module: bundles('c.mjs', 'node_modules/rollup/dist/bin/rollup', '-c', 'c.config.mjs'),
    },
  },
  {
    id: 'webpack',
    make: withNpm(pinned.BUNDLERS.webpack, {
      ...PROGRAM_FILES,
      'a.config.cjs': webpackConfig('main.mjs', 'production'),
      'b.config.cjs': webpackConfig('main.cjs', 'development'),
    }),
    cases: {
      import: bundles('webpack-production.cjs', 'a.config.cjs'),
      require: bundles('webpack-development.cjs', 'b.config.cjs'),
    },
  },
  {
    id: 'ncc',
    make: withNpm(pinned.BUNDLERS.ncc),
    cases: {
      import: bundles('index.mjs', 'node_modules/@vercel/ncc/dist/ncc/cli.js', 'build', 'main.mjs', '-o', 'out'),
      require: bundles('index.cjs', 'node_modules/@vercel/ncc/dist/ncc/cli.js', 'build', 'main.cjs', '-o', 'out'),
    },
  },
];

// --- Package managers. npm has installed all that is above.

/** Their tool is installed by npm, in a folder of its own. */
const withTool =
  (tool: Readonly<Record<string, string>>, script: string, args: readonly string[], files: Record<string, string>) =>
  async (dir: string, tarball: string): Promise<Project> => {
    await Project.make(`${dir}/tool`, tool);
    const project = await Project.make(`${dir}/app`, { 'resilient-stan': `file:${tarball}` }, { install: false });
    await project.write({ ...PROGRAM_FILES, ...files });
    await project.succeed(process.execPath, [`../tool/node_modules/${script}`, ...args], { CI: '' });
    return project;
  };

const YARN = '@yarnpkg/cli-dist/bin/yarn.js';

const managers: readonly Group[] = [
  {
    id: 'pnpm',
    make: withTool(pinned.PACKAGE_MANAGERS.pnpm, 'pnpm/bin/pnpm.cjs', ['install', '--store-dir', '../store'], {}),
    cases: { import: scripts('main.mjs'), require: scripts('main.cjs') },
  },
  {
    id: 'yarn',
    make: withTool(pinned.PACKAGE_MANAGERS.yarn, YARN, ['install'], {
      '.yarnrc.yml': 'nodeLinker: pnp\nenableGlobalCache: false\nenableTelemetry: false\n',
      'yarn.lock': '',
    }),
    cases: {
      import: scripts(`../tool/node_modules/${YARN}`, 'node', 'main.mjs'),
      require: scripts(`../tool/node_modules/${YARN}`, 'node', 'main.cjs'),
    },
  },
];

export const GROUPS: readonly Group[] = [
  ...nodes,
  ...others,
  ...typescripts,
  tsNode,
  ...runners,
  ...bundlers,
  ...managers,
];
