/**
 * `npm run bench:migration [-- --messages 200000 --size 128]`: what a copy costs. STAN and JetStream are in one server, on this machine.
 *
 * - `awaited`: the official client publishes one message at a time and awaits each, as the loop that everybody writes first;
 * - `copy`: the same channel through `copy()`, with rate, CPU and memory;
 * - `verify`: both sides compared;
 * - `follow`: the time from STAN's acknowledgement until the official client reads the message from the stream.
 */
import { parseArgs } from 'node:util';
import { connect } from '@nats-io/transport-node';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { ResilientStan } from '../../src/index.js';
import { copy, verify } from '../../src/migrate/index.js';
import { StanCluster } from '../../src/testing/index.js';

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '200000' },
    size: { type: 'string', default: '128' },
    awaited: { type: 'string', default: '2000' },
    rate: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '20' },
  },
});
const MESSAGES = Number(values.messages);
const data = Buffer.alloc(Number(values.size), 'x');

async function main(): Promise<void> {
  const cluster = await StanCluster.start({ mode: 'single', jetstream: true });
  const stan = await ResilientStan.connect(cluster.urls, { publishing: { maxPending: 1e7, maxPendingBytes: 1e10 } });
  const connection = await connect({ servers: cluster.urls });
  const manager = await jetstreamManager(connection);
  const options = { from: cluster.urls, monitor: cluster.nodes[0]!.monitor.url };
  try {
    for (let left = MESSAGES; left > 0; left -= 10_000) {
      await Promise.all(Array.from({ length: Math.min(left, 10_000) }, () => stan.publish('bench', data)));
    }
    await manager.streams.add({ name: 'awaited', subjects: ['awaited'] });
    const js = jetstream(connection);
    const awaitedRate = await timed(Number(values.awaited), async (count) => {
      for (let i = 0; i < count; i++) await js.publish('awaited', data);
    });
    console.log(`awaited: ${Math.round(awaitedRate)} messages/s`);

    const memory: number[] = [];
    const cpu = process.cpuUsage();
    const sampled = setInterval(() => memory.push(process.memoryUsage().rss), 100);
    const rate = await timed(MESSAGES, async () => {
      const report = await copy({ ...options, channels: ['bench'] });
      if (!report.ok) throw new Error(JSON.stringify(report.problems));
    });
    clearInterval(sampled);
    const { user, system } = process.cpuUsage(cpu);
    const mb = (bytes: number): number => Math.round(bytes / 1e6);
    const half = memory.slice(memory.length / 2);
    console.log(
      `copy: ${Math.round(rate)} messages/s, ${(rate / awaitedRate).toFixed(1)} × awaited, ` +
        `${((user + system) / MESSAGES).toFixed(1)} µs of CPU a message, memory ${mb(half[0] ?? 0)} MB at the middle, ` +
        `${mb(memory.at(-1) ?? 0)} MB at the end, ${mb(Math.max(...memory))} MB at most`,
    );
    const { state } = await manager.streams.info('bench');
    console.log(`stream: first ${state.first_seq}, last ${state.last_seq}, ${state.messages} messages`);

    const compared = await timed(MESSAGES, async () => {
      const report = await verify({ ...options, channels: ['bench'] });
      if (!report.ok) throw new Error(JSON.stringify(report.problems));
    });
    console.log(`verify: ${Math.round(compared)} messages/s`);
    await follow();
  } finally {
    await stan.close();
    await connection.close();
    await cluster.stop();
  }

  async function follow(): Promise<void> {
    await stan.publish('follow', 'first');
    const controller = new AbortController();
    let running = (): void => undefined;
    const started = new Promise<void>((resolve) => (running = resolve));
    const following = copy({
      ...options,
      channels: ['follow'],
      follow: true,
      signal: controller.signal,
      onProgress: ({ channelsDone }) => channelsDone === 1 && running(),
    });
    await started;
    const consumer = await jetstream(connection).consumers.get('follow');
    const stored = new Map<number, number>();
    const messages = await consumer.consume({
      callback: (message) => void stored.set(message.seq, performance.now()),
    });
    const acknowledged: number[] = [];
    const sent: Promise<unknown>[] = [];
    const each = 1000 / Number(values.rate);
    const began = performance.now();
    const count = Number(values.rate) * Number(values.seconds);
    for (let i = 0; i < count; i++) {
      sent.push(stan.publish('follow', data).then(() => acknowledged.push(performance.now())));
      const wait = began + i * each - performance.now();
      if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
    }
    await Promise.all(sent);
    while (stored.size < count + 1) await new Promise((resolve) => setTimeout(resolve, 20));
    messages.stop();
    controller.abort();
    await following;
    const lags = acknowledged.map((at, i) => Math.max(0, stored.get(i + 2)! - at)).sort((a, b) => a - b);
    const at = (share: number): string => lags[Math.floor((lags.length - 1) * share)]!.toFixed(1);
    console.log(`follow, ${values.rate}/s: lag p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`);
  }
}

/** The number of messages a second. */
async function timed(count: number, work: (count: number) => Promise<void>): Promise<number> {
  const began = performance.now();
  await work(count);
  return (count / (performance.now() - began)) * 1000;
}

await main();
