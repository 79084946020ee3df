/** Records a run. It is told what happened, in the order of the clock, and makes the report. Pure. */
import { Column } from '../continuity/column.js';
import { History, type Outcome, type PublisherHistory, type SubscriptionHistory } from '../continuity/history.js';
import { decodeValue } from '../continuity/value.js';
import type { MarkKind, ReportFault, ReportMark, ReportProcess, ResourceSample } from '../report/data.js';
import type { FaultKind } from '../nemesis/plan.js';
import type { ClientNews } from './adapter.js';
import { ACK_WAIT, durablesOf, type Member } from './cast.js';
import { ExposureWatch } from './exposure.js';
import { Pace } from './pace.js';
import type { ProcessPlan } from './process-plan.js';
import type { WorkerEvent } from './protocol.js';
import { SeriesRecorder } from './series.js';

/** Something that happened, with the clock of the run in ms. */
export type RunEvent =
  | { at: number; process: string; life: number; event: WorkerEvent }
  /** A process has ended. */
  | { at: number; process: string; end: 'killed' | 'died' | 'stopped'; text?: string }
  | { at: number; fault: FaultStart }
  | { at: number; struck: number }
  | { at: number; mended: number }
  | { at: number; leader: string | undefined };

export interface FaultStart {
  /** Number of the fault in its plan. */
  id: number;
  kind: FaultKind;
  whom: readonly string[];
  /** The fault in one line. */
  text: string;
  /** Whether it happens to all nodes. */
  everybody: boolean;
}

export interface RecorderOptions {
  /** Length of a bucket of the charts, in ms. */
  interval: number;
  /** How many messages the channel keeps. Default: all. */
  retention?: number | undefined;
}

/** The default of `maxInFlight` in this library. */
const MAX_IN_FLIGHT = 1024;

/**
 * Sums of a run of {@link verify}, over all its clients.
 * @category Verification
 */
export interface Counters {
  /** How many messages were published. */
  attempted: number;
  /** How many publishes were acknowledged. */
  acknowledged: number;
  /** How many publishes were rejected. */
  failed: number;
  /** How many messages were handed to handlers. */
  delivered: number;
  /** How many connections were lost. */
  losses: number;
  /** How many connections were regained. */
  reconnects: number;
}

interface FaultEntry {
  start: FaultStart;
  at: number;
  until: number | undefined;
  /** When its last blow had fallen, in ms. */
  struck: number;
  /** Time from `struck` until the acknowledgement of a pulse that was sent after it, in ms. */
  toPulse: number | undefined;
  handle: ReturnType<History['fault']>;
}

interface ProcessRecord extends ReportProcess {
  readonly index: number;
  readonly standIn: boolean;
  connected: boolean;
}

export class Recorder {
  readonly history: History;
  readonly series: SeriesRecorder;
  readonly marks: ReportMark[] = [];
  readonly leaders: { at: number; node: string | undefined }[] = [];
  readonly counters: Counters = { attempted: 0, acknowledged: 0, failed: 0, delivered: 0, losses: 0, reconnects: 0 };
  /** What went wrong besides broken promises, in sentences. */
  readonly incidents: string[] = [];
  /** What the roll call of the idle subscriptions has shown. */
  readonly rollCalls: { process: string; asked: number; answered: number }[] = [];
  client: { name: string; version?: string } = { name: '' };
  readonly #processes = new Map<string, ProcessRecord>();
  readonly #publishers = new Map<string, { history: PublisherHistory; attempts: Column }>();
  readonly #faults: FaultEntry[] = [];
  /** The faults whose last blow no pulse has followed yet. */
  readonly #unpulsed = new Set<FaultEntry>();
  readonly #pace = new Pace();
  readonly #open = new Map<number, FaultEntry>();
  readonly #exposures: ExposureWatch;

