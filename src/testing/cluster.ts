import { randomBytes } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ResilientStanError, TimeoutError } from '../errors.js';
import { checkClusterOptions, type CheckedClusterOptions, type ClusterOptions } from './cluster-options.js';
import { nodeName, type ClusterMode } from './config.js';
import { ServerStartError } from './errors.js';
import { StanNode } from './node.js';
import { releasePorts, takePorts } from './ports.js';
import { reaper, TEMPORARY_PREFIX } from './reaper.js';
import { resolveServer } from './server-binary/index.js';
import { waitFor } from './wait.js';

/** How often other ports are tried when somebody takes ours between finding and using them. */
const PORT_TRIES = 4;

export interface WaitingOptions {
  /** ms. Default 15 000. */
  timeout?: number;
}

/**
 * A real NATS Streaming cluster on this machine, in your hands:
 *
 * ```ts
 * await using cluster = await StanCluster.start({ nodes: 3 });
 * const stan = await ResilientStan.connect(cluster.urls);
 * const leader = await cluster.leader();
 * await leader.kill();
 * ```
 *
 * Needs a POSIX system. No server outlives the process, however that ends.
 */
export class StanCluster {
  readonly mode: ClusterMode;
  readonly clusterId: string;
  /** Configuration, stores, Raft logs. */
  readonly dir: string;
  readonly nodes: readonly StanNode[];

  readonly #temporary: boolean;
  readonly #ports: readonly number[];
  #stopping: Promise<void> | undefined;

  private constructor(options: CheckedClusterOptions, server: string, dir: string, ports: readonly number[]) {
    this.mode = options.mode;
    this.clusterId = options.clusterId;
    this.dir = dir;
    this.#temporary = options.dir === undefined;
    this.#ports = ports;

    const names = Array.from({ length: options.nodes }, (_, i) => nodeName(i));
    const portsOf = names.map((_, i) => {
      const [client, monitor, route] = ports.slice(3 * i, 3 * i + 3) as [number, number, number];
      return { client, monitor, route };
    });
    this.nodes = names.map((name, i) => {
      const own = join(dir, name);
      return new StanNode({
        server,
        dir: own,
        url: `nats://127.0.0.1:${portsOf[i]?.client}`,
        config: {
          name,
          mode: options.mode,
          clusterId: options.clusterId,
          store: options.store,
          ports: portsOf[i] as { client: number; monitor: number; route: number },
          routes: portsOf.filter((_, j) => j !== i).map((other) => `127.0.0.1:${other.route}`),
          peers: names,
          storeDir: options.mode === 'fault-tolerant' ? join(dir, 'store') : join(own, 'store'),
          raftDir: join(own, 'raft'),
          raft: options.raft,
          extra: options.config,
        },
      });
    });
  }

  /**
   * Boots a cluster. Resolves when it serves, and every node is in it.
   * @throws InvalidArgumentError; ServerBinaryError when there is no server to run; ServerStartError with the server's
   * own words when it refuses; TimeoutError. Whatever was started is ended again.
   */
  static async start(options: ClusterOptions = {}): Promise<StanCluster> {
    const checked = checkClusterOptions(options);
    if (process.platform === 'win32') {
      throw new ResilientStanError(
        'ERR_STAN_SERVER_START',
        'the harness needs a POSIX system, to freeze and end processes by signals: run it in WSL or in a container',
      );
    }
    const server = await resolveServer(checked.server === undefined ? {} : { server: checked.server });
    for (let tries = 1; ; tries++) {
      try {
        return await StanCluster.#boot(checked, server);
      } catch (error) {
        // Somebody took a port between our looking and the server's listening.
        if (tries < PORT_TRIES && error instanceof ServerStartError && error.addressInUse !== undefined) continue;
        throw error;
      }
    }
  }

