/**
 * A worker for a container: its name is its client ID, it tells whether it is ready and alive, and it ends in order when it is told to.
 *
 *     node worker.mjs
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), CLIENT_ID (worker-0), PORT (8080).
 */
import { once } from 'node:events';
import { ResilientStan } from 'resilient-stan';
import { serveProbes } from './probes.mjs';

const {
  STAN_SERVERS = 'nats://localhost:4222',
  STAN_CLUSTER_ID = 'test-cluster',
  CLIENT_ID = 'worker-0',
  PORT = '8080',
} = process.env;

// It starts whether there is a cluster or not, and goes on dialling.
const stan = ResilientStan.create(STAN_SERVERS, {
  clusterId: STAN_CLUSTER_ID,
  clientId: CLIENT_ID,
  logger: console,
});
const probes = serveProbes(stan, Number(PORT));
await once(probes, 'listening');
console.log(`${CLIENT_ID} listens on port ${probes.address().port}`);

// Kubernetes and Docker send SIGTERM, and SIGKILL when the time of grace is over: so this one is shorter.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void stan.close({ timeout: 20_000 }));

stan
  .subscribe(
    'orders',
    async (message) => {
      console.log(`${CLIENT_ID} handles ${message.string()}`);
    },
    { durableName: 'orders', startAt: 'first', retry: {} },
  )
  .catch((error) => {
    if (stan.state !== 'closed' && stan.state !== 'closing') console.error(error);
  });

const reason = await stan.closed();
probes.close();
if (reason !== undefined) {
  // It has given up, which by default it does for nothing but a bug. A new container is the only way on.
  console.error(reason);
  process.exit(1);
}
