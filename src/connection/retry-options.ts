/** Checks the options for repeated connects and fills in the defaults. */
import type { OptionReader } from '../option-reader.js';
import { resolveRetry, retryOptionNames, type ResolvedRetryOptions } from '../retry-options.js';

export const INITIAL_CONNECT: ResolvedRetryOptions = {
  retries: 3,
  factor: 2,
  minTimeout: 100,
  maxTimeout: 1000,
  randomize: true,
  maxRetryTime: Infinity,
};
const RECONNECT: ResolvedRetryOptions = {
  retries: Infinity,
  factor: 1.5,
  minTimeout: 50,
  maxTimeout: 500,
  randomize: true,
  maxRetryTime: Infinity,
};

const RETRY_NAMES = retryOptionNames({
  signal: "'signal' is an option of connect itself",
  onFailedAttempt: "listen to the event 'reconnecting' instead",
  shouldRetry: "use 'connectionLostHandler', an option of connect itself",
  unref: 'a client keeps the process alive until it is closed',
});

/**
 * Reads `initialConnect`.
 * @param retries the default of its `retries`
 * @throws InvalidArgumentError
 */
export function resolveInitialConnect(reader: OptionReader, retries = INITIAL_CONNECT.retries): ResolvedRetryOptions {
  if (reader.values.initialConnect === false) {
    reader.refuse('initialConnect', 'must be an object, not false: for a single attempt use { retries: 0 }');
  }
  return resolveRetry(reader.nested('initialConnect', RETRY_NAMES), { ...INITIAL_CONNECT, retries });
}

/**
 * Reads `reconnect`.
 * @throws InvalidArgumentError
 */
export function resolveReconnect(reader: OptionReader): ResolvedRetryOptions | false {
  const given = reader.values.reconnect;
  if (given === false) return false;
  if (given === true)
    reader.refuse('reconnect', 'must be an object or false, not true: leave it out to reconnect for ever');
  return resolveRetry(reader.nested('reconnect', RETRY_NAMES), RECONNECT);
}
