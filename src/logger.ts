/** The user's logger, made safe: it is called from timers and sockets, where a throw would take the process down. */
import type { Logger } from './options.js';

export type ResolvedLogger = Required<Logger>;

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

const silence = () => undefined;

/** All four functions, none of which throws or leaves a rejection behind. */
export function safeLogger(logger: Logger | undefined): ResolvedLogger {
  const safe = (level: (typeof LOG_LEVELS)[number]): ResolvedLogger['debug'] => {
    if (typeof logger?.[level] !== 'function') return silence;
    return (message, details) => {
      try {
        // Looked up each time: loggers may be reconfigured, and need their `this`.
        const result: unknown = details === undefined ? logger[level]?.(message) : logger[level]?.(message, details);
        if (result instanceof Promise) result.catch(silence);
      } catch {
        // A log line is not worth a connection.
      }
    };
  };
  return { debug: safe('debug'), info: safe('info'), warn: safe('warn'), error: safe('error') };
}
