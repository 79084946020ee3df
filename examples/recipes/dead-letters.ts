/**
 * Sends the dead letters of `worker.ts` back to the channels they come from, and ends. Each goes back once, however often
 * this program runs, because a durable remembers how far it has come.
 *
 *     npx tsx dead-letters.ts
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster).
 */
import { ResilientStan } from 'resilient-stan';

const { STAN_SERVERS = 'nats://localhost:4222', STAN_CLUSTER_ID = 'test-cluster' } = process.env;

interface DeadLetter {
  channel: string;
  sequence: number;
  error: string;
  /** The payload of the message, in Base64, because it need not be text. */
  data: string;
}

async function main(): Promise<void> {
  const stan = await ResilientStan.connect(STAN_SERVERS, { clusterId: STAN_CLUSTER_ID, clientId: 'dead-letters' });
  let sent = 0;
  const subscription = await stan.subscribe(
    'orders.dead',
    async (message) => {
      const { channel, sequence, error, data } = message.json<DeadLetter>();
      await stan.publish(channel, Buffer.from(data, 'base64'));
      sent++;
      console.log(`message ${sequence} of ${channel} is back in its channel; it had failed with: ${error}`);
    },
    { durableName: 'sent-back', startAt: 'first' },
  );
  await subscription.caughtUp();
  await stan.close();
  console.log(`${sent} sent back.`);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
