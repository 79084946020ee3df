/**
 * Fastify: a plugin that gives the application a client, closes it with the application, and tells whether it is ready. The
 * function `stanPlugin` is the part to copy.
 *
 *     npm install fastify fastify-plugin
 *     npx tsx fastify.ts
 *     curl -i --json '{"id":1}' http://localhost:3000/orders
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), PORT (3000).
 */
import { fastify, type FastifyInstance } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { PublishTimeoutError, ResilientStan, type ConnectOptions } from 'resilient-stan';

declare module 'fastify' {
  interface FastifyInstance {
    stan: ResilientStan;
  }
}

export interface StanPluginOptions extends ConnectOptions {
  servers: string | string[];
}

export const stanPlugin = fastifyPlugin(
  async (app: FastifyInstance, { servers, ...options }: StanPluginOptions) => {
    // The application boots whether there is a cluster or not, and `/ready` says which.
    const stan = ResilientStan.create(servers, { logger: app.log, ...options });
    app.decorate('stan', stan);
    app.get('/ready', { logLevel: 'silent' }, async (_request, reply) => {
      const { healthy, state, lastError } = stan.health();
      return await reply.code(healthy ? 200 : 503).send({ state, lastError });
    });
    // Fastify calls this when no request runs any more.
    app.addHook('onClose', () => stan.close());
    // When the client has given up for good, so does the application.
    void stan.closed().then(async (reason) => {
      if (reason === undefined) return;
      app.log.error(reason);
      process.exitCode = 1;
      await app.close();
    });
  },
  { name: 'stan', fastify: '5.x' },
);

async function main(): Promise<void> {
  const { STAN_SERVERS = 'nats://localhost:4222', STAN_CLUSTER_ID = 'test-cluster', PORT = '3000' } = process.env;
  const app = fastify({ logger: { level: 'warn' } });
  await app.register(stanPlugin, { servers: STAN_SERVERS, clusterId: STAN_CLUSTER_ID, clientId: 'shop-1' });

  app.post('/orders', async (request, reply) => {
    try {
      const { guid } = await app.stan.publish('orders', JSON.stringify(request.body), { timeout: 15_000 });
      return await reply.code(202).send({ guid });
    } catch (error) {
      if (!(error instanceof PublishTimeoutError)) throw error;
      return await reply.code(503).send({ error: error.message, delivery: error.delivery });
    }
  });
  app.addHook('onReady', () => {
    app.stan
      .subscribe('orders', (message) => console.log(`order ${message.sequence}: ${message.string()}`), {
        durableName: 'printer',
        startAt: 'first',
      })
      .catch((error: unknown) => app.log.error(error)); // it waits for a cluster, so it is not waited for
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close());
  console.log(`Orders go to ${await app.listen({ port: Number(PORT) })}/orders`);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
