/**
 * The servers there are, in the order in which they are dialled: those that the user listed, then those that the cluster
 * announces. Whoever failed at any step goes to the end, behind those that failed before, until it has served. Pure.
 */
import type { ServerAddress } from './servers.js';

/** So many announced servers are remembered. */
export const MOST_ANNOUNCED = 64;

export class ServerList {
  readonly #listed: readonly ServerAddress[];
  #announced: readonly ServerAddress[] = [];
  /** Of those that failed since they served last: the place in the order of failures. */
  readonly #failed = new Map<string, number>();
  #failures = 0;

  constructor(listed: readonly ServerAddress[]) {
    this.#listed = [...listed];
  }

  /** In the order in which they are to be dialled. */
  get inOrder(): ServerAddress[] {
    const place = ({ url }: ServerAddress): number => this.#failed.get(url) ?? 0;
    return [...this.#listed, ...this.#announced].sort((a, b) => place(a) - place(b));
  }

  /** It failed at some step, whichever. */
  failed(url: string): void {
    this.#failures += 1;
    if (this.#find(url)) this.#failed.set(url, this.#failures);
  }

  /** A session through it lasted. */
  served(url: string): void {
    this.#failed.delete(url);
  }

  /**
   * The cluster knows these servers now, and no others. Those that are listed anyway, and those beyond a bound, do not count.
   * An empty list says nothing: a server may be told to announce nobody.
   */
  announce(servers: readonly ServerAddress[]): void {
    if (servers.length === 0) return;
    const places = new Map(servers.map((server) => [placeOf(server), server]));
    for (const listed of this.#listed) places.delete(placeOf(listed));
    this.#announced = [...places.values()].slice(0, MOST_ANNOUNCED);
    for (const url of this.#failed.keys()) if (!this.#find(url)) this.#failed.delete(url);
  }

  #find(url: string): boolean {
    return this.#listed.some((server) => server.url === url) || this.#announced.some((server) => server.url === url);
  }
}

const placeOf = ({ host, port }: ServerAddress): string => `${host}:${port}`;
