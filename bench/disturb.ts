import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StanCluster } from '../src/testing/index.js';
import type { Disturbance } from './cases.js';

/** Disturbs until it is disposed of. */
export function disturb(cluster: StanCluster, disturbance: Disturbance): AsyncDisposable {
  switch (disturbance) {
    case 'long way':
      for (const { proxy } of cluster.nodes) proxy.add({ type: 'latency', latency: 500, jitter: 100 });
      return { [Symbol.asyncDispose]: async () => {} };
    case 'pauses':
      return pauses(cluster);
    case 'busy CPUs':
      return busyLoops(4);
  }
}

function pauses({ nodes }: StanCluster): AsyncDisposable {
  let over = false;
  const turns = (async () => {
    while (!over) {
      await sleep(900);
      await Promise.all(nodes.map((node) => node.pause()));
      await sleep(100);
      await Promise.all(nodes.map((node) => node.resume()));
    }
  })();
  return {
    [Symbol.asyncDispose]: async () => {
      over = true;
      await turns;
    },
  };
}

function busyLoops(count: number): AsyncDisposable {
  // No server outlives this process, however it ends.
  const program =
    'const parent = process.ppid; while (process.ppid === parent) for (const end = Date.now() + 100; Date.now() < end; );';
  const loops = Array.from({ length: count }, () => spawn(process.execPath, ['-e', program], { stdio: 'ignore' }));
  return {
    [Symbol.asyncDispose]: async () => {
      await Promise.all(
        loops.map((loop) => {
          const exited = new Promise((resolve) => loop.once('exit', resolve));
          loop.kill();
          return exited;
        }),
      );
    },
  };
}
