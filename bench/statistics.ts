/** The few statistics that survive a noisy machine: medians and quartiles, never means. */

/** The value below which this part of the values lies, interpolated. NaN without values. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return NaN;
  const at = part * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  const high = sorted[Math.ceil(at)]!;
  // Infinity stands for 'never', and nothing times Infinity is no number.
  return low === high || Number.isInteger(at) ? low : low + (high - low) * (at - Math.floor(at));
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Half the distance between the quartiles, as a part of the median: how much a figure wavers. */
export function spread(values: readonly number[]): number {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);
}

export interface Ratio {
  median: number;
  /** The quartiles of the pairs' ratios. */
  low: number;
  high: number;
}

/** Of values measured right after one another, so that what slows the machine for a while slows both. */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): Ratio {
  const ratios = ours.slice(0, theirs.length).map((value, i) => value / theirs[i]!);
  return { median: median(ratios), low: quantile(ratios, 0.25), high: quantile(ratios, 0.75) };
}
