/** The ports, directory, proxies and keys of a cluster. They are taken before its servers start, and released after they end. */
import { randomBytes } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeName, type NatsConfig, type NodePorts } from './config.js';
import { Network } from './network.js';
import { releasePorts, takePorts, takePortsFrom } from './ports.js';
import { randomFrom } from './random.js';
import { reaper, TEMPORARY_PREFIX } from './reaper.js';
import type { ServerNodeSettings } from './server-node.js';
import { prepareSecurity, type AuthOption, type Security, type TlsOption } from './security.js';

/** An address where nothing listens. Servers behind proxies announce it, so that no other server goes around the proxies. */
const NOWHERE = '127.0.0.1:1';

/** What a cluster wants to stand on. */
export interface SiteOptions {
  nodes: number;
  /** Whether the nodes dial each other. */
  routed: boolean;
  proxied: boolean;
  port: number | undefined;
  seed: number;
  dir: string | undefined;
  tls: TlsOption;
  auth: AuthOption | undefined;
}

/** A node's name and ports. */
export interface Place {
  name: string;
  ports: NodePorts;
}

export class Site {
  readonly #options: SiteOptions;
  readonly #cleanups: (() => void | Promise<void>)[] = [];
  dir = '';
  places: readonly Place[] = [];
  network: Network | undefined;
  security: Security = { connectOptions: {}, config: {} };

  private constructor(options: SiteOptions) {
    this.#options = options;
  }

  /** Takes everything. When something cannot be taken it rejects, and keeps nothing. */
  static async take(options: SiteOptions): Promise<Site> {
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

  /** How the server at a place is reached, by clients and by the other servers. */
  addressesOf({ name, ports }: Place): Pick<NatsConfig, 'name' | 'ports' | 'joined' | 'routes' | 'advertise'> {
    const proxy = this.network?.clients(name);
    return {
      name,
      ports,
      joined: this.#options.routed,
      routes:
        this.network?.routesOf(name) ??
        this.places.filter((other) => other.name !== name).map((other) => `127.0.0.1:${other.ports.route}`),
      advertise: proxy && { client: `127.0.0.1:${proxy.port}`, route: NOWHERE },
    };
  }

  /** What a node at a place has from the site. */
  footingOf({
    name,
    ports,
  }: Place): Pick<ServerNodeSettings, 'name' | 'ports' | 'dir' | 'url' | 'proxy' | 'onListening' | 'onEnd'> {
    const { network } = this;
    const proxy = network?.clients(name);
    return {
      name,
      ports,
      dir: this.home(name),
      url: `nats://127.0.0.1:${proxy?.port ?? ports.client}`,
      proxy,
      onListening: network && (() => network.up(name)),
      onEnd: network && (() => void network.down(name)),
    };
  }

  /** The directory of one node. */
  home(name: string): string {
    return join(this.dir, name);
  }

  /** The directory in which JetStream of one node stores. */
  jetstreamDir(name: string): string {
    return join(this.home(name), 'jetstream');
  }

  async #takeAll(): Promise<void> {
    const { nodes, routed, proxied, port, seed, tls, auth } = this.#options;
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
