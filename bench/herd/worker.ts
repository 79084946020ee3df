/** `worker.js herd|neighbour`: one client in a process of its own, which does what the parent asks for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan } from '../../src/index.js';
import { NEIGHBOUR, now, type Answer, type Command } from './protocol.js';

/** Time between two requests of the neighbour, in ms. */
const EVERY = 10;
/** How many subscriptions are made at a time at the beginning. */
const AT_A_TIME = 64;

let stan: ResilientStan | undefined;
let backAt: number | undefined;
let tellBack: (() => void) | undefined;
let latencies: number[] = [];
let askedAt: number | undefined;

async function fill(command: Command & { do: 'fill' }): Promise<Answer> {
  const { url, clusterId, kind, count, channels } = command;
  stan = await ResilientStan.connect(url, { clusterId, clientId: 'herd', discover: false });
  stan.on('reconnect', () => {
    backAt = now();
    tellBack?.();
  });
  const client = stan;
  const channelOf = (i: number): string => `c${i % channels}`;
  let received = 0;
  let tell: (() => void) | undefined;
  const all = new Promise<void>((resolve) => (tell = resolve));
  const one = async (i: number): Promise<void> => {
    const options = { startAt: 'first' as const, ...(kind === 'durable' && { durableName: `d${i}` }) };
    await client.subscribe(channelOf(i), () => void (++received === count && tell?.()), options);
  };
  for (let i = 0; i < channels; i += 1000) {
    await Promise.all(
      Array.from({ length: Math.min(1000, channels - i) }, (_, k) => client.publish(channelOf(i + k), 'x')),
    );
  }
  for (let i = 0; i < count; i += AT_A_TIME) {
    await Promise.all(Array.from({ length: Math.min(AT_A_TIME, count - i) }, (_, k) => one(i + k)));
  }
  await all;
  return { losses: client.stats().losses };
}

async function back(): Promise<Answer> {
  if (backAt === undefined) await new Promise<void>((resolve) => (tellBack = resolve));
  const at = backAt!;
  backAt = undefined;
  return { at, losses: stan?.stats().losses ?? 0 };
}

async function live({ url, clusterId }: Command & { do: 'live' }): Promise<Answer> {
  stan = await ResilientStan.connect(url, { clusterId, clientId: NEIGHBOUR });
  void subscribeForEver(stan).catch(() => undefined);
  return {};
}

async function subscribeForEver(client: ResilientStan): Promise<void> {
  for (;;) {
    askedAt = now();
    const subscription = await client.subscribe(NEIGHBOUR, () => undefined);
    latencies.push(now() - askedAt);
    askedAt = undefined;
    await subscription.close();
    await sleep(EVERY);
  }
}

async function run(command: Command): Promise<Answer> {
  switch (command.do) {
    case 'fill':
      return fill(command);
    case 'back':
      return back();
    case 'live':
      return live(command);
    case 'latencies': {
      const seen = askedAt === undefined ? latencies : [...latencies, now() - askedAt];
      latencies = [];
      return { latencies: seen, losses: stan?.stats().losses ?? 0 };
    }
    case 'stop':
      await stan?.close({ timeout: 0 });
      return {};
  }
}

process.on('message', (command: Command) => {
  run(command).then(
    (answer) => process.send?.({ answer }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit());
