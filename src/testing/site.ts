/** The ports, directory, proxies and keys of a cluster. They are taken before its servers start, and released after they end. */
import { randomBytes } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CheckedClusterOptions } from './cluster-options.js';
import { nodeName, type NodeConfig, type NodePorts } from './config.js';
import { Network } from './network.js';
import { releasePorts, takePorts, takePortsFrom } from './ports.js';
import { randomFrom } from './random.js';
import { reaper, TEMPORARY_PREFIX } from './reaper.js';
import { prepareSecurity, type Security } from './security.js';

/** An address where nothing listens. Servers behind proxies announce it, so that no other server goes around the proxies. */
const NOWHERE = '127.0.0.1:1';

/** A node's name and ports. */
interface Place {
  name: string;
  ports: NodePorts;
}

export class Site {
  readonly #options: CheckedClusterOptions;
  readonly #cleanups: (() => void | Promise<void>)[] = [];
  dir = '';
  places: readonly Place[] = [];
  network: Network | undefined;
  security: Security = { connectOptions: {}, config: {} };

  private constructor(options: CheckedClusterOptions) {
    this.#options = options;
  }

  /** Takes everything. When something cannot be taken it rejects, and keeps nothing. */
  static async take(options: CheckedClusterOptions): Promise<Site> {
    const site = new Site(options);
    try {
      await site.#takeAll();
      return site;
    } catch (error) {
      await site.release();
      throw error;
    }
  }

  /** Whether the directory is removed at the end. */
  get temporary(): boolean {
    return this.#options.dir === undefined;
  }

  /** Releases everything, in the opposite order. */
  async release(): Promise<void> {
    for (let cleanup = this.#cleanups.pop(); cleanup; cleanup = this.#cleanups.pop()) await cleanup();
  }

  /** The configuration of the server at a place. */
  configOf({ name, ports }: Place): NodeConfig {
    const { mode, clusterId, store, raft, config } = this.#options;
    const home = this.home(name);
    const proxy = this.network?.clients(name);
    return {
      name,
      mode,
      clusterId,
      store,
      ports,
      routes:
        this.network?.routesOf(name) ??
        this.places.filter((other) => other.name !== name).map((other) => `127.0.0.1:${other.ports.route}`),
      peers: this.places.map((place) => place.name),
      storeDir: mode === 'fault-tolerant' ? join(this.dir, 'store') : join(home, 'store'),
      raftDir: join(home, 'raft'),
      raft,
      advertise: proxy && { client: `127.0.0.1:${proxy.port}`, route: NOWHERE },
      extra: [this.security.config, config ?? {}],
    };
  }

  /** The directory of one node. */
  home(name: string): string {
    return join(this.dir, name);
  }

  async #takeAll(): Promise<void> {
    const { nodes, mode, proxied, port, seed, tls, auth } = this.#options;
    const routed = mode !== 'single';
    const ports =
      port === undefined
        ? await takePorts(3 * nodes + (proxied ? Network.portsNeeded(nodes, routed) : 0))
        : await takePortsFrom(port, nodes);
    this.#cleanups.push(() => releasePorts(ports));
    this.places = Array.from({ length: nodes }, (_, i) => {
      const [client, monitor, route] = ports.slice(3 * i, 3 * i + 3) as [number, number, number];
      return { name: nodeName(i), ports: { client, monitor, route } };
    });
    if (proxied) {
      const network = await Network.create(this.places, ports.slice(3 * nodes), routed, randomFrom(seed));
      this.network = network;
      this.#cleanups.push(() => network.close());
    }
    await this.#takeDirectory();
    this.security = await prepareSecurity(this.dir, tls, auth);
  }

  async #takeDirectory(): Promise<void> {
    if (this.#options.dir !== undefined) {
      this.dir = this.#options.dir;
      await mkdir(this.dir, { recursive: true });
      return;
    }
    // The real path is used, because the servers may see a link on the way (as /tmp on macOS) in another way.
    const dir = join(realpathSync(tmpdir()), `${TEMPORARY_PREFIX}${randomBytes(8).toString('hex')}`);
    reaper.guard(dir); // before it exists, so that it is never left behind
    this.#cleanups.push(async () => {
      await rm(dir, { recursive: true, force: true });
      reaper.release(dir);
    });
    this.dir = dir;
    await mkdir(dir, { mode: 0o700 });
  }
}
