/**
 * The files for containers. There is no Docker and no Kubernetes here: the files are parsed, and held against what the worker does
 * when it is asked and told the same things as a process. The servers of the Compose file are started with its own arguments.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { ResilientStan } from '../../src/index.js';
import { resolveServer, StanCluster, waitFor, type StanNode } from '../../src/testing/index.js';
import { releasePorts, takePorts } from '../../src/testing/ports.js';
import { CopiedExamples, ROOT, type Run } from '../support/copied.js';
import { ServerProcess } from '../support/server-process.js';

const PATIENCE = 60_000;
const DEPLOY = join(ROOT, 'examples/deploy');
const read = (file: string): string => readFileSync(join(DEPLOY, file), 'utf8');

/** How long `close()` of the worker takes at most, in ms. */
const CLOSE = Number(/close\(\{ timeout: ([\d_]+) \}\)/.exec(read('worker.mjs'))![1]!.replace('_', ''));

interface Probe {
  httpGet: { path: string; port: string };
  periodSeconds: number;
  failureThreshold: number;
}
interface Container {
  env: { name: string; value?: string; valueFrom?: { fieldRef: { fieldPath: string } } }[];
  ports: { name: string; containerPort: number }[];
  readinessProbe: Probe;
  livenessProbe: Probe;
}
interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string };
  spec: {
    clusterIP?: string;
    ports?: { port: number }[];
    serviceName?: string;
    replicas?: number;
    selector: { matchLabels?: Record<string, string> } & Record<string, unknown>;
    maxUnavailable?: number;
    template?: {
      metadata: { labels: Record<string, string> };
      spec: { terminationGracePeriodSeconds: number; containers: Container[] };
    };
  };
}
interface Compose {
  services: Record<
    string,
    {
      image?: string;
      build?: string;
      command?: string;
      environment?: Record<string, string>;
      healthcheck?: { test: string[] };
      stop_grace_period?: string;
      volumes?: string[];
    }
  >;
  volumes: Record<string, unknown>;
}

