/** The user's logger, made safe: it is called from timers and sockets, where a throw would take the process down. */
import { InvalidArgumentError } from './errors.js';
import { readForeign, type OptionReader } from './option-reader.js';
import { callUser } from './user-code.js';
import { show } from './validation.js';

/** Where the library says what it does. Every function is optional; none may be a place where the process dies. */
export interface Logger {
  /** Every dial, suspicion and probe. */
  debug?(message: string, details?: Record<string, unknown>): void;
  /** Connected, subscriptions made again. */
  info?(message: string, details?: Record<string, unknown>): void;
  /** Losses, and what was done about them. */
  warn?(message: string, details?: Record<string, unknown>): void;
  /** What needs a person. */
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

/** All four functions, none of which throws or leaves a rejection behind. */
export function safeLogger(logger: Logger | undefined): ResolvedLogger {
  const safe = (level: (typeof LOG_LEVELS)[number]): ResolvedLogger['debug'] => {
    if (!hasFunction(logger, level)) return silence;
    return (message, details) => {
      // Looked up each time: loggers may be reconfigured, and need their `this`.
      const log = (): unknown => (details === undefined ? logger[level]?.(message) : logger[level]?.(message, details));
      // A log line is not worth a connection, and where would it be told?
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