  constructor(plans: readonly ProcessPlan[], { interval, retention }: RecorderOptions) {
    this.series = new SeriesRecorder(interval);
    this.history = new History({ retention });
    this.#exposures = new ExposureWatch({
      members: membersOf(plans),
      durables: new Map(plans.map((plan) => [plan.name, durablesOf(plan).map(membershipOf)])),
      limited: retention !== undefined,
      ackWait: ACK_WAIT,
      expose: (group, exposure) => this.history.subscription(group).exposed(exposure),
    });
    for (const [index, { name, role, subscriptions, standIn = false }] of plans.entries()) {
      const parts = role === 'publisher' ? [name] : subscriptions.map((subscription) => subscription.name);
      this.#processes.set(name, { name, role, parts, lives: 0, samples: [], index, standIn, connected: false });
      if (role === 'publisher') {
        this.#publishers.set(name, { history: this.history.publisher(name), attempts: new Column(Float64Array) });
      }
      for (const subscription of subscriptions) {
        this.history.subscription(subscription.name, { kind: subscription.kind, from: 'all', ackWait: ACK_WAIT });
      }
    }
  }

  get processes(): ReportProcess[] {
    return [...this.#processes.values()].map(({ name, role, parts, lives, samples }) => ({
      name,
      role,
      parts,
      lives,
      samples,
    }));
  }

  /** How many processes have a client that is connected. One that only takes over for others does not count. */
  get connected(): number {
    return [...this.#processes.values()].filter(({ connected, standIn }) => connected && !standIn).length;
  }

  /** The counter with which a later life of a publisher goes on. */
  next(publisher: string): number {
    return this.#publishers.get(publisher)?.history.next ?? 0;
  }

  apply(happened: RunEvent): void {
    const { at } = happened;
    if ('event' in happened) this.#worker(happened.process, happened.life, happened.event, at);
    else if ('end' in happened) this.#end(happened.process, happened.end, happened.text, at);
    else if ('fault' in happened) this.#fault(happened.fault, at);
    else if ('struck' in happened) this.#struck(happened.struck, at);
    else if ('mended' in happened) this.#mended(happened.mended, at);
    else this.#leads(happened.leader, at);
  }

  /** The faults, with what the verdict says of them. Both have the same order. */
  faults(
    verdicts: readonly {
      until: number | undefined;
      toNextAck: number | undefined;
      toNextDelivery: Record<string, number | undefined>;
    }[],
  ): ReportFault[] {
    return this.#faults.map(({ start, at, toPulse }, i) => {
      const { until, toNextDelivery } = verdicts[i]!;
      // A publisher's next message may wait for its backlog, and the pulse has none.
      const answers = [verdicts[i]!.toNextAck, toPulse].filter((ms) => ms !== undefined);
      const toNextAck = answers.length === 0 ? undefined : Math.min(...answers);
      const whom = start.everybody ? '' : ` ${start.whom.map(shortened).join(', ')}`;
      return {
        kind: start.kind,
        name: start.text,
        label: `${start.kind}${whom}`,
        at,
        ...(until !== undefined && { until }),
        ...(toNextAck !== undefined && { toNextAck }),
        toNextDelivery,
      };
    });
  }

  /**
   * Messages a second that were reached where nothing was broken. Undefined: that was too short.
   * @param until when publishing ended, in ms
   */
  reachedRate(until: number): number | undefined {
    const broken = this.#faults.map((fault) => ({ from: fault.at, to: fault.until ?? fault.at }));
    const leaderless = this.leaders.flatMap(({ at, node }, i) =>
      node === undefined ? [{ from: at, to: this.leaders[i + 1]?.at ?? until }] : [],
    );
    return this.#pace.reached([...broken, ...leaderless], until);
  }

  #worker(name: string, life: number, event: WorkerEvent, at: number): void {
    const process = this.#processes.get(name)!;
    process.lives = Math.max(process.lives, life);
    switch (event[0]) {
      case 'ready': {
        const [, , client, version] = event;
        this.client = { name: client, ...(version !== null && { version }) };
        process.connected = true;
        for (const subscription of this.#subscriptionsOf(process)) {
          subscription.began(lifeOf(process, life), at);
          subscription.ready(at);
        }
        this.#exposures.cameBack(name, at);
        return this.#mark(name, 'connected', at, life > 1 ? `life ${life}` : undefined);
      }
      case 'attempt':
        return this.#attempt(name, event[2], at);
      case 'acknowledged':
        return this.#settled(name, event[2], 'acknowledged', at);
      case 'failed':
        return this.#settled(name, event[2], event[3] as Outcome, at);
      case 'delivered':
        return this.#delivered(event[2], event[3], event[4], lifeOf(process, life), at);
      case 'threw': {
        const [, , subscription, sequence, value] = event;
        const data = Buffer.from(value, 'latin1');
        this.#exposures.failed(name, subscription, at);
        return this.history.subscription(subscription).threw({ data, sequence, life: lifeOf(process, life) }, at);
      }
      case 'gap': {
        const [, , subscription, from, to] = event;
        this.history.subscription(subscription).gap({ from, to, life: lifeOf(process, life) }, at);
        return this.#mark(name, 'gap', at, `${subscription}: sequences ${from} to ${to}`);
      }
      case 'pulse':
        return this.#pulse(at, event[2]);
      case 'roll-call':
        return this.#rollCall(name, event[2], event[3], event[4]);
      case 'news':
        return this.#news(process, life, event[2], event[3] ?? undefined, at);
      case 'sample': {
        const [, , heap, rss, handles, listeners] = event;
        const sample: ResourceSample = { at, life, heap, rss, handles, listeners };
        return void process.samples.push(sample);
      }
      case 'closed':
        for (const subscription of this.#all) subscription.left(lifeOf(process, life));
        return;
    }
  }

  #pulse(at: number, took: number): void {
    for (const fault of this.#unpulsed) {
      if (at - took < fault.struck) continue;
      fault.toPulse = at - fault.struck;
      this.#unpulsed.delete(fault);
    }
  }

  #leads(leader: string | undefined, at: number): void {
    this.#exposures.leads(leader, at);
    this.leaders.push({ at, node: leader });
  }

  #rollCall(process: string, asked: number, answered: number, twice: number): void {
    const of = `process '${process}': of ${asked} idle subscriptions`;
    if (answered < asked) this.incidents.push(`${of} ${asked - answered} did not get the message at the end`);
    if (twice > 0) this.incidents.push(`${of} some were handed messages again that they had handled: ${twice}`);
    this.rollCalls.push({ process, asked, answered });
  }

  /** All subscriptions that a process may have. One that takes over for others may have any. */
  get #all(): SubscriptionHistory[] {
    return [...this.#processes.values()].flatMap((process) => this.#subscriptionsOf(process));
  }

  #subscriptionsOf({ role, parts }: ProcessRecord): SubscriptionHistory[] {
    return role === 'subscriber' ? parts.map((part) => this.history.subscription(part)) : [];
  }

  #attempt(publisher: string, counter: number, at: number): void {
    const { history, attempts } = this.#publishers.get(publisher)!;
    history.attempt(at);
    attempts.set(counter, at);
    this.counters.attempted++;
    this.#pace.attempted(at);
  }

  #settled(publisher: string, counter: number, outcome: Outcome, at: number): void {
    const took = this.#publishers.get(publisher)!.history.settle(counter, outcome, at);
    if (outcome === 'acknowledged') {
      this.counters.acknowledged++;
      this.series.acknowledged(at, took);
      this.#pace.acknowledged(at);
    } else {
      this.counters.failed++;
      this.series.failed(at);
    }
  }

  #delivered(subscription: string, sequence: number, value: string, life: number, at: number): void {
    const data = Buffer.from(value, 'latin1');
    this.history.subscription(subscription).receive({ data, sequence, life }, at);
    const decoded = decodeValue(data);
    const attempted = decoded && this.#publishers.get(decoded.publisher)?.attempts.get(decoded.counter);
    this.counters.delivered++;
    if (attempted !== undefined) this.series.delivered(at, at - attempted);
  }

  #news(process: ProcessRecord, life: number, news: ClientNews, text: string | undefined, at: number): void {
    if (news === 'loss') {
      this.#exposures.left(process.name, at);
      for (const subscription of this.#all) subscription.cutOff(lifeOf(process, life), at);
      process.connected = false;
      this.counters.losses++;
    } else if (news === 'reconnect') {
      this.#exposures.cameBack(process.name, at);
      for (const subscription of this.#all) subscription.cameBack(lifeOf(process, life));
      process.connected = true;
      this.counters.reconnects++;
    } else if (news === 'closed') {
      process.connected = false;
      return this.#died(process.name, `its client closed by itself${text === undefined ? '' : `: ${text}`}`, at);
    }
    this.#mark(process.name, news, at, text);
  }

  #end(name: string, end: 'killed' | 'died' | 'stopped', text: string | undefined, at: number): void {
    const process = this.#processes.get(name)!;
    process.connected = false;
    for (const subscription of this.#all) subscription.ended(lifeOf(process, process.lives), at);
    this.#exposures.left(name, at);
    this.#publishers.get(name)?.history.abandon(at);
    if (end === 'died') this.#died(name, `it ended by itself${text === undefined ? '' : `: ${text}`}`, at);
    else this.#mark(name, end, at, text);
  }

  #died(name: string, text: string, at: number): void {
    this.incidents.push(`process '${name}': ${text}`);
    this.#mark(name, 'died', at, text);
  }

  #fault(start: FaultStart, at: number): void {
    const handle = this.history.fault(start.text, at);
    const entry: FaultEntry = { start, at, struck: at, until: undefined, toPulse: undefined, handle };
    this.#faults.push(entry);
    this.#unpulsed.add(entry);
    this.#open.set(start.id, entry);
    if (start.kind === 'client-replace') for (const process of start.whom) this.#exposures.tookOver(process, at);
  }

  #struck(id: number, at: number): void {
    const entry = this.#open.get(id);
    if (!entry) return;
    entry.handle.struck(at);
    [entry.struck, entry.toPulse] = [at, undefined];
    this.#unpulsed.add(entry);
  }

  #mended(id: number, at: number): void {
    const entry = this.#open.get(id);
    if (entry) entry.until ??= at;
    entry?.handle.mended(at);
    this.#open.delete(id);
  }

  #mark(process: string, kind: MarkKind, at: number, text?: string): void {
    this.marks.push({ at, process, kind, ...(text !== undefined && { text }) });
  }
}

/** A number for each life of each process. */
function lifeOf({ index }: ProcessRecord, life: number): number {
  return index * 1000 + life;
}

/** For each process the groups that also have members in other processes. */
function membersOf(plans: readonly ProcessPlan[]): Map<string, { group: string; most: number }[]> {
  const holders = (group: string): number =>
    plans.filter(({ subscriptions }) => subscriptions.some(({ name }) => name === group)).length;
  return new Map(
    plans.map(({ name, subscriptions }) => [
      name,
      subscriptions
        .filter((subscription) => /queue/.test(subscription.kind) && holders(subscription.name) > 1)
        .map(membershipOf),
    ]),
  );
}

function membershipOf({ name, maxInFlight = MAX_IN_FLIGHT }: Member): { group: string; most: number } {
  return { group: name, most: maxInFlight };
}

/** A short name for the picture: `p2` for `publisher-2`. */
function shortened(name: string): string {
  return name.replace(/^(\w)\w*-/, '$1');
}
