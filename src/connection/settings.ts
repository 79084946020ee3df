/** Holds the checked options of `connect` that concern the connection, with their defaults. */
import type { ConnectionOptions } from 'node:tls';
import { MAX_INT32 } from '../int32.js';
import type { ResolvedLogger } from '../logger.js';
import type { OptionNames, OptionReader } from '../option-reader.js';
import type { CredentialsProvider, ResolvedCredentials } from './credentials.js';
import type { ResolvedRetryOptions } from '../retry-options.js';
import type { ServerAddress } from './servers.js';
import type { TlsProvider } from './tls-options.js';

/**
 * STAN pings. By them an idle client notices that no leader answers, although its TCP connection lives.
 * @category Connecting
 */
export interface PingOptions {
  /** Time between two pings of an idle session, in ms. A multiple of 1000, because the protocol has whole seconds. Default 1000. */
  interval?: number | undefined;
  /** How many pings in a row may go unanswered before the session is lost. Default 3. */
  maxOut?: number | undefined;
}

export interface ConnectionSettings {
  readonly servers: readonly ServerAddress[];
  readonly clusterId: string;
  readonly clientId: string;
  readonly pings: { readonly interval: number; readonly maxOut: number };
  readonly connectTimeout: number;
  readonly initialConnect: ResolvedRetryOptions;
  readonly reconnect: ResolvedRetryOptions | false;
  readonly clientIdConflict: 'retry' | 'close';
  readonly randomize: boolean;
  /** The static credentials. The credentials of a URL are preferred to them, and `credentials` to both. */
  readonly staticCredentials: ResolvedCredentials;
  readonly credentials?: CredentialsProvider;
  /** Whether servers that the cluster announces are dialled as well. */
  readonly discover: boolean;
  /**
   * A value other than `false` holds for every server. A function is called before each dial, and its result is not checked
   * yet.
   */
  readonly tls: boolean | ConnectionOptions | TlsProvider;
  readonly name: string;
  /** A logger whose functions do not throw. */
  readonly logger: ResolvedLogger;
}

export const PINGS_NAMES: OptionNames = { known: ['interval', 'maxOut'] };

/**
 * Reads `pings`.
 * @throws InvalidArgumentError
 */
export function resolvePings(reader: OptionReader): ConnectionSettings['pings'] {
  const because = 'the protocol has whole seconds';
  const interval = reader.milliseconds('interval', 1000, { min: 1000, because });
  if (interval % 1000 !== 0)
    reader.refuse('interval', `must be a multiple of 1000 milliseconds (${because}), not ${interval}`);
  return { interval, maxOut: reader.number('maxOut', 3, { min: 1, max: MAX_INT32, unit: 'pings' }) };
}
