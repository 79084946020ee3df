/** Statistics that noise of the machine hardly changes: medians and quartiles, and no means. */

/** The value below which a part of the values lies, interpolated. NaN without values. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return NaN;
  const at = part * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  const high = sorted[Math.ceil(at)]!;
  // Infinity means 'never', and 0 times Infinity is not a number.
  return low === high || Number.isInteger(at) ? low : low + (high - low) * (at - Math.floor(at));
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** How much a figure varies: half the distance between the quartiles, as a part of the median. */
export function spread(values: readonly number[]): number {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);
}

export interface Ratio {
  median: number;
  /** The quartiles of the pairs' ratios. */
  low: number;
  high: number;
}

/** Ratios of values that were measured right after each other, so that a slow moment of the machine slows both. */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): Ratio {
  const ratios = ours.slice(0, theirs.length).map((value, i) => value / theirs[i]!);
  return { median: median(ratios), low: quantile(ratios, 0.25), high: quantile(ratios, 0.75) };
}
