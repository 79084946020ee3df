/** Places values on an axis, and finds its ticks. Pure. */

export interface Scale {
  (value: number): number;
}

/** A linear scale from a range of values to a range of pixels. */
export function linear([from, to]: readonly [number, number], [low, high]: readonly [number, number]): Scale {
  const span = to - from || 1;
  return (value) => low + ((value - from) / span) * (high - low);
}

/** A logarithmic scale. A value below the range is drawn at its edge, because 0 has no logarithm. */
export function logarithmic([from, to]: readonly [number, number], range: readonly [number, number]): Scale {
  const scale = linear([Math.log10(from), Math.log10(to)], range);
  return (value) => scale(Math.log10(Math.max(value, from)));
}

/** About `count` round numbers from 0 to at least `max`. */
export function niceTicks(max: number, count: number): number[] {
  const rough = Math.max(max, 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((n) => n * power >= rough && n * power >= 1) ?? 10) * power;
  const whole = Math.max(Math.round(step), 1);
  return Array.from({ length: Math.ceil(Math.max(max, 1) / whole) + 1 }, (_, i) => i * whole);
}

/** The powers of ten that cover a range, at least two. */
export function powerTicks(min: number, max: number): number[] {
  const first = Math.floor(Math.log10(Math.max(min, 0.1)));
  const last = Math.max(Math.ceil(Math.log10(Math.max(max, 1))), first + 1);
  return Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].map((s) => s * SECOND);

/** At most `count` points in time, at steps as on a clock. */
export function timeTicks(duration: number, count: number): number[] {
  const step =
    STEPS.find((candidate) => duration / candidate <= count) ??
    Math.ceil(duration / count / (60 * MINUTE)) * 60 * MINUTE;
  return Array.from({ length: Math.floor(duration / step) + 1 }, (_, i) => i * step);
}
