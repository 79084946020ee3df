/** The configuration files of the playground, booted as they are, and the compose files that mount them. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { ResilientStan } from '../../src/index.js';
import { Monitor, resolveServer, waitFor } from '../../src/testing/index.js';

const DIR = fileURLToPath(new URL('../../examples/cluster', import.meta.url));
const urls = (...ports: number[]): string[] => ports.map((port) => `nats://127.0.0.1:${port}`);

/** Servers in a directory that is thrown away. The ports are fixed, so only one set runs at a time. */
class Servers {
  readonly #dir: string;
  readonly #server: string;
  readonly #children: ChildProcess[] = [];
  log = '';

  private constructor(dir: string, server: string) {
    this.#dir = dir;
    this.#server = server;
  }

  static async start(files: readonly string[]): Promise<Servers> {
    for (const port of [4221, 4222, 4223, 6221, 6222, 6223, 8221, 8222, 8223]) {
      assert.equal(await isTaken(port), false, `port ${port} is taken: does the playground's cluster run?`);
    }
    const dir = await mkdtemp(join(tmpdir(), 'resilient-stan-examples-'));
    const servers = new Servers(dir, await resolveServer());
    for (const file of files) servers.#launch(file);
    return servers;
  }

  #launch(file: string): void {
    // On a terminal's Ctrl-C it is in our group, and goes with us.
    const child = spawn(this.#server, ['-c', join(DIR, file)], { cwd: this.#dir, stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (data: Buffer) => (this.log += data.toString()));
    this.#children.push(child);
  }

  async kill(index: number): Promise<void> {
    const child = this.#children[index]!;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      }),
    );
    await rm(this.#dir, { recursive: true, force: true });
  }
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

describe('the cluster files', function () {
  this.timeout(60_000);

  it('a.conf, b.conf and c.conf make a cluster that outlives its leader', async () => {
    await using servers = await Servers.start(['a.conf', 'b.conf', 'c.conf']);
    const monitors = [8221, 8222, 8223].map((port) => new Monitor(port));
    await using stan = await ResilientStan.connect(urls(4221, 4222, 4223), { initialConnect: { retries: 20 } });
    const received: string[] = [];
    await stan.subscribe('foo', (message) => void received.push(message.string()), { startAt: 'first' });
    await stan.publish('foo', 'before');

    const roles = await waitFor(
      async () => {
        const said = await Promise.all(monitors.map((monitor) => monitor.serverz()));
        return said.every((serverz) => serverz?.role === 'Leader' || serverz?.role === 'Follower') ? said : undefined;
      },
      { timeout: 15_000, what: () => `not all three are in the cluster: ${servers.log}` },
    );
    assert.deepEqual(
      roles.map((serverz) => [serverz!.cluster_id, serverz!.node_id, serverz!.state]),
      ['a', 'b', 'c'].map((name) => ['test-cluster', name, 'CLUSTERED']),
    );
    const leader = roles.findIndex((serverz) => serverz!.role === 'Leader');
    assert.notEqual(leader, -1);

    await servers.kill(leader);
    await stan.publish('foo', 'after');
    await waitFor(() => received.includes('after') || undefined, { timeout: 15_000, what: () => String(received) });
    assert.deepEqual(received, ['before', 'after']);
  });

  it('the fault-tolerant pair hands over, with its messages', async () => {
    await using servers = await Servers.start(['fault-tolerant/a.conf', 'fault-tolerant/b.conf']);
    const monitors = [8221, 8222].map((port) => new Monitor(port));
    await using stan = await ResilientStan.connect(urls(4221, 4222), { initialConnect: { retries: 20 } });
    await stan.publish('foo', 'before');
    const states = await waitFor(
      async () => {
        const said = await Promise.all(monitors.map(async (monitor) => (await monitor.serverz())?.state));
        return said.includes('FT_ACTIVE') && said.includes('FT_STANDBY') ? said : undefined;
      },
      { timeout: 15_000, what: () => `there is no pair: ${servers.log}` },
    );
    await servers.kill(states.indexOf('FT_ACTIVE'));
    await stan.publish('foo', 'after');
    const received: string[] = [];
    await stan.subscribe('foo', (message) => void received.push(message.string()), { startAt: 'first' });
    await waitFor(() => received.length >= 2 || undefined, { timeout: 15_000, what: () => String(received) });
    assert.deepEqual(received, ['before', 'after']);
  });
});

interface Compose {
  name: string;
  services: Record<string, Record<string, unknown> & { command: string[]; volumes: string[] }>;
  volumes: Record<string, unknown>;
}

describe('the compose files', () => {
  for (const [file, nodes, home] of [
    ['docker-compose.yml', ['a', 'b', 'c'], '.'],
    ['docker-compose.fault-tolerant.yml', ['a', 'b'], './fault-tolerant'],
  ] as const) {
    it(`${file} runs the release the library is made for, each server on its own configuration`, () => {
      const compose = parse(readFileSync(join(DIR, file), 'utf8'), { merge: true }) as Compose;
      assert.match(compose.name, /^[a-z0-9][a-z0-9_-]*$/);
      assert.deepEqual(Object.keys(compose.services), nodes);
      for (const [name, service] of Object.entries(compose.services)) {
        const { command, volumes, ...rest } = service;
        assert.deepEqual(rest, {
          image: 'nats-streaming:0.25.6',
          // The files speak of 127.0.0.1.
          network_mode: 'host',
          working_dir: '/var/lib/nats-streaming',
          restart: 'no',
        });
        const [mounted, data] = volumes.map((volume) => volume.split(':')) as [string[], string[]];
        assert.deepEqual(mounted, [`${home}/${name}.conf`, `/etc/nats-streaming/${name}.conf`, 'ro']);
        assert.ok(existsSync(join(DIR, mounted[0]!)));
        assert.deepEqual(command, ['-c', mounted[1]]);
        assert.equal(data[1], rest['working_dir']);
        assert.ok(data[0]! in compose.volumes, `volume ${data[0]} is declared`);
      }
    });
  }

  it('each node of the cluster has data of its own, and the fault-tolerant pair shares it', () => {
    const dataOf = (file: string): Set<string> => {
      const { services } = parse(readFileSync(join(DIR, file), 'utf8'), { merge: true }) as Compose;
      return new Set(Object.values(services).map(({ volumes }) => volumes[1]!.split(':')[0]!));
    };
    assert.equal(dataOf('docker-compose.yml').size, 3);
    assert.equal(dataOf('docker-compose.fault-tolerant.yml').size, 1);
  });
});
