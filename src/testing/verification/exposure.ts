/**
 * What the server itself may lose of a queue group with members in several processes, and of a durable that another process
 * has had for a while. Pure.
 *
 * - What was on its way to a member that leaves is given to the others by the leader alone; its followers hear of that up to a
 *   second later. If the leader dies in that second, nobody gets it. The same holds for what it gives to another member because
 *   `ackWait` has passed.
 * - What the channel drops before it can be given to another member nobody gets, either: one that a handler has failed on is
 *   given to any member after `ackWait`.
 * - What a leader has sent that led for a moment only, its followers may know of one member and not of another, and then take
 *   for acknowledged what was sent to that one.
 * - A leader that loses its lease for a moment, and leads again, may not have told its followers what it has sent meanwhile:
 *   they take it for acknowledged, and so does the next leader.
 * - The same holds of a durable. Who has it sees that, and reads on past it; but who gets it back from another process cannot
 *   tell what was forgotten from what that one has acknowledged.
 */
import type { Exposure } from '../continuity/history.js';

/** Followers hear of it within a second; the rest is for what we see late. In ms. */
const UNHEARD = 2000;
/** What had been published, or sent, so long before it left was on its way to it. In ms. */
const ON_ITS_WAY = 2000;
/** A lease is lost for less than an election; and one poll of ours that was not answered is no loss. In ms. */
const LEASE_LOST = { least: 300, most: 3000 };
/** Who has led for less than this, in ms, may not have told its followers of all members. */
const SHORT_REIGN = 2000;
/** What a leader has sent so long before it lost its lease its followers need not know. In ms. */
const UNTOLD = 2000;
/** When it is back, the others are given what it had within this time, in ms. */
const GIVEN = 1000;

interface Membership {
  group: string;
  /** How many can be on their way to it. */
  most: number;
}

/** Another process has the durables of a process, or has had them. */
interface TakeOver {
  readonly at: number;
  /** When they were with it again; undefined: they are not. */
  back: number | undefined;
  /** A leader that is lost once more makes it longer, not more. */
  stored: Exposure[] | undefined;
}

interface Departure {
  /** Its process was killed, or its session was lost. */
  readonly left: number;
  /** The last that was seen of it: its leaving, or its coming back, which is when the leader hears of it. */
  seen: number;
  back: boolean;
  /** What the channel drops meanwhile. */
  readonly dropped: readonly Exposure[];
  /** Counted already: a leader that is lost once more makes it longer, not more. */
  stored: Exposure[] | undefined;
}

export interface ExposureOptions {
  /** By process: the groups it is a member of, beside members in other processes. */
  members: ReadonlyMap<string, readonly Membership[]>;
  /** By process: its durables, which another process may take over. */
  durables: ReadonlyMap<string, readonly Membership[]>;
  /** The channel keeps only so many messages. */
  limited: boolean;
  /** Of all groups, in ms. */
  ackWait: number;
  /** Is told of what may be lost; the exposure may become longer later. */
  expose: (group: string, exposure: Exposure) => void;
}

export class ExposureWatch {
  readonly #options: ExposureOptions;
  /** By process, those of which followers need not have heard. */
  readonly #departures = new Map<string, Departure[]>();
  /** By process. */
  readonly #takeOvers = new Map<string, TakeOver>();
  #leader: string | undefined;
  #leadsSince = Number.NEGATIVE_INFINITY;
  /** Who led last, and until when. */
  #lost: { node: string; at: number } | undefined;

  constructor(options: ExposureOptions) {
    this.#options = options;
  }

  /** Another process takes over its client ID, and its durables. */
  tookOver(process: string, at: number): void {
    this.#takeOvers.set(process, { at, back: undefined, stored: undefined });
  }

  left(process: string, at: number): void {
    const takeOver = this.#takeOvers.get(process);
    if (takeOver?.back !== undefined && at - takeOver.back < UNHEARD) takeOver.back = undefined;
    const { members, limited } = this.#options;
    if (!members.has(process)) return;
    const departures = (this.#departures.get(process) ?? []).filter(({ seen, back }) => !back || seen >= at - UNHEARD);
    this.#departures.set(process, departures);
    const away = departures.find(({ back }) => !back);
    if (away !== undefined) {
      away.seen = at;
      return;
    }
    const from = at - ON_ITS_WAY;
    const dropped = limited
      ? this.#expose(this.#options.members.get(process), { what: 'dropped', from, to: Number.POSITIVE_INFINITY })
      : [];
    departures.push({ left: at, seen: at, back: false, dropped, stored: undefined });
  }

  cameBack(process: string, at: number): void {
    const takeOver = this.#takeOvers.get(process);
    if (takeOver !== undefined) takeOver.back ??= at;
    const departure = this.#departures.get(process)?.find(({ back }) => !back);
    if (departure === undefined) return;
    departure.seen = at;
    departure.back = true;
    for (const exposure of departure.dropped) exposure.to = at + GIVEN;
  }

  /** The handler of a member has failed on a message. */
  failed(process: string, group: string, at: number): void {
    const { members, limited, ackWait, expose } = this.#options;
    if (!limited || members.get(process)?.some((membership) => membership.group === group) !== true) return;
    const again = at + ackWait;
    expose(group, { what: 'dropped', from: at, to: again + GIVEN, most: 1 });
  }

  /** Somebody else leads, or nobody. */
  leads(node: string | undefined, at: number): void {
    const [before, since] = [this.#leader, this.#leadsSince];
    this.#leader = node;
    // Who leads when it begins may have led for long.
    if (this.#lost !== undefined) this.#leadsSince = at;
    if (before !== undefined && before !== node) {
      this.#lost = { node: before, at };
      this.#leaderLost(at);
      this.#forgotten(at);
      const { ackWait } = this.#options;
      this.#exposeAll(at - UNHEARD - ackWait, at - ackWait + GIVEN);
      if (at - since < SHORT_REIGN) this.#exposeAll(since - UNTOLD, at);
    } else if (node !== undefined && node === this.#lost?.node) {
      const lasted = at - this.#lost.at;
      if (lasted >= LEASE_LOST.least && lasted <= LEASE_LOST.most) this.#exposeAll(this.#lost.at - UNTOLD, at);
    }
  }

  #leaderLost(at: number): void {
    for (const [process, departures] of this.#departures) {
      for (const departure of departures) {
        if (departure.seen < at - UNHEARD) continue;
        const from = departure.left - ON_ITS_WAY;
        departure.stored ??= this.#expose(this.#options.members.get(process), { what: 'stored', from, to: at });
        for (const exposure of departure.stored) exposure.to = at;
      }
    }
  }

  /** What the leader that is lost has sent to whoever had the durables then. */
  #forgotten(at: number): void {
    for (const [process, takeOver] of this.#takeOvers) {
      if (takeOver.back !== undefined && at - takeOver.back >= UNHEARD) {
        this.#takeOvers.delete(process);
        continue;
      }
      const from = takeOver.at - ON_ITS_WAY;
      takeOver.stored ??= this.#expose(this.#options.durables.get(process), { what: 'stored', from, to: at });
      for (const exposure of takeOver.stored) exposure.to = at;
    }
  }

  #exposeAll(from: number, to: number): void {
    for (const memberships of this.#options.members.values()) this.#expose(memberships, { what: 'stored', from, to });
  }

  #expose(memberships: readonly Membership[] = [], exposure: Omit<Exposure, 'most'>): Exposure[] {
    return memberships.map(({ group, most }) => {
      const exposed = { ...exposure, most };
      this.#options.expose(group, exposed);
      return exposed;
    });
  }
}
