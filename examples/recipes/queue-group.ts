/**
 * One of a group of workers. Start it as often as you like: each message goes to one of them. Kill one, and the others get what
 * it had not acknowledged.
 *
 *     npx tsx queue-group.ts
 *     seq 1 100 | npx resilient-stan pub tasks - --lines
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan } from 'resilient-stan';

const { STAN_SERVERS = 'nats://localhost:4222', STAN_CLUSTER_ID = 'test-cluster' } = process.env;

async function main(): Promise<void> {
  // A position that belongs to a group needs no client ID of its own, so it is generated.
  const stan = await ResilientStan.connect(STAN_SERVERS, { clusterId: STAN_CLUSTER_ID });
  let done = 0;
  await stan.subscribe(
    'tasks',
    async (message) => {
      await sleep(20); // the work
      console.log(`task ${message.string()} is done`);
      done++;
    },
    {
      queueGroup: 'workers',
      durableName: 'workers', // the group keeps its position when all of its members are gone
      startAt: 'first',
      concurrency: 4, // handlers at a time in this process
      maxInFlight: 8, // what the server hands to this member ahead of its acknowledgements
      ackWait: 5000, // longer than any task takes, because then another member gets it
    },
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stan.close());
  console.log('The worker is ready.');
  const reason = await stan.closed();
  console.log(`${done} done.`);
  if (reason) throw reason;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
