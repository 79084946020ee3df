/**
 * Dials the servers. It decides about credentials, TLS options and order, learns about further servers, and makes the leader
 * searches.
 */
import { randomBytes } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import type { Clock } from '../clock/clock.js';
import { patience } from '../clock/patience.js';
import { describe } from '../errors.js';
import { within } from '../within.js';
import { dialCredentials, dialTls, natsAuth } from './auth.js';
import { Link, noGreeting, type DialIdentity } from './link.js';
import { LeaderSearch } from './leader-search.js';
import { standsAlone } from './plain-server.js';
import { MOST_ANNOUNCED, ServerList } from './server-list.js';
import { announcedServers, shuffle, type ServerAddress } from './servers.js';
import type { ConnectionSettings } from './settings.js';

export class Dialler {
  readonly #settings: ConnectionSettings;
  readonly #clock: Clock;
  readonly #complain: (error: Error) => void;
  readonly #servers: ServerList;

  /** @param complain is told of errors that need a person but do not end the dial */
  constructor(settings: ConnectionSettings, clock: Clock, complain: (error: Error) => void) {
    this.#settings = settings;
    this.#clock = clock;
    this.#complain = complain;
    this.#servers = new ServerList(settings.randomize ? shuffle(settings.servers) : settings.servers);
  }

  /** Notes that a server failed at some step. */
  failed(url: string): void {
    this.#servers.failed(url);
  }

  /** Notes that a session through a server has lasted. */
  served(url: string): void {
    this.#servers.served(url);
  }

  /**
   * Returns a search for the leader.
   * @param previous the connection ID to ask about. Without one it is an ID that nobody has: the leader answers it with an
   * error, which is enough to find the leader.
   * @param how `first`: no session was lost yet; `last`: the URL of the server to dial after all others
   */
  race(
    previous: Uint8Array | undefined,
    { first = false, last }: { first?: boolean; last?: string } = {},
  ): LeaderSearch {
    const { clusterId, connectTimeout, initialConnect, reconnect } = this.#settings;
    return new LeaderSearch({
      servers: () => this.#inOrder(last),
      clusterId,
      connectionId: previous ?? Buffer.from(randomBytes(11).toString('hex')),
      connectTimeout,
      redial: reconnect === false ? initialConnect : reconnect,
      dial: (address, signal, awaits) => this.#dial(address, signal, awaits),
      // Bun does not count idle time, so there all time counts.
      idle: first ? () => performance.eventLoopUtilization?.().idle ?? this.#clock.now() : undefined,
      // Where a session was, also one that was never up, there was a streaming server.
      standsAlone:
        first && previous === undefined ? (address, signal) => this.#standsAlone(address, signal) : undefined,
      onFailed: ({ url }) => this.#servers.failed(url),
      clock: this.#clock,
    });
  }

  #inOrder(last: string | undefined): ServerAddress[] {
    const servers = this.#servers.inOrder;
    if (last === undefined) return servers;
    return [...servers.filter(({ url }) => url !== last), ...servers.filter(({ url }) => url === last)];
  }

  async #dial(address: ServerAddress, signal: AbortSignal, awaits: (what: string) => void): Promise<Link> {
    const { connectTimeout } = this.#settings;
    const identity = await this.#identity(address, signal, awaits);
    awaits(noGreeting(connectTimeout));
    const link = await Link.dial(address, identity, connectTimeout, signal, this.#clock);
    this.#announced(link, link.announced, ownCa(identity.tls));
    // Later announcements come through the verified stream.
    link.onAnnounced = (announced) => this.#announced(link, announced, link.secure);
    return link;
  }

  async #standsAlone(address: ServerAddress, signal: AbortSignal): Promise<boolean> {
    const { clusterId, connectTimeout } = this.#settings;
    const identity = await this.#identity(address, signal, () => undefined);
    return await standsAlone(address, identity, clusterId, connectTimeout, signal, this.#clock);
  }

  /** Asks for everything that a dial needs of the user. */
  async #identity(address: ServerAddress, signal: AbortSignal, awaits: (what: string) => void): Promise<DialIdentity> {
    const { connectTimeout, name } = this.#settings;
    const late = (): never => {
      signal.throwIfAborted();
      throw new Error(`no answer within ${connectTimeout} ms`);
    };
    /** Waits until the time is over or the dial is called off. */
    const wait = (delay: number, callback: () => void): (() => void) => {
      const cancel = patience(this.#clock, delay, callback);
      signal.addEventListener('abort', callback, { once: true });
      return () => {
        cancel();
        signal.removeEventListener('abort', callback);
      };
    };
    const ask = async <T>(what: string, answer: Promise<T>): Promise<T> => {
      awaits(
        `no ${what} for the dial within ${connectTimeout} ms: the function that is asked for them does not answer`,
      );
      try {
        return await within(answer, connectTimeout, late, wait);
      } catch (error) {
        throw new Error(`no ${what} for the dial: ${describe(error)}`, { cause: error });
      }
    };
    const credentials = await ask('credentials', dialCredentials(this.#settings, address));
    const tls = await ask('TLS options', dialTls(this.#settings, this.#complain));
    return { ...natsAuth({ tls }, address, credentials, this.#complain), name };
  }

  /**
   * Adds announced servers.
   * @param ownNames whether their certificates may be for their own names. That is so when nobody on the way can have changed
   * the announcement, or when nobody else can have a certificate that we accept.
   */
  #announced({ address, secure }: Link, announced: readonly string[], ownNames: boolean): void {
    if (!this.#settings.discover) return;
    // If this server insists on encryption, the credentials are not sent anywhere without it.
    const by = { ...address, tls: address.tls || secure };
    this.#servers.announce(announcedServers(announced, by, { most: MOST_ANNOUNCED, ownNames }), address);
  }
}

/** Whether only certificates from the user's own authorities are accepted. */
function ownCa(tls: false | ConnectionOptions | undefined): boolean {
  return typeof tls === 'object' && tls.ca !== undefined;
}
