/**
 * What the server itself may lose of a queue group. What was on its way to a member that leaves is given to the others by
 * the leader alone; its followers hear of that up to a second later. If the leader dies in that second, nobody gets it,
 * and no client can make up for it. Pure.
 */
import type { Exposure } from '../continuity/history.js';

/** Followers hear of it within a second; the rest is for what we see late. In ms. */
const UNHEARD = 2000;
/** What had been published so long before it left was on its way to it. In ms. */
const ON_ITS_WAY = 2000;

interface Membership {
  group: string;
  /** How many can be on their way to it. */
  most: number;
}

interface Departure {
  /** Its process was killed, or its session was lost. */
  left: number;
  /** The last that was seen of it: its leaving, or its coming back, which is when the leader hears of it. */
  seen: number;
  /** Counted already: a leader that is lost once more makes it longer, not more. */
  exposures: Exposure[] | undefined;
}

export class ExposureWatch {
  readonly #members: ReadonlyMap<string, readonly Membership[]>;
  readonly #expose: (group: string, exposure: Exposure) => void;
  readonly #departures = new Map<string, Departure>();

  /**
   * @param members by process: the groups it is a member of, beside members in other processes
   * @param expose is told of what may be lost, once for each departure; the exposure may become longer later
   */
  constructor(
    members: ReadonlyMap<string, readonly Membership[]>,
    expose: (group: string, exposure: Exposure) => void,
  ) {
    this.#members = members;
    this.#expose = expose;
  }

  left(process: string, at: number): void {
    if (!this.#members.has(process)) return;
    this.#departures.set(process, { left: at, seen: at, exposures: undefined });
  }

  cameBack(process: string, at: number): void {
    const departure = this.#departures.get(process);
    if (departure) departure.seen = at;
  }

  leaderLost(at: number): void {
    for (const [process, departure] of this.#departures) {
      if (departure.seen < at - UNHEARD) continue;
      departure.exposures ??= this.#members.get(process)!.map(({ group, most }) => {
        const exposure: Exposure = { from: departure.left - ON_ITS_WAY, to: at, most };
        this.#expose(group, exposure);
        return exposure;
      });
      for (const exposure of departure.exposures) exposure.to = at;
    }
  }
}
