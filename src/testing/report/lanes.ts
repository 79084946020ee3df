/** Puts bands and labels into lanes, so that none covers another. Pure. */

export interface Placed<T> {
  item: T;
  lane: number;
}

/**
 * Gives each item the first lane that is free at its place; items are in the order in which they begin.
 * @param extent from where to where an item needs room, its label included
 */
export function inLanes<T>(items: readonly T[], extent: (item: T) => readonly [number, number]): Placed<T>[] {
  const ends: number[] = [];
  return items.map((item) => {
    const [from, to] = extent(item);
    const free = ends.findIndex((end) => end <= from);
    const lane = free < 0 ? ends.length : free;
    ends[lane] = to;
    return { item, lane };
  });
}
