/** Which servers' monitoring a command asks, from its options. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseServers } from '../connection/servers.js';
import { describe, InvalidArgumentError } from '../errors.js';
import {
  customaryMonitors,
  findStreamingServer,
  MONITOR_OFFSET,
  MONITOR_PORT,
  monitorUrl,
  type Monitoring,
} from '../monitoring/streaming-server.js';
import { show } from '../validation.js';
import type { Options, Values } from './command.js';
import { CommandError } from './connect.js';
import { hostSurroundings, SERVER_OPTIONS } from './connection-options.js';
import { CONFIG_OPTION, readSettings } from './settings.js';
import { UsageError } from './usage.js';

export const MONITOR_OPTIONS = {
  monitor: {
    type: 'string',
    short: 'm',
    value: '<urls>',
    list: true,
    help:
      "the servers' monitoring as http://host:8222, several separated by commas; who leads is asked " +
      `(default: port ${MONITOR_PORT} of the hosts of --servers, and ${MONITOR_OFFSET} above the ports there)`,
    group: 'Connection',
    env: ['STAN_MONITOR'],
    file: 'monitor',
  },
  servers: SERVER_OPTIONS.servers,
  ...CONFIG_OPTION,
  'tls-ca': {
    type: 'string',
    value: '<file>',
    help: 'certificate (PEM) of the authority that signed the certificates of https://',
    group: 'Connection',
    env: ['STAN_TLS_CA', 'NATS_CA'],
    file: 'tls.ca',
  },
} as const satisfies Options;

/**
 * Finds the server to ask.
 * @throws UsageError when a URL is wrong
 * @throws CommandError when nobody answers, or none of them is a streaming server
 */
export async function findMonitoring(values: Values<typeof MONITOR_OPTIONS>): Promise<Monitoring> {
  const surroundings = hostSurroundings();
  const settings = await readSettings(values, MONITOR_OPTIONS, surroundings);
  const given = settings.get('monitor');
  const urls =
    given === undefined ? monitorsOf(settings.get('servers')) : parseMonitors(given.value as string, given.from);
  const path = settings.get('tls-ca');
  const ca = path && (await readCa(resolve(surroundings.cwd, path.value as string), path.from));
  const found = await findStreamingServer(urls, ca);
  if (!('reasons' in found)) return found;
  throw new CommandError(
    `no streaming server answers at its monitoring port:\n${found.reasons.map((reason) => `  ${reason}\n`).join('')}` +
      `Servers have one when they are started with -m ${MONITOR_PORT} or 'http: ${MONITOR_PORT}'; --monitor says where it is.`,
  );
}

/** @throws UsageError */
export function parseMonitors(text: string, from: string): string[] {
  return text.split(',').map((part) => {
    const url = monitorUrl(part);
    if (url !== undefined) return url;
    throw new UsageError(
      `${from} must be URLs as http://host:${MONITOR_PORT}, not ${show(part.replace(/\/\/.*@/, '//***@'))}`,
    );
  });
}

function monitorsOf(servers: { value: string | boolean; from: string } | undefined): string[] {
  try {
    return customaryMonitors(parseServers(servers?.value));
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

async function readCa(path: string, from: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${from} names a file that cannot be read: ${describe(error)}`, { cause: error });
  }
}
