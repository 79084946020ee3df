/**
 * `npm run bench:migration [-- --messages 200000 --size 128]`: what a copy costs. STAN and JetStream are in one server, on this machine;
 * each step of the migration is a process of its own.
 *
 * - `awaited`: the official client publishes one message at a time and awaits each, as the loop that everybody writes first. A sample
 *   of it before and after each part of the copy, so that other work of the machine is felt by both;
 * - `copy`: the same messages by `copy()`, a part of the channel at a time;
 * - `in one go`: the whole channel once more, into a new stream. Its memory is compared with that of the first part;
 * - `verify`: both sides compared;
 * - `follow`: the time from STAN's acknowledgement until the official client reads the message from the stream.
 *
 * Options: `--messages`, `--size` (bytes), `--parts`, `--sample` (awaited messages each time), `--rate` (messages a second) and
 * `--seconds` of the follow, `--profiles DIR` (a CPU profile of each step). Figures are also in `reports/migration.json`.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect } from '@nats-io/transport-node';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { ResilientStan } from '../../src/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';
import type { StepCost, StepOrder } from './step.js';

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '200000' },
    size: { type: 'string', default: '128' },
    parts: { type: 'string', default: '4' },
    sample: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '20' },
    profiles: { type: 'string' },
  },
});
const [messages, size, parts, sample, rate, seconds] = (
  ['messages', 'size', 'parts', 'sample', 'rate', 'seconds'] as const
).map((name) => Number(values[name])) as [number, number, number, number, number, number];
if (![messages, size, parts, sample, rate, seconds].every((value) => Number.isInteger(value) && value > 0)) {
  console.error('all options but --profiles are whole numbers above 0');
  process.exit(2);
}
const STEP = fileURLToPath(new URL('./step.js', import.meta.url));
const CHANNEL = 'bench';
const FOLLOWED = 'follow';
const data = Buffer.alloc(size, 'x');

const mb = (bytes: number): string => (bytes / 1e6).toFixed(0);
const perSecond = (count: number, ms: number): number => (count / ms) * 1000;
const sum = (list: readonly number[]): number => list.reduce((total, each) => total + each, 0);
const figures: Record<string, unknown> = { messages, size, cpus: cpus()[0]?.model };

function tell(name: string, text: string): void {
  console.log(`${`${name}:`.padEnd(12)}${text}`);
}

const cluster = await StanCluster.start({ mode: 'single', jetstream: true });
const stan = await ResilientStan.connect(cluster.urls, { publishing: { maxPending: 1e7, maxPendingBytes: 1e10 } });
const connection = await connect({ servers: cluster.urls });
try {
  await bench();
} finally {
  await stan.close();
  await connection.close();
  await cluster.stop();
}

async function bench(): Promise<void> {
  const manager = await jetstreamManager(connection);
  const js = jetstream(connection);
  await manager.streams.add({ name: 'awaited', subjects: ['awaited'] });
  const awaited: number[] = [];
  const awaitSome = async (): Promise<void> => {
    const began = performance.now();
    for (let i = 0; i < sample; i++) await js.publish('awaited', data);
    awaited.push(performance.now() - began);
  };

  const copies: StepCost[] = [];
  let left = messages;
  for (let part = parts; part > 0; part--) {
    const count = Math.floor(left / part);
    left -= count;
    await publish(CHANNEL, count);
    await awaitSome();
    const cost = await run('copy', CHANNEL);
    copies.push(cost);
    await awaitSome();
    const [one, two] = [perSecond(cost.messages, cost.ms), perSecond(2 * sample, sum(awaited.slice(-2)))];
    tell('part', `copy ${one.toFixed(0)}/s, awaited ${two.toFixed(0)}/s, ${(one / two).toFixed(1)} times as fast`);
  }
  const copyRate = perSecond(messages, sum(copies.map(({ ms }) => ms)));
  const awaitedRate = perSecond(sample * awaited.length, sum(awaited));
  const cpu = sum(copies.map((cost) => cost.cpu)) / messages;
  tell(
    'awaited',
    `${awaitedRate.toFixed(0)} messages/s (${sample * awaited.length} messages in ${awaited.length} samples)`,
  );
  tell(
    'copy',
    `${copyRate.toFixed(0)} messages/s in ${parts} parts, ${(copyRate / awaitedRate).toFixed(1)} times as fast, ` +
      `${cpu.toFixed(1)} µs of CPU a message`,
  );

  await manager.streams.delete(CHANNEL);
  const whole = await run('copy', CHANNEL);
  const first = copies[0]!;
  const wholeRate = perSecond(whole.messages, whole.ms);
  tell(
    'in one go',
    `${wholeRate.toFixed(0)} messages/s, ${(whole.cpu / messages).toFixed(1)} µs of CPU a message, ` +
      `${mb(whole.peak)} MB of memory at most (${mb(whole.atFirst)} MB at the beginning); with ${first.messages} messages ${mb(first.peak)} MB`,
  );
  const { state } = await manager.streams.info(CHANNEL);
  tell('stream', `first ${state.first_seq}, last ${state.last_seq}, ${state.messages} messages`);

  const verified = await run('verify', CHANNEL);
  const verifyRate = perSecond(verified.messages, verified.ms);
  tell('verify', `${verifyRate.toFixed(0)} messages/s, ${mb(verified.peak)} MB of memory at most`);

  const lags = await follow();
  const at = (share: number): number => lags[Math.floor((lags.length - 1) * share)]!;
  const [p50, p99, longest] = [at(0.5), at(0.99), at(1)];
  tell('follow', `${rate}/s, lag p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${longest.toFixed(1)} ms`);

  const load = loadavg()[0]!.toFixed(1);
  tell('machine', `${cpus().length} CPUs, load ${load} at the end, this included`);
  Object.assign(figures, {
    awaited: awaitedRate,
    copy: { rate: copyRate, times: copyRate / awaitedRate, cpu, parts: copies },
    whole: { rate: wholeRate, ...whole, peakRatio: whole.peak / first.peak },
    verify: { rate: verifyRate, ...verified },
    follow: { rate, p50, p99, longest },
    load,
  });
  await mkdir('reports', { recursive: true });
  await writeFile('reports/migration.json', `${JSON.stringify(figures, null, 2)}\n`);
}

async function publish(channel: string, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 10_000) {
    await Promise.all(Array.from({ length: Math.min(left, 10_000) }, () => stan.publish(channel, data)));
  }
}

function start(step: StepOrder['step'], channel: string): ChildProcess {
  const order: StepOrder = { step, channel, from: cluster.urls, monitor: cluster.nodes[0]!.monitor.url };
  const profile = values.profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${values.profiles}`];
  return fork(STEP, [JSON.stringify(order)], { execArgv: profile });
}

/** Waits for the cost of a step, or for its failure. */
async function costOf(child: ChildProcess): Promise<StepCost> {
  let cost: StepCost | undefined;
  child.on('message', (message) => {
    if (typeof message === 'object') cost = message as StepCost;
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (cost === undefined) throw new Error(`a step has ended with ${code}`);
  return cost;
}

function run(step: StepOrder['step'], channel: string): Promise<StepCost> {
  return costOf(start(step, channel));
}

/** How far a copy that follows is behind, in ms, ascending. */
async function follow(): Promise<number[]> {
  await stan.publish(FOLLOWED, 'first');
  const child = start('follow', FOLLOWED);
  const ended = costOf(child);
  await Promise.race([once(child, 'message'), ended]);
  const stored = new Map<number, number>();
  const consumer = await jetstream(connection).consumers.get(FOLLOWED);
  const reading = await consumer.consume({
    callback: (message) => void stored.set(message.seq, performance.now()),
  });
  const count = rate * seconds;
  const acknowledged: number[] = [];
  const sent: Promise<unknown>[] = [];
  const began = performance.now();
  for (let i = 0; i < count; i++) {
    sent.push(stan.publish(FOLLOWED, data).then(() => acknowledged.push(performance.now())));
    const wait = began + (i * 1000) / rate - performance.now();
    if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  await Promise.all(sent);
  await waitFor(() => (stored.size > count ? true : undefined), {
    timeout: 60_000,
    what: () => `the stream has ${stored.size} of ${count + 1} messages`,
  });
  reading.stop();
  child.send('stop');
  await ended;
  // The messages of one publisher are acknowledged in their order, and the first one of the channel is not one of them.
  return acknowledged.map((at, i) => Math.max(0, stored.get(i + 2)! - at)).sort((a, b) => a - b);
}
