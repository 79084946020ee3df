/** The seam through which any client goes through the same verification. */
import { pathToFileURL } from 'node:url';
import { describe, InvalidArgumentError } from '../../errors.js';
import type { CheckedClient } from '../continuity/checker.js';
import type { Ordering } from '../continuity/verdict.js';

/**
 * What a client tells of itself, for the marks in the report. `closed`: it is over, and will not come back by itself.
 * `error`: something that needs a person. A gap is told by an emitter: see {@link CheckedClient.subscribe}.
 */
export type ClientNews = 'loss' | 'reconnect' | 'gap' | 'reset' | 'error' | 'closed';

export interface ClientContext {
  /** URLs, with their credentials. */
  servers: string[];
  clusterId: string;
  /** Every process has its own, and keeps it through its lives. */
  clientId: string;
  /** `strict`: what is published first is to be stored first. */
  ordering: Ordering;
  /** Tells what happened; `text` says why, or how long it took. */
  tell(news: ClientNews, text?: string): void;
  /** A line for the log of the process, which is kept when the verdict is not clean. */
  log(line: string): void;
}

/** What handlers fail with on purpose: no news to {@link ClientContext.tell}. */
export class PlannedFailure extends Error {
  override readonly name = 'PlannedFailure';
}

/** A handler may throw: then the message is not to be acknowledged, and has to come again. */
export interface VerifiedClient extends CheckedClient {
  /** Leaves in good order; durables keep their position. */
  close(): Promise<unknown>;
  /** How many listeners hang on it, to see that they do not become more. */
  listeners?(): number;
}

/** The default export of a module that is given to `verify` as its `client`. Runs in the processes of the clients. */
export interface ClientAdapter {
  /** For the report. */
  name: string;
  version?: string;
  /** Resolves when it is connected. Is called again after a while when it rejects, as an operator would start it again. */
  connect(context: ClientContext): Promise<VerifiedClient>;
}

/** @throws InvalidArgumentError when there is no such module, it cannot be loaded, or it exports no adapter */
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