describe('the files for containers', function () {
  this.timeout(120_000);
  let cluster: StanCluster;
  let server: StanNode;
  let project: CopiedExamples;
  const manifests = parseAllDocuments(read('kubernetes.yaml')).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as Manifest;
  });
  const [service, statefulSet, budget] = manifests as [Manifest, Manifest, Manifest];
  const pod = statefulSet.spec.template!;
  const [container] = pod.spec.containers as [Container];
  const compose = parse(read('compose.yaml'), { merge: true }) as Compose;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single' });
    server = cluster.nodes[0]!;
    project = new CopiedExamples('module');
    project.copy('deploy/probes.mjs');
  });
  after(async () => {
    project?.remove();
    await cluster?.stop();
  });

  async function startWorker(
    env: Record<string, string>,
  ): Promise<{ run: Run; status: (path: string) => Promise<number> }> {
    const run = project.start(['deploy/worker.mjs'], { ...env, PORT: '0' });
    const [, port] = await run.says(/listens on port (\d+)/);
    return { run, status: async (path) => (await fetch(`http://localhost:${port}${path}`)).status };
  }
  const becomes = (probe: () => Promise<number>, expected: number, run: Run): Promise<unknown> =>
    waitFor(async () => ((await probe()) === expected ? true : undefined), {
      timeout: PATIENCE,
      what: () => `it did not become ${expected}; ${run.said}`,
    });

  it('kubernetes.yaml: a StatefulSet whose pods are called as their clients, behind a service for their names', () => {
    assert.deepEqual(
      manifests.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`),
      ['v1 Service', 'apps/v1 StatefulSet', 'policy/v1 PodDisruptionBudget'],
    );
    const { labels } = pod.metadata;
    assert.equal(statefulSet.spec.serviceName, service.metadata.name);
    assert.equal(service.spec.clusterIP, 'None');
    assert.deepEqual(service.spec.selector, labels);
    assert.deepEqual(statefulSet.spec.selector.matchLabels, labels);
    assert.deepEqual(budget.spec.selector.matchLabels, labels);
    assert.equal(budget.spec.maxUnavailable, 1);
    assert.ok(statefulSet.spec.replicas! > 1);
    const names = container.env.map(({ name }) => name);
    assert.deepEqual(names, ['CLIENT_ID', 'STAN_SERVERS', 'STAN_CLUSTER_ID', 'PORT']);
    for (const name of names)
      assert.match(read('worker.mjs'), new RegExp(`^  ${name} = `, 'm'), `the worker reads no ${name}`);
    assert.equal(container.env[0]!.valueFrom!.fieldRef.fieldPath, 'metadata.name');
    assert.equal(container.env[3]!.value, String(container.ports[0]!.containerPort));
    assert.equal(service.spec.ports![0]!.port, container.ports[0]!.containerPort);
  });

  it('kubernetes.yaml: ready by /ready, with patience for an election; alive by /live; time enough to close', () => {
    const { readinessProbe: ready, livenessProbe: live } = container;
    assert.deepEqual([ready.httpGet.path, live.httpGet.path], ['/ready', '/live']);
    for (const { httpGet } of [ready, live]) assert.equal(httpGet.port, container.ports[0]!.name);
    // An election takes up to 8 s with the server's own timings, and now and then as long again.
    assert.ok(ready.periodSeconds * ready.failureThreshold >= 20);
    assert.ok(pod.spec.terminationGracePeriodSeconds * 1000 > CLOSE);
  });

  it('the worker is ready when it can work, alive in an outage, and ends at SIGTERM; a new one of its name goes on', async () => {
    const env = { STAN_SERVERS: cluster.urls.join(','), STAN_CLUSTER_ID: cluster.clusterId, CLIENT_ID: 'worker-0' };
    const { readinessProbe, livenessProbe } = container;
    await server.kill();
    const { run, status } = await startWorker(env);
    const ready = (): Promise<number> => status(readinessProbe.httpGet.path);
    const live = (): Promise<number> => status(livenessProbe.httpGet.path);
    assert.deepEqual([await ready(), await live()], [503, 200], 'without a cluster');
    await server.start();
    await becomes(ready, 200, run);
    await using stan = await ResilientStan.connect(cluster.urls, cluster.connectOptions);
    await stan.publish('orders', 'one');
    await run.says(/worker-0 handles one/);

    await server.kill();
    await becomes(ready, 503, run);
    assert.equal(await live(), 200, 'in an outage');
    await server.start();
    await becomes(ready, 200, run);
    run.child.kill('SIGTERM');
    assert.equal(await run.ended, 0, run.said);

    await stan.publish('orders', 'two');
    const next = await startWorker(env);
    await next.run.says(/worker-0 handles two/);
    assert.doesNotMatch(next.run.stdout, /handles one/, 'its durable did not go on');
    next.run.child.kill('SIGTERM');
    assert.equal(await next.run.ended, 0, next.run.said);
  });

  it('two pods of one name: the new one waits for the old one, and takes over', async () => {
    const env = { STAN_SERVERS: cluster.urls.join(','), STAN_CLUSTER_ID: cluster.clusterId, CLIENT_ID: 'worker-1' };
    const old = await startWorker(env);
    await becomes(() => old.status('/ready'), 200, old.run);
    const young = await startWorker(env);
    await waitFor(() => (/worker-1/.test(young.run.stderr) ? true : undefined), {
      timeout: PATIENCE,
      what: () => `it does not tell of the conflict; ${young.run.said}`,
    });
    assert.deepEqual([await young.status('/ready'), await young.status('/live')], [503, 200]);
    old.run.child.kill('SIGTERM');
    await becomes(() => young.status('/ready'), 200, young.run);
    young.run.child.kill('SIGTERM');
    assert.equal(await young.run.ended, 0, young.run.said);
  });

  it('probes.mjs says that a client is not alive when it is closed, and only then', async () => {
    const { serveProbes } = (await import(join(DEPLOY, 'probes.mjs'))) as {
      serveProbes: (stan: ResilientStan, port: number) => Server;
    };
    const stan = ResilientStan.create(cluster.urls, cluster.connectOptions);
    const probes = serveProbes(stan, 0);
    await once(probes, 'listening');
    const live = async (): Promise<number> =>
      (await fetch(`http://localhost:${(probes.address() as AddressInfo).port}/live`)).status;
    assert.equal(await live(), 200);
    await stan.connected();
    assert.equal(await live(), 200);
    await stan.close();
    assert.equal(await live(), 503);
    probes.close();
  });

  it('compose.yaml: its servers make a cluster, and its workers are alive by /live', async () => {
    const servers = Object.entries(compose.services).filter(([, { image }]) => image !== undefined);
    const workers = Object.entries(compose.services).filter(([, { build }]) => build !== undefined);
    assert.deepEqual(
      servers.map(([name]) => name),
      ['a', 'b', 'c'],
    );
    assert.deepEqual(Object.keys(compose.volumes), ['a', 'b', 'c']);
    for (const [name, { environment, healthcheck, stop_grace_period }] of workers) {
      assert.equal(environment!['CLIENT_ID'], name);
      assert.equal(environment!['STAN_SERVERS'], servers.map(([server]) => `nats://${server}:4222`).join());
      assert.match(healthcheck!.test.join(' '), /localhost:8080\/live/);
      assert.ok(parseInt(stop_grace_period!) * 1000 > CLOSE);
    }
    assert.match(read('worker.mjs'), /PORT = '8080'/);

    // The hosts a, b and c are ports of this machine, and their volumes are folders.
    const ports = await takePorts(6);
    const binary = await resolveServer();
    const processes = servers.map(([name, { image, command, volumes }], index) => {
      assert.equal(image, 'nats-streaming:0.25.6');
      assert.deepEqual(volumes, [`${name}:/data`]);
      const args = command!
        .replace('0.0.0.0:6222', `127.0.0.1:${ports[index]}`)
        .replaceAll(/nats:\/\/([abc]):6222/g, (_all, host: string) => `nats://127.0.0.1:${ports['abc'.indexOf(host)]}`)
        .replaceAll('/data', project.folder(`data-${name}`))
        .split(' ');
      return new ServerProcess(binary, [...args, '-a', '127.0.0.1', '-p', String(ports[3 + index])], project.dir);
    });
    try {
      const { environment } = workers[0]![1];
      await using stan = await ResilientStan.connect(
        ports.slice(3).map((port) => `nats://127.0.0.1:${port}`),
        { clusterId: environment!['STAN_CLUSTER_ID']!, clientId: 'worker-0', initialConnect: { retries: 30 } },
      );
      await stan.publish('orders', 'stored by a majority');
      await Promise.all(processes.map((each, index) => each.logs(new RegExp(`Cluster Node ID : ${'abc'[index]}`))));
    } finally {
      await Promise.all(processes.map((each) => each.kill()));
      releasePorts(ports);
    }
  });

  it('Dockerfile: node is the process that gets the signals', () => {
    assert.match(read('Dockerfile'), /^CMD \["node", "worker\.mjs"\]$/m);
    const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
    assert.deepEqual(Object.keys(dependencies), ['resilient-stan']);
  });
});
