/**
 * Metrics for Prometheus. The class `StanMetrics` is the part to copy; below it stands a small service that has something to
 * measure. It may be started before its servers.
 *
 *     npx tsx examples/prometheus.ts
 *     curl http://localhost:9464/metrics
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), PORT (9464).
 * It needs `npm install prom-client`. Copied alone, it needs `"type": "module"` in
 * package.json, or the name of an `.mts` file.
 */
import { subscribe, tracingChannel } from 'node:diagnostics_channel';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import {
  ResilientStan,
  type LossNotice,
  type ProcessTrace,
  type PublishTrace,
  type ReconnectNotice,
  type ResilientSubscription,
  type StanStats,
} from 'resilient-stan';

/** What of `stats()` is shown, with the help text of its metric. */
const COUNTERS = {
  published: 'Publishes, whatever became of them',
  acknowledged: 'Publishes that the cluster has acknowledged',
  rejected: 'Publishes that were rejected',
  resent: 'Messages that were sent again',
  delivered: 'Messages that were handed to handlers',
  redelivered: 'Messages that the server has sent again',
  duplicatesDropped: 'Messages that came again after they were processed',
  handlerErrors: 'How often a handler has failed',
  overdue: 'Calls of a handler that took longer than ackWait',
  deadLetters: 'Messages that were given up as dead letters',
  gaps: 'Ranges of messages that were gone before they were processed',
  resets: 'Channels that were deleted and have begun again',
  suspicions: 'How often an answer of the leader was overdue',
  reconnects: 'Sessions that were up again after a loss',
} as const satisfies Partial<Record<keyof StanStats, string>>;
const GAUGES = {
  pending: 'Publishes that are not settled',
  pendingBytes: 'Size of their payloads in bytes',
  inFlight: 'Publishes that were sent and are not acknowledged',
  subscriptions: 'Open subscriptions',
} as const satisfies Partial<Record<keyof StanStats, string>>;

/** From 1 ms to 30 s: a publish waits out an election, and may wait out an outage. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** How long a scrape waits for the lag, in ms. During an outage nobody knows it. */
const PATIENCE = 1000;

/** Metrics of all clients of this process. Each has the client ID as its label `client`. */
export class StanMetrics {
  readonly #clients = new Set<ResilientStan>();
  readonly #subscriptions = new Map<ResilientSubscription, string>();

  constructor(registry: Registry) {
    const registers = [registry];
    const clients = this.#clients;
    const subscriptions = this.#subscriptions;

    for (const [field, help] of Object.entries(COUNTERS) as [keyof typeof COUNTERS, string][]) {
      new Counter({
        name: `stan_${snakeCase(field)}_total`,
        help,
        labelNames: ['client'],
        registers,
        collect() {
          this.reset();
          for (const stan of clients) this.inc({ client: stan.clientId }, stan.stats()[field]);
        },
      });
    }
    for (const [field, help] of Object.entries(GAUGES) as [keyof typeof GAUGES, string][]) {
      new Gauge({
        name: `stan_${snakeCase(field)}`,
        help,
        labelNames: ['client'],
        registers,
        collect() {
          for (const stan of clients) this.set({ client: stan.clientId }, stan.stats()[field]);
        },
      });
    }
    new Gauge({
      name: 'stan_healthy',
      help: '1 while the client is connected, its leader answers, and every channel is acknowledged',
      labelNames: ['client'],
      registers,
      collect() {
        for (const stan of clients) this.set({ client: stan.clientId }, stan.health().healthy ? 1 : 0);
      },
    });
    new Gauge({
      name: 'stan_lag',
      help: 'Messages of the channel that the subscription has not processed yet; none while nobody knows',
      labelNames: ['client', 'channel'],
      registers,
      async collect() {
        this.reset();
        await Promise.all(
          [...subscriptions].map(async ([subscription, client]) => {
            const lag = await subscription.lag({ signal: AbortSignal.timeout(PATIENCE) }).catch(() => undefined);
            if (lag !== undefined) this.inc({ client, channel: subscription.channel }, lag);
          }),
        );
      },
    });

    // What happens at a client is heard of on the diagnostics channels, whoever has made the client.
    const losses = new Counter({
      name: 'stan_losses_total',
      help: 'Sessions that were lost, by their reason',
      labelNames: ['client', 'reason'],
      registers,
    });
    subscribe('resilient-stan:loss', (message) => {
      const { clientId, reason } = message as LossNotice;
      losses.inc({ client: clientId, reason });
    });
    const downtime = new Histogram({
      name: 'stan_downtime_seconds',
      help: 'Time from a loss to the next session',
      labelNames: ['client'],
      buckets: SECONDS,
      registers,
    });
    subscribe('resilient-stan:reconnect', (message) => {
      const { clientId, downtime: time } = message as ReconnectNotice;
      downtime.observe({ client: clientId }, time / 1000);
    });

    const labelNames = ['client', 'channel', 'outcome'] as const;
    const publishes = new Histogram({
      name: 'stan_publish_seconds',
      help: 'Time from publish() to its acknowledgement or rejection',
      labelNames,
      buckets: SECONDS,
      registers,
    });
    this.#time<PublishTrace>('resilient-stan:publish', publishes, ({ channel }) => channel);
    const processes = new Histogram({
      name: 'stan_process_seconds',
      help: 'Time that a handler took for a message',
      labelNames,
      buckets: SECONDS,
      registers,
    });
    this.#time<ProcessTrace>('resilient-stan:process', processes, ({ message }) => message.channel);
  }

