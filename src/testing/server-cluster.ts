import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import '../dispose.js';
import { AbortedError, InvalidArgumentError, ResilientStanError, TimeoutError } from '../errors.js';
import { ServerStartError } from './errors.js';
import type { Cut, Network } from './network.js';
import type { Proxy } from './proxy.js';
import { NOT_PROXIED, ServerNode } from './server-node.js';
import type { Site } from './site.js';
import { waitFor, type WaitOptions } from './wait.js';

/** How often the start is tried with other ports, when another process takes one of ours before we listen. */
const PORT_TRIES = 4;

/**
 * How long to wait for the cluster.
 * @category Cluster
 */
export interface WaitingOptions {
  /** Time after which it rejects with a `TimeoutError`, in ms. Default 15 000. */
  timeout?: number;
}

/**
 * What all clusters of the harness have in common: a {@link StanCluster} and a {@link JetStreamCluster}.
 * @typeParam Node what its servers are
 * @category Cluster
 */
export abstract class ServerCluster<Node extends ServerNode = ServerNode> {
  /** The directory with configuration and stores. */
  readonly dir: string;
  /** All nodes, up or down, in the order of their names. */
  readonly nodes: readonly Node[];

  readonly #site: Site;
  readonly #label: string;
  #stopping: Promise<void> | undefined;
  #retired = false;

  /** @internal */
  protected constructor(site: Site, label: string, nodes: readonly Node[]) {
    this.#site = site;
    this.#label = label;
    this.dir = site.dir;
    this.nodes = nodes;
  }

  /** Whether the cluster has proxies. */
  get proxied(): boolean {
    return this.#site.network !== undefined;
  }

  /** The URLs for clients, of all nodes. */
  get urls(): string[] {
    return this.nodes.map((node) => node.url);
  }

  /**
   * The node with this name.
   * @param name `a`, `b`, `c` …
   * @throws InvalidArgumentError (at once) when there is none
   */
  node(name: string): Node {
    const found = this.nodes.find((node) => node.name === name);
    if (found) return found;
    const names = this.nodes.map((node) => node.name).join(', ');
    throw new InvalidArgumentError('name', `there is no node '${name}'; there are: ${names}`);
  }

  /** The node that leads now. Undefined when there is none. */
  abstract findLeader(): Promise<Node | undefined>;

  /**
   * Waits for the node that leads. A frozen node does not count.
   * @throws TimeoutError when no node leads in time
   * @throws AbortedError when the cluster is stopped meanwhile
   */
  leader(options: WaitingOptions = {}): Promise<Node> {
    const { timeout = 15_000 } = options;
    return this.waitFor(() => this.findLeader(), { timeout, what: () => `no node leads. ${this.overview()}` });
  }

  /**
   * Resolves when the cluster serves clients.
   * @throws TimeoutError when no node serves in time
   */
  async ready(options: WaitingOptions = {}): Promise<void> {
    await this.leader(options);
  }

  /**
   * Resolves when the cluster serves clients, and each other node that runs and is not paused is a part of it. From then on the
   * next node may be taken down.
   * @throws TimeoutError when it is not so in time
   * @throws AbortedError when the cluster is stopped meanwhile
   */
  async settled(options: WaitingOptions = {}): Promise<void> {
    const { timeout = 15_000 } = options;
    await this.waitFor(async () => ((await this.isSettled()) ? true : undefined), {
      timeout,
      what: () => `not every node is in the cluster. ${this.overview()}`,
    });
  }

