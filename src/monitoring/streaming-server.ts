/** Finds the streaming server whose monitoring has all figures at first hand, and asks it. */
import { describe } from '../errors.js';
import { getJson } from './http.js';
import type { Channelz, Serverz } from './pages.js';

/** The port that servers have by custom. */
export const MONITOR_PORT = 8222;
/** How far monitoring is customarily above the port for clients: where one host has several servers, each has its own. */
export const MONITOR_OFFSET = MONITOR_PORT - 4222;

/** Where the monitoring of servers is by custom, when nobody says where: as `http://host:8222`, each once. */
export function customaryMonitors(servers: readonly { readonly host: string; readonly port: number }[]): string[] {
  const places = servers.flatMap(({ host, port }) =>
    [MONITOR_PORT, port + MONITOR_OFFSET].filter((each) => each <= 65_535).map((each) => `http://${host}:${each}`),
  );
  return [...new Set(places)];
}

/** The monitoring that is asked: of the server that leads, where one does. */
export interface Monitoring {
  readonly url: string;
  readonly server: Serverz;
  /** Resolves to undefined when there is no such page. */
  get<T>(path: string): Promise<T | undefined>;
}

/**
 * Finds the server to ask.
 * @param urls as `http://host:8222`
 * @param ca certificates (PEM) of the authority of servers with https://
 * @param signal ends all requests, also the later ones, when it is aborted. Default: none
 * @returns for each URL the reason why it cannot be asked, when none of them can
 */
export async function findStreamingServer(
  urls: readonly string[],
  ca: string | undefined,
  signal?: AbortSignal,
): Promise<Monitoring | { readonly reasons: readonly string[] }> {
  const asked = await Promise.all(urls.map((url) => askServer(url, ca, signal)));
  const found = asked.flatMap((each) => ('server' in each ? [each] : []));
  const best = found.find(({ server }) => leads(server)) ?? found.find(({ server }) => server.state !== 'FT_STANDBY');
  if (best !== undefined) return { ...best, get: (page) => getJson(best.url, page, ca, undefined, signal) };
  return {
    reasons: asked.map(
      (each) => `${each.url}: ${'reason' in each ? each.reason : 'it stands by for the active server'}`,
    ),
  };
}

/** Whether a server has all figures at first hand. */
export function leads({ state, role }: Serverz): boolean {
  return role === 'Leader' || state === 'FT_ACTIVE' || state === 'STANDALONE';
}

/** The base of a URL of monitoring, as `http://host:8222`, without the page. Undefined when it is none. */
export function monitorUrl(text: string): string | undefined {
  const trimmed = text.trim();
  const full = /^[a-z]+:\/\//i.test(trimmed) ? trimmed : `http://${trimmed}`;
  if (trimmed === '' || !URL.canParse(full)) return undefined;
  const url = new URL(full);
  if (!['http:', 'https:'].includes(url.protocol) || url.search !== '') return undefined;
  return `${url.origin}${url.pathname.replace(/\/(streaming\/?.*)?$/, '')}`;
}

async function askServer(
  url: string,
  ca: string | undefined,
  signal: AbortSignal | undefined,
): Promise<{ url: string; server: Serverz } | { url: string; reason: string }> {
  try {
    const server = await getJson<Serverz>(url, '/streaming/serverz', ca, undefined, signal);
    if (server !== undefined && typeof server.cluster_id === 'string') return { url, server };
    return { url, reason: 'it answers, and is no streaming server: it has no page /streaming/serverz' };
  } catch (error) {
    return { url, reason: describe(error) };
  }
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

/** One channel with its subscriptions. Resolves to undefined when there is none of this name. */
export function oneChannel(monitoring: Monitoring, channel: string): Promise<Channelz | undefined> {
  return monitoring.get<Channelz>(`/streaming/channelsz?channel=${encodeURIComponent(channel)}&subs=1`);
}
