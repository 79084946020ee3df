/**
 * The servers there are, in the order in which they are dialled: those that the user listed, then those that the cluster
 * announces. Whoever failed at any step goes to the end, behind those that failed before, until it has served. Only to stand
 * behind what is announced, which may be out of our reach, a listed server has to fail twice. Pure.
 */
import type { ServerAddress } from './servers.js';

/** So many announced servers are remembered. */
export const MOST_ANNOUNCED = 64;

export class ServerList {
  readonly #listed: readonly ServerAddress[];
  #announced: readonly ServerAddress[] = [];
  /** Of those that failed since they served last: how often, and the place in the order of failures. */
  readonly #failed = new Map<string, { times: number; place: number }>();
  #failures = 0;

  constructor(listed: readonly ServerAddress[]) {
    this.#listed = [...listed];
  }

  /** In the order in which they are to be dialled. */
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

  /** It failed at some step, whichever. */
  failed(url: string): void {
    this.#failures += 1;
    const times = (this.#failed.get(url)?.times ?? 0) + 1;
    if (this.#find(url)) this.#failed.set(url, { times, place: this.#failures });
  }

  /** A session through it lasted. */
  served(url: string): void {
    this.#failed.delete(url);
  }

  /**
   * The cluster knows these servers now, and no others. Those that are listed anyway, and those beyond a bound, do not count.
   * An empty list says nothing: a server may be told to announce nobody. Nor does one that has only who announces it, by its
   * port: that one has just started, or is cut off from the others.
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
