/** What the matrix is run with, exactly. None of it is a dependency of the package. */

export const NODES = {
  'node-18': '18.20.8', // not promised
  'node-20': '20.20.2',
  'node-22': '22.23.3',
  'node-24': '24.21.0',
  'node-26': '26.12.1',
} as const;

export const BUN = '1.4.5';
export const DENO = '2.9.6';

/** Each with types of Node that it can read. */
export const TYPESCRIPTS: Readonly<Record<string, { version: string; nodeTypes: string }>> = {
  'ts-5.0': { version: '5.0.4', nodeTypes: '20.4.10' },
  'ts-5.1': { version: '5.1.6', nodeTypes: '20.4.10' },
  'ts-5.2': { version: '5.2.2', nodeTypes: '20.4.10' },
  'ts-5.3': { version: '5.3.3', nodeTypes: '20.4.10' },
  'ts-5.4': { version: '5.4.5', nodeTypes: '20.19.43' },
  'ts-5.5': { version: '5.5.4', nodeTypes: '20.19.43' },
  'ts-5.6': { version: '5.6.3', nodeTypes: '20.19.43' },
  'ts-5.7': { version: '5.7.3', nodeTypes: '20.19.43' },
  'ts-5.8': { version: '5.8.3', nodeTypes: '20.19.43' },
  'ts-5.9': { version: '5.9.3', nodeTypes: '24.19.2' },
  'ts-6.0': { version: '6.0.3', nodeTypes: '24.19.2' },
  'ts-7.0': { version: '7.0.2', nodeTypes: '24.19.2' },
};

export const TEST_RUNNERS = {
  'jest-29': { jest: '29.7.0' },
  'jest-30': { jest: '30.5.2' },
  'ts-jest': {
    jest: '29.7.0',
    'ts-jest': '29.4.15',
    typescript: '5.9.3',
    '@types/node': '20.19.43',
    '@types/jest': '29.5.14',
  },
  vitest: { vitest: '3.2.4' },
} as const;

export const TS_NODE = { 'ts-node': '10.9.2', typescript: '5.9.3', '@types/node': '20.19.43' } as const;

export const BUNDLERS = {
  esbuild: { esbuild: '0.28.2' },
  rollup: {
    rollup: '4.68.8',
    '@rollup/plugin-commonjs': '29.0.3',
    '@rollup/plugin-json': '6.1.0',
    '@rollup/plugin-node-resolve': '16.0.3',
  },
  webpack: { webpack: '5.113.0' },
  ncc: { '@vercel/ncc': '0.45.0' },
} as const;

export const PACKAGE_MANAGERS = { pnpm: { pnpm: '10.34.8' }, yarn: { '@yarnpkg/cli-dist': '4.18.1' } } as const;
