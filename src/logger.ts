/** The user's logger, made safe. It is called from timers and sockets, where an exception would end the process. */
import { InvalidArgumentError } from './errors.js';
import { readForeign, type OptionReader } from './option-reader.js';
import { callUser } from './user-code.js';
import { show } from './validation.js';

/**
 * Where the library says what it does. Each function is optional, but one of them has to be there. What a function throws
 * is ignored.
 *
 * @example
 * ```ts
 * const stan = await ResilientStan.connect(urls, { logger: { warn: console.warn, error: console.error } });
 * ```
 * @category Monitoring
 */
export interface Logger {
  /** Each dial, each suspicion and each probe. */
  debug?(message: string, details?: Record<string, unknown>): void;
  /** Each connect and reconnect. */
  info?(message: string, details?: Record<string, unknown>): void;
  /** Each loss, and what was done about it. Each failure of a handler, and what else goes wrong with messages. */
  warn?(message: string, details?: Record<string, unknown>): void;
  /** What a person should look at. */
  error?(message: string, details?: Record<string, unknown>): void;
}

export type ResolvedLogger = Required<Logger>;

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

const silence = () => undefined;

function hasFunction(logger: Logger | undefined, level: (typeof LOG_LEVELS)[number]): logger is Logger {
  try {
    return typeof logger?.[level] === 'function';
  } catch {
    return false;
  }
}

/** A logger with all four functions. None of them throws, and none leaves a rejected promise behind. */
export function safeLogger(logger: Logger | undefined): ResolvedLogger {
  const safe = (level: (typeof LOG_LEVELS)[number]): ResolvedLogger['debug'] => {
    if (!hasFunction(logger, level)) return silence;
    return (message, details) => {
      // It is looked up at each call, because a logger may be reconfigured and needs its `this`.
      const log = (): unknown => (details === undefined ? logger[level]?.(message) : logger[level]?.(message, details));
      // A failed log line is ignored, because there is no place left to tell it.
      callUser(`logger.${level}`, log, silence);
    };
  };
  return { debug: safe('debug'), info: safe('info'), warn: safe('warn'), error: safe('error') };
}

/** @throws InvalidArgumentError */
export function resolveLogger(reader: OptionReader): ResolvedLogger {
  const logger = reader.values.logger;
  if (logger === undefined) return safeLogger(undefined);
  if (typeof logger !== 'object' && typeof logger !== 'function') {
    reader.refuse('logger', `must be an object with debug, info, warn or error functions, not ${show(logger)}`);
  }
  const levels = LOG_LEVELS.map((level) => {
    const path = `logger.${level}`;
    const value = readForeign(path, `option '${path}'`, () => (Object(logger) as Record<string, unknown>)[level]);
    if (value !== undefined && typeof value !== 'function') {
      throw new InvalidArgumentError(path, `option '${path}' must be a function, not ${show(value)}`);
    }
    return value;
  });
  if (levels.every((level) => level === undefined)) {
    reader.refuse(
      'logger',
      `must have at least one of the functions debug, info, warn and error, and ${show(logger)} has none`,
    );
  }
  return safeLogger(logger as Logger);
}
