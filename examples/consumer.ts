/**
 * A worker: takes messages of the game as one of a queue group, does some work, and acknowledges by hand. Start several,
 * and they share the work; kill one, and the others get what it had not acknowledged.
 *
 *     npx tsx examples/consumer.ts nats://localhost:4221,nats://localhost:4222,nats://localhost:4223
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan } from 'resilient-stan';
import { Row } from './game/row.js';

const PLAYGROUND = 'nats://localhost:4221,nats://localhost:4222,nats://localhost:4223';

async function consume(servers: string): Promise<void> {
  const stan = await ResilientStan.connect(servers, {
    clusterId: 'test-cluster',
    pings: { interval: 1000, maxOut: 3 },
  });
  const begin = performance.now();
  const row = new Row(process.stdout, () => performance.now() - begin);
  stan.on('connection_lost', () => row.word('lost', 'bad'));
  stan.on('reconnect', () => row.word('back', 'good'));

  let handled = 0;
  const subscription = await stan.subscribe(
    'foo',
    async (message) => {
      await sleep(10); // what a real worker would do with message.string() or message.json()
      message.ack();
      handled++;
      if (message.redelivered) row.word(`again:${message.sequence}`, 'dim');
      else row.dot();
    },
    { queueGroup: 'workers', manualAck: true, maxInFlight: 10, ackWait: 1000 },
  );
  subscription.on('handler_error', ({ error, message }) => row.line(`message ${message.sequence}: ${String(error)}`));
  row.line(
    `Connected to ${stan.server}. One dot for each message of 'foo' that this worker has handled; Ctrl-C ends it.`,
  );

  // Running handlers finish and are acknowledged; what was not begun goes to the other workers.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stan.close());
  const reason = await stan.closed();
  row.line(`\n${handled} handled, ${stan.stats().losses} losses survived.`);
  if (reason) throw reason;
}

try {
  await consume(process.argv[2] ?? PLAYGROUND);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
