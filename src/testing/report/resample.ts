/** Makes fewer buckets of many, so that there are no more than pixels. Pure. */

/** The sum of each `by` neighbours. */
export function sums(values: readonly number[], by: number): number[] {
  return chunks(values, by).map((chunk) => chunk.reduce((sum, value) => sum + value, 0));
}

/** The highest of each `by` neighbours, so that no peak is lost. Null when there is none. */
export function peaks(values: readonly (number | null)[], by: number): (number | null)[] {
  return chunks(values, by).map((chunk) =>
    chunk.reduce<number | null>((peak, value) => (value === null ? peak : Math.max(peak ?? value, value)), null),
  );
}

/** The middle of each `by` neighbours. Null when there is none. */
export function medians(values: readonly (number | null)[], by: number): (number | null)[] {
  return chunks(values, by).map((chunk) => {
    const there = chunk.filter((value) => value !== null).sort((a, b) => a - b);
    return there[Math.floor((there.length - 1) / 2)] ?? null;
  });
}

function chunks<T>(values: readonly T[], by: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / by) }, (_, i) => values.slice(i * by, (i + 1) * by));
}
