/**
 * A real Node-RED with the nodes of `examples/frameworks/node-red`: `npm run build && node scripts/dependants/node-red.mjs`. A flow
 * publishes what comes by HTTP, and another one receives and acknowledges it, while the leader of a cluster dies. Exit code 0: each
 * message came to the end of its flow, the editor has the nodes and their forms, and Node-RED ends when it is told to.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Project, StanCluster, succeed } from './dependant.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NODE_RED = '4.1.15';
const COUNT = 200;

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const node = (id, type, rest, ...wires) => ({
  id,
  type,
  z: 'flow',
  x: 100,
  y: 100,
  wires: wires.map((to) => [to]),
  ...rest,
});
const flows = (servers, clusterId) => [
  { id: 'flow', type: 'tab', label: 'flow' },
  { id: 'cluster', type: 'stan-cluster', servers, clusterId, clientId: 'flows' },
  node('post', 'http in', { url: '/numbers', method: 'post' }, 'out'),
  node('out', 'stan out', { cluster: 'cluster', channel: 'numbers' }, 'stored'),
  node('stored', 'http response', { statusCode: '202' }),
  node(
    'in',
    'stan in',
    {
      cluster: 'cluster',
      channel: 'numbers',
      format: 'json',
      startAt: 'first',
      durableName: 'numbers',
      ack: true,
      ackWait: '2000',
    },
    'work',
  ),
  // What is not sent on gets no acknowledgement: each tenth number has to come again.
  node(
    'work',
    'function',
    { outputs: 1, func: 'if (msg.payload.number % 10 === 0 && !msg.stan.redelivered) return null;\nreturn msg;' },
    'ack',
  ),
  node('ack', 'stan ack', {}, 'count'),
  node('count', 'function', {
    outputs: 0,
    func: "const all = flow.get('all') || [];\nall.push(msg.payload.number);\nflow.set('all', all);",
  }),
  node('get', 'http in', { url: '/numbers', method: 'get' }, 'tell'),
  node('tell', 'function', { outputs: 1, func: "msg.payload = flow.get('all') || [];\nreturn msg;" }, 'told'),
  node('told', 'http response', {}),
];

const project = new Project();
const cluster = await StanCluster.start({ nodes: 3 });
let child;
try {
  const tarball = succeed(ROOT, 'npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', project.dir);
  const installed = {
    'node-red': NODE_RED,
    'resilient-stan': `file:${join(project.dir, tarball.split('\n').at(-1))}`,
    'node-red-contrib-my-resilient-stan': `file:${join(ROOT, 'examples/frameworks/node-red')}`,
  };
  await project.install(installed, { original: true });
  const port = await freePort();
  mkdirSync(join(project.dir, 'user'));
  writeFileSync(join(project.dir, 'user/flows.json'), JSON.stringify(flows(cluster.urls.join(','), cluster.clusterId)));
  writeFileSync(
    join(project.dir, 'user/settings.js'),
    `module.exports = ${JSON.stringify({ uiPort: port, uiHost: '127.0.0.1', flowFile: 'flows.json', nodesDir: join(project.dir, 'node_modules/node-red-contrib-my-resilient-stan'), telemetry: { enabled: false } })};\n`,
  );
  child = spawn(
    process.execPath,
    [join(project.dir, 'node_modules/node-red/red.js'), '-u', join(project.dir, 'user')],
    {
      cwd: project.dir,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (log += text));
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
  const until = async (what, holds) => {
    for (let waited = 0; waited < 600; waited++) {
      if (await holds()) return;
      await sleep(100);
    }
    throw new Error(`${what}; Node-RED wrote:\n${log}`);
  };
  await until('it did not start', () => log.includes('Started flows'));

  const url = `http://127.0.0.1:${port}`;
  const editor = await (await fetch(`${url}/nodes`, { headers: { accept: 'text/html' } })).text();
  const forms = ['stan-cluster', 'stan in', 'stan ack', 'stan out'].filter((type) =>
    editor.includes(`data-template-name="${type}"`),
  );
  const post = async (number) => {
    const headers = { 'content-type': 'application/json' };
    return (await fetch(`${url}/numbers`, { method: 'POST', headers, body: JSON.stringify({ number }) })).status;
  };
  const answers = [];
  for (let number = 1; number <= COUNT; number++) {
    answers.push(post(number));
    if (number === COUNT / 2) {
      const leader = await cluster.leader();
      await leader.kill();
      console.log('the leader was killed');
    }
    await sleep(10);
  }
  const stored = (await Promise.all(answers)).filter((status) => status === 202).length;
  const all = async () => new Set(await (await fetch(`${url}/numbers`)).json());
  await until('not all messages came', async () => (await all()).size === COUNT);
  child.kill('SIGTERM');
  const how = await Promise.race([ended, sleep(20_000, 'it did not end', { ref: false })]);
  console.log({ stored, came: COUNT, forms, ended: how });
  process.exitCode = stored === COUNT && forms.length === 4 && how === 0 ? 0 : 1;
} finally {
  child?.kill('SIGKILL');
  project.remove();
  await cluster.stop();
}
process.exit();
