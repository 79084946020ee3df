/**
 * Finds ports that a node can use again after a restart. Outgoing connections get ports of the ephemeral range (from 32768
 * on Linux, from 49152 on macOS), so a port of that range may be taken when the node comes back. So ports are taken below
 * it, at random, because then two test processes hardly choose the same.
 */
import { createServer } from 'node:net';
import { randomInt } from 'node:crypto';
import { ResilientStanError } from '../errors.js';

const LOWEST = 20_000;
const HIGHEST = 32_000;

/** The ports that this process uses. */
const taken = new Set<number>();

/** Takes free ports. @throws ResilientStanError when none is found */
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

/** How far the other ports of a node are above that for clients, where the user chose it. So are the customary ones apart. */
export const MONITORS_ABOVE = 4000;
export const ROUTES_ABOVE = 2000;

/**
 * Takes the ports of nodes from a chosen one on, three for each node: for clients, monitoring and routes.
 * @throws ResilientStanError that names the one that is taken
 */
export async function takePortsFrom(port: number, nodes: number): Promise<number[]> {
  const ports = Array.from({ length: nodes }, (_, i) => [
    port + i,
    port + MONITORS_ABOVE + i,
    port + ROUTES_ABOVE + i,
  ]).flat();
  for (const each of ports) {
    if (!taken.has(each) && (await isFree(each))) continue;
    throw new ResilientStanError(
      'ERR_STAN_SERVER_START',
      `port ${each} on 127.0.0.1 is taken: end what listens there, or choose another first port than ${port}`,
    );
  }
  for (const each of ports) taken.add(each);
  return ports;
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

/** Whether a port is free to listen on. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
