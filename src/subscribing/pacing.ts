/**
 * When something may be asked that nobody has called for by a request of his own. Pure.
 *
 * All that is asked costs a server work that others wait behind: to make a subscription and to give it up takes an entry in the
 * leader's log each, and where the store syncs, a sync of its disk. So
 * there is one such request at a time, none while requests of the user wait for their answer, and a rest after each. Only
 * what a subscription stands still for does not wait for that, nor does the end of what was begun.
 */

/** How urgent it is, the most urgent first. */
export const URGENCIES = [
  /** Ends what was begun, and takes room at the server: the channel may have no more for a subscription of the user. */
  'closing',
  /** A subscription stands still until it is known. */
  'held',
  /** Messages may be missing. */
  'missing',
  /** It is asked to be sure. */
  'routine',
] as const;

export type Urgency = (typeof URGENCIES)[number];

export function moreUrgent(a: Urgency, b: Urgency): boolean {
  return URGENCIES.indexOf(a) < URGENCIES.indexOf(b);
}

/** What keeps back all that is not urgent. */
export interface Hindrances {
  /** A request of the user waits for its answer. */
  busy: boolean;
  /** Too much that was asked for has not come. */
  full: boolean;
}

/** So many of the urgent ones may wait for their answer at a time. */
const AT_A_TIME = 2;
/** The rest after a request is so many times as long as its answer took: most of the time the server is for others. */
const REST = 2;
/** But no longer than that, ms. */
const LONGEST_REST = 1000;
/** So long at most, ms, all others are held up by requests of the user: some users always have one on its way. */
const HELD_UP = 5000;

export class Pacing<Request> {
  readonly #queues: Readonly<Record<Urgency, Set<Request>>> = {
    held: new Set(),
    closing: new Set(),
    missing: new Set(),
    routine: new Set(),
  };
  /** Asked and not answered: when. */
  readonly #asked = new Map<Request, number>();
  #restUntil = -Infinity;
  /** Since when only requests of the user are in the way. */
  #heldUpSince: number | undefined;

  /** How many are asked and not answered. */
  get asked(): number {
    return this.#asked.size;
  }

  add(request: Request, urgency: Urgency): void {
    this.#queues[urgency].add(request);
  }

  /** If it waits, it is at least as urgent as that from now on. */
  hurry(request: Request, urgency: Urgency): void {
    const before = URGENCIES.find((each) => this.#queues[each].has(request));
    if (before === undefined || !moreUrgent(urgency, before)) return;
    this.#queues[before].delete(request);
    this.#queues[urgency].add(request);
  }

  /** What may be asked now, if anything; it counts as asked then. */
  next(now: number, hindrances: Hindrances): Request | undefined {
    const { closing, held } = this.#queues;
    const urgent = this.#asked.size < AT_A_TIME ? first(held) : undefined;
    const request = first(closing) ?? urgent ?? this.#paced(now, hindrances);
    if (request === undefined) return undefined;
    for (const urgency of URGENCIES) this.#queues[urgency].delete(request);
    this.#asked.set(request, now);
    return request;
  }

  /**
   * When `next` may have something although nothing was answered meanwhile; undefined: it has not.
   * @param soon if the hindrances have to pass for it
   */
  wakeAt(soon: number): number | undefined {
    const waits = URGENCIES.some((urgency) => this.#queues[urgency].size > 0);
    return waits && this.#asked.size === 0 ? Math.max(this.#restUntil, soon) : undefined;
  }

  answered(request: Request, now: number): void {
    const askedAt = this.#asked.get(request);
    if (!this.#asked.delete(request) || askedAt === undefined) return;
    const rest = Math.max(0, this.#restUntil - now) + REST * (now - askedAt);
    this.#restUntil = now + Math.min(LONGEST_REST, rest);
  }

  /** Forgets all that was asked, and takes away all that waits. */
  clear(): Request[] {
    const waiting = URGENCIES.flatMap((urgency) => [...this.#queues[urgency]]);
    for (const urgency of URGENCIES) this.#queues[urgency].clear();
    this.#asked.clear();
    this.#restUntil = -Infinity;
    this.#heldUpSince = undefined;
    return waiting;
  }

  #paced(now: number, { busy, full }: Hindrances): Request | undefined {
    const request = first(this.#queues.missing) ?? first(this.#queues.routine);
    if (request === undefined || full || this.#asked.size > 0 || now < this.#restUntil) return undefined;
    if (busy && now - (this.#heldUpSince ??= now) < HELD_UP) return undefined;
    this.#heldUpSince = undefined;
    return request;
  }
}

function first<T>(queue: Set<T>): T | undefined {
  return queue.values().next().value;
}
