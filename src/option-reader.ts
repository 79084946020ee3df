/**
 * Reads one object of options. It reads each option once, refuses unknown names, checks the values, and fills in the
 * defaults. An option that is `undefined` counts as left out, so `{ clientId: process.env.CLIENT_ID }` works as expected.
 */
import { signalFault } from './abort-signal.js';
import { describe, InvalidArgumentError, type ResilientStanErrorOptions } from './errors.js';
import { MAX_INT32 } from './int32.js';
import { suggest } from './suggest.js';
import { kindOf, quote, show } from './validation.js';

export interface OptionNames {
  /** The names of the options. */
  known: readonly string[];
  /** Help for names that are options elsewhere: in another client, or in another place of this library. */
  hints?: Readonly<Record<string, string>>;
  /** What to say when something of such a type (as `typeof` tells) stands in the place of the options. */
  insteadOf?: Readonly<Record<string, string>>;
}

export interface NumberRule {
  min: number;
  max?: number;
  /** The unit, as in 'whole number of messages'. */
  unit?: string;
  /** Whether `Infinity` is allowed. */
  infinity?: boolean;
  /** Whether fractions are allowed. */
  fraction?: boolean;
  /** The reason for the minimum, for the error. */
  because?: string;
}

export class OptionReader {
  /** The known options as they were given, unchecked. Inherited ones count as well. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly #prefix: string;
  readonly #errorOptions: ResilientStanErrorOptions;

  /**
   * @param argument name of the object in an error: `options`, or the path of a nested one
   * @throws InvalidArgumentError when it is not an object, has unknown names, or cannot be read
   */
  constructor(options: unknown, argument: string, names: OptionNames, errorOptions: ResilientStanErrorOptions = {}) {
    this.#errorOptions = errorOptions;
    this.#prefix = argument === 'options' ? '' : `${argument}.`;
    if (options === undefined) options = {};
    const what = argument === 'options' ? 'options' : `option '${argument}'`;
    const read = <T>(path: string, what: string, call: () => T): T => readForeign(path, what, call, errorOptions);
    if (typeof options !== 'object' || options === null || read(argument, what, () => Array.isArray(options))) {
      const kind = typeof options;
      const hint = names.insteadOf?.[kind];
      throw new InvalidArgumentError(
        argument,
        `${what} must be an object, not ${show(options)}${hint === undefined ? '' : `: ${hint}`}`,
        errorOptions,
      );
    }
    const given = options as Record<string, unknown>;
    for (const name of read(argument, what, () => Object.keys(given))) {
      if (!names.known.includes(name)) this.#unknown(name, names);
    }
    const values: Record<string, unknown> = {};
    for (const name of names.known) {
      const path = this.path(name);
      values[name] = read(path, `option '${path}'`, () => given[name]);
    }
    this.values = values;
  }

