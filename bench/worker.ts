/**
 * A client in a process of its own: `worker.js raw|resilient|facade`. It carries out the commands of its parent, one at a
 * time, and tells what each of them took.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import type { BenchClient, Burst } from './clients/client.js';
import { RawClient } from './clients/raw.js';
import { ResilientClient } from './clients/resilient.js';
import { worsen } from './clients/worse.js';
import type { Answer, Command, Contender, Payload, Usage } from './protocol.js';

const contender = process.argv[2] as Contender;

let client: BenchClient | undefined;
let burst: Burst | undefined;
let inQueue = 0;
/** How many messages the kept subscriptions have received, and who waits for how many. */
let received = 0;
let countedSince = { at: 0, cpu: process.cpuUsage() };
let awaited: { count: number; done: () => void } | undefined;

function the(): BenchClient {
  if (!client) throw new Error('connect first');
  return client;
}

async function measured(what: () => Promise<unknown>): Promise<Usage> {
  const cpu = process.cpuUsage();
  const at = performance.now();
  await what();
  const ms = performance.now() - at;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, cpu: user + system, user };
}

function memory(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** A new payload each time. With one for all, a client that keeps references would seem to keep nothing. */
function payloadOf(size: number, kind: Payload, i = 0): string | Uint8Array {
  // It goes through a buffer, because a joined string would share its parts with others.
  if (kind === 'string') return Buffer.from(`${i}`.padEnd(size, 'x')).toString('latin1');
  return new Uint8Array(size).fill(120);
}

function run(command: Command): Promise<Answer> {
  switch (command.do) {
    case 'connect':
      return connect(command);
    case 'publish': {
      const payload = payloadOf(command.size, command.payload);
      return measured(() => the().publish({ ...command.load, payload }));
    }
    case 'deliver':
      return measured(() => the().deliver(command.load));
    case 'subscribe':
      return measured(() => the().subscribe(command.channels, onMessage));
    case 'count':
      return count();
    case 'counted':
      return counted(command.count);
    case 'idle':
      return measured(() => new Promise((resolve) => setTimeout(resolve, command.ms)));
    case 'worsen':
      worsen(command);
      return Promise.resolve({});
    case 'allocations':
      return allocations(command.of);
    case 'queue':
      return queue(command);
    case 'flushed':
      return flushed();
    case 'reconnected':
      return reconnected(command.times);
    case 'peak':
      return peak();
  }
}

async function connect({ load }: Command & { do: 'connect' }): Promise<Answer> {
  client = await (contender === 'resilient' ? ResilientClient.connect(load) : RawClient.connect(load, contender));
  return {};
}

function onMessage(): void {
  received++;
  if (received === awaited?.count) awaited.done();
}

async function count(): Promise<Answer> {
  received = 0;
  countedSince = { at: performance.now(), cpu: process.cpuUsage() };
  return {};
}

async function counted(messages: number): Promise<Answer> {
  if (received < messages) {
    await new Promise<void>((resolve) => {
      awaited = { count: messages, done: resolve };
    });
  }
  const { user, system } = process.cpuUsage(countedSince.cpu);
  return { ms: performance.now() - countedSince.at, cpu: user + system, user };
}

/** Counts allocations. The young generation has to be so large that nothing is collected meanwhile. */
async function allocations(of: Command): Promise<Answer> {
  globalThis.gc?.();
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  observer.observe({ entryTypes: ['gc'] });
  const before = process.memoryUsage();
  await run(of);
  const after = process.memoryUsage();
  // The observer hears of it later.
  await new Promise((resolve) => setTimeout(resolve, 10));
  observer.disconnect();
  if (collections > 0) throw new Error('the garbage collector ran, so what was allocated is not known');
  return { bytes: after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers };
}

async function queue({ channel, count, size, payload }: Command & { do: 'queue' }): Promise<Answer> {
  const before = memory();
  inQueue = 0;
  burst = the().burst({ channel, count, payload: () => payloadOf(size, payload, inQueue++) });
  await new Promise((resolve) => setImmediate(resolve));
  return { bytes: memory() - before };
}

async function flushed(): Promise<Answer> {
  if (!burst) throw new Error('queue first');
  const { first, all } = burst;
  await first;
  const usage = await measured(() => all);
  burst = undefined;
  return usage;
}

async function reconnected(times: number): Promise<Answer> {
  const { downtimes = [] } = the();
  while (downtimes.length < times) await new Promise((resolve) => setTimeout(resolve, 5));
  return { ms: downtimes[times - 1]! };
}

async function peak(): Promise<Answer> {
  return { peak: process.resourceUsage().maxRSS * 1024 };
}

process.on('message', (command: Command) => {
  // A synchronous exception is an answer as well.
  Promise.resolve()
    .then(() => run(command))
    .then(
      (answer) => process.send?.({ answer }),
      (error: unknown) => process.send?.({ error: error instanceof Error ? error.stack : String(error) }),
    );
});
process.on('disconnect', () => process.exit());
