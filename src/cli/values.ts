/** Reads values of the command line: numbers, lengths of time, points in time. Pure. */
import { show } from '../validation.js';
import { UsageError } from './usage.js';

/**
 * A whole number. Undefined when it was not given.
 * @throws UsageError that names the option, the value and what is allowed
 */
export function wholeNumber(
  option: string,
  value: string | undefined,
  { min = 0, max = Number.MAX_SAFE_INTEGER } = {},
): number | undefined {
  if (value === undefined) return undefined;
  const number = /^\d+$/.test(value) ? Number(value) : NaN;
  if (number >= min && number <= max) return number;
  const range = max === Number.MAX_SAFE_INTEGER ? `, ${min} or more` : ` from ${min} to ${max}`;
  throw new UsageError(`--${option} must be a whole number${range}, not ${show(value)}`);
}

/** The units of a length of time, in ms. */
const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/** A length of time as `500ms`, `10m` or `1h30m`, in ms. Undefined when the text is none. */
export function parseLength(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|min|m|h|d|w))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)/g)) {
    total += Number(number) * UNITS[unit!]!;
  }
  return Number.isFinite(total) ? total : undefined;
}

const LENGTHS = 'a length of time as 500ms, 90s, 10m, 1h30m or 2d';

/** A length of time, in ms, at most what a timer can wait. @throws UsageError */
export function lengthOfTime(option: string, value: string): number {
  const length = parseLength(value);
  if (length !== undefined && length >= 1 && length < 2 ** 31) return Math.round(length);
  throw new UsageError(`--${option} must be ${LENGTHS}, not ${show(value)}`);
}

/** A length of time that is counted back from now, or a date. @throws UsageError */
export function pointInTime(option: string, value: string): { ago: number } | { time: Date } {
  const ago = parseLength(value);
  if (ago !== undefined) return { ago };
  // A bare number could be seconds, minutes, or a year.
  const time = /^\d{4}-\d\d/.test(value) ? new Date(value) : undefined;
  if (time !== undefined && !Number.isNaN(time.getTime())) return { time };
  throw new UsageError(`--${option} must be ${LENGTHS}, or a date as 2026-01-31T08:00:00Z, not ${show(value)}`);
}
