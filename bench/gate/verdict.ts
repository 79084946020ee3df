/** Decides whether the gate passes. Pure. */

/** Ratios of this library to the raw client, measured in one run. */
export interface Costs {
  /** CPU time of a message. */
  cpu: number;
  /** Bytes that are allocated for a message, with garbage. */
  allocations: number;
}

export type Cost = keyof Costs;

/** By how much a ratio may be higher than the one that was written down. Noise changes it by much less than this, and a fifth is much more. */
export const TOLERANCE: Costs = { cpu: 1.1, allocations: 1.08 };

/**
 * How much CPU time a message may cost more by `resilient-stan/stan` than by the core, in µs. Where a publish by the core costs 6 µs,
 * that of the facade costs 0.3 µs less to 0.3 more, and nothing more can be measured of a delivery. The rest is noise.
 */
export const FACADE_LIMITS: Readonly<Record<string, number>> = { 'publish + ack': 1, 'deliver + ack': 0.8 };

export interface Excess {
  what: string;
  cost: Cost | 'facade';
  measured: number;
  limit: number;
}

/** The ratios that have become too high. */
export function excesses(measured: ReadonlyMap<string, Costs>, expected: Readonly<Record<string, Costs>>): Excess[] {
  const found: Excess[] = [];
  for (const [what, costs] of measured) {
    for (const cost of ['cpu', 'allocations'] as const) {
      const before = expected[what]?.[cost];
      if (before === undefined) throw new Error(`there is no figure to compare '${what}' with: run it with --write`);
      const limit = before * TOLERANCE[cost];
      if (!(costs[cost] <= limit)) found.push({ what, cost, measured: costs[cost], limit });
    }
  }
  return found;
}

/** What has become too dear by the facade. */
export function facadeExcesses(more: ReadonlyMap<string, number>): Excess[] {
  const found: Excess[] = [];
  for (const [what, measured] of more) {
    const limit = FACADE_LIMITS[what];
    if (limit === undefined) throw new Error(`there is no limit for '${what}' by the facade`);
    if (!(measured <= limit)) found.push({ what, cost: 'facade', measured, limit });
  }
  return found;
}
