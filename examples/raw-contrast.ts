/**
 * The same outage, twice: once for node-nats-streaming as it is, once for this library. Both publish 100 messages a
 * second and subscribe to what they publish, while a whole cluster of three dies, stays down for 6 seconds, and comes back.
 *
 *     npx tsx examples/raw-contrast.ts
 *
 * The raw client runs with its best settings: reconnecting for ever, and pings often enough to notice.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Message, type Stan } from 'node-nats-streaming';
import { ResilientStan } from 'resilient-stan';
import { StanCluster } from 'resilient-stan/testing';

/** Time before, during and after the outage, in ms. */
const PHASES = { before: 3000, outage: 6000, after: 8000 };
const EVERY = 10;

interface Client {
  publish(value: string): Promise<unknown>;
  close(): Promise<void>;
}

interface Outcome {
  attempted: number;
  acknowledged: number;
  failed: number;
  /** How many messages were neither acknowledged nor failed when the run ended. */
  unsettled: number;
  received: number;
  /** How the client has ended, if it has. */
  died: string | undefined;
}

type Open = (
  urls: string[],
  run: string,
  received: (value: string) => void,
  died: (why: string) => void,
) => Promise<Client>;

const raw: Open = (urls, run, received, died) =>
  new Promise((resolve, reject) => {
    const stan: Stan = connect('test-cluster', `raw-${run}`, {
      // With `servers` alone, it would dial localhost:4222 first.
      url: urls[0]!,
      servers: urls,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
      stanPingInterval: 1000,
      stanMaxPingOut: 3,
    });
    stan.on('error', reject);
    stan.on('connection_lost', (error) => died(`connection_lost: ${String((error as Error)?.message ?? error)}`));
    stan.on('connect', () => {
      stan.subscribe(`contrast.${run}`).on('message', (message: Message) => received(message.getRawData().toString()));
      resolve({
        publish: (value) =>
          new Promise<void>((acknowledged, failed) => {
            stan.publish(`contrast.${run}`, value, (error) => (error ? failed(error) : acknowledged()));
          }),
        close: () =>
          new Promise((closed) => {
            stan.once('close', closed);
            stan.close();
          }),
      });
    });
  });

const resilient: Open = async (urls, run, received, died) => {
  const stan = await ResilientStan.connect(urls);
  await stan.subscribe(`contrast.${run}`, (message) => received(message.string()));
  stan.on('close', ({ error }) => error && died(error.message));
  return {
    publish: (value) => stan.publish(`contrast.${run}`, value),
    close: () => stan.close(),
  };
};

async function measure(cluster: StanCluster, open: Open): Promise<Outcome> {
  const run = randomBytes(4).toString('hex');
  const received = new Set<string>();
  const outcome: Outcome = { attempted: 0, acknowledged: 0, failed: 0, unsettled: 0, received: 0, died: undefined };
  const client = await open(
    cluster.urls,
    run,
    (value) => received.add(value),
    (why) => (outcome.died ??= why),
  );
  const timer = setInterval(() => {
    const value = String(outcome.attempted++);
    // The raw client throws when its connection is lost.
    void (async () => client.publish(value))().then(
      () => outcome.acknowledged++,
      () => outcome.failed++,
    );
  }, EVERY);

  await sleep(PHASES.before);
  await Promise.all(cluster.nodes.map((node) => node.kill()));
  await sleep(PHASES.outage);
  await Promise.all(cluster.nodes.map((node) => node.start()));
  await cluster.settled();
  await sleep(PHASES.after);
  clearInterval(timer);
  await sleep(1000);
  outcome.unsettled = outcome.attempted - outcome.acknowledged - outcome.failed;
  outcome.received = received.size;
  await Promise.race([client.close().catch(() => {}), sleep(5000)]);
  return outcome;
}

await using cluster = await StanCluster.start({ nodes: 3 });
for (const [name, open] of Object.entries({ 'node-nats-streaming': raw, 'resilient-stan': resilient })) {
  const { attempted, acknowledged, failed, unsettled, received, died } = await measure(cluster, open);
  console.log(`${name}
  attempted ${attempted}, acknowledged ${acknowledged}, failed ${failed}, unsettled ${unsettled}, received ${received}
  ${died === undefined ? 'alive at the end' : `ended by itself: ${died}`}`);
}
