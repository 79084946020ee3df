/** Leads a client to a server in memory: finds out whether it is up, and registers the client there. */
import { ClientIdConflictError, ConnectError } from '../../errors.js';
import type { Gateway, GatewayParts, NewSession, Search } from '../../connection/gateway.js';
import { MemorySession, type SessionHost } from './session.js';

/** What a gateway needs of its server. */
export interface GatewayHost extends SessionHost {
  readonly clusterId: string;
  readonly up: boolean;
  /** Searches that are told when the server comes up. */
  readonly searches: Set<MemorySearch>;
  /** The sessions by client ID: also those that have died, and whose client has not come back. */
  readonly registrations: Map<string, MemorySession>;
}

export class MemorySearch implements Search<void> {
  readonly #host: GatewayHost;
  readonly #clusterId: string;
  #onWon: (() => void) | undefined;
  #over = false;

  constructor(host: GatewayHost, clusterId: string) {
    this.#host = host;
    this.#clusterId = clusterId;
    host.searches.add(this);
  }

  get onWon(): (() => void) | undefined {
    return this.#onWon;
  }

  /** Whoever waits for a server that is up waits for nothing. */
  set onWon(callback: (() => void) | undefined) {
    this.#onWon = callback;
    if (callback !== undefined && this.#mayWin) void this.#host.traffic.trip().then(() => this.cameUp());
  }

  /** Hears that the server is up. */
  cameUp(): void {
    if (!this.#over && this.#mayWin) this.#onWon?.();
  }

  async round(): Promise<void> {
    await this.#host.traffic.trip();
    const { url, up, clusterId } = this.#host;
    if (!up) throw nobody(url);
    if (clusterId !== this.#clusterId) throw noLeader(url, this.#clusterId, clusterId);
  }

  wasIdle(): void {
    // What it has found does not go bad.
  }

  cancel(): void {
    this.#over = true;
    this.#onWon = undefined;
    this.#host.searches.delete(this);
  }

  get #mayWin(): boolean {
    return this.#host.up && this.#host.clusterId === this.#clusterId;
  }
}

export class MemoryGateway implements Gateway<void> {
  readonly #host: GatewayHost;
  readonly #parts: GatewayParts;
  /** Whether the last attempt failed for a reason that the server alone does not remove. */
  #refused = false;

  constructor(host: GatewayHost, parts: GatewayParts) {
    this.#host = host;
    this.#parts = parts;
  }

  /** Whether the client will have a session without anybody's help, if it has none. */
  get open(): boolean {
    return this.#host.up && this.#host.clusterId === this.#parts.settings.clusterId && !this.#refused;
  }

  failed(): void {
    // There is only one server.
  }

  served(): void {
    // There is only one server.
  }

  search(): MemorySearch {
    return new MemorySearch(this.#host, this.#parts.settings.clusterId);
  }

  async register(_found: void, { ordinal, previous, signal }: NewSession): Promise<MemorySession> {
    const { clientId } = this.#parts.settings;
    const { clock, participants } = this.#parts;
    const { registrations, traffic, url } = this.#host;
    await traffic.trip();
    signal.throwIfAborted();
    if (!this.#host.up) throw nobody(url);
    const holder = registrations.get(clientId);
    this.#refused = holder?.alive === true;
    if (this.#refused) throw new ClientIdConflictError(clientId);
    const continued = previous === undefined || holder?.registration.connectionId === previous.connectionId;
    const search = (): MemorySearch => this.search();
    const session = new MemorySession(this.#host, { ordinal, continued, clientId, clock, participants, search });
    registrations.set(clientId, session);
    return session;
  }
}

function nobody(server: string): ConnectError {
  const error = new Error('the memory server is down: call its restore()');
  return new ConnectError(
    `no server could be reached: ${server} (${error.message})`,
    [{ server, reason: error.message, error, reached: false }],
    { cause: error },
  );
}

function noLeader(server: string, wanted: string, there: string): ConnectError {
  const error = new Error(`its cluster ID is '${there}'`);
  return new ConnectError(
    `connected to ${server}, but no leader of cluster '${wanted}' answered: ${error.message}`,
    [{ server, reason: error.message, error, reached: true }],
    { cause: error },
  );
}
