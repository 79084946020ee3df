/** Many subscriptions without traffic, which have to get a message when one comes. */
import { describe } from '../../errors.js';
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import { sleep } from '../wait.js';
import type { CheckedClient } from '../continuity/checked-client.js';
import type { IdleOrder } from './protocol.js';

/** How many share a channel. Half of them are durable, and servers have few channels. */
const PER_CHANNEL = 20;
/** How many are made at the same time. */
const AT_A_TIME = 50;

export interface RollCall {
  asked: number;
  /** How many got the message of the roll call. */
  answered: number;
  /** How often a message came to a subscription that had handled it. */
  twice: number;
}

/** The channels for so many subscriptions. */
export function channelsOf(count: number): number {
  return Math.ceil(count / PER_CHANNEL);
}

export class IdleCrowd {
  readonly #order: IdleOrder;
  /** For each subscription, by number, the highest sequence that it has handled. */
  readonly #handled = new Map<number, number>();
  #twice = 0;

  constructor(order: IdleOrder) {
    this.#order = order;
  }

  async subscribe(client: CheckedClient): Promise<void> {
    const { count } = this.#order;
    for (let from = 0; from < count; from += AT_A_TIME) {
      const some = Array.from({ length: Math.min(AT_A_TIME, count - from) }, (_, i) => from + i);
      await Promise.all(some.map((number) => this.#subscribeOne(client, number)));
    }
  }

  /** Sends a message to each subscription, and waits up to `timeout` ms until all have got it. */
  async rollCall(client: CheckedClient, timeout: number): Promise<RollCall> {
    const asked = this.#order.count;
    const publishes = Array.from({ length: channelsOf(asked) }, (_, i) =>
      client.publish(this.#channel(i), `roll call ${i}`).catch((error: unknown) => {
        process.stderr.write(`the roll call could not be published: ${describe(error)}\n`);
      }),
    );
    void Promise.all(publishes);
    const deadline = performance.now() + timeout;
    while (this.#handled.size < asked && performance.now() < deadline) await sleep(20);
    return { asked, answered: this.#handled.size, twice: this.#twice };
  }

  async #subscribeOne(client: CheckedClient, number: number): Promise<void> {
    const options: SubscribeOptions = number % 2 === 0 ? { durableName: `idle-${number}` } : {};
    await client.subscribe(
      this.#channel(Math.floor(number / PER_CHANNEL)),
      ({ sequence }) => {
        if (sequence <= (this.#handled.get(number) ?? 0)) this.#twice++;
        else this.#handled.set(number, sequence);
      },
      options,
    );
  }

  #channel(index: number): string {
    return `${this.#order.channel}.${index}`;
  }
}
