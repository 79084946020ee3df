/** The user's logger, made safe: it is called from timers and sockets, where a throw would take the process down. */
import type { Logger } from './options.js';
import { callUser } from './user-code.js';

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
