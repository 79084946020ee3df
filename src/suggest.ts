/** Finds the known name that is nearest to a wrong one, for "did you mean …?". Pure. */

/** The known name that is nearest to `name`, or undefined when none is near. Case, `-` and `_` are ignored. */
export function suggest(name: string, known: readonly string[]): string | undefined {
  const wanted = fold(name);
  let best: string | undefined;
  // Two differences are a typing error in a long name, and another word in a short one.
  let bestDistance = Math.min(3, Math.floor(wanted.length / 3) + 1);
  for (const candidate of known) {
    const distance = editDistance(wanted, fold(candidate), bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function fold(name: string): string {
  // A name of this length is not near any known one, and finding its distance would take long.
  return name.slice(0, 64).toLowerCase().replace(/[-_ ]/g, '');
}

/** How many insertions, deletions, replacements and swaps of neighbours turn `a` into `b`, and at most `limit`. */
export function editDistance(a: string, b: string, limit = Infinity): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(previous[column]! + 1, current[column - 1]! + 1, previous[column - 1]! + (same ? 0 : 1));
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, beforePrevious[column - 2]! + 1);
      }
      current.push(cost);
    }
    beforePrevious = previous;
    previous = current;
  }
  return Math.min(previous[b.length]!, limit);
}
