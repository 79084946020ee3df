/** The seam through which any client goes through the same verification. */
import type { CheckedClient } from '../continuity/checker.js';
import type { Ordering } from '../continuity/verdict.js';

/**
 * What a client tells of itself, for the marks in the report. `closed`: it is over, and will not come back by itself.
 * `error`: something that needs a person.
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

/** @throws TypeError for a module that exports no adapter */
export function adapterOf(module: unknown, path: string): ClientAdapter {
  const adapter = (module as { default?: Partial<ClientAdapter> } | undefined)?.default;
  if (typeof adapter?.name === 'string' && typeof adapter.connect === 'function') return adapter as ClientAdapter;
  throw new TypeError(`${path} is no client adapter: its default export must be { name, connect(context) }`);
}
