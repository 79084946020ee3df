/**
 * An HTTP service that answers when the cluster has the order, and that can be replaced while it runs: at SIGTERM it is no longer
 * ready, answers what has come, waits for its publishes, and ends.
 *
 *     npx tsx http-service.ts
 *     curl -i -d '{"id":1}' http://localhost:8080/orders
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), PORT (8080), and LINGER (0), the
 * time between SIGTERM and the end of listening, in ms.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { OutboxFullError, PayloadTooLargeError, PublishTimeoutError, ResilientStan } from 'resilient-stan';

const {
  STAN_SERVERS = 'nats://localhost:4222',
  STAN_CLUSTER_ID = 'test-cluster',
  PORT = '8080',
  LINGER = '0',
} = process.env;

/** How long a caller waits for its order to be stored, in ms. It covers an election. */
const PATIENCE = 15_000;

async function main(): Promise<void> {
  // It listens before there is a cluster, and says that it is not ready.
  const stan = ResilientStan.create(STAN_SERVERS, {
    clusterId: STAN_CLUSTER_ID,
    publishing: { maxPending: 1000 }, // what comes on top in an outage is turned away at once
  });
  let stopping = false;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const say = (status: number, body: object): void => {
      // A caller that keeps its connection would hold up the end.
      if (stopping) response.setHeader('connection', 'close');
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    switch (`${request.method} ${request.url}`) {
      case 'GET /ready': {
        const { healthy, state, since, lastError } = stan.health();
        return say(healthy && !stopping ? 200 : 503, { state, since, lastError });
      }
      case 'GET /live':
        return say(stan.state === 'closed' ? 503 : 200, { state: stan.state });
      case 'POST /orders':
        try {
          const { guid } = await stan.publish('orders', await text(request), { timeout: PATIENCE });
          return say(202, { guid });
        } catch (error) {
          if (error instanceof PayloadTooLargeError) return say(413, { error: error.message });
          // With 'unknown' the order may be stored all the same, so it should have an ID that the caller has made.
          if (error instanceof PublishTimeoutError) return say(503, { error: error.message, delivery: error.delivery });
          if (!(error instanceof OutboxFullError)) throw error;
          response.setHeader('retry-after', '5');
          return say(503, { error: error.message, delivery: error.delivery });
        }
      default:
        return say(404, { error: 'There are POST /orders, GET /ready and GET /live.' });
    }
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      console.error(error);
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    });
  });
  server.listen(Number(PORT));
  await once(server, 'listening');
  console.log(`Orders go to http://localhost:${(server.address() as AddressInfo).port}/orders`);

  async function stop(): Promise<void> {
    stopping = true;
    await sleep(Number(LINGER)); // load balancers see that it is not ready, and send nothing more
    server.close(); // no new connections; idle ones are closed
    await once(server, 'close'); // what has come is answered
    await stan.close();
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop());

  const reason = await stan.closed();
  server.close();
  if (reason) throw reason;
  console.log('Everything is answered.');
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
