/** Runs a client in a process of its own through an outage, or through one loss after the other. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { StanStats } from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import type { Sample } from './slope.js';

export type Mode = 'attempts' | 'reconnects';

/** What the client's process wants done to its server: no more connections, connections again, those there are reset. */
export type Ask = 'down' | 'up' | 'reset';

export interface Handles {
  sockets: number;
  timers: number;
}

/** Before and after the ordeal. */
export interface State {
  listeners: number;
  handles: Handles;
}

export interface Endured {
  samples: Sample[];
  before: State;
  after: State;
  stats: StanStats;
  /** Before there was a client, and when it is closed. */
  handles: Record<'without' | 'closed', Handles>;
}

/** Code that V8 compiles as it goes is on the heap as well, and grows for thousands of attempts: without it, the heap is flat. */
const NO_COMPILING = [
  '--no-opt',
  '--no-maglev',
  '--no-sparkplug',
  '--no-lazy-feedback-allocation',
  '--no-flush-bytecode',
];

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url));

/** Rejects when the process fails, with what it said. */
export async function endure(mode: Mode, count: number, samples = 40): Promise<Endured> {
  await using cluster = await StanCluster.start({ mode: 'single', store: 'memory', proxied: true });
  const { proxy } = cluster.nodes[0]!;
  const acts: Readonly<Record<Ask, () => unknown>> = {
    down: () => proxy.down(),
    up: () => proxy.up(),
    reset: () => proxy.resetConnections(),
  };
  const child = spawn(
    process.execPath,
    ['--expose-gc', ...NO_COMPILING, '--import', 'tsx', CHILD, mode, cluster.urls[0]!, String(count), String(samples)],
    { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] },
  );
  let errors = '';
  let endured: Endured | undefined;
  child.stderr!.on('data', (data: Buffer) => (errors += data.toString()));
  child.on('message', (message) => {
    if (typeof message === 'string') acts[message as Ask]();
    else endured = message as Endured;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0 || !endured) throw new Error(`the client's process ended with exit code ${String(code)}: ${errors}`);
  return endured;
}
