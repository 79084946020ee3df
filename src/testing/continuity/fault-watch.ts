import type { FaultVerdict } from './verdict.js';

/** A fault, and the first messages after its last blow and after its end. */
export interface FaultRecord extends Pick<FaultVerdict, 'name' | 'at' | 'struck' | 'until'> {
  /** For each publisher, by index, its first counter after `struck`. */
  after: readonly number[];
  /** For each publisher its first counter after the end of the fault. */
  mended: readonly number[] | undefined;
}

/**
 * How long after its end a fault may still be the reason for a wait, in ms. A node that comes back can cost the cluster its
 * leader once more.
 */
const AFTERMATH = 1000;

interface Watched {
  /** When the first message after the last blow has come, and which blow that was, in ms. */
  next: { struck: number; at: number } | undefined;
  stall: number;
  /** Whether the stall of the fault is known. */
  over: boolean;
}

/**
 * Measures what faults did to a publisher that waits for acknowledgements, or to a subscription that waits for deliveries.
 * What comes right after a fault may have been under way before it. So only messages count that were published after it.
 */
export class FaultWatch {
  readonly #faults: readonly FaultRecord[];
  readonly #watched: Watched[] = [];
  /** The first fault that is not over. */
  #from = 0;

  constructor(faults: readonly FaultRecord[]) {
    this.#faults = faults;
  }

  /** Notes that this message of this publisher has come, after a wait that began at `since`. */
  came(publisher: number, counter: number, at: number, since: number): void {
    for (let i = this.#from; i < this.#faults.length; i++) {
      const fault = this.#faults[i] as FaultRecord;
      const watched = this.#of(i);
      if (!watched.over) {
        if (isAfter(since, fault)) watched.over = true;
        else watched.stall = Math.max(watched.stall, at - Math.max(since, fault.at));
        // The fault is not the reason for a wait that began after its end.
        if (fault.mended && counter >= (fault.mended[publisher] ?? 0)) watched.over = true;
      }
      if (watched.next?.struck !== fault.struck && counter >= (fault.after[publisher] ?? 0)) {
        watched.next = { struck: fault.struck, at };
      }
    }
    while (this.#isDone(this.#watched[this.#from])) this.#from++;
  }

  /** Time from the last blow of a fault to the first message that was published after it, in ms. */
  next(fault: number): number | undefined {
    const next = this.#watched[fault]?.next;
    return next && next.struck === this.#faults[fault]?.struck ? next.at - next.struck : undefined;
  }

  /** The longest wait in a fault, in ms. `since` is the beginning of a wait that still lasts. */
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
