/** Something that falls due. It stands in at most one queue, by its own links. */
export interface Timed<T> {
  dueAt: number;
  queue: TimedQueue<T> | undefined;
  sooner: T | undefined;
  later: T | undefined;
}

/** Everything with the same duration: what came first is due first, so a plain queue is sorted. */
export interface TimedQueue<T> {
  readonly duration: number;
  head: T | undefined;
  tail: T | undefined;
}

/** Queues that stay although they are empty: the next message has most likely the same timeout. */
const KEPT = 16;
/** From this many different durations on, new ones are rounded up: a caller who counts down a budget has a new one each time. */
const EXACT = 256;

/** Deadlines, with constant time to add and to remove one. Looking for what is due costs the number of different durations. */
export class Deadlines<T extends Timed<T>> {
  readonly #queues = new Map<number, TimedQueue<T>>();

  /** `now` must never decrease from one call to the next. */
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

  /** Takes out one that is due, or nothing. */
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

  /** When the next one is due; Infinity if there is none. */
  next(): number {
    let next = Infinity;
    for (const queue of this.#queues.values()) {
      if (queue.head !== undefined && queue.head.dueAt < next) next = queue.head.dueAt;
    }
    return next;
  }

  /** How many different durations it has queues for. */
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

/** Up to the next of 64 steps per doubling (at most 1.6 % more), which leaves about 2000 different durations in all. */
export function roundedUp(duration: number): number {
  const step = Math.max(1, 2 ** Math.floor(Math.log2(duration)) / 64);
  return Math.ceil(duration / step) * step;
}
