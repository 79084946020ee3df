/** The system that a rehearsal moves: two publishers, a group of two workers, a durable reader and a plain one. */
import { ResilientStan } from '../../resilient-stan.js';
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import type { ContinuityChecker } from '../continuity/checker.js';
import { Seam } from '../continuity/seam.js';
import { JetStreamSide } from '../jetstream/jetstream-side.js';
import type { ClusterConnectOptions, ServerConnectOptions } from '../security.js';

/** How long the server waits for an acknowledgement of the toy, in ms. */
const ACK_WAIT = 1000;

const DURABLE: SubscribeOptions = { durableName: 'books', startAt: 'first', ackWait: ACK_WAIT };
const GROUP: SubscribeOptions = { durableName: 'work', queueGroup: 'workers', startAt: 'first', ackWait: ACK_WAIT };

/** One process of the system. In a rehearsal all of them are clients of one process. */
interface Member {
  readonly clientId: string;
  readonly stan: ResilientStan;
  readonly seam: Seam;
  after?: JetStreamSide;
}

/** The system, which is at STAN first. */
export class ToySystem {
  readonly #members: Member[] = [];
  /** Which part of the messages the workers fail on at their first try, from 0 to 1. */
  failing = 0;

  /** Connects all of it, and lets it work. */
  async begin(
    checker: ContinuityChecker,
    urls: readonly string[],
    options: ClusterConnectOptions,
    rate: number,
  ): Promise<void> {
    const join = async (clientId: string): Promise<Seam> => {
      const stan = await ResilientStan.connect([...urls], { ...options, clientId });
      const seam = new Seam(stan);
      this.#members.push({ clientId, stan, seam });
      return seam;
    };
    const failed = new Set<number>();
    const work = ({ sequence }: { sequence: number }): void => {
      if (failed.has(sequence) || Math.random() >= this.failing) return;
      failed.add(sequence);
      throw new Error('the first try fails on purpose');
    };
    await checker.subscribe('screen', await join('screen'), { startAt: 'first' });
    await checker.subscribe('books', await join('books'), DURABLE);
    for (const worker of ['worker-1', 'worker-2'])
      await checker.subscribe('workers', await join(worker), { ...GROUP, work });
    for (const shop of ['shop-1', 'shop-2']) checker.publish(shop, await join(shop), { rate: rate / 2 });
  }

  /** Makes the publishers wait. Resolves when everything that they had sent is stored. */
  async hold(): Promise<void> {
    await this.#each(({ seam }) => seam.hold());
  }

  /** Ends the subscriptions and the clients of STAN in good order. */
  async leave(): Promise<void> {
    await this.#each(({ seam }) => seam.leave());
    await this.#each(({ stan }) => stan.close());
  }

  /** Goes on at JetStream. */
  async cross(urls: readonly string[], options: ServerConnectOptions): Promise<void> {
    await this.#each(async (member) => {
      member.after = await JetStreamSide.connect(urls, { ...options, clientId: member.clientId });
      await member.seam.cross(member.after);
    });
  }

  /** Closes everything, wherever it is. */
  async close(): Promise<void> {
    await Promise.allSettled(
      this.#members.map(async ({ stan, after }) => {
        await stan.close({ timeout: 1000 });
        await after?.close();
      }),
    );
  }

  async #each(act: (member: Member) => Promise<unknown>): Promise<void> {
    await Promise.all(this.#members.map(act));
  }
}
