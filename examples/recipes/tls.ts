/**
 * TLS and credentials that change while the process runs: both are read from files before every dial, so a connection that is
 * made after a rotation has the new ones.
 *
 *     SECRETS=/run/secrets/stan npx tsx tls.ts
 *
 * SECRETS (secrets) is a folder with ca.pem, client.pem, client.key, and user.json: { "user": "orders", "pass": "…" }.
 * From the environment, too: STAN_SERVERS (tls://localhost:4222), STAN_CLUSTER_ID (test-cluster).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ResilientStan } from 'resilient-stan';

const { STAN_SERVERS = 'tls://localhost:4222', STAN_CLUSTER_ID = 'test-cluster', SECRETS = 'secrets' } = process.env;

const secret = (name: string): Promise<string> => readFile(join(SECRETS, name), 'utf8');

async function main(): Promise<void> {
  const stan = ResilientStan.create(STAN_SERVERS, {
    clusterId: STAN_CLUSTER_ID,
    clientId: 'secure-1',
    tls: async () => ({
      ca: await secret('ca.pem'),
      cert: await secret('client.pem'), // these two only if the servers verify their clients
      key: await secret('client.key'),
    }),
    credentials: async () => JSON.parse(await secret('user.json')) as { user: string; pass: string },
  });
  // Wrong secrets may become right: it goes on dialling, and says once for each outage that somebody has to look at them.
  stan.on('error', ({ error }) => console.log(`look at this: ${error.message}`));
  stan.on('connecting', ({ error }) => console.log(`not yet: ${error.message}`));
  stan.on('connect', ({ server }) => console.log(`connected to ${server}`));
  stan.on('reconnect', ({ server }) => console.log(`back, at ${server}`));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stan.close());
  await stan.subscribe('secure', (message) => console.log(`received ${message.string()}`), {
    durableName: 'secure',
    startAt: 'first',
  });
  const reason = await stan.closed();
  if (reason) throw reason;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
