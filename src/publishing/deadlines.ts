/** Something that falls due. It stands in one bucket at most, by links of its own. */
export interface Timed<T> {
  dueAt: number;
  bucket: TimedBucket<T> | undefined;
  sooner: T | undefined;
  later: T | undefined;
}

/** Everything with the same duration. What came first is due first, so that a plain list is sorted. */
export interface TimedBucket<T> {
  readonly duration: number;
  head: T | undefined;
  tail: T | undefined;
}

/** So many buckets stay although they are empty, because the next message has most likely the same timeout. */
const KEPT = 16;
/** With so many different durations, new ones are rounded up: a caller who counts down a budget has a new one each time. */
const EXACT = 256;

/** Many deadlines. Adding and removing one takes constant time; looking for what is due takes time for each different duration. */
export class Deadlines<T extends Timed<T>> {
  readonly #buckets = new Map<number, TimedBucket<T>>();

  /**
   * Adds something that is due after a duration.
   * @param now must never decrease from one call to the next
   */
  add(item: T, now: number, duration: number): void {
    const bucket = this.#bucketFor(duration);
    item.dueAt = now + bucket.duration;
    item.bucket = bucket;
    item.sooner = bucket.tail;
    if (bucket.tail === undefined) bucket.head = item;
    else bucket.tail.later = item;
    bucket.tail = item;
  }

  remove(item: T): void {
    const { bucket, sooner, later } = item;
    if (bucket === undefined) return;
    if (sooner === undefined) bucket.head = later;
    else sooner.later = later;
    if (later === undefined) bucket.tail = sooner;
    else later.sooner = sooner;
    item.bucket = undefined;
    item.sooner = undefined;
    item.later = undefined;
    if (bucket.head === undefined && this.#buckets.size > KEPT) this.#buckets.delete(bucket.duration);
  }

  /** Takes out and returns one that is due. */
  takeDue(now: number): T | undefined {
    for (const bucket of this.#buckets.values()) {
      const item = bucket.head;
      if (item !== undefined && item.dueAt <= now) {
        this.remove(item);
        return item;
      }
    }
    return undefined;
  }

  /** Returns when the next one is due; Infinity if there is none. */
  next(): number {
    let next = Infinity;
    for (const bucket of this.#buckets.values()) {
      if (bucket.head !== undefined && bucket.head.dueAt < next) next = bucket.head.dueAt;
    }
    return next;
  }

  /** The number of different durations that have a bucket. */
  get buckets(): number {
    return this.#buckets.size;
  }

  #bucketFor(duration: number): TimedBucket<T> {
    let bucket = this.#buckets.get(duration);
    if (bucket === undefined && this.#buckets.size >= EXACT) {
      duration = roundedUp(duration);
      bucket = this.#buckets.get(duration);
    }
    if (bucket === undefined) {
      bucket = { duration, head: undefined, tail: undefined };
      this.#buckets.set(duration, bucket);
    }
    return bucket;
  }
}

/** Returns the next of 64 steps per doubling, at most 1.6 % more. There are about 2000 such durations in all. */
export function roundedUp(duration: number): number {
  const step = Math.max(1, 2 ** Math.floor(Math.log2(duration)) / 64);
  return Math.ceil(duration / step) * step;
}
