/** What the gate lets through. Pure. */

/** Ratios of this library to the raw client, measured in one run. */
export interface Costs {
  /** CPU time per message. */
  cpu: number;
  /** Bytes allocated per message, garbage included. */
  allocations: number;
}

export type Cost = keyof Costs;

/** By how much a ratio may exceed what it was when it was written down. What noise does is well below, a fifth is well above. */
export const TOLERANCE: Costs = { cpu: 1.1, allocations: 1.08 };

export interface Excess {
  what: string;
  cost: Cost;
  measured: number;
  expected: number;
  limit: number;
}

/** Everything that has become too dear. */
export function excesses(measured: ReadonlyMap<string, Costs>, expected: Readonly<Record<string, Costs>>): Excess[] {
  const found: Excess[] = [];
  for (const [what, costs] of measured) {
    for (const cost of ['cpu', 'allocations'] as const) {
      const before = expected[what]?.[cost];
      if (before === undefined) throw new Error(`there is no figure to compare '${what}' with: run it with --write`);
      const limit = before * TOLERANCE[cost];
      if (!(costs[cost] <= limit)) found.push({ what, cost, measured: costs[cost], expected: before, limit });
    }
  }
  return found;
}
