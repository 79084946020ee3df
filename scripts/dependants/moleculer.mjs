/**
 * moleculer, with its own transporter for NATS Streaming, and the package of `alias-package.mjs` in the place of
 * node-nats-streaming: `npm run build && node scripts/dependants/moleculer.mjs`. A caller and a service, in a process each, through
 * the deaths of two leaders and 25 s without any server. Exit code 0: no process has ended, requests are answered whenever there is a
 * cluster, and each request has its answer, but for those that moleculer itself refuses at once while its transporter is disconnected (`BrokerDisconnectedError`).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, breakEverything, Project, StanCluster } from './dependant.mjs';

const MOLECULER = '0.14.36';

const BROKER = `
  const { ServiceBroker } = require('moleculer');
  const [nodeID, servers] = process.argv.slice(2);
  const broker = new ServiceBroker({
    nodeID,
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

const project = new Project();
const cluster = await StanCluster.start({ nodes: 3 });
try {
  await project.install({ moleculer: MOLECULER });
  const servers = cluster.urls.join(',');
  await project.start('service', SERVICE, 'service', servers);
  const caller = await project.start('caller', CALLER, 'caller', servers);
  /** Between two of these there was a cluster, and requests were answered. */
  const answers = [0];
  await breakEverything(cluster, async (done) => {
    const { answered } = await ask(caller, 'counts');
    console.log(`${done}, after ${answered} answers`);
    if (done !== 'all are back') answers.push(answered);
  });
  let last = await ask(caller, 'stop');
  const settled = () => last.answered + last.refused + last.failed === last.asked || project.ended.length > 0;
  for (let waited = 0; waited < 60 && !settled(); waited++) {
    await sleep(1000);
    last = await ask(caller, 'counts');
  }
  console.log(last, project.ended);
  answers.push(last.answered);
  const goesOn = answers.every((answered, i) => i === 0 || answered > answers[i - 1] + 50);
  const settledAll = last.failed === 0 && last.answered + last.refused === last.asked;
  const fine = project.ended.length === 0 && settledAll && goesOn;
  process.exitCode = fine ? 0 : 1;
} finally {
  project.remove();
  await cluster.stop();
}
process.exit();
