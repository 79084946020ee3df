/**
 * Whether the clients that hold a durable live. STAN keeps a client that is gone without a word, as after a crash, for some minutes.
 * Its heartbeat inbox shows it: nobody listens there. A client that is frozen listens and does not answer, so it lives.
 */
import type { NatsConnection } from '@nats-io/transport-node';
import { describe } from '../errors.js';
import { MigrationSourceError } from './errors.js';
import type { ResolvedMigrateOptions } from './options.js';
import { withSession } from './stan-session.js';
import { dial, loadOfficialClient, type OfficialClient } from './target.js';

/** How long a client may take to answer, in ms. Who is silent lives. */
const TIMEOUT = 1000;

/** Asks for clients, over one connection to the STAN servers. */
export class Holders {
  readonly #client: OfficialClient;
  readonly #connection: NatsConnection;
  readonly #options: ResolvedMigrateOptions;

  private constructor(client: OfficialClient, connection: NatsConnection, options: ResolvedMigrateOptions) {
    this.#client = client;
    this.#connection = connection;
    this.#options = options;
  }

  /** @throws PeerMissingError; MigrationSourceError when there is no connection; AbortedError when the signal is aborted */
  static async open(options: ResolvedMigrateOptions): Promise<Holders> {
    const client = await loadOfficialClient();
    return new Holders(client, await dial(client, options.source, options.signal), options);
  }

  /**
   * Whether a registered client lives.
   * @param inbox its heartbeat inbox
   * @throws MigrationSourceError when that cannot be asked
   */
  async lives(inbox: string): Promise<boolean> {
    const { RequestError, TimeoutError } = this.#client.core;
    try {
      await this.#connection.request(inbox, undefined, { timeout: TIMEOUT });
      return true;
    } catch (error) {
      if (error instanceof RequestError && error.isNoResponders()) return false;
      if (error instanceof TimeoutError) return true;
      throw new MigrationSourceError(`whether the client behind '${inbox}' lives is not known: ${describe(error)}`, {
        cause: error,
      });
    }
  }

  /**
   * Ends the registration of a client that is gone, as its own return would. Its durables are offline then.
   * @throws MigrationSourceError when that fails, also because the client is back
   */
  async bury(clientId: string): Promise<void> {
    await withSession(this.#options, clientId, async () => undefined);
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
