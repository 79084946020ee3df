/**
 * Installs the package of `alias-package.mjs` in each of the ways there are, with npm, and lets a program publish and subscribe
 * through it: `npm run build && node scripts/alias-check.mjs`. Exit code 0: all of them work, and the one that cannot says so.
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
  const cases = [
    ['in its place', { dependencies: { 'node-nats-streaming': alias } }, "require('node-nats-streaming')", works],
    [
      'below a dependant, everywhere',
      { dependencies: { dependant: dependency }, overrides: { 'node-nats-streaming': alias } },
      "require('dependant')",
      works,
    ],
    [
      'below a dependant, there only',
      { dependencies: { dependant: dependency }, overrides: { dependant: { 'node-nats-streaming': alias } } },
      "require('dependant')",
      works,
    ],
    [
      'below this library itself, by mistake',
      { dependencies: { 'resilient-stan': ours }, overrides: { 'node-nats-streaming': alias } },
      "require('resilient-stan/stan')",
      /it would wait for itself for ever/,
    ],
    [
      'everywhere, and this library keeps its own',
      {
        dependencies: { 'resilient-stan': ours, dependant: dependency },
        overrides: { dependant: { 'node-nats-streaming': alias } },
      },
      "require('resilient-stan/stan')",
      works,
    ],
  ];
  for (const [index, [name, project, load, expected]] of cases.entries()) {
    const cwd = join(dir, `project-${index}`);
    mkdirSync(cwd);
    writeFileSync(join(cwd, 'package.json'), JSON.stringify({ name: 'project', private: true, ...project }));
    succeed(cwd, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund');
    writeFileSync(join(cwd, 'program.cjs'), program(load));
    const { output } = run(cwd, process.execPath, 'program.cjs', cluster.urls[0]);
    const fine = expected.test(output);
    failed ||= !fine;
    console.log(`${fine ? '✓' : '✗'} ${name}${fine ? '' : `:\n${output}`}`);
  }
} finally {
  await cluster.stop();
  rmSync(dir, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
