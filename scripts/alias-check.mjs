/**
 * Installs the package of `alias-package.mjs` in each of the ways there are, with npm, pnpm and yarn, and lets a program publish
 * and subscribe through it: `npm run build && node scripts/alias-check.mjs`. Exit code 0: all of them work, and the one that cannot says so.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { makeAliasPackage } from './alias-package.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'alias-check-'));

function run(cwd, command, ...args) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 120_000 });
  return { status, output: `${stdout}${stderr}`.trim() };
}
function succeed(cwd, command, ...args) {
  const { status, output } = run(cwd, command, ...args);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} exited with ${status}:\n${output}`);
  return output;
}
const pack = (from) =>
  join(dir, succeed(from, 'npm', 'pack', '--silent', '--pack-destination', dir).split('\n').at(-1));

const NAME = 'node-nats-streaming';
/** How each package manager installs, and how it is told what stands in for the original. pnpm and yarn are installed by npm. */
const MANAGERS = {
  npm: {
    install: ['npm', 'install', '--prefer-offline', '--no-audit', '--no-fund'],
    overrides: ([at], alias) => ({ overrides: at === undefined ? { [NAME]: alias } : { [at]: { [NAME]: alias } } }),
  },
  pnpm: {
    tool: 'pnpm@10.34.8',
    install: [
      process.execPath,
      join(dir, 'tools/node_modules/pnpm/bin/pnpm.cjs'),
      'install',
      '--store-dir',
      join(dir, 'store'),
    ],
    overrides: ([at], alias) => ({ pnpm: { overrides: { [at === undefined ? NAME : `${at}>${NAME}`]: alias } } }),
  },
  yarn: {
    tool: '@yarnpkg/cli-dist@4.18.1',
    install: [process.execPath, join(dir, 'tools/node_modules/@yarnpkg/cli-dist/bin/yarn.js'), 'install'],
    files: {
      '.yarnrc.yml': 'nodeLinker: node-modules\nenableGlobalCache: false\nenableTelemetry: false\n',
      'yarn.lock': '',
    },
    overrides: ([at], alias) => ({ resolutions: { [at === undefined ? NAME : `${at}/${NAME}`]: alias } }),
  },
};
function prepare(manager) {
  const { tool, ...how } = MANAGERS[manager];
  if (tool !== undefined) {
    mkdirSync(join(dir, 'tools'), { recursive: true });
    writeFileSync(join(dir, 'tools/package.json'), '{}');
    succeed(join(dir, 'tools'), 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tool);
  }
  return how;
}

/** Publishes and reads back; says the version of what it got. */
const program = (load) => `
  const stan = ${load};
  const client = stan.connect('test-cluster', 'alias-check-' + process.pid, process.argv[2]);
  client.on('error', (error) => { console.error(error); process.exit(1); });
  client.on('connect', () => {
    const subscription = client.subscribe('alias', client.subscriptionOptions().setDeliverAllAvailable());
    subscription.once('message', (message) => { console.log(stan.version, message.getData()); client.close(); });
    client.publish('alias', 'hello');
  });
`;

const { StanCluster } = await import(pathToFileURL(join(ROOT, 'dist/testing.mjs')).href);
const cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
let failed = false;
try {
  const alias = `file:${pack(await makeAliasPackage(join(dir, 'alias')))}`;
  const ours = `file:${pack(ROOT)}`;
  // What depends on node-nats-streaming as other packages do.
  const dependant = join(dir, 'dependant');
  mkdirSync(dependant);
  const manifest = { name: 'dependant', version: '1.0.0', dependencies: { 'node-nats-streaming': '^0.3.2' } };
  writeFileSync(join(dependant, 'package.json'), JSON.stringify(manifest));
  writeFileSync(join(dependant, 'index.js'), "module.exports = require('node-nats-streaming');\n");
  const dependency = `file:${pack(dependant)}`;

  const works = /^0\.3\.1\d\d hello$/;
  const beneath = /it would wait for itself for ever/;
  const inPlace = { dependencies: { 'node-nats-streaming': alias } };
  const below = { dependencies: { dependant: dependency } };
  const ourselves = { dependencies: { 'resilient-stan': ours } };
  const both = { dependencies: { 'resilient-stan': ours, dependant: dependency } };
  /** `at`: where it stands in for the original; empty: everywhere. */
  const cases = [
    ['in its place', inPlace, undefined, "require('node-nats-streaming')", works],
    ['below a dependant, everywhere', below, [], "require('dependant')", works],
    ['below a dependant, there only', below, ['dependant'], "require('dependant')", works],
    ['below this library itself, by mistake', ourselves, [], "require('resilient-stan/stan')", beneath],
    ['below a dependant, and this library keeps its own', both, ['dependant'], "require('resilient-stan/stan')", works],
  ];
  for (const manager of Object.keys(MANAGERS)) {
    const { install, overrides, files = {} } = prepare(manager);
    for (const [index, [name, project, at, load, expected]] of cases.entries()) {
      const cwd = join(dir, `${manager}-${index}`);
      mkdirSync(cwd);
      const manifest = { name: 'project', private: true, ...project, ...(at && overrides(at, alias)) };
      const texts = { ...files, 'package.json': JSON.stringify(manifest), 'program.cjs': program(load) };
      for (const [file, text] of Object.entries(texts)) writeFileSync(join(cwd, file), text);
      succeed(cwd, ...install);
      const { output } = run(cwd, process.execPath, 'program.cjs', cluster.urls[0]);
      const fine = expected.test(output);
      failed ||= !fine;
      console.log(`${fine ? '✓' : '✗'} ${manager}: ${name}${fine ? '' : `:\n${output}`}`);
    }
  }
} finally {
  await cluster.stop();
  rmSync(dir, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
