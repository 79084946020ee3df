import type { FaultVerdict } from './verdict.js';

/** A fault, and which messages are from before and after it. */
export interface FaultRecord extends Pick<FaultVerdict, 'name' | 'at' | 'until'> {
  /** By index of the publisher: its first counter after the beginning of the fault. */
  readonly begun: readonly number[];
  /** The same, after its end. */
  mended: readonly number[] | undefined;
}

/**
 * A wait that begins later than this many ms after the end of a fault is not its doing. Until then it may be: a node that
 * comes back can cost the cluster its leader once more.
 */
const AFTERMATH = 1000;

interface Watched {
  next: number | undefined;
  stall: number;
  /** Its stall is known. */
  over: boolean;
}

/**
 * What faults meant to one of those who wait: a publisher for acknowledgements, a subscription for deliveries. Whatever
 * comes in a fault's first moment may have been under way before it; so what counts as an answer was published after it.
 */
export class FaultWatch {
  readonly #faults: readonly FaultRecord[];
  readonly #watched: Watched[] = [];
  /** All faults before this one are over. */
  #from = 0;

  constructor(faults: readonly FaultRecord[]) {
    this.#faults = faults;
  }

  /** What was waited for since `since` has come: this counter of this publisher. */
  came(publisher: number, counter: number, at: number, since: number): void {
    for (let i = this.#from; i < this.#faults.length; i++) {
      const fault = this.#faults[i] as FaultRecord;
      const watched = this.#of(i);
      if (!watched.over) {
        if (isAfter(since, fault)) watched.over = true;
        else watched.stall = Math.max(watched.stall, at - Math.max(since, fault.at));
        // What was published after its end has been waited for without it.
        if (fault.mended && counter >= (fault.mended[publisher] ?? 0)) watched.over = true;
      }
      if (counter >= (fault.begun[publisher] ?? 0)) watched.next ??= at - fault.at;
    }
    while (this.#isDone(this.#watched[this.#from])) this.#from++;
  }

  /** ms from the fault to the first that was published after it. */
  next(fault: number): number | undefined {
    return this.#watched[fault]?.next;
  }

  /** The longest wait in the fault, in ms. `since`: something is still waited for, `now` is the time. */
  stall(fault: number, now: number, since: number): number {
    const { stall, over } = this.#watched[fault] ?? { stall: 0, over: false };
    const record = this.#faults[fault] as FaultRecord;
    if (over || isAfter(since, record)) return stall;
    return Math.max(stall, now - Math.max(since, record.at));
  }

  #isDone(watched: Watched | undefined): boolean {
    return watched !== undefined && watched.over && watched.next !== undefined;
  }

  #of(index: number): Watched {
    return (this.#watched[index] ??= { next: undefined, stall: 0, over: false });
  }
}

function isAfter(since: number, { until }: FaultRecord): boolean {
  return until !== undefined && since > until + AFTERMATH;
}
