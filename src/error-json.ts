/**
 * Errors for JSON. `JSON.stringify` shows nothing of an Error by itself. Errors may be chained in a circle, and foreign ones may
 * carry anything, also secrets, so only known fields and plain values are taken.
 */
import { inspect, types } from 'node:util';

/**
 * What `JSON.stringify` shows of an error: what it says and its causes, without the stack.
 * @category Errors
 */
export interface ErrorJson {
  /** The name of its class. */
  name: string;
  /** What it says. */
  message: string;
  /** The stable name of the kind of error. On a foreign error its own code, if it has one. */
  code?: string | number;
  /** The error that led to it. A text for anything that is no error. */
  cause?: ErrorJson | string;
  /** The fields of the class, as `delivery`, `reason`, `server` or `failures`. */
  [field: string]: unknown;
}

/** The most causes of an error that are shown. */
const MOST_CAUSES = 8;

/** Any error, for JSON. Of one of this library it has the fields of its class. */
export function errorToJson(error: Error): ErrorJson {
  return chained(error, []);
}

/** @param before the errors of the chain so far */
function chained(error: Error & { code?: unknown }, before: readonly unknown[]): ErrorJson {
  const { name, message, code } = error;
  const coded = typeof code === 'string' || typeof code === 'number' ? { code } : {};
  const fields = typeof code === 'string' && code.startsWith('ERR_STAN_') ? ownFields(error) : {};
  return { name: String(name), message: String(message), ...coded, ...fields, ...causeOf(error, [...before, error]) };
}

/** The fields of an error of this library that are fit for JSON. */
function ownFields(error: Error & { failures?: readonly { error?: unknown }[] }): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(error)) {
    if (['string', 'number', 'boolean'].includes(typeof value)) fields[name] = value;
  }
  // The error of a server says what its reason says.
  if (error.failures !== undefined) fields.failures = error.failures.map(({ error: _, ...shown }) => shown);
  return fields;
}

function causeOf(error: Error, before: readonly unknown[]): { cause?: ErrorJson | string } {
  try {
    const { cause } = error;
    if (cause === undefined || cause === null || before.includes(cause) || before.length > MOST_CAUSES) return {};
    if (types.isNativeError(cause) || cause instanceof Error) return { cause: chained(cause, before) };
    if (typeof cause === 'string') return { cause };
    // What an object carries is not known, so only its kind is shown.
    const plain = typeof cause !== 'object' && typeof cause !== 'function';
    return { cause: plain ? inspect(cause) : Object.prototype.toString.call(cause) };
  } catch {
    // A proxy or a getter may throw.
    return {};
  }
}

/** An error and when it was, for JSON as well. */
export class DatedError {
  readonly error: Error;
  readonly at: Date;

  constructor(error: Error, at: Date) {
    this.error = error;
    this.at = at;
  }

  toJSON(): { error: ErrorJson; at: Date } {
    return { error: errorToJson(this.error), at: this.at };
  }
}
