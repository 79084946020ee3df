/**
 * The tests that moleculer has for its transporter for NATS Streaming, unchanged, with the package of `alias-package.mjs` in the
 * place of node-nats-streaming: its unit tests, and its end-to-end tests against a real server.
 *
 *     npm run build && node scripts/dependants/moleculer-suite.mjs <clone of moleculerjs/moleculer> [scenario…]
 *
 * Exit code 0: all of them pass.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join, resolve } from 'node:path';
import { Project, resolveServer, succeed } from './dependant.mjs';

const TAG = 'v0.14.35';
/** What these tests and moleculer itself load, as the package.json of that tag names it. */
const PACKAGES = {
  '@sinonjs/fake-timers': '9.1.2',
  args: '5.0.3',
  eventemitter2: '6.4.9',
  'fastest-validator': '1.19.1',
  glob: '7.2.3',
  'ipaddr.js': '2.2.0',
  jest: '27.5.1',
  'jest-diff': '27.5.1',
  kleur: '4.1.5',
  lodash: '4.17.21',
  'lru-cache': '6.0.0',
  'node-fetch': '2.7.0',
  'recursive-watch': '1.1.4',
};

const [repository, ...rest] = process.argv.slice(2);
if (repository === undefined) {
  console.error('Usage: node scripts/dependants/moleculer-suite.mjs <clone of moleculerjs/moleculer>');
  process.exit(2);
}

/** Starts a server at the default address. Each node of moleculer has many channels. */
async function defaultServer() {
  const server = spawn(await resolveServer(), ['-a', '127.0.0.1', '-mc', '0'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const lines = createInterface(server.stderr);
  const ready = (async () => {
    for await (const line of lines) if (line.includes('STREAM: Streaming Server is ready')) return true;
    return false;
  })();
  const ended = once(server, 'exit').then(() => false);
  if (!(await Promise.race([ready, ended]))) throw new Error('no server starts at 127.0.0.1:4222: is that port taken?');
  server.stderr.resume();
  return server;
}

const only = rest.length > 0 ? rest : undefined;
const project = new Project();
let failed = 0;
try {
  await project.install(PACKAGES);
  const moleculer = join(project.dir, 'moleculer');
  const archive = join(project.dir, 'moleculer.tar');
  mkdirSync(moleculer);
  succeed(resolve(repository), 'git', 'archive', '--output', archive, TAG);
  succeed(moleculer, 'tar', '-xf', archive);
  symlinkSync(join(project.dir, 'node_modules'), join(moleculer, 'node_modules'), 'junction');
  const run = (name, cwd, command, args, env = {}) => {
    const { status, stdout, stderr } = spawnSync(command, args, {
      cwd,
      encoding: 'utf8',
      env: { ...process.env, ...env },
      timeout: 300_000,
    });
    const result = /^(Tests:.*|.*RESULT: .*)$/m.exec(`${stdout}${stderr}`)?.[0] ?? '';
    console.log(`${status === 0 ? '✓' : '✗'} ${name} ${result}`);
    if (status === 0) return;
    failed++;
    console.log(`${stdout}${stderr}`);
  };

  const jest = join(project.dir, 'node_modules/jest/bin/jest.js');
  const spec = ['--coverage=false', 'test/unit/transporters/stan.spec.js'];
  run('test/unit/transporters/stan.spec.js', moleculer, process.execPath, [jest, ...spec]);

  // These dial the default address of a cluster of the default name.
  const scenarios = join(moleculer, 'test/e2e/scenarios');
  for (const scenario of only ?? readdirSync(scenarios)) {
    const server = await defaultServer();
    try {
      run(`test/e2e/scenarios/${scenario}`, join(scenarios, scenario), 'bash', ['./start.sh'], { TRANSPORTER: 'STAN' });
    } finally {
      const ended = server.exitCode === null ? once(server, 'exit') : undefined;
      server.kill();
      await ended;
    }
  }
} finally {
  project.remove();
}
process.exit(failed === 0 ? 0 : 1);
