/** The interface through which any client can be verified. */
import { pathToFileURL } from 'node:url';
import { describe, InvalidArgumentError } from '../../errors.js';
import type { CheckedClient } from '../continuity/checked-client.js';
import type { Ordering } from '../continuity/verdict.js';
import type { VerifyConnectOptions } from './connect-options.js';

/**
 * What a client can tell of itself, for the marks in the report. `'closed'`: it has ended and does not come back. `'error'`:
 * a person should look at it. `'gap'` only makes a mark: which messages are gone is told by the emitter that
 * {@link CheckedClient.subscribe} answers with.
 * @category Verification
 */
export type ClientNews = 'loss' | 'reconnect' | 'gap' | 'reset' | 'error' | 'closed';

/**
 * What an adapter gets to connect a client.
 * @category Verification
 */
export interface ClientContext {
  /** URLs of the servers, with their credentials. */
  servers: string[];
  /** The cluster ID. */
  clusterId: string;
  /** Credentials and TLS, where they are not in the URLs. Empty when there are none. */
  connectOptions: VerifyConnectOptions;
  /** The client ID. Each process has its own, and keeps it when it is started again. */
  clientId: string;
  /** `'strict'`: messages have to be stored in the order in which they were published. */
  ordering: Ordering;
  /** Tells what happened. `text` says why, or how long it took. */
  tell(news: ClientNews, text?: string): void;
  /** Writes a line into the log of the process, which is kept when the run is not clean. */
  log(line: string): void;
}

/** The error with which handlers fail on purpose. It is not to be told by {@link ClientContext.tell}. */
export class PlannedFailure extends Error {
  override readonly name = 'PlannedFailure';
}

/**
 * A client under verification. When a handler throws, its message must not be acknowledged, and has to come again.
 * @category Verification
 */
export interface VerifiedClient extends CheckedClient {
  /** Closes the client in good order. Durables keep their position. */
  close(): Promise<unknown>;
  /** How many listeners there are on the client. The verification sees whether they become more. */
  listeners?(): number;
}

/**
 * The default export of a module that is given to {@link verify} as its `client`. It runs in the processes of the clients.
 *
 * @example
 * ```ts
 * const adapter: ClientAdapter = {
 *   name: 'resilient-stan',
 *   async connect({ servers, clusterId, connectOptions, clientId, ordering, tell }) {
 *     const options = { ...connectOptions, clusterId, clientId, publishing: { ordering } };
 *     const stan = await ResilientStan.connect(servers, options);
 *     stan.on('connection_lost', ({ reason }) => tell('loss', reason));
 *     stan.on('reconnect', () => tell('reconnect'));
 *     return stan;
 *   },
 * };
 * export default adapter;
 * ```
 * @category Verification
 */
export interface ClientAdapter {
  /** Name of the client, for the report. */
  name: string;
  /** Version of the client, for the report. */
  version?: string;
  /** Connects a client. Resolves when it is connected. After a rejection it is called again, as if somebody started it again. */
  connect(context: ClientContext): Promise<VerifiedClient>;
}

/** Loads an adapter. @throws InvalidArgumentError when there is no such module, it cannot be loaded, or it exports no adapter */
export async function loadAdapter(path: string): Promise<ClientAdapter> {
  let module: { default?: Partial<ClientAdapter> };
  try {
    module = (await import(pathToFileURL(path).href)) as typeof module;
  } catch (error) {
    throw new InvalidArgumentError('client', `the client '${path}' cannot be loaded: ${describe(error)}`, {
      cause: error,
    });
  }
  const adapter = module.default;
  if (typeof adapter?.name === 'string' && typeof adapter.connect === 'function') return adapter as ClientAdapter;
  throw new InvalidArgumentError(
    'client',
    `the client '${path}' is no adapter: its default export must be { name, connect(context) }`,
  );
}
