/** The system that a rehearsal moves: two publishers, a group of two workers, a durable reader and a plain one. */
import { ResilientStan } from '../../resilient-stan.js';
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import type { ContinuityChecker } from '../continuity/checker.js';
import { Seam } from '../continuity/seam.js';
import { JetStreamSide } from '../jetstream/jetstream-side.js';
import { randomFrom, type Random } from '../random.js';
import type { ClusterConnectOptions, ServerConnectOptions } from '../security.js';

/** How long the server waits for an acknowledgement of the toy, in ms. */
const ACK_WAIT = 1000;

/** One at a time: JetStream keeps the order of a durable through the death of a server in no other way. */
const DURABLE: SubscribeOptions = { durableName: 'books', startAt: 'first', ackWait: ACK_WAIT, maxInFlight: 1 };
const GROUP: SubscribeOptions = { durableName: 'work', queueGroup: 'workers', startAt: 'first', ackWait: ACK_WAIT };

/** The readers, in the order in which they move. The checker knows them by these names. */
export const READERS = [
  { name: 'screen', what: 'the plain reader', durable: undefined },
  { name: 'books', what: 'the durable reader', durable: 'books/books' },
  { name: 'workers', what: 'the group of workers', durable: 'workers/work' },
] as const;

/** A part of the system that moves as a whole: a reader by its name, or the two publishers. */
export type Part = (typeof READERS)[number]['name'] | 'publishers';

/** One process of the system. In a rehearsal all of them are clients of one process. */
interface Member {
  readonly part: Part;
  readonly clientId: string;
  readonly stan: ResilientStan;
  readonly seam: Seam;
  after?: JetStreamSide;
}

/** A message that came under two numbers. */
export interface Doubled {
  readonly first: number;
  readonly again: number;
}

/** The system, which is at STAN first. */
export class ToySystem {
  readonly #members: Member[] = [];
  readonly #loops: { stop(): void }[] = [];
  /** The number under which each message has come first, by its text. */
  readonly #numbers = new Map<string, number>();
  /** Which part of the messages the workers fail on at their first try, from 0 to 1. */
  failing = 0;
  /** The messages that came under two numbers. */
  readonly doubled: Doubled[] = [];
  readonly #random: Random;

  /** @param seed of what the workers fail on */
  constructor(seed: number) {
    this.#random = randomFrom(seed);
  }

  /** Connects all of it, and lets it work. */
  async begin(
    checker: ContinuityChecker,
    urls: readonly string[],
    options: ClusterConnectOptions,
    { rate, signal }: { rate: number; signal: AbortSignal },
  ): Promise<void> {
    const join = async (part: Part, clientId: string = part): Promise<Seam> => {
      const stan = await ResilientStan.connect([...urls], { ...options, clientId, signal });
      const seam = new Seam(stan);
      this.#members.push({ part, clientId, stan, seam });
      return seam;
    };
    const failed = new Set<number>();
    const work = ({ sequence }: { sequence: number }): void => {
      if (failed.has(sequence) || this.#random() >= this.failing) return;
      failed.add(sequence);
      throw new Error('the first try fails on purpose');
    };
    await checker.subscribe('screen', await join('screen'), {
      startAt: 'first',
      work: ({ sequence, data }) => this.#note(sequence, Buffer.from(data).toString()),
    });
    await checker.subscribe('books', await join('books'), DURABLE);
    for (const worker of ['worker-1', 'worker-2'])
      await checker.subscribe('workers', await join('workers', worker), { ...GROUP, work });
    // One after the other, so that the order can be judged on both sides.
    for (const shop of ['shop-1', 'shop-2'])
      this.#loops.push(checker.publish(shop, await join('publishers', shop), { rate: rate / 2, window: 1 }));
  }

  /** Makes the publishers wait. Resolves when everything that they had sent is stored. */
  async hold(): Promise<void> {
    await this.#each('publishers', ({ seam }) => seam.hold());
  }

  /** Ends the subscriptions and the clients of a part in STAN, in good order. */
  async leave(part: Part): Promise<void> {
    await this.#each(part, ({ seam }) => seam.leave());
    await this.#each(part, ({ stan }) => stan.close());
  }

  /** Lets a part go on at JetStream. */
  async cross(part: Part, urls: readonly string[], options: ServerConnectOptions): Promise<void> {
    await this.#each(part, async (member) => {
      member.after = await JetStreamSide.connect(urls, { ...options, clientId: member.clientId });
      await member.seam.cross(member.after);
    });
  }

  /** Stops the publishers, which would go on for ever, and closes everything, wherever it is. */
  async close(): Promise<void> {
    for (const loop of this.#loops) loop.stop();
    await Promise.allSettled(
      this.#members.map(async ({ stan, after }) => {
        await stan.close({ timeout: 1000 });
        await after?.close();
      }),
    );
  }

  #note(sequence: number, text: string): void {
    const first = this.#numbers.get(text);
    if (first === undefined) this.#numbers.set(text, sequence);
    else if (first !== sequence) this.doubled.push({ first, again: sequence });
  }

  async #each(part: Part, act: (member: Member) => Promise<unknown>): Promise<void> {
    await Promise.all(this.#members.filter((member) => member.part === part).map(act));
  }
}