  #unknown(name: string, { known, hints = {} }: OptionNames): never {
    const hint = Object.hasOwn(hints, name) ? hints[name] : undefined;
    const near = hint === undefined ? suggest(name, known) : undefined;
    const help =
      hint ??
      (near === undefined ? `the options here are ${known.join(', ')}` : `did you mean '${this.#prefix}${near}'?`);
    throw new InvalidArgumentError(
      `${this.#prefix}${name}`,
      `there is no option ${quote(this.#prefix + name)}: ${help}`,
      this.#errorOptions,
    );
  }

  /** The full name of an option, for errors. */
  path(name: string): string {
    return this.#prefix + name;
  }

  has(name: string): boolean {
    return this.values[name] !== undefined;
  }

  /** Throws an error about an option. `reason` follows the name of the option: "must be …". */
  refuse(name: string, reason: string): never {
    throw new InvalidArgumentError(this.path(name), `option '${this.path(name)}' ${reason}`, this.#errorOptions);
  }

  number<Fallback>(name: string, fallback: Fallback, rule: NumberRule): number | Fallback {
    const value = this.values[name];
    if (value === undefined) return fallback;
    const { min, max = Number.MAX_SAFE_INTEGER, infinity = false, fraction = false } = rule;
    if (infinity && value === Infinity) return value;
    if (typeof value === 'number' && value >= min && value <= max && (fraction || Number.isInteger(value))) {
      return value;
    }
    const kind = `${fraction ? 'a number' : 'a whole number'}${rule.unit === undefined ? '' : ` of ${rule.unit}`}`;
    const range = max === Number.MAX_SAFE_INTEGER ? `, ${min} or more` : ` from ${min} to ${max}`;
    const or = infinity ? ', or Infinity' : '';
    const because = rule.because === undefined ? '' : ` (${rule.because})`;
    const help =
      typeof value === 'string' && value.trim() !== '' && !Number.isNaN(Number(value))
        ? ' (a string): write it without quotes'
        : '';
    return this.refuse(name, `must be ${kind}${range}${or}${because}, not ${show(value)}${help}`);
  }

  /** A time that a timer can wait, in ms. */
  milliseconds<Fallback>(
    name: string,
    fallback: Fallback,
    rule: Partial<Omit<NumberRule, 'unit' | 'fraction'>> = {},
  ): number | Fallback {
    return this.number(name, fallback, { min: 1, max: MAX_INT32, unit: 'milliseconds', ...rule });
  }

  /** A limit of time, in ms. Undefined when it is left out or Infinity. */
  timeout(name: string, fallback?: number, { min = 1 } = {}): number | undefined {
    const timeout = this.milliseconds(name, fallback, { min, infinity: true });
    return timeout === Infinity ? undefined : timeout;
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.values[name];
    if (value === undefined) return fallback;
    if (typeof value === 'boolean') return value;
    const help = value === 'true' || value === 'false' ? ' (a string): write it without quotes' : '';
    return this.refuse(name, `must be true or false, not ${show(value)}${help}`);
  }

  string<Fallback>(name: string, fallback: Fallback): string | Fallback {
    const value = this.values[name];
    if (value === undefined) return fallback;
    if (typeof value !== 'string') this.refuse(name, `must be a string, not ${show(value)}`);
    if (value === '') this.refuse(name, 'is an empty string: give it a value, or leave it out');
    return value;
  }

  /** A string whose value is never shown in an error. */
  secret(name: string, { empty = false } = {}): string | undefined {
    const value = this.values[name];
    if (value === undefined) return undefined;
    if (typeof value !== 'string') this.refuse(name, `must be a string, not ${kindOf(value)}`);
    if (value === '' && !empty) this.refuse(name, 'is an empty string: give it a value, or leave it out');
    return value;
  }

  oneOf<const Value extends string, Fallback>(
    name: string,
    fallback: Fallback,
    values: readonly Value[],
  ): Value | Fallback {
    const value = this.values[name];
    if (value === undefined) return fallback;
    const match = values.find((candidate) => candidate === value);
    if (match !== undefined) return match;
    const near = typeof value === 'string' ? suggest(value, values) : undefined;
    const help = near === undefined ? '' : `: did you mean '${near}'?`;
    return this.refuse(name, `must be ${either(values)}, not ${show(value)}${help}`);
  }

  /** A callback. It is only checked that it is a function. */
  callback<Callback>(name: string, signature: string): Callback | undefined {
    const value = this.values[name];
    if (value === undefined) return undefined;
    if (typeof value !== 'function') this.refuse(name, `must be a function ${signature}, not ${show(value)}`);
    return value as Callback;
  }

  signal(name = 'signal'): AbortSignal | undefined {
    const value = this.values[name];
    if (value === undefined) return undefined;
    const fault = signalFault(value);
    if (fault !== undefined) this.refuse(name, fault);
    return value as AbortSignal;
  }

  /** A nested object of options. One that is left out counts as empty. */
  nested(name: string, names: OptionNames): OptionReader {
    return new OptionReader(this.values[name], this.path(name), names, this.#errorOptions);
  }
}

/**
 * Reads something of a value of the user, which may throw at that.
 * @throws InvalidArgumentError that names it
 */
export function readForeign<T>(
  argument: string,
  what: string,
  read: () => T,
  errorOptions: ResilientStanErrorOptions = {},
): T {
  try {
    return read();
  } catch (thrown) {
    const message = `${what} cannot be read: reading it threw: ${describe(thrown)}`;
    throw new InvalidArgumentError(argument, message, { ...errorOptions, cause: thrown });
  }
}

/** "'a', 'b' or 'c'". */
export function either(values: readonly string[]): string {
  const quoted = values.map((value) => `'${value}'`);
  const last = quoted.pop()!;
  return quoted.length === 0 ? last : `${quoted.join(', ')} or ${last}`;
}
