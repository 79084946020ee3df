/**
 * Decides when a question may be asked that the user has not requested. Pure.
 *
 * Each question costs the server work that other requests wait behind. To make a subscription and to end it takes one entry
 * each in the log of the leader, and one disk sync each if the store syncs. So there is one such request at a time, none while
 * requests of the user wait for their answer, and a rest after each. Only four kinds do not wait for that: questions that a
 * subscription stands still for or that a caller has asked, what confirms an answer, and requests that end a subscription.
 */

/** The kinds of questions, the most urgent first. */
export const URGENCIES = [
  /** The request ends a subscription and so makes room in the channel, which a subscription of the user may need. */
  'closing',
  /** A subscription stands still until the answer. */
  'held',
  /** The question confirms the answer to another one, which counts as waiting for messages until then. */
  'confirming',
  /** A caller waits for the answer. */
  'asked',
  /** Messages may be missing. */
  'missing',
  /** The question only confirms what is probably true. */
  'routine',
] as const;

export type Urgency = (typeof URGENCIES)[number];

export function moreUrgent(a: Urgency, b: Urgency): boolean {
  return URGENCIES.indexOf(a) < URGENCIES.indexOf(b);
}

/** The reasons to hold back requests that are not urgent. */
export interface Hindrances {
  /** Whether a request of the user waits for its answer. */
  busy: boolean;
  /** Whether too many requests wait for messages. */
  full: boolean;
}

/** The number of urgent requests that may wait for their answer at a time. */
const AT_A_TIME = 2;
/** The rest after a request, as a multiple of the time that its answer took. The server is free for others most of the time. */
const REST = 2;
/** Longest rest after a request, in ms. */
const LONGEST_REST = 1000;
/** Longest time that requests of the user hold back all others, in ms. Some users always have a request under way. */
const HELD_UP = 5000;

export class Pacing<Request> {
  readonly #queues: Readonly<Record<Urgency, Set<Request>>> = {
    held: new Set(),
    confirming: new Set(),
    asked: new Set(),
    closing: new Set(),
    missing: new Set(),
    routine: new Set(),
  };
  /** The requests without an answer, and when each was sent, in ms of the clock. */
  readonly #asked = new Map<Request, number>();
  #restUntil = -Infinity;
  /** Since when only requests of the user hold back others, in ms of the clock. */
  #heldUpSince: number | undefined;

  /** The number of requests without an answer. */
  get asked(): number {
    return this.#asked.size;
  }

  add(request: Request, urgency: Urgency): void {
    this.#queues[urgency].add(request);
  }

  /** Raises the urgency of a waiting request. */
  hurry(request: Request, urgency: Urgency): void {
    const before = URGENCIES.find((each) => this.#queues[each].has(request));
    if (before === undefined || !moreUrgent(urgency, before)) return;
    this.#queues[before].delete(request);
    this.#queues[urgency].add(request);
  }

  /** Returns a request that may be sent now, if there is one. It counts as sent from then on. */
  next(now: number, hindrances: Hindrances): Request | undefined {
    const { closing, held, confirming, asked } = this.#queues;
    const urgent =
      this.#asked.size < AT_A_TIME
        ? (first(held) ?? first(confirming) ?? (hindrances.full ? undefined : first(asked)))
        : undefined;
    const request = first(closing) ?? urgent ?? this.#paced(now, hindrances);
    if (request === undefined) return undefined;
    for (const urgency of URGENCIES) this.#queues[urgency].delete(request);
    this.#asked.set(request, now);
    return request;
  }

  /**
   * Returns when `next` may have a request without an answer before, in ms of the clock; undefined if it cannot.
   * @param soon when the hindrances are checked again, in ms of the clock
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

  /** Forgets all sent requests, and returns those that wait. */
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
