import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError } from '../../src/errors.js';
import { ServerStartError, StanCluster, type ClusterOptions } from '../../src/testing/index.js';

async function failure<T extends Error>(promise: Promise<unknown>, kind: new (...args: never[]) => T): Promise<T> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `${kind.name} expected, got ${String(error)}`);
    return error;
  }
  throw new assert.AssertionError({ message: 'nothing failed' });
}

describe('testing: StanCluster, one server', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'single-test-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('boots in memory, and removes its temporary directory', async () => {
    const cluster = await StanCluster.start({ mode: 'single', store: 'memory', clusterId: 'other' });
    const node = cluster.nodes[0];
    assert.ok(node);
    assert.equal(await cluster.leader(), node);
    assert.equal((await node.monitor.serverz())?.state, 'STANDALONE');
    assert.equal((await node.monitor.serverz())?.cluster_id, 'other');
    assert.ok(existsSync(cluster.dir));
    await cluster.stop();
    assert.equal(node.running, false);
    assert.equal(existsSync(cluster.dir), false);
    await cluster.stop(); // idempotent
  });

  it('keeps a directory it was given', async () => {
    const cluster = await StanCluster.start({ mode: 'single', dir });
    await cluster.stop();
    assert.ok(existsSync(join(dir, 'a', 'store')));
    assert.ok(
      cluster.nodes[0]?.log().some((line) => line.includes('Server Exiting')),
      'stopped gently',
    );
  });

  it('is disposed of by `await using`', async () => {
    let seen: StanCluster;
    {
      await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
      seen = cluster;
      assert.equal(cluster.nodes[0]?.running, true);
    }
    assert.equal(seen.nodes[0]?.running, false);
  });

  it("passes on configuration in the server's own words", async () => {
    await using cluster = await StanCluster.start({
      mode: 'single',
      store: 'memory',
      config: { max_payload: 4096, streaming: { store_limits: { max_channels: 7 } } },
    });
    const storez = await cluster.nodes[0]?.monitor.get<{ limits: { max_channels: number } }>('/streaming/storez');
    assert.equal(storez?.limits.max_channels, 7);
    const varz = await cluster.nodes[0]?.monitor.get<{ max_payload: number }>('/varz');
    assert.equal(varz?.max_payload, 4096);
  });

  it("shows the server's own words when it refuses its configuration", async () => {
    const error = await failure(
      StanCluster.start({ mode: 'single', store: 'memory', config: { max_payload: 'plenty' } }),
      ServerStartError,
    );
    assert.equal(error.code, 'ERR_STAN_SERVER_START');
    assert.equal(error.node, 'a');
    assert.match(error.message, /node 'a' did not start: the server refused to run\./);
    assert.match(error.message, /max_payload|plenty|int64/);
    assert.ok(error.log.length > 0);
  });

  it('tells what is wrong with a program that is no server once it runs', async () => {
    // It answers --version, and nothing else.
    const { chmod, writeFile } = await import('node:fs/promises');
    const server = join(dir, 'server');
    await writeFile(
      server,
      '#!/bin/sh\n[ "$1" = --version ] && echo "nats-streaming-server version 0.25.6," && exit\necho no today; exit 4\n',
    );
    await chmod(server, 0o755);
    const error = await failure(StanCluster.start({ mode: 'single', server }), ServerStartError);
    assert.match(error.message, /The last the server wrote:\n {2}no today/);
  });

  describe('when somebody has taken a port', () => {
    let intruder: Server | undefined;
    afterEach(async () => {
      if (intruder?.listening) {
        intruder.close();
        await once(intruder, 'close');
      }
    });

    async function occupy(port: number): Promise<void> {
      intruder = createServer();
      intruder.listen(port, '127.0.0.1');
      await once(intruder, 'listening');
    }

    for (const which of ['client', 'monitor'] as const) {
      it(`says which (${which}), and starts when it is free again`, async () => {
        await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
        const node = cluster.nodes[0];
        assert.ok(node);
        await node.kill();
        await occupy(node.ports[which]);
        const error = await failure(node.start({ timeout: 1500 }), ServerStartError);
        assert.equal(error.addressInUse, `127.0.0.1:${node.ports[which]}`);
        assert.match(error.message, new RegExp(`somebody else listens on 127\\.0\\.0\\.1:${node.ports[which]}`));
        assert.equal(node.running, false);

        const started = node.start();
        intruder?.close();
        await started;
        await cluster.ready();
      });
    }
  });

  it('starts once for calls at the same time, and ends what is still starting', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const node = cluster.nodes[0];
    assert.ok(node);
    await node.start(); // it runs
    assert.equal(node.lives, 1);
    await node.kill();
    await Promise.all([node.start(), node.start()]);
    assert.equal(node.lives, 2);
    await node.kill();
    const starting = assert.rejects(node.start(), { code: 'ERR_STAN_ABORTED', message: /stopped while it started/ });
    while (!node.running) await new Promise((resolve) => setImmediate(resolve));
    await node.kill();
    await starting;
    assert.equal(node.running, false);
    // Started again while it is being stopped: the one after the other.
    await node.start();
    const stopped = node.stop();
    await Promise.all([stopped, node.start()]);
    assert.equal(node.running, true);
    assert.equal(node.lives, 5);
  });

  it('refuses what a node that is down cannot do', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const node = cluster.node('a');
    await node.kill();
    await node.kill();
    await node.stop();
    await node.resume();
    await assert.rejects(node.pause(), /node 'a' is down: start it before pause/);
    assert.throws(() => cluster.node('b'), /there is no node 'b'; there are: a/);
  });

  it('writes the logs out', async () => {
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const [file] = await cluster.writeLogs(join(dir, 'logs'));
    assert.equal(file, join(dir, 'logs', 'test-cluster-a.log'));
    const text = await readFile(file, 'utf8');
    assert.match(text, /^\[harness\] .* node 'a' started \(life 1\)\n/);
    assert.match(text, /STREAM: Streaming Server is ready\n$/);
  });

  it('refuses options that can never work', async () => {
    const refused = async (options: unknown, argument: string, message: RegExp): Promise<void> => {
      const error = await failure(StanCluster.start(options as ClusterOptions), InvalidArgumentError);
      assert.equal(error.argument, argument);
      assert.match(error.message, message);
    };
    await refused({ node: 3 }, 'node', /there is no option 'node': did you mean 'nodes'\?/);
    await refused({ nodes: 0 }, 'nodes', /whole number from 1 to 25, not 0/);
    await refused({ nodes: 2.5 }, 'nodes', /whole number/);
    await refused({ nodes: 3, mode: 'single' }, 'nodes', /is 3, and mode 'single' is one server/);
    await refused({ mode: 'ha' }, 'mode', /'clustered', 'fault-tolerant' or 'single', not 'ha'/);
    await refused({ store: 'sql' }, 'store', /'file' or 'memory'/);
    await refused({ store: 'memory' }, 'store', /which the server refuses in mode 'clustered'/);
    await refused({ clusterId: 'a b' }, 'clusterId', /space/);
    await refused({ raft: { heartbeat: 100, election: 50 } }, 'raft', /lease ≤ heartbeat ≤ election/);
    await refused({ raft: { hartbeat: 100 } }, 'raft.hartbeat', /did you mean 'raft.heartbeat'/);
    await refused({ raft: { heartbeat: '1s' } }, 'raft.heartbeat', /whole number of milliseconds/);
    await refused({ raft: 'fast' }, 'raft', /'default' or an object/);
    await refused({ server: '' }, 'server', /is an empty string/);
    await refused({ config: 3 }, 'config', /must be an object/);
    await refused({ startTimeout: -1 }, 'startTimeout', /milliseconds/);
  });
});
