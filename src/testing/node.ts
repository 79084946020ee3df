import { InvalidArgumentError } from '../errors.js';
import type { ClusterMode } from './config.js';
import type { ServerLogState } from './server-log.js';
import { ServerNode, type ServerNodeSettings } from './server-node.js';

/** What a node has to know, from its cluster. */
export interface NodeSettings extends ServerNodeSettings {
  mode: ClusterMode;
}

/**
 * One server of a {@link StanCluster}. It can be stopped, killed, frozen and wiped, and started again on the same ports and
 * with the same store.
 *
 * @example
 * ```ts
 * const node = await cluster.leader();
 * await node.pause(); // frozen: its connections stay open and are silent
 * await cluster.leader(); // another one leads
 * await node.resume();
 * await cluster.settled();
 * ```
 * @category Cluster
 */
export class StanNode extends ServerNode {
  readonly #mode: ClusterMode;
  #servingSince = 0;

  /** @internal Made by {@link StanCluster}. */
  constructor(settings: NodeSettings) {
    super(settings);
    this.#mode = settings.mode;
  }

  /** Whether the node serves streaming clients, by its log: as the leader, as the active node, or as the only one. */
  get serving(): boolean {
    return this.state?.serving ?? false;
  }

  /** Whether the node stands by for the active one, by its log. So in fault-tolerant mode only. */
  get standby(): boolean {
    return this.state?.standby ?? false;
  }

  /** When the node last became {@link serving}, as `performance.now()` tells it. 0 before the first time. */
  get servingSince(): number {
    return this.#servingSince;
  }

  /**
   * Removes the store and the Raft log of a node that is down, and what JetStream has stored. It comes back empty, and the other
   * nodes send it what it needs.
   *
   * Raft may lose messages over this, because a member that has forgotten what it acknowledged votes for any other one. No
   * acknowledged message is lost if the other nodes have a leader and are {@link StanCluster.replicated} without the node,
   * and if no other fault happens until they are so again with it.
   * @throws InvalidArgumentError while the node runs, and in fault-tolerant mode, where all nodes share one store
   */
  override async wipe(): Promise<void> {
    if (!this.running && this.#mode === 'fault-tolerant') {
      throw new InvalidArgumentError(
        'node',
        `node '${this.name}' has no store of its own: in fault-tolerant mode all nodes share one`,
      );
    }
    await super.wipe();
  }

  protected override async isUp(state: ServerLogState): Promise<boolean> {
    switch (this.#mode) {
      case 'single':
        return state.serving;
      case 'fault-tolerant':
        return state.serving || state.standby;
      case 'clustered':
        // Raft starts after NATS, and may fail on its own.
        return state.accepting && (await this.monitor.serverz())?.role !== undefined;
    }
  }

  protected override stateChanged(before: ServerLogState, now: ServerLogState): void {
    if (now.serving && !before.serving) this.#servingSince = performance.now();
  }
}
