/** Checks the options for repeated attempts. Each layer that repeats something has defaults of its own. */
import { MAX_INT32 } from './int32.js';
import type { OptionNames, OptionReader } from './option-reader.js';

/**
 * How often and how soon to try again, with the names of p-retry. The delay after the n-th failed attempt is
 * `minTimeout · factor^(n − 1)`, and at most `maxTimeout`. Times are milliseconds. The defaults stand at
 * {@link ConnectOptions.initialConnect}, {@link ConnectOptions.reconnect} and {@link SubscribeOptions.retry}.
 *
 * When a client connects, attempts and time are counted on through sessions that last less than 2 s.
 * @category Connecting
 */
export interface RetryOptions {
  /**
   * How many attempts follow the first one. `Infinity` is no limit. When a client connects, an attempt that finds the cluster, and the
   * client ID held by another live client, does not count: that is waited for until `maxRetryTime` is over, and for 60 s if there is
   * none. So is, in a first connect for which more `retries` than by default or a `maxRetryTime` are set, a streaming server that may
   * come behind a plain NATS server: attempts end early there, and are made for `connectTimeout` times their number. `0` is a single
   * attempt in any case.
   */
  retries?: number | undefined;
  /** By which factor each delay is longer than the one before, 1 or more. */
  factor?: number | undefined;
  /** The delay after the first failed attempt, in ms, 1 or more. */
  minTimeout?: number | undefined;
  /** The longest delay, in ms. */
  maxTimeout?: number | undefined;
  /** Whether each delay is drawn at random between half of its value and all of it, so that clients do not act in step. */
  randomize?: boolean | undefined;
  /** How long after the first attempt another one may begin, in ms. Default `Infinity`. */
  maxRetryTime?: number | undefined;
}

export interface ResolvedRetryOptions {
  readonly retries: number;
  readonly factor: number;
  readonly minTimeout: number;
  readonly maxTimeout: number;
  readonly randomize: boolean;
  readonly maxRetryTime: number;
}

export const RETRY_OPTION_NAMES = [
  'retries',
  'factor',
  'minTimeout',
  'maxTimeout',
  'randomize',
  'maxRetryTime',
] as const;

/** The names of the options, for a reader. @param hints help for names that mean something else where the attempts are made */
export const retryOptionNames = (hints: OptionNames['hints']): OptionNames => ({
  known: RETRY_OPTION_NAMES,
  hints: { forever: "use 'retries: Infinity'", jitter: "did you mean 'randomize'?", ...hints },
});

/**
 * Reads an object of retry options.
 * @throws InvalidArgumentError
 */
export function resolveRetry(reader: OptionReader, defaults: ResolvedRetryOptions): ResolvedRetryOptions {
  const minGiven = reader.milliseconds('minTimeout', undefined);
  const maxGiven = reader.milliseconds('maxTimeout', undefined, { infinity: true });
  if (minGiven !== undefined && maxGiven !== undefined && minGiven > maxGiven) {
    reader.refuse(
      'minTimeout',
      `must not be more than '${reader.path('maxTimeout')}' (${maxGiven}), but is ${minGiven}`,
    );
  }
  // If only one of the two is given, the default of the other is adjusted to it.
  const minTimeout = minGiven ?? Math.min(defaults.minTimeout, maxGiven ?? Infinity);
  const maxTimeout = Math.min(MAX_INT32, maxGiven ?? Math.max(defaults.maxTimeout, minTimeout));
  return {
    retries: reader.number('retries', defaults.retries, { min: 0, infinity: true }),
    factor: reader.number('factor', defaults.factor, { min: 1, fraction: true }),
    minTimeout,
    maxTimeout,
    randomize: reader.boolean('randomize', defaults.randomize),
    maxRetryTime: reader.milliseconds('maxRetryTime', defaults.maxRetryTime, { infinity: true }),
  };
}
