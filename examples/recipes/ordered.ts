/**
 * Entries of an account, which only count in their order. Each tenth one fails at its first two tries. The program ends when
 * all have been booked, with the number of those that overtook another one.
 *
 *     npx tsx ordered.ts retry
 *     npx tsx ordered.ts one-in-flight
 *     npx tsx ordered.ts neither
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), CHANNEL (account), ENTRIES (40).
 */
import { ResilientStan, type SubscribeOptions } from 'resilient-stan';

const {
  STAN_SERVERS = 'nats://localhost:4222',
  STAN_CLUSTER_ID = 'test-cluster',
  CHANNEL = 'account',
  ENTRIES = '40',
} = process.env;

/** What becomes of the messages behind one whose handler fails. */
const WAYS: Record<string, SubscribeOptions> = {
  // They are here already, and wait until this client has tried again often enough.
  retry: { retry: { retries: Infinity, minTimeout: 50, maxTimeout: 5000 } },
  // The server has not sent them yet. It sends the failed one again after ackWait.
  'one-in-flight': { maxInFlight: 1, ackWait: 1000 },
  // They are handled while the failed one waits for ackWait.
  neither: { ackWait: 1000 },
};

async function main(): Promise<void> {
  const way = process.argv[2] ?? 'retry';
  const options = WAYS[way];
  if (options === undefined) throw new Error(`There is no way '${way}'; there are ${Object.keys(WAYS).join(', ')}.`);
  const stan = await ResilientStan.connect(STAN_SERVERS, {
    clusterId: STAN_CLUSTER_ID,
    clientId: `accountant-${way}`,
    publishing: { ordering: 'strict' }, // one in flight per channel, so no failover can change their order
  });

  const entries = Number(ENTRIES);
  const booked = new Set<number>();
  let highest = 0;
  let overtaken = 0;
  let complete: () => void;
  const over = new Promise<void>((resolve) => (complete = resolve));
  await stan.subscribe(
    CHANNEL,
    async (message) => {
      const { number } = message.json<{ number: number }>();
      if (booked.has(number)) return; // it may be stored twice, so an entry has a number of its own
      if (number % 10 === 0 && message.redeliveryCount < 2) throw new Error(`entry ${number} cannot be booked now`);
      booked.add(number);
      if (number < highest) {
        overtaken++;
        console.log(`entry ${number} was overtaken by entry ${highest}`);
      }
      highest = Math.max(highest, number);
      if (booked.size === entries) complete();
    },
    { durableName: 'accountant', startAt: 'first', ...options },
  );
  console.log('The accountant is ready.');
  for (let number = 1; number <= entries; number++) await stan.publish(CHANNEL, JSON.stringify({ number }));
  await over;
  await stan.close();
  console.log(`${booked.size} booked, ${overtaken} overtaken.`);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
