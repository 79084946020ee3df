/** How a heap grew. Pure. */

/** Bytes in use, after garbage was collected, when so many attempts or reconnects were done. */
export interface Sample {
  at: number;
  heap: number;
}

/**
 * Bytes that the heap grows by with each one, in the later half of the samples: in the first, tables and
 * buffers take their sizes. By Theil and Sen: the median of the slopes between all pairs, so that one odd sample counts
 * for nothing.
 */
export function slope(samples: readonly Sample[]): number {
  const later = samples.slice(Math.floor(samples.length / 2));
  const slopes = later.flatMap((b, i) => later.slice(0, i).map((a) => (b.heap - a.heap) / (b.at - a.at)));
  slopes.sort((a, b) => a - b);
  const middle = slopes.length / 2;
  if (slopes.length === 0) return NaN;
  return (slopes[Math.ceil(middle) - 1]! + slopes[Math.floor(middle)]!) / 2;
}
