/**
 * The messages that the server itself may lose of a queue group with members in several processes, and of a durable that
 * another process has had for a while. Pure.
 *
 * - When a member leaves, the leader gives its messages to the others, and followers hear of that up to a second later. If the
 *   leader dies in that second, no member gets them. The same holds for messages that go to another member after `ackWait`.
 * - The channel may drop a message before another member gets it. A message on which a handler has failed goes to any member
 *   after `ackWait`.
 * - The followers of a leader that led for a moment only may know what it has sent to one member and not to another. They then
 *   take what the other one was sent for acknowledged.
 * - A leader that loses its lease for a moment and leads again may not have told its followers what it has sent meanwhile. They
 *   take it for acknowledged, and so does the next leader.
 * - The same holds of a durable. Its client sees that, and reads on past it. But who gets it back from another process cannot tell
 *   what was forgotten from what that one has acknowledged.
 */
import type { Exposure } from '../continuity/history.js';

/** How long followers may not know of a member that left, in ms. They hear of it within a second, and we may see it late. */
const UNHEARD = 2000;
/** How long before it left a message may have been published or sent that was on its way to the member, in ms. */
const ON_ITS_WAY = 2000;
/** How long a leader is away, at least and at most, when it has only lost its lease, in ms. */
const LEASE_LOST = { least: 300, most: 3000 };
/** A leader that led for less than this may not have told its followers of all members, in ms. */
const SHORT_REIGN = 2000;
/** How long before it lost its lease a leader may have sent what its followers do not know, in ms. */
const UNTOLD = 2000;
/** How long the others may wait for the messages of a member that is back, in ms. */
const GIVEN = 1000;

interface Membership {
  group: string;
  /** How many messages can be on their way to the member. */
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
  /** When its process was killed, or its session lost, in ms. */
  readonly left: number;
  /** When it was seen last: it left, or came back, and then the leader hears of its leaving. */
  seen: number;
  back: boolean;
  /** The exposure for what the channel drops meanwhile. */
  readonly dropped: readonly Exposure[];
  /** Whether it is counted. Another loss of a leader then makes its exposure longer, and not larger. */
  stored: Exposure[] | undefined;
}

export interface ExposureOptions {
  /** For each process the groups that also have members in other processes. */
  members: ReadonlyMap<string, readonly Membership[]>;
  /** For each process its durables, which another process may take over. */
  durables: ReadonlyMap<string, readonly Membership[]>;
  /** Whether the channel has a limit of messages. */
  limited: boolean;
  /** The `ackWait` of all groups, in ms. */
  ackWait: number;
  /** Called with what may be lost. The exposure may become longer later. */
  expose: (group: string, exposure: Exposure) => void;
}

export class ExposureWatch {
  readonly #options: ExposureOptions;
  /** For each process, the leavings of which followers may not have heard. */
  readonly #departures = new Map<string, Departure[]>();
  /** By process. */
  readonly #takeOvers = new Map<string, TakeOver>();
  #leader: string | undefined;
  #leadsSince = Number.NEGATIVE_INFINITY;
  /** The node that led last, and until when. */
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

  /** Notes that the handler of a member has failed on a message. */
  failed(process: string, group: string, at: number): void {
    const { members, limited, ackWait, expose } = this.#options;
    if (!limited || members.get(process)?.some((membership) => membership.group === group) !== true) return;
    const again = at + ackWait;
    expose(group, { what: 'dropped', from: at, to: again + GIVEN, most: 1 });
  }

  /** Notes that another node leads, or none. */
  leads(node: string | undefined, at: number): void {
    const [before, since] = [this.#leader, this.#leadsSince];
    this.#leader = node;
    // The node that leads at the beginning may have led for long.
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
