/**
 * Express: a client beside the application, its errors as answers, probes, and an end in the right order. The function `stanErrors`
 * is the part to copy.
 *
 *     npm install express
 *     npx tsx express.ts
 *     curl -i --json '{"id":1}' http://localhost:3000/orders
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), PORT (3000).
 */
import express, { type ErrorRequestHandler } from 'express';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { OutboxFullError, PublishTimeoutError, ResilientStan } from 'resilient-stan';

/** Answers what only time can mend with 503, and leaves everything else to the next error handler. */
export const stanErrors: ErrorRequestHandler = (error, _request, response, next) => {
  if (!(error instanceof PublishTimeoutError || error instanceof OutboxFullError)) return next(error);
  response.status(503).set('retry-after', '5').json({ error: error.message, delivery: error.delivery });
};

async function main(): Promise<void> {
  const { STAN_SERVERS = 'nats://localhost:4222', STAN_CLUSTER_ID = 'test-cluster', PORT = '3000' } = process.env;
  // One client for the whole process. It may be made before there is a cluster.
  const stan = ResilientStan.create(STAN_SERVERS, { clusterId: STAN_CLUSTER_ID, clientId: 'shop-1' });

  const app = express();
  app.use(express.json());
  app.get('/ready', (_request, response) => {
    const { healthy, state, lastError } = stan.health();
    response.status(healthy ? 200 : 503).json({ state, lastError });
  });
  // Express 5 hands what an asynchronous handler rejects with to the error handlers.
  app.post('/orders', async (request, response) => {
    const { guid } = await stan.publish('orders', JSON.stringify(request.body), { timeout: 15_000 });
    response.status(202).json({ guid });
  });
  app.use(stanErrors);

  const server = createServer(app);
  server.listen(Number(PORT));
  await once(server, 'listening');
  console.log(`Orders go to http://localhost:${(server.address() as AddressInfo).port}/orders`);
  stan
    .subscribe('orders', (message) => console.log(`order ${message.sequence}: ${message.string()}`), {
      durableName: 'printer',
      startAt: 'first',
    })
    .catch((error: unknown) => console.error(error)); // it waits for a cluster, so it is not waited for

  async function stop(): Promise<void> {
    server.close(); // no new requests
    await once(server, 'close'); // those that run are answered
    await stan.close();
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop());
  const reason = await stan.closed();
  server.close();
  if (reason) throw reason;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