  static async #boot(options: CheckedClusterOptions, server: string): Promise<StanCluster> {
    const deadline = performance.now() + options.startTimeout;
    const ports = await takePorts(3 * options.nodes);
    let dir = options.dir;
    if (dir === undefined) {
      // The real path: the servers are told it, and a link on the way (macOS: /tmp) may not mean the same to them.
      dir = join(realpathSync(tmpdir()), `${TEMPORARY_PREFIX}${randomBytes(8).toString('hex')}`);
      reaper.guard(dir); // before it exists: there is no instant at which it would be left behind
    }
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const cluster = new StanCluster(options, server, dir, ports);
    try {
      const left = () => Math.max(Math.round(deadline - performance.now()), 1);
      await Promise.all(cluster.nodes.map((node) => node.start({ timeout: left() })));
      await cluster.settled({ timeout: left() });
      return cluster;
    } catch (error) {
      await cluster.#end('kill');
      throw error;
    }
  }

  /** Where clients connect. */
  get urls(): string[] {
    return this.nodes.map((node) => node.url);
  }

  /** The node called `name` (`a`, `b`, …). */
  node(name: string): StanNode {
    const found = this.nodes.find((node) => node.name === name);
    if (!found) {
      const names = this.nodes.map((node) => node.name).join(', ');
      throw new ResilientStanError('ERR_STAN_INVALID_ARGUMENT', `there is no node '${name}'; there are: ${names}`);
    }
    return found;
  }

  /**
   * The node that serves: the leader, the active one, or the only one. Waits for one. A frozen node is none, and of two
   * that both believe it is the later.
   * @throws TimeoutError
   */
  leader(options: WaitingOptions = {}): Promise<StanNode> {
    const { timeout = 15_000 } = options;
    return waitFor(() => this.findLeader(), { timeout, what: () => `no node leads. ${this.#overview()}` });
  }

  /** Fault-tolerant mode's word for {@link leader}. */
  active(options: WaitingOptions = {}): Promise<StanNode> {
    return this.leader(options);
  }

  /** The node that serves at this moment, if there is one. */
  async findLeader(): Promise<StanNode | undefined> {
    // By their logs first: it says "ready", where the monitoring says "Leader" before the promotion is through.
    const candidates = this.nodes
      .filter((node) => node.serving && !node.paused)
      .sort((x, y) => y.servingSince - x.servingSince);
    for (const node of candidates) {
      const said = await node.monitor.serverz();
      const leads = this.mode === 'clustered' ? said?.role === 'Leader' : said !== undefined;
      if (leads && node.serving && !node.paused) return node;
    }
    return undefined;
  }

  /**
   * Resolves when the cluster serves clients.
   * @throws TimeoutError
   */
  async ready(options: WaitingOptions = {}): Promise<void> {
    await this.leader(options);
  }

  /**
   * Resolves when the cluster serves clients and every node that runs and is not paused is a part of it: follows the
   * leader, or stands by. The moment from which the next node may be taken down.
   * @throws TimeoutError
   */
  async settled(options: WaitingOptions = {}): Promise<void> {
    const { timeout = 15_000 } = options;
    await waitFor(async () => ((await this.#isSettled()) ? true : undefined), {
      timeout,
      what: () => `not every node is in the cluster. ${this.#overview()}`,
    });
  }

  async #isSettled(): Promise<boolean> {
    const leader = await this.findLeader();
    if (!leader) return false;
    if (this.mode === 'single') return true;
    const members = this.nodes.filter((node) => node.running && !node.paused);
    const joined = await Promise.all(
      members.map(async (node) => {
        // A Raft node is a follower from its first moment on: that it is in touch with the others, its routes tell.
        const [serverz, routez] = await Promise.all([node.monitor.serverz(), node.monitor.routez()]);
        if (!serverz || !routez || routez.num_routes < members.length - 1) return false;
        if (node === leader) return true;
        return this.mode === 'fault-tolerant' ? node.standby : serverz.role === 'Follower';
      }),
    );
    return joined.every(Boolean);
  }

  #overview(): string {
    return this.nodes
      .map((node) => {
        const state = !node.running
          ? 'down'
          : node.paused
            ? 'paused'
            : node.serving
              ? 'serving'
              : node.standby
                ? 'standing by'
                : 'running';
        return `${node.name}: ${state}`;
      })
      .join(', ');
  }

  /** Writes every node's log to `<dir>/<cluster ID>-<node>.log`: for when a run fails. Returns the files. */
  async writeLogs(dir: string): Promise<string[]> {
    await mkdir(dir, { recursive: true });
    return Promise.all(
      this.nodes.map(async (node) => {
        const file = join(dir, `${this.clusterId}-${node.name}.log`);
        await writeFile(
          file,
          node
            .log()
            .map((line) => `${line}\n`)
            .join(''),
        );
        return file;
      }),
    );
  }

  /** Ends all servers, paused or not, and removes the directory unless it was given. Idempotent. */
  stop(): Promise<void> {
    // What is thrown away needs no good-bye.
    this.#stopping ??= this.#end(this.#temporary ? 'kill' : 'stop');
    return this.#stopping;
  }

  async #end(how: 'kill' | 'stop'): Promise<void> {
    const ended = await Promise.allSettled(this.nodes.map((node) => node[how]()));
    releasePorts(this.#ports);
    if (this.#temporary) {
      await rm(this.dir, { recursive: true, force: true });
      reaper.release(this.dir);
    }
    const failed = ended.find((outcome) => outcome.status === 'rejected');
    if (failed && !(failed.reason instanceof TimeoutError)) throw failed.reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
