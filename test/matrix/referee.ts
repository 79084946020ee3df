/** One cluster for all programs. While a program publishes, its leader is killed; then the program is told to stop. */
import { ResilientStan } from '../../src/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';
import type { Running } from './project.js';

/** So many messages before the kill, and so many after it. */
const MESSAGES = 20;
/** For a program to begin, and for it to go on after the kill, in ms. */
const PATIENCE = 120_000;

export class Referee {
  readonly #cluster: StanCluster;
  readonly #stan: ResilientStan;
  #programs = 0;

  private constructor(cluster: StanCluster, stan: ResilientStan) {
    this.#cluster = cluster;
    this.#stan = stan;
  }

  static async start(): Promise<Referee> {
    const cluster = await StanCluster.start({ nodes: 3 });
    return new Referee(cluster, await ResilientStan.connect(cluster.urls, { clientId: 'referee' }));
  }

  /** @throws Error when the program does not outlive the leader, or does not end by itself with exit code 0 */
  async judge(start: (env: Record<string, string>) => Running): Promise<void> {
    const channel = `program-${++this.#programs}`;
    let received = 0;
    const subscription = await this.#stan.subscribe(channel, () => void (received += 1), { startAt: 'first' });
    const program = start({
      MATRIX_CHANNEL: channel,
      MATRIX_URLS: this.#cluster.urls.join(','),
      MATRIX_CLUSTER: this.#cluster.clusterId,
    });
    let end: Awaited<Running['ended']> | undefined;
    void program.ended.then((value) => (end = value));
    const until = async (count: number, when: string): Promise<void> => {
      await waitFor(async () => (received >= count || end !== undefined ? true : undefined), {
        timeout: PATIENCE,
        what: () => `the program had published ${received} messages ${when}`,
      });
      if (end) throw new Error(`it ended with ${end.code} ${when}:\n${end.output.slice(-4000)}`);
    };
    try {
      await until(MESSAGES, 'before the leader was killed');
      const leader = await this.#cluster.leader();
      await leader.kill();
      const before = received;
      await this.#cluster.leader();
      await until(before + MESSAGES, 'after the leader was killed');
      await this.#stan.publish(channel, 'stop');
      await waitFor(async () => end, { timeout: PATIENCE, what: () => 'the program did not end when it was told to' });
      await leader.start();
      await this.#cluster.settled();
    } finally {
      program.kill();
      for (const node of this.#cluster.nodes) if (!node.running) await node.start();
      await subscription.unsubscribe();
    }
    if (end?.code !== 0) throw new Error(`it ended with ${end?.code}:\n${end?.output.slice(-4000)}`);
  }

  async stop(): Promise<void> {
    await this.#stan.close();
    await this.#cluster.stop();
  }
}
