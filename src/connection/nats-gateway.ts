/** Makes the sessions of a client with the servers: dials them, finds the leader, and registers. */
import { Claims } from './claims.js';
import { Dialler } from './dialler.js';
import type { Gateway, GatewayParts, NewSession } from './gateway.js';
import type { Found, LeaderSearch } from './leader-search.js';
import { register } from './registration.js';
import { StanSession } from './session.js';
import { Line } from './throughput.js';

export class NatsGateway implements Gateway<Found> {
  readonly #parts: GatewayParts;
  readonly #dialler: Dialler;
  readonly #claims = new Claims();
  readonly #line = new Line();

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#dialler = new Dialler(parts.settings, parts.clock, parts.complain);
  }

  failed(url: string): void {
    this.#dialler.failed(url);
  }

  served(url: string): void {
    this.#dialler.served(url);
  }

  search(previous: Uint8Array | undefined, first: boolean): LeaderSearch {
    return this.#dialler.race(previous, { first });
  }

  async register(found: Found, { ordinal, previous, signal }: NewSession): Promise<StanSession> {
    const { settings, participants, clock, suspected, denied } = this.#parts;
    const { clusterId, clientId, pings, connectTimeout } = settings;
    const { url } = found.link.address;
    const options = { clusterId, clientId, pings, connectTimeout, previous, claims: this.#claims, clock };
    const { stan, continued } = await register(found, options, signal).catch((error: unknown) => {
      this.#dialler.failed(url);
      throw error;
    });
    const session: StanSession = new StanSession(found.link, stan, {
      ordinal,
      continued,
      settings,
      roundTrip: found.roundTrip,
      line: this.#line,
      participants,
      // The other servers are tried first, and then the attached one once more.
      race: () => this.#dialler.race(stan.connId, { last: url }),
      suspected: (silence) => suspected(session.server, silence),
      denied,
      clock,
    });
    return session;
  }
}
