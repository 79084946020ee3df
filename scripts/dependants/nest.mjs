/**
 * Nest 10 with the transport plugin for NATS Streaming, and the package of `alias-package.mjs` in the place of node-nats-streaming:
 * `npm run build && node scripts/dependants/nest.mjs [--original]`. A publisher and a listener, in a process each, through the deaths
 * of two leaders and 25 s without any server. Exit code 0: each publish has succeeded, each event was handled and none twice, and
 * both processes end when they are told to. A copy is no message that was handled twice: a publish whose acknowledgement died with the
 * leader is sent again, and the cluster stores both. `--original` shows what node-nats-streaming itself makes of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, breakEverything, Project, StanCluster } from './dependant.mjs';

const PACKAGES = {
  '@nestjs-plugins/nestjs-nats-streaming-transport': '1.3.0',
  '@nestjs/common': '10.4.20',
  '@nestjs/core': '10.4.20',
  '@nestjs/microservices': '10.4.20',
};

const NEST = `
  require('reflect-metadata');
  const { NestFactory } = require('@nestjs/core');
  const { Controller, Module } = require('@nestjs/common');
  const { Ctx, EventPattern, Payload } = require('@nestjs/microservices');
  const { Listener, NatsStreamingTransport, Publisher } = require('@nestjs-plugins/nestjs-nats-streaming-transport');
  const [clusterId, servers] = process.argv.slice(2);
  // The original would dial localhost first without an url.
  const connectOptions = { url: servers.split(',')[0], servers: servers.split(','), maxReconnectAttempts: -1 };
  process.on('disconnect', () => process.exit(0));
`;
const LISTENER = `${NEST}
  const handled = new Set();
  const sequences = new Set();
  let twice = 0;
  let copies = 0;
  class Numbers {
    heard({ number }, { message }) {
      const sequence = message.getSequence();
      if (sequences.has(sequence)) twice++;
      else if (handled.has(number)) copies++;
      sequences.add(sequence);
      handled.add(number);
      message.ack();
    }
  }
  Controller()(Numbers);
  EventPattern('numbers')(Numbers.prototype, 'heard', Object.getOwnPropertyDescriptor(Numbers.prototype, 'heard'));
  Payload()(Numbers.prototype, 'heard', 0);
  Ctx()(Numbers.prototype, 'heard', 1);
  class App {}
  Module({ controllers: [Numbers] })(App);
  const subscription = { durableName: 'numbers', manualAckMode: true, deliverAllAvailable: true };
  const strategy = new Listener(clusterId, 'listener', 'group', connectOptions, subscription);
  NestFactory.createMicroservice(App, { strategy, logger: false }).then(async (app) => {
    app.enableShutdownHooks();
    await app.listen();
    process.on('message', () => process.send({ handled: handled.size, twice, copies }));
    process.send('ready');
  });
`;
const PUBLISHER = `${NEST}
  const counts = { asked: 0, published: 0, failed: 0, error: undefined };
  class App {}
  Module({ imports: [NatsStreamingTransport.register({ clusterId, clientId: 'publisher', connectOptions })] })(App);
  NestFactory.createApplicationContext(App, { logger: false }).then((app) => {
    app.enableShutdownHooks();
    const publisher = app.get(Publisher);
    const timer = setInterval(() => {
      publisher.emit('numbers', { number: counts.asked++ }).subscribe({
        next: () => counts.published++,
        error: (error) => { counts.failed++; counts.error = String(error); },
      });
    }, 30);
    process.on('message', (message) => {
      if (message === 'stop') clearInterval(timer);
      process.send(counts);
    });
    process.send('ready');
  });
`;

const original = process.argv.includes('--original');
const project = new Project();
const cluster = await StanCluster.start({ nodes: 3 });
try {
  await project.install(PACKAGES, { original });
  const args = [cluster.clusterId, cluster.urls.join(',')];
  const listener = await project.start('listener', LISTENER, ...args);
  const publisher = await project.start('publisher', PUBLISHER, ...args);
  await breakEverything(cluster, async (done) =>
    console.log(`${done}, after ${(await ask(publisher, 'counts')).published} events`),
  );
  let published = await ask(publisher, 'stop');
  let heard = await ask(listener, 'counts');
  const settled = () =>
    published.published + published.failed === published.asked && heard.handled === published.published;
  for (let waited = 0; waited < 60 && !settled() && project.ended.length === 0; waited++) {
    await sleep(1000);
    published = await ask(publisher, 'counts');
    heard = await ask(listener, 'counts');
  }
  const { ended } = project;
  const ends = [await project.terminate(publisher), await project.terminate(listener)];
  console.log({ ...published, ...heard, ended, ends });
  // Nest sends the signal to itself when it has shut everything down.
  const over = ends.every((how) => how === 0 || how === 'SIGTERM');
  const { asked } = published;
  const complete = published.published === asked && heard.handled === asked && heard.twice === 0;
  process.exitCode = ended.length === 0 && over && complete ? 0 : 1;
} finally {
  project.remove();
  await cluster.stop();
}
process.exit();
