/** The user's logger, made safe. It is called from timers and sockets, where an exception would end the process. */
import { InvalidArgumentError } from './errors.js';
import { readForeign, type OptionReader } from './option-reader.js';
import { callUser } from './user-code.js';
import { show } from './validation.js';

/**
 * Where the library says what it does. Each function is optional, but one of them has to be there. What a function throws
 * is ignored.
 *
 * It is called with a text and an object, which always has the client ID, as `console`, winston and consola take them. pino and
 * bunyan are recognised, and get the object first, with an error as `err`. Another logger that takes the object first needs an
 * adapter.
 *
 * @example
 * ```ts
 * const stan = await ResilientStan.connect(urls, { logger: console }); // or pino(), winston.createLogger(…)
 * const other = await ResilientStan.connect(urls, {
 *   logger: { warn: (message, details) => log.warn(details, message), error: (message, details) => log.error(details, message) },
 * });
 * ```
 * @category Monitoring
 */
export interface Logger {
  /** Each failed attempt, each suspicion, and what is read past the server. */
  debug?(message: string, details?: Record<string, unknown>): void;
  /** Each connect and reconnect. */
  info?(message: string, details?: Record<string, unknown>): void;
  /** Each loss, a first connect that fails and is tried again, and a client ID that another client has. */
  warn?(message: string, details?: Record<string, unknown>): void;
  /** What a person should look at, with the `error`. */
  error?(message: string, details?: Record<string, unknown>): void;
}

type Log = (message: string, details?: Readonly<Record<string, unknown>>) => void;

export interface ResolvedLogger {
  /** Undefined if nobody reads it. `debug?.(…)` then does not even make the text. */
  readonly debug: Log | undefined;
  readonly info: Log;
  readonly warn: Log;
  readonly error: Log;
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

const silence = () => undefined;

function hasFunction(logger: Logger | undefined, level: (typeof LOG_LEVELS)[number]): logger is Logger {
  try {
    return typeof logger?.[level] === 'function';
  } catch {
    return false;
  }
}

/** Whether a logger takes the object before the text, and would drop one behind it: pino (of any version) or bunyan. */
function takesObjectFirst(logger: Logger): boolean {
  try {
    const { addSerializers, fields } = logger as { addSerializers?: unknown; fields?: unknown };
    // pino has this symbol for other packages to know it by.
    if ((logger as Record<symbol, unknown>)[Symbol.for('pino.serializers')] !== undefined) return true;
    return typeof addSerializers === 'function' && typeof fields === 'object' && fields !== null;
  } catch {
    return false;
  }
}

/**
 * A logger that throws nothing, and leaves no rejected promise behind.
 * @param context is in the details of every line
 */
export function safeLogger(logger: Logger | undefined, context?: Readonly<Record<string, unknown>>): ResolvedLogger {
  const objectFirst = logger !== undefined && takesObjectFirst(logger);
  const safe = (level: (typeof LOG_LEVELS)[number]): Log | undefined => {
    if (!hasFunction(logger, level)) return undefined;
    return (message, details) => {
      const all = context === undefined ? details : { ...context, ...details };
      // It is looked up at each call, because a logger may be reconfigured and needs its `this`.
      const log = (): unknown => {
        if (all === undefined) return logger[level]?.(message);
        // The types are those of a logger that takes the text first.
        if (objectFirst) return (logger as unknown as ObjectFirst)[level](named(all), message);
        return logger[level]?.(message, all);
      };
      // A failed log line is ignored, because there is no place left to tell it.
      callUser(`logger.${level}`, log, silence);
    };
  };
  return {
    debug: safe('debug'),
    info: safe('info') ?? silence,
    warn: safe('warn') ?? silence,
    error: safe('error') ?? silence,
  };
}

type ObjectFirst = Record<(typeof LOG_LEVELS)[number], (details: object, message: string) => unknown>;

/** pino and bunyan show an error only by this name. */
function named({ error, ...details }: Readonly<Record<string, unknown>>): object {
  return error === undefined ? details : { ...details, err: error };
}

/**
 * Reads `logger`.
 * @param clientId is in every line
 * @throws InvalidArgumentError
 */
export function resolveLogger(reader: OptionReader, clientId: string): ResolvedLogger {
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
  return safeLogger(logger as Logger, { clientId });
}
