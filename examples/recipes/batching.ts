/**
 * Many messages, few requests: measurements are written 100 at a time. Each message is acknowledged when the request that it
 * was a part of has succeeded. The class `Batches` is the part to copy.
 *
 *     npx tsx batching.ts
 *     seq 1 1000 | npx resilient-stan pub measurements - --lines
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), CLIENT_ID (writer-1).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan } from 'resilient-stan';

const {
  STAN_SERVERS = 'nats://localhost:4222',
  STAN_CLUSTER_ID = 'test-cluster',
  CLIENT_ID = 'writer-1',
} = process.env;

/** Collects items, and hands them over together: when there are enough, or when the first of them has waited long enough. */
export class Batches<Item> {
  readonly #write: (items: Item[]) => Promise<void>;
  readonly #size: number;
  readonly #wait: number;
  #items: Item[] = [];
  #written: Promise<void> = Promise.resolve();
  #begin: () => void = () => {};
  #timer: NodeJS.Timeout | undefined;

  /** @param size how many items are enough  @param wait how long the first one waits for others, in ms */
  constructor(write: (items: Item[]) => Promise<void>, { size, wait }: { size: number; wait: number }) {
    this.#write = write;
    this.#size = size;
    this.#wait = wait;
  }

  /** Resolves when the batch with this item is written, and rejects when that fails. */
  add(item: Item): Promise<void> {
    if (this.#items.push(item) === 1) {
      const begin = new Promise<void>((resolve) => (this.#begin = resolve));
      const items = this.#items;
      this.#written = begin.then(() => this.#write(items));
      this.#timer = setTimeout(() => this.#flush(), this.#wait);
    }
    const written = this.#written;
    if (this.#items.length === this.#size) this.#flush();
    return written;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#items = [];
    this.#begin();
  }
}

let requests = 0;
/** Stands for one request to a database. Each fifth one fails. */
async function insert(values: number[]): Promise<void> {
  await sleep(10);
  if (++requests % 5 === 0) throw new Error('the database is busy');
  console.log(`written ${values.length}: ${values.join(' ')}`);
}

async function main(): Promise<void> {
  const stan = await ResilientStan.connect(STAN_SERVERS, { clusterId: STAN_CLUSTER_ID, clientId: CLIENT_ID });
  const batches = new Batches(insert, { size: 100, wait: 50 });
  await stan.subscribe('measurements', (message) => batches.add(message.json<number>()), {
    durableName: 'measurements',
    startAt: 'first',
    concurrency: 200, // at least the size of a batch, or else each batch waits for its time; twice as much, and two can be on their way
    maxInFlight: 400,
    retry: {}, // what was in a batch that failed is in a later one
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stan.close());
  console.log('The writer is ready.');
  const reason = await stan.closed();
  if (reason) throw reason;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
