// What the compiler cannot see: promises nobody waits for, imports against the layers, loggers left behind.
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** The wrapped clients have one door. */
const WRAPPED_CLIENTS = {
  regex: '^(nats|node-nats-streaming|ts-nkeys|google-protobuf)(/|$)',
  message: 'Only src/connection talks to the wrapped clients: use what it offers in protocol.ts.',
};

/** Time has one door as well. */
const ONE_CLOCK = 'A client has one clock, src/clock/clock.ts: take time from it.';
const TIMERS = { regex: '^(node:)?(timers|perf_hooks)(/|$)', message: ONE_CLOCK };

/** Arrows point one way: facade → publishing, subscribing → connection. */
const noImports = (files, ...patterns) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns: [WRAPPED_CLIENTS, ...patterns] }] },
});
/** Not even a type: what two layers share belongs to the lower one. */
const upwards = (layers) => ({
  regex: `^\\.(.*/)(${layers})(\\.js$|/)`,
  message: 'This is a layer above: arrows point one way, facade → publishing, subscribing → connection.',
});

export default defineConfig(
  globalIgnores(['dist/', 'docs/api/', 'reports/', '.cache/']),
  tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: { allowDefaultProject: ['*.js'] }, tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-floating-promises': ['error', { checkThenables: true }],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true },
      ],
      '@typescript-eslint/prefer-readonly': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      // The compiler demands the `!` after an index (noUncheckedIndexedAccess); where it is right is for review.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // What is asynchronous by its interface rejects instead of throwing, also where nothing is awaited.
      '@typescript-eslint/require-await': 'off',
      eqeqeq: 'error',
      'no-constant-binary-expression': 'error',
      'no-implicit-coercion': ['error', { boolean: false }],
      'no-promise-executor-return': 'off',
      'no-self-compare': 'error',
      'no-template-curly-in-string': 'error',
      'no-unreachable-loop': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
    },
  },
  {
    files: ['src/**'],
    rules: {
      // A library says nothing on its own: there is `options.logger`.
      'no-console': 'error',
    },
  },
  { files: ['src/cli/**'], rules: { 'no-console': 'off' } },
  {
    files: ['src/**'],
    // The first is where time comes from. The others are no part of a client.
    ignores: ['src/clock/sources.ts', 'src/testing/**', 'src/cli/**'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...['setTimeout', 'setInterval', 'setImmediate'].map((name) => ({ name, message: ONE_CLOCK })),
        { name: 'queueMicrotask', message: 'Fake timers hold it up: use src/microtask.ts.' },
      ],
      'no-restricted-properties': [
        'error',
        { object: 'performance', property: 'now', message: ONE_CLOCK },
        { object: 'Date', property: 'now', message: ONE_CLOCK },
        { object: 'process', property: 'hrtime', message: ONE_CLOCK },
      ],
      'no-restricted-syntax': [
        'error',
        { selector: 'NewExpression[callee.name="Date"][arguments.length=0]', message: ONE_CLOCK },
      ],
    },
  },
  {
    files: ['src/connection/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [TIMERS, upwards('publishing|subscribing|options|events|resilient-stan|stan|testing|cli|index')] },
      ],
    },
  },
  noImports(
    ['src/clock/**'],
    TIMERS,
    upwards('connection|publishing|subscribing|options|events|resilient-stan|stan|testing|cli|index'),
  ),
  noImports(['src/publishing/**'], TIMERS, upwards('subscribing|options|events|resilient-stan|stan|testing|cli|index')),
  noImports(['src/subscribing/**'], TIMERS, upwards('publishing|options|events|resilient-stan|stan|testing|cli|index')),
  noImports(['src/*.ts'], TIMERS, upwards('stan|testing|migrate|monitoring|cli')),
  noImports(['src/stan/**'], TIMERS, upwards('testing|cli')),
  noImports(['src/monitoring/**'], upwards('resilient-stan|stan|testing|migrate|cli|index')),
  noImports(['src/migrate/**'], TIMERS, upwards('stan|testing|cli')),
  noImports(['src/testing/**'], upwards('stan|cli')),
  noImports(['src/cli/**'], upwards('stan')),
  {
    files: ['test/**'],
    rules: {
      // Tests throw and reject with what careless users do.
      '@typescript-eslint/only-throw-error': 'off',
      '@typescript-eslint/prefer-promise-reject-errors': 'off',
      'no-template-curly-in-string': 'off',
    },
  },
  { files: ['**/*.js', '**/*.cjs', '**/*.mjs'], extends: [tseslint.configs.disableTypeChecked] },
  {
    // Nodes for Node-RED are CommonJS, by the package.json beside them.
    files: ['**/*.cjs', 'examples/frameworks/node-red/*.js'],
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
);
