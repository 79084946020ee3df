/** Something that falls due. It stands in one queue at most, by links of its own. */
export interface Timed<T> {
  dueAt: number;
  queue: TimedQueue<T> | undefined;
  sooner: T | undefined;
  later: T | undefined;
}

/** Everything with the same duration. What came first is due first, so that a plain queue is sorted. */
export interface TimedQueue<T> {
  readonly duration: number;
  head: T | undefined;
  tail: T | undefined;
}

/** So many queues stay although they are empty, because the next message has most likely the same timeout. */
const KEPT = 16;
/** With so many different durations, new ones are rounded up: a caller who counts down a budget has a new one each time. */
const EXACT = 256;

/** Many deadlines. Adding and removing one takes constant time; looking for what is due takes time for each different duration. */
export class Deadlines<T extends Timed<T>> {
  readonly #queues = new Map<number, TimedQueue<T>>();

  /**
   * Adds something that is due after a duration.
   * @param now must never decrease from one call to the next
   */
  add(item: T, now: number, duration: number): void {
    const queue = this.#queueFor(duration);
    item.dueAt = now + queue.duration;
    item.queue = queue;
    item.sooner = queue.tail;
    if (queue.tail === undefined) queue.head = item;
    else queue.tail.later = item;
    queue.tail = item;
  }

  remove(item: T): void {
    const { queue, sooner, later } = item;
    if (queue === undefined) return;
    if (sooner === undefined) queue.head = later;
    else sooner.later = later;
    if (later === undefined) queue.tail = sooner;
    else later.sooner = sooner;
    item.queue = undefined;
    item.sooner = undefined;
    item.later = undefined;
    if (queue.head === undefined && this.#queues.size > KEPT) this.#queues.delete(queue.duration);
  }

  /** Takes out and returns one that is due. */
  takeDue(now: number): T | undefined {
    for (const queue of this.#queues.values()) {
      const item = queue.head;
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
    for (const queue of this.#queues.values()) {
      if (queue.head !== undefined && queue.head.dueAt < next) next = queue.head.dueAt;
    }
    return next;
  }

  /** The number of different durations that have a queue. */
  get queues(): number {
    return this.#queues.size;
  }

  #queueFor(duration: number): TimedQueue<T> {
    let queue = this.#queues.get(duration);
    if (queue === undefined && this.#queues.size >= EXACT) {
      duration = roundedUp(duration);
      queue = this.#queues.get(duration);
    }
    if (queue === undefined) {
      queue = { duration, head: undefined, tail: undefined };
      this.#queues.set(duration, queue);
    }
    return queue;
  }
}

/** Returns the next of 64 steps per doubling, at most 1.6 % more. There are about 2000 such durations in all. */
export function roundedUp(duration: number): number {
  const step = Math.max(1, 2 ** Math.floor(Math.log2(duration)) / 64);
  return Math.ceil(duration / step) * step;
}
