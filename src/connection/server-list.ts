/**
 * The known servers in the order of dialling: the listed ones first, and then those that the cluster announces. A server that
 * failed at any step goes to the end, behind those that failed earlier, until it has served. A listed server goes behind the
 * announced ones only after it has failed twice, because those may be out of our reach. Pure.
 */
import type { ServerAddress } from './servers.js';

/** The most announced servers that are remembered. */
export const MOST_ANNOUNCED = 64;

export class ServerList {
  readonly #listed: readonly ServerAddress[];
  #announced: readonly ServerAddress[] = [];
  /** How often each server has failed since it last served, and its place in the order of failures. */
  readonly #failed = new Map<string, { times: number; place: number }>();
  #failures = 0;

  constructor(listed: readonly ServerAddress[]) {
    this.#listed = [...listed];
  }

  /** Returns the servers in the order of dialling. */
  get inOrder(): ServerAddress[] {
    const listed = inOrderOf(this.#listed, ({ url }) => this.#failed.get(url)?.place ?? 0);
    const last = (server: ServerAddress, spared: number): boolean =>
      (this.#failed.get(server.url)?.times ?? 0) > spared;
    const behind = [...listed.filter((each) => last(each, 1)), ...this.#announced.filter((each) => last(each, 0))];
    return [
      ...listed.filter((each) => !last(each, 1)),
      ...this.#announced.filter((each) => !last(each, 0)),
      ...inOrderOf(behind, ({ url }) => this.#failed.get(url)?.place ?? 0),
    ];
  }

  /** Notes that a server failed at any step. */
  failed(url: string): void {
    this.#failures += 1;
    const times = (this.#failed.get(url)?.times ?? 0) + 1;
    if (this.#find(url)) this.#failed.set(url, { times, place: this.#failures });
  }

  /** Notes that a session through a server has lasted. */
  served(url: string): void {
    this.#failed.delete(url);
  }

  /**
   * Takes the announced servers in place of earlier ones. Listed servers among them and those beyond a limit do not count. An
   * empty list is ignored, because a server may be configured to announce nobody. A list that has only the port of the
   * announcing server is ignored too, because that server has just started or is cut off from the others.
   */
  announce(servers: readonly ServerAddress[], by: ServerAddress): void {
    if (servers.length === 0 || (servers.length === 1 && servers[0]!.port === by.port)) return;
    const places = new Map(servers.map((server) => [placeOf(server), server]));
    for (const listed of this.#listed) places.delete(placeOf(listed));
    this.#announced = [...places.values()].slice(0, MOST_ANNOUNCED);
    for (const url of this.#failed.keys()) if (!this.#find(url)) this.#failed.delete(url);
  }

  #find(url: string): boolean {
    return this.#listed.some((server) => server.url === url) || this.#announced.some((server) => server.url === url);
  }
}

function inOrderOf(servers: readonly ServerAddress[], place: (server: ServerAddress) => number): ServerAddress[] {
  return [...servers].sort((a, b) => place(a) - place(b));
}

const placeOf = ({ host, port }: ServerAddress): string => `${host}:${port}`;