  /** Shows the counters and gauges of a client until it is closed. */
  watch(stan: ResilientStan): void {
    this.#clients.add(stan);
    void stan.closed().then(() => this.#clients.delete(stan));
  }

  /** Shows the lag of a subscription until it is closed. */
  watchLag(stan: ResilientStan, subscription: ResilientSubscription): void {
    this.#subscriptions.set(subscription, stan.clientId);
    subscription.on('closed', () => this.#subscriptions.delete(subscription));
  }

  /** Measures operations from `start` to `asyncEnd`. */
  #time<Trace extends PublishTrace | ProcessTrace>(
    name: string,
    histogram: Histogram<'client' | 'channel' | 'outcome'>,
    channelOf: (trace: Trace) => string,
  ): void {
    const ends = new WeakMap<object, (labels: Record<'client' | 'channel' | 'outcome', string>) => void>();
    const { start, asyncEnd } = tracingChannel(name);
    start.subscribe((trace) => ends.set(trace as Trace, histogram.startTimer()));
    asyncEnd.subscribe((message) => {
      const trace = message as Trace;
      const outcome = 'error' in trace ? 'failed' : 'ok';
      ends.get(trace)?.({ client: trace.clientId, channel: channelOf(trace), outcome });
    });
  }
}

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

// ── a service that has something to measure ───────────────────────────────────────────────────────────────────────

const { STAN_SERVERS = 'nats://localhost:4222', STAN_CLUSTER_ID = 'test-cluster', PORT = '9464' } = process.env;

const registry = new Registry();
const metrics = new StanMetrics(registry);
const stan = ResilientStan.create(STAN_SERVERS, { clusterId: STAN_CLUSTER_ID, name: 'shop' });
metrics.watch(stan);

const server = createServer((request, response) => {
  if (request.url === '/ready') {
    const { healthy, state } = stan.health();
    response.writeHead(healthy ? 200 : 503).end(state);
  } else if (request.url === '/metrics') {
    void registry.metrics().then((text) => response.setHeader('content-type', registry.contentType).end(text));
  } else response.writeHead(404).end('Here are /metrics and /ready.');
});
server.listen(Number(PORT), () => {
  console.log(`Metrics are at http://localhost:${(server.address() as AddressInfo).port}/metrics; Ctrl-C ends it.`);
});

let id = 0;
const timer = setInterval(() => {
  stan.publish('orders', JSON.stringify({ id: ++id })).catch((error: Error) => console.error(error.message));
}, 100);

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    clearInterval(timer);
    void stan.close();
  });
}

stan
  .subscribe('orders', async () => {
    await sleep(5); // what a real service would do with message.json()
  })
  .then(
    (subscription) => metrics.watchLag(stan, subscription),
    (error: Error) => console.error(error.message),
  );
const reason = await stan.closed();
clearInterval(timer);
server.close();
server.closeIdleConnections();
if (reason) {
  console.error(reason.message);
  process.exitCode = 1;
}
