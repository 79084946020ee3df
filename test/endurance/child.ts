/**
 * The process that endures, with the client in it and nothing else: run by endure.ts, which has the server
 * and the proxy before it, and does to them what is asked here.
 *
 *     child.ts attempts <url> <how many> <samples>      the only server is gone, and stays gone
 *     child.ts reconnects <url> <how many> <samples>    each connection is reset as soon as the client is up
 */
import { ResilientStan } from '../../src/index.js';
import { waitFor } from '../../src/testing/wait.js';
import type { Ask, Endured, Handles } from './endure.js';
import type { Sample } from './slope.js';

const [mode, url, count, samples] = process.argv.slice(2) as ['attempts' | 'reconnects', string, string, string];
const total = Number(count);
const every = Math.max(1, Math.floor(total / Number(samples)));

const ask = (what: Ask): void => void process.send!(what);

/** What keeps the event loop busy. */
function handles(): Handles {
  const active = process.getActiveResourcesInfo();
  const countOf = (kind: string): number => active.filter((one) => one === kind).length;
  return { sockets: countOf('TCPSocketWrap'), timers: countOf('Timeout') };
}

/** Closed sockets go a moment later, and `waitFor` itself has a timer now and then. */
async function settled(): Promise<Handles> {
  let before = '';
  return waitFor(
    () => {
      const now = handles();
      const same = JSON.stringify(now) === before;
      before = JSON.stringify(now);
      return same ? now : undefined;
    },
    { timeout: 10_000, interval: 250, what: () => `sockets and timers keep changing: ${before}` },
  );
}

function listeners(): number {
  const own = stan.eventNames().reduce((sum, name) => sum + stan.listenerCount(name), 0);
  return process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), own);
}

const all: Sample[] = [];
function sample(at: number): void {
  // Twice: what the first one has finalised is gone after the second.
  gc!();
  gc!();
  all.push({ at, heap: process.memoryUsage().heapUsed });
}

const without = await settled();
const stan = await ResilientStan.connect(url, {
  reconnect: { minTimeout: 1, maxTimeout: 1 },
  connectionLostHandler: () => 'reconnect',
});
await stan.subscribe('endurance', () => {});

const event = mode === 'attempts' ? 'reconnecting' : 'reconnect';
let done = 0;
let enough!: () => void;
const over = new Promise<void>((resolve) => (enough = resolve));
stan.on(event, () => {
  done += 1;
  if (done % every === 0) sample(done);
  if (done === total) enough();
  else if (done < total && mode === 'reconnects') ask('reset');
});

const before = { listeners: listeners(), handles: await settled() };
ask(mode === 'attempts' ? 'down' : 'reset');
await over;

if (mode === 'attempts') {
  // It is still a client: when the server is there again, it is up.
  const back = new Promise((resolve) => stan.once('reconnect', resolve));
  ask('up');
  await back;
}
const after = { listeners: listeners(), handles: await settled() };
const stats = stan.stats();
await stan.close();
const closed = await settled();
const result: Endured = { samples: all, before, after, stats, handles: { without, closed } };
process.send!(result, () => process.disconnect());
