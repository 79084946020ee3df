/**
 * A worker with retries and dead letters. It tries each order four times, and puts what cannot be done into the channel
 * `orders.dead`. `dead-letters.ts` sends that back when the reason is mended.
 *
 *     npx tsx worker.ts
 *     npx resilient-stan pub orders '{"id":1}'
 *     npx resilient-stan pub orders '{"id":2,"failures":9}'
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), CLIENT_ID (worker-1).
 */
import { ResilientStan, type StanMessage } from 'resilient-stan';

const {
  STAN_SERVERS = 'nats://localhost:4222',
  STAN_CLUSTER_ID = 'test-cluster',
  CLIENT_ID = 'worker-1',
} = process.env;

interface Order {
  id: number;
  /** How often the work on it fails, so that there is something to try again. */
  failures?: number;
}

/** Stands for a database or another service. */
async function work({ id, failures = 0 }: Order, earlier: number): Promise<void> {
  if (earlier < failures) throw new Error(`order ${id} does not get through`);
}

async function main(): Promise<void> {
  const stan = await ResilientStan.connect(STAN_SERVERS, { clusterId: STAN_CLUSTER_ID, clientId: CLIENT_ID });

  /** Resolves when the cluster has the dead letter. Only then is the message itself acknowledged. */
  async function park(message: StanMessage, error: unknown): Promise<void> {
    const { channel, sequence, data } = message;
    const letter = { channel, sequence, error: String(error), data: data.toString('base64') };
    await stan.publish('orders.dead', JSON.stringify(letter));
    console.log(`message ${sequence} is a dead letter: ${String(error)}`);
  }

  const subscription = await stan.subscribe(
    'orders',
    async (message) => {
      let order: Order;
      try {
        order = message.json<Order>();
      } catch (error) {
        return await park(message, error); // what is no JSON now is none at the next try
      }
      await work(order, message.redeliveryCount);
      console.log(`order ${order.id} is done`);
    },
    {
      durableName: 'orders',
      startAt: 'first', // of a durable that is new; later it goes on where it was
      retry: { retries: 3, minTimeout: 100 }, // 100, 200 and 400 ms after the first try
      deadLetter: park,
    },
  );
  subscription.on('handler_error', ({ error, message, delay }) => {
    const next = delay === undefined ? 'given up' : `again in ${Math.round(delay)} ms`;
    console.log(`message ${message.sequence}: ${String(error)}, ${next}`);
  });

  // The handler that runs is waited for, and so are its dead letters.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stan.close());
  console.log('The worker is ready.');
  const reason = await stan.closed();
  if (reason) throw reason;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
