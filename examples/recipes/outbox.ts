/**
 * An outbox table: an order and its message are written in one transaction, so there is never one without the other,
 * also if the process dies in between. A relay publishes what is in the table, and removes it when the cluster has it.
 *
 *     npm install node-sqlite3-wasm
 *     npx tsx outbox.ts shop.db
 *
 * It places an order every 20 ms until there are ORDERS, and ends when the outbox is empty. Kill it, and start it again.
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), ORDERS (100).
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import sqlite from 'node-sqlite3-wasm';
import { ResilientStan } from 'resilient-stan';

const { STAN_SERVERS = 'nats://localhost:4222', STAN_CLUSTER_ID = 'test-cluster', ORDERS = '100' } = process.env;

/** The database of a shop. With another database, this class is what changes. */
class Shop {
  readonly #database: InstanceType<typeof sqlite.Database>;

  constructor(file: string) {
    // This build of SQLite locks by a folder, which a process leaves behind that is killed. Only one process uses this file.
    rmSync(`${file}.lock`, { recursive: true, force: true });
    this.#database = new sqlite.Database(file);
    this.#database.exec(`
      CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, number INTEGER);
      CREATE TABLE IF NOT EXISTS outbox (position INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT, data TEXT);
    `);
  }

  get orders(): number {
    return Number(this.#database.get('SELECT count(*) AS orders FROM orders')?.['orders']);
  }

  /** Writes the order and its message, or neither. */
  placeOrder(): void {
    const order = { id: randomUUID(), number: this.orders + 1 };
    this.#database.exec('BEGIN');
    try {
      this.#database.run('INSERT INTO orders (id, number) VALUES (?, ?)', [order.id, order.number]);
      const data = JSON.stringify(order);
      this.#database.run('INSERT INTO outbox (channel, data) VALUES (?, ?)', ['orders.placed', data]);
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  /** The oldest messages, in their order. */
  oldest(limit: number): { position: number; channel: string; data: string }[] {
    return this.#database.all('SELECT position, channel, data FROM outbox ORDER BY position LIMIT ?', [limit]) as never;
  }

  remove(position: number): void {
    this.#database.run('DELETE FROM outbox WHERE position = ?', [position]);
  }

  close(): void {
    this.#database.close();
  }
}

/** Publishes what is in the outbox, in its order, until it is empty and nothing more comes. */
async function relay(shop: Shop, stan: ResilientStan, isOpen: () => boolean): Promise<void> {
  for (;;) {
    const goesOn = isOpen();
    const messages = shop.oldest(100);
    if (messages.length === 0) {
      if (!goesOn) return;
      await sleep(50);
    }
    const published = messages.map(({ channel, data }) => stan.publish(channel, data));
    const results = await Promise.allSettled(published);
    for (const [index, { position }] of messages.entries()) {
      const result = results[index]!;
      if (result.status === 'rejected') throw result.reason; // the client is closed; what is left goes out at the next start
      shop.remove(position);
    }
  }
}

async function main(): Promise<void> {
  const shop = new Shop(process.argv[2] ?? 'shop.db');
  // The client ID lets one relay in at a time.
  const stan = await ResilientStan.connect(STAN_SERVERS, {
    clusterId: STAN_CLUSTER_ID,
    clientId: 'shop-relay',
    publishing: { ordering: 'strict' },
  });
  let open = true;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => (open = false));

  async function placeOrders(): Promise<void> {
    while (open && shop.orders < Number(ORDERS)) {
      shop.placeOrder(); // it does not matter to it whether there is a cluster
      await sleep(20);
    }
    open = false;
  }
  console.log('The shop is open.');
  await Promise.all([placeOrders(), relay(shop, stan, () => open)]);
  console.log(`${shop.orders} orders placed, and the outbox is empty.`);
  await stan.close();
  shop.close();
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
