/** Asks the monitoring of servers over HTTP, for commands. */
import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { resolve } from 'node:path';
import { parseServers } from '../connection/servers.js';
import { describe, InvalidArgumentError } from '../errors.js';
import type { Channelz, Serverz } from '../testing/index.js';
import { show } from '../validation.js';
import type { Options, Values } from './command.js';
import { CommandError } from './connect.js';
import { hostSurroundings, SERVER_OPTIONS } from './connection-options.js';
import { CONFIG_OPTION, readSettings } from './settings.js';
import { UsageError } from './usage.js';

const MONITOR_PORT = 8222;
/** How far monitoring is customarily above the port for clients: where one host has several servers, each has its own. */
const OFFSET = MONITOR_PORT - 4222;

export const MONITOR_OPTIONS = {
  monitor: {
    type: 'string',
    short: 'm',
    value: '<urls>',
    help:
      "the servers' monitoring as http://host:8222, several separated by commas; who leads is asked " +
      `(default: port ${MONITOR_PORT} of the hosts of --servers, and ${OFFSET} above the ports there)`,
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

/** The monitoring that is asked: of the server that leads, where one does. */
export interface Monitoring {
  readonly url: string;
  readonly server: Serverz;
  /** Resolves to undefined when there is no such page. */
  get<T>(path: string): Promise<T | undefined>;
}

/** How long an answer may take, in ms. */
const TIMEOUT = 5000;

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
  const asked = await Promise.all(urls.map((url) => askServer(url, ca)));
  const found = asked.flatMap((each) => ('server' in each ? [each] : []));
  const best = found.find(({ server }) => leads(server)) ?? found.find(({ server }) => server.state !== 'FT_STANDBY');
  if (best !== undefined) return { ...best, get: (page) => getJson(best.url, page, ca) };
  const reasons = asked.map(
    (each) => `  ${each.url}: ${'reason' in each ? each.reason : 'it stands by for the active server'}`,
  );
  throw new CommandError(
    `no streaming server answers at its monitoring port:\n${reasons.join('\n')}\n` +
      `Servers have one when they are started with -m ${MONITOR_PORT} or 'http: ${MONITOR_PORT}'; --monitor says where it is.`,
  );
}

/** Whether a server has all figures at first hand. */
export function leads({ state, role }: Serverz): boolean {
  return role === 'Leader' || state === 'FT_ACTIVE' || state === 'STANDALONE';
}

/** @throws UsageError */
export function parseMonitors(text: string, from: string): string[] {
  return text.split(',').map((part) => {
    const wrong = (): never => {
      throw new UsageError(
        `${from} must be URLs as http://host:${MONITOR_PORT}, not ${show(part.replace(/\/\/.*@/, '//***@'))}`,
      );
    };
    const trimmed = part.trim();
    const full = /^[a-z]+:\/\//i.test(trimmed) ? trimmed : `http://${trimmed}`;
    const url = URL.canParse(full) ? new URL(full) : wrong();
    if (!['http:', 'https:'].includes(url.protocol) || url.search !== '' || trimmed === '') wrong();
    return `${url.origin}${url.pathname.replace(/\/(streaming\/?.*)?$/, '')}`;
  });
}

function monitorsOf(servers: { value: string | boolean; from: string } | undefined): string[] {
  try {
    const places = parseServers(servers?.value).flatMap(({ host, port }) =>
      [MONITOR_PORT, port + OFFSET].filter((each) => each <= 65_535).map((each) => `http://${host}:${each}`),
    );
    return [...new Set(places)];
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

async function askServer(
  url: string,
  ca: string | undefined,
): Promise<{ url: string; server: Serverz } | { url: string; reason: string }> {
  try {
    const server = await getJson<Serverz>(url, '/streaming/serverz', ca);
    if (server !== undefined && typeof server.cluster_id === 'string') return { url, server };
    return { url, reason: 'it answers, and is no streaming server: it has no page /streaming/serverz' };
  } catch (error) {
    return { url, reason: describe(error) };
  }
}

/**
 * One page, parsed. Resolves to undefined when there is no such page.
 * @throws Error that says why there is no answer
 */
export function getJson<T>(url: string, path: string, ca?: string, timeout = TIMEOUT): Promise<T | undefined> {
  const request = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    // Without an agent, because a socket that is kept alive would keep the process alive.
    const asked = request(`${url}${path}`, { agent: false, ...(ca !== undefined && { ca }) }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 404) return resolve(undefined);
        if (response.statusCode !== 200) return reject(new Error(`it answers with HTTP ${response.statusCode}`));
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString()) as T);
        } catch {
          reject(new Error('its answer is not JSON: this is not the monitoring of a NATS server'));
        }
      });
    });
    const timer = setTimeout(() => asked.destroy(new Error(`no answer within ${timeout} ms`)), timeout);
    asked.on('close', () => clearTimeout(timer));
    asked.on('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ECONNREFUSED' ? new Error('connection refused: nobody listens there') : error);
    });
    asked.end();
  });
}

/** How many channels a page has. */
const PAGE = 500;

/** All channels with their subscriptions, page by page. */
export async function allChannels(monitoring: Monitoring): Promise<Channelz[]> {
  const channels: Channelz[] = [];
  for (;;) {
    const path = `/streaming/channelsz?subs=1&limit=${PAGE}&offset=${channels.length}`;
    const page = await monitoring.get<{ channels?: Channelz[]; total: number }>(path);
    const more = page?.channels ?? [];
    channels.push(...more);
    if (more.length < PAGE) return channels;
  }
}
