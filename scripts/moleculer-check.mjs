/**
 * moleculer, with its own transporter for NATS Streaming, and the package of `alias-package.mjs` in the place of
 * node-nats-streaming: `npm run build && node scripts/moleculer-check.mjs`. A caller and a service, in a process each, through the
 * death of the leader and 25 s without any server. Exit code 0: no process has ended, and each request has its answer, but for those
 * that moleculer itself refuses at once while its transporter is disconnected (`BrokerDisconnectedError`).
 */
import { fork, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { makeAliasPackage } from './alias-package.mjs';

const MOLECULER = '0.14.36';
const OUTAGE = 25_000;
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'moleculer-check-'));

function succeed(cwd, command, ...args) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} exited with ${status}:\n${stdout}${stderr}`);
  return stdout.trim();
}

const BROKER = `
  const { ServiceBroker } = require('moleculer');
  const [role, servers] = process.argv.slice(2);
  const broker = new ServiceBroker({
    nodeID: role,
    logLevel: 'fatal',
    requestTimeout: 60_000,
    // Through an outage nobody is heard of.
    heartbeatTimeout: 120,
    transporter: { type: 'STAN', options: { servers: servers.split(',') } },
  });
  process.on('disconnect', () => process.exit(0));
`;
const SERVICE = `${BROKER}
  broker.createService({ name: 'math', actions: { double: (context) => 2 * context.params.number } });
  broker.start().then(() => process.send('ready'));
`;
const CALLER = `${BROKER}
  const counts = { asked: 0, answered: 0, refused: 0, failed: 0, error: undefined };
  broker.start().then(() => broker.waitForServices('math')).then(() => {
    process.send('ready');
    const timer = setInterval(() => {
      const number = ++counts.asked;
      broker.call('math.double', { number }).then(
        (answer) => { if (answer === 2 * number) counts.answered++; else counts.failed++; },
        (error) => {
          if (error.name === 'BrokerDisconnectedError') counts.refused++;
          else { counts.failed++; counts.error = error.name; }
        },
      );
    }, 20);
    process.on('message', (message) => {
      if (message === 'stop') clearInterval(timer);
      process.send(counts);
    });
  });
`;

const { StanCluster } = await import(pathToFileURL(join(ROOT, 'dist/testing.mjs')).href);
const cluster = await StanCluster.start({ nodes: 3 });
const children = [];
const ended = [];
try {
  const alias = await makeAliasPackage(join(dir, 'alias'));
  const project = { name: 'project', private: true };
  project.dependencies = { moleculer: MOLECULER, 'node-nats-streaming': `file:${alias}` };
  project.overrides = { 'node-nats-streaming': `file:${alias}` };
  writeFileSync(join(dir, 'package.json'), JSON.stringify(project));
  succeed(dir, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', '--install-links');
  const start = async (role, program) => {
    writeFileSync(join(dir, `${role}.cjs`), program);
    const child = fork(join(dir, `${role}.cjs`), [role, cluster.urls.join(',')], { cwd: dir });
    children.push(child);
    child.on('exit', (code) => ended.push(`${role} ended with ${code}`));
    await new Promise((resolve, reject) => child.once('message', resolve).once('exit', reject));
    return child;
  };
  await start('service', SERVICE);
  const caller = await start('caller', CALLER);
  const counts = () =>
    new Promise((resolve) => {
      caller.once('message', resolve);
      caller.send('counts');
    });

  for (let times = 0; times < 2; times++) {
    await sleep(3000);
    const leader = await cluster.leader();
    await leader.kill();
    console.log(`the leader was killed, after ${(await counts()).answered} answers`);
    await sleep(3000);
    await leader.start();
  }
  await Promise.all(cluster.nodes.map((node) => node.kill()));
  console.log(`all are down, after ${(await counts()).answered} answers`);
  await sleep(OUTAGE);
  await Promise.all(cluster.nodes.map((node) => node.start()));
  await sleep(5000);
  caller.send('stop');
  let last = await counts();
  for (
    let waited = 0;
    waited < 60 && last.answered + last.refused + last.failed < last.asked && ended.length === 0;
    waited++
  ) {
    await sleep(1000);
    last = await counts();
  }
  console.log(last, ended);
  process.exitCode = ended.length === 0 && last.failed === 0 && last.answered + last.refused === last.asked ? 0 : 1;
} finally {
  for (const child of children) child.removeAllListeners('exit').kill('SIGKILL');
  await cluster.stop();
  rmSync(dir, { recursive: true, force: true });
}
process.exit();
