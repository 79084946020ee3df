/** The cluster of the game. It tells which node leads, starts nodes that were killed, and can kill nodes itself. */
import { setTimeout as sleep } from 'node:timers/promises';
import { StanCluster, type StanNode } from 'resilient-stan/testing';
import type { Row } from './row.js';

/** Time between two looks at the nodes, in ms. */
const LOOK_EVERY = 100;
/** A node that was killed comes back after this long, in ms. */
export const BACK_AFTER = 5000;

export class Board {
  readonly cluster: StanCluster;
  readonly #row: Row;
  readonly #stop = new AbortController();
  /** Whether each node was up at the last look. */
  readonly #up = new Map<StanNode, boolean>();
  readonly #starting = new Set<Promise<void>>();
  #told = '';
  #watching: Promise<void> = Promise.resolve();
  #playing: Promise<void> = Promise.resolve();

  private constructor(cluster: StanCluster, row: Row) {
    this.cluster = cluster;
    this.#row = row;
    for (const node of cluster.nodes) this.#up.set(node, true);
  }

  static async boot(clusterId: string, row: Row): Promise<Board> {
    return new Board(await StanCluster.start({ nodes: 3, clusterId }), row);
  }

  /**
   * From now on it tells who leads, and starts what goes down.
   * @param attached URL of the server we are attached to
   */
  async watch(attached: () => string | undefined, backAfter: () => number = () => BACK_AFTER): Promise<void> {
    await this.#look(attached, backAfter);
    this.#watching = this.#until(LOOK_EVERY, () => this.#look(attached, backAfter));
  }

  /** Kills random nodes, one or sometimes two at a time, whenever all are up. */
  unleashMonkey(): void {
    this.#playing = this.#until(1500, async () => {
      await sleep(between(0, 2000));
      const all = this.cluster.nodes.every((node) => node.running) && (await this.cluster.findLeader());
      if (!all || this.#stop.signal.aborted) return;
      const victims = shuffled(this.cluster.nodes).slice(0, Math.random() < 0.25 ? 2 : 1);
      await Promise.all(victims.map((node) => node.kill()));
    });
  }

  /** Ends the game. All nodes are started, so that what is under way can arrive. */
  async end(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#watching, this.#playing, ...this.#starting]);
    // A node that was frozen by hand may still be.
    for (const { pid } of this.cluster.nodes) if (pid !== undefined) process.kill(pid, 'SIGCONT');
    await Promise.allSettled(this.cluster.nodes.map((node) => node.start()));
  }

  async #look(attached: () => string | undefined, backAfter: () => number): Promise<void> {
    for (const node of this.cluster.nodes) {
      const up = node.running;
      if (up === this.#up.get(node)) continue;
      this.#up.set(node, up);
      this.#row.word(`${node.name}:${up ? 'up' : 'down'}`, up ? 'good' : 'bad');
      if (!up) this.#bringBack(node, backAfter());
    }
    const leader = await this.cluster.findLeader();
    const ours = this.cluster.nodes.find((node) => node.url === attached());
    if (leader === undefined || ours === undefined) return;
    const kill = (node: StanNode): string => `kill -9 ${node.pid}`;
    const told =
      ours === leader
        ? `node ${leader.name} leads, and we are attached to it: ${kill(leader)}`
        : `node ${leader.name} leads: ${kill(leader)}; we are attached to ${ours.name}: ${kill(ours)}`;
    if (told !== this.#told) this.#row.line(told);
    this.#told = told;
  }

  #bringBack(node: StanNode, after: number): void {
    const starting = (async () => {
      await sleep(after, undefined, { signal: this.#stop.signal }).catch(() => {});
      try {
        await node.start();
      } catch (error) {
        this.#row.line(`node ${node.name} does not come back: ${(error as Error).message}`, 'bad');
        this.#up.set(node, true); // so that it is noticed and tried again
      }
    })();
    this.#starting.add(starting);
    void starting.finally(() => this.#starting.delete(starting));
  }

  /** Repeats something until the end. */
  async #until(every: number, act: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await act();
      await sleep(every, undefined, { signal }).catch(() => {});
    }
  }
}

export function between(from: number, to: number): number {
  return from + Math.random() * (to - from);
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, by: Math.random() }))
    .sort((a, b) => a.by - b.by)
    .map(({ item }) => item);
}
