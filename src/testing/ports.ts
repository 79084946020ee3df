/**
 * Ports that stay ours across a restart. The operating system gives outgoing connections ports of its ephemeral range
 * (32768 and up on Linux, 49152 on macOS): a node whose port is from there may find it taken when it comes back. So
 * ports are taken from below it, at random, so that two test processes are unlikely to choose the same.
 */
import { createServer } from 'node:net';
import { randomInt } from 'node:crypto';
import { ResilientStanError } from '../errors.js';

const LOWEST = 20_000;
const HIGHEST = 32_000;

/** Those given out by this process, and not given back. */
const taken = new Set<number>();

/** @throws ResilientStanError when no free port is found. */
export async function takePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  try {
    while (ports.length < count) ports.push(await takePort());
    return ports;
  } catch (error) {
    releasePorts(ports);
    throw error;
  }
}

export function releasePorts(ports: Iterable<number>): void {
  for (const port of ports) taken.delete(port);
}

async function takePort(): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = randomInt(LOWEST, HIGHEST);
    if (taken.has(port)) continue;
    taken.add(port);
    if (await isFree(port)) return port;
    taken.delete(port);
  }
  throw new ResilientStanError(
    'ERR_STAN_SERVER_START',
    `200 ports between ${LOWEST} and ${HIGHEST} on 127.0.0.1 were tried and none is free: are earlier servers still running?`,
  );
}

/** Whether nobody listens on it and we could. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
