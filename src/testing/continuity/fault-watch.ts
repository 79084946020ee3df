import type { FaultVerdict } from './verdict.js';

/** A fault, and which messages are from before and after it. */
export interface FaultRecord extends Pick<FaultVerdict, 'name' | 'at' | 'until'> {
  /** By index of the publisher: its first counter after the beginning of the fault. */
  readonly begun: readonly number[];
  /** The same, after its end. */
  mended: readonly number[] | undefined;
}

interface Watched {
  next: number | undefined;
  stall: number;
  /** Something came that was published after its end: it has nothing more to do with what follows. */
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
      if (watched.over) continue;
      watched.stall = Math.max(watched.stall, at - Math.max(since, fault.at));
      if (counter < (fault.begun[publisher] ?? 0)) continue;
      watched.next ??= at - fault.at;
      watched.over = fault.mended !== undefined && counter >= (fault.mended[publisher] ?? 0);
    }
    while (this.#watched[this.#from]?.over) this.#from++;
  }

  /** ms from the fault to the first that was published after it. */
  next(fault: number): number | undefined {
    return this.#watched[fault]?.next;
  }

  /** The longest wait in the fault, in ms. `since`: something is still waited for, `now` is the time. */
  stall(fault: number, now: number, since: number): number {
    const { stall, over } = this.#watched[fault] ?? { stall: 0, over: false };
    if (over) return stall;
    return Math.max(stall, now - Math.max(since, (this.#faults[fault] as FaultRecord).at));
  }

  #of(index: number): Watched {
    return (this.#watched[index] ??= { next: undefined, stall: 0, over: false });
  }
}