  /**
   * Asks until there is an answer, the time is over, or the cluster is stopped.
   * @internal
   */
  protected waitFor<T>(probe: () => Promise<T | undefined>, options: WaitOptions): Promise<T> {
    return waitFor(() => {
      if (this.#retired) throw new AbortedError('the cluster was stopped, and is not waited for any more');
      return probe();
    }, options);
  }

  /** Whether the cluster is settled now. */
  protected abstract isSettled(): Promise<boolean>;

  /**
   * Resolves when each node that runs and is not paused has stored what the leader had stored at the call. From then on one
   * node may lose its store, and no message is lost.
   * @throws TimeoutError when it is not so in time
   */
  abstract replicated(options?: WaitingOptions): Promise<void>;

  /**
   * Cuts the network between two groups of nodes, in a proxied cluster. Nothing that one group sends reaches the other. As in
   * a real network, connections stay open and are silent, and what was sent arrives after the cut or never.
   *
   * @param one nodes on one side
   * @param other nodes on the other side
   * @param options `oneWay`: cuts only what `one` sends; default false
   * @returns what heals this cut
   * @throws InvalidArgumentError when the cluster is not proxied, or a node is on both sides
   */
  async partition(one: readonly Node[], other: readonly Node[], options: { oneWay?: boolean } = {}): Promise<Cut> {
    const names = (nodes: readonly Node[]) => nodes.map((node) => this.#own(node).name);
    return this.#proxied().partition(names(one), names(other), options.oneWay ?? false);
  }

  /**
   * Cuts one node off from the other nodes, in a proxied cluster. Clients still reach it.
   *
   * @param node the node to cut off
   * @param options `clients`: cuts it off from clients as well; default false
   * @returns what heals this cut
   * @throws InvalidArgumentError when the cluster is not proxied
   */
  async isolate(node: Node, options: { clients?: boolean } = {}): Promise<Cut> {
    return this.#proxied().isolate(this.#own(node).name, options.clients ?? false);
  }

  /**
   * Heals the network of a proxied cluster: removes all cuts and all toxics.
   * @throws InvalidArgumentError when the cluster is not proxied
   */
  async heal(): Promise<void> {
    this.#proxied().heal();
  }

  /**
   * The proxy through which one node dials another, in a proxied cluster. Two nodes keep one connection, and either of them
   * may have dialled it. So a toxic for the pair has to be added to both proxies, `route(a, b)` and `route(b, a)`.
   *
   * @param from the node that dials
   * @param to the node that is dialled
   * @throws InvalidArgumentError (at once) when the cluster is not proxied, or both are the same node
   */
  route(from: Node, to: Node): Proxy {
    if (from === to) throw new InvalidArgumentError('to', `node '${to.name}' does not dial itself`);
    return this.#proxied().route(this.#own(from).name, this.#own(to).name);
  }

  #proxied(): Network {
    if (this.#site.network) return this.#site.network;
    throw new InvalidArgumentError('proxied', NOT_PROXIED);
  }

  #own(node: Node): Node {
    if (this.nodes.includes(node)) return node;
    throw new InvalidArgumentError('node', `${describeNode(node)} is not a node of this cluster`);
  }

  /** The state of each node in a word, for an error. */
  protected overview(): string {
    return this.nodes.map((node) => `${node.name}: ${this.stateOf(node)}`).join(', ');
  }

  /** The state of one node in a word. */
  protected stateOf(node: Node): string {
    return !node.running ? 'down' : node.paused ? 'paused' : 'running';
  }

  /**
   * Writes the log of each node to `<dir>/<name of the cluster>-<node>.log`, for a run that has failed.
   * @param dir directory, which is made if it is not there
   * @returns paths of the files
   */
  async writeLogs(dir: string): Promise<string[]> {
    await mkdir(dir, { recursive: true });
    return Promise.all(
      this.nodes.map(async (node) => {
        const file = join(dir, `${this.#label}-${node.name}.log`);
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

  /** Ends all servers, paused ones as well, and removes the directory unless it was given. It may be called again. */
  stop(): Promise<void> {
    // Servers whose stores are removed need no orderly shutdown.
    this.#stopping ??= this.end(this.#site.temporary ? 'kill' : 'stop');
    return this.#stopping;
  }

  /** @internal Ends all servers for good. Who waits for the cluster waits no longer. */
  async retire(how: 'kill' | 'stop'): Promise<PromiseSettledResult<void>[]> {
    this.#retired = true;
    return await Promise.allSettled(this.nodes.map((node) => node.retire(how)));
  }

  /** Ends all servers, and releases what the cluster stands on. */
  protected async end(how: 'kill' | 'stop'): Promise<void> {
    const ended = await this.retire(how);
    await this.#site.release();
    const failed = ended.find((outcome) => outcome.status === 'rejected');
    if (failed && !(failed.reason instanceof TimeoutError)) throw failed.reason;
  }

  /** Stops the cluster as {@link stop} does, at the end of a scope with `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/**
 * Boots a cluster, again with other ports when another process has taken one of them after we had found it free.
 * @param boot boots it once
 * @param fixed whether the ports were chosen by the user, and others would be wrong
 */
export async function withFreePorts<T>(boot: () => Promise<T>, fixed: boolean): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await boot();
    } catch (error) {
      const taken =
        (error instanceof ServerStartError && error.addressInUse !== undefined) ||
        (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (tries < PORT_TRIES && taken && !fixed) continue;
      throw error;
    }
  }
}

/** @throws ResilientStanError where servers cannot be frozen and ended by signals */
export function checkPosix(): void {
  if (process.platform !== 'win32') return;
  throw new ResilientStanError(
    'ERR_STAN_SERVER_START',
    'the harness needs a POSIX system, to freeze and end processes by signals: run it in WSL or in a container',
  );
}

function describeNode(node: unknown): string {
  return node instanceof ServerNode ? `node '${node.name}'` : String(node);
}
