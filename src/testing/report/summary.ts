/** Sums up a run in a few figures and sentences. Pure. */
import type { SubscriptionVerdict } from '../continuity/verdict.js';
import { isClean, type ReportData } from './data.js';
import { formatCount, formatDuration, plural } from './format.js';
import { percentile } from './statistics.js';

export interface Totals {
  attempted: number;
  acknowledged: number;
  /** How many publishes were rejected, for whatever reason. */
  failed: number;
  unsettled: number;
  /** From here on the figures are sums over all subscriptions. */
  lost: number;
  ghosts: number;
  duplicated: number;
  /** Not lost, but not there yet when the run was interrupted. */
  underWay: number;
  /** Not lost, but told to be gone, where the channel has a limit of messages. */
  gone: number;
  /** Not lost by the client, but dropped by the channel while no process had the subscription. */
  unattended: number;
  /** Not lost by the client, but perhaps by the server itself, of a group. */
  serverLost: number;
  /** Of plain and durable subscriptions only, because groups do not promise it. */
  handledTwice: number;
  /** Messages out of sequence, and in strict ordering those out of the order of their publisher. */
  outOfOrder: number;
  /** Messages out of the order of their publisher, where it is not promised. */
  overtaken: number;
  losses: number;
  reconnects: number;
  publishStall: number;
  deliveryStall: number;
}

export function totalsOf(data: ReportData): Totals {
  const { publishers, subscriptions } = data.verdict;
  const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
    items.reduce((total, item) => total + of(item), 0);
  const single = subscriptions.filter(isSingle);
  const strict = data.verdict.ordering === 'strict';
  return {
    attempted: sum(publishers, (p) => p.attempted),
    acknowledged: sum(publishers, (p) => p.acknowledged),
    failed: sum(publishers, (p) => p.notSent + p.rejected + p.unknown),
    unsettled: sum(publishers, (p) => p.unsettled),
    lost: sum(subscriptions, (s) => s.lost.total),
    ghosts: sum(subscriptions, (s) => s.ghosts),
    underWay: sum(subscriptions, (s) => s.underWay),
    gone: sum(subscriptions, (s) => s.gone),
    unattended: sum(subscriptions, (s) => s.unattended),
    serverLost: sum(subscriptions, (s) => s.serverLost),
    duplicated: Math.max(...subscriptions.map((s) => s.duplicated), 0),
    handledTwice: sum(single, (s) => s.handledTwice + s.afterTakeover),
    outOfOrder: sum(single, (s) => s.outOfSequence + (strict ? s.reordered : 0)),
    overtaken: strict ? 0 : Math.max(...single.map((s) => s.reordered), 0),
    losses: data.marks.filter((mark) => mark.kind === 'loss').length,
    reconnects: data.marks.filter((mark) => mark.kind === 'reconnect').length,
    publishStall: Math.max(...publishers.map((p) => p.longestStall.ms), 0),
    deliveryStall: Math.max(...subscriptions.map((s) => s.longestStall.ms), 0),
  };
}

/** Whether a subscription has to see each sequence once and in order. */
export function isSingle({ kind }: SubscriptionVerdict): boolean {
  return kind === 'plain' || kind === 'durable';
}

/** The verdict in one line. */
export function headline(data: ReportData): string {
  const totals = totalsOf(data);
  const through = data.faults.length > 0 ? ` through ${plural(data.faults.length, 'fault')}` : '';
  const messages = `${plural(totals.acknowledged, 'message')} acknowledged${through}`;
  const how = [
    count(totals.lost, 'lost'),
    count(totals.outOfOrder, data.verdict.ordering === 'strict' ? 'out of order' : 'out of sequence'),
    count(totals.handledTwice, 'handled twice'),
  ];
  if (totals.gone > 0) how.push(`${formatCount(totals.gone)} gone and told so`);
  if (totals.unattended > 0) how.push(`${formatCount(totals.unattended)} dropped with no process there`);
  if (totals.serverLost > 0) how.push(`${formatCount(totals.serverLost)} of a group lost by the server itself`);
  if (totals.failed > 0) how.unshift(`${plural(totals.failed, 'publish', 'publishes')} failed`);
  if (data.end === 'interrupted') {
    if (totals.unsettled > 0) how.push(`${plural(totals.unsettled, 'publish', 'publishes')} under way`);
    if (totals.underWay > 0) how.push(`${plural(totals.underWay, 'delivery', 'deliveries')} under way`);
  } else if (totals.unsettled > 0) {
    how.unshift(`${formatCount(totals.unsettled)} never settled`);
  }
  const told = `${messages}: ${how.join(', ')}`;
  switch (data.end) {
    case 'complete':
      return told;
    case 'interrupted':
      return `Interrupted after ${formatDuration(data.duration)}. ${told}`;
    case 'failed':
      return `The run failed after ${formatDuration(data.duration)}. ${told}`;
  }
}

export interface Figure {
  head: string;
  /** Whether the figure has to be 0. */
  must: boolean;
  of: (subscription: SubscriptionVerdict) => number;
  /** What it is, in words. */
  meaning: string;
}

const FIGURES: readonly Figure[] = [
  { head: 'under way', must: false, of: (s) => s.underWay, meaning: 'not there yet when the run was interrupted' },
  {
    head: 'gone and told',
    must: false,
    of: (s) => s.gone,
    meaning: 'dropped by the channel, which keeps only so many',
  },
  { head: 'not told', must: true, of: (s) => s.untold, meaning: 'neither handed over nor told to be gone' },
  { head: 'told falsely', must: true, of: (s) => s.falseGaps, meaning: 'told to be gone, and there' },
  { head: 'told twice', must: true, of: (s) => s.toldTwice, meaning: 'told again to the same life' },
  {
    head: 'after takeover',
    must: true,
    of: (s) => (isSingle(s) ? s.afterTakeover : 0),
    meaning: 'handled again by the one it was taken over from',
  },
  {
    head: 'failed on purpose',
    must: false,
    of: (s) => s.threw,
    meaning: 'its handler was made to fail, and it came again',
  },
  {
    head: 'no process there',
    must: false,
    of: (s) => s.unattended,
    meaning: 'dropped while no process had the subscription',
  },
  {
    head: "the server's own",
    must: false,
    of: (s) => s.serverLost,
    meaning: 'on its way to a member of a group, or to a durable that was taken over, and lost with the leader',
  },
];

/** Further figures of subscriptions, which are shown where they are not 0. */
export function furtherFigures(subscriptions: readonly SubscriptionVerdict[]): Figure[] {
  return FIGURES.filter(({ of }) => subscriptions.some((subscription) => of(subscription) > 0));
}

function count(value: number, what: string): string {
  return `${value === 0 ? 'none' : formatCount(value)} ${what}`;
}

/** The verdict in a word. An interrupted run has none, because it is not known what became of messages under way. */
export function judgement(data: ReportData): { word: string; good: boolean } {
  if (isClean(data)) return { word: 'Clean', good: true };
  if (data.end === 'interrupted') return { word: 'Interrupted', good: false };
  return { word: data.end === 'failed' ? 'Failed' : 'Not clean', good: false };
}

/** One sentence for each reason why the run is not clean. */
export function findings(data: ReportData): string[] {
  const failure = data.failure === undefined ? [] : [data.failure];
  return [...failure, ...data.verdict.violations, ...data.incidents];
}

/** The share of the rate that has to be reached, so that nothing is said of it. */
const KEPT_UP = 0.9;

/** What is not wrong, but has to be known to read the figures. In sentences. */
export function notices({ reachedRate, settings }: ReportData): string[] {
  if (reachedRate === undefined || reachedRate >= settings.rate * KEPT_UP) return [];
  return [
    `The publishers fell behind: where nothing was broken, ${formatCount(reachedRate)} messages a second were reached of the ` +
      `${formatCount(settings.rate)} asked for. This machine, or the servers, cannot do more: latencies and stalls show a backlog`,
  ];
}

export interface Recovery {
  kind: string;
  count: number;
  /** Time from the last blow of a fault to the next acknowledgement of a message that was published after it, in ms. */
  ack: Spread | undefined;
  /** Time from a fault to the next delivery to the slowest subscription, in ms. */
  delivery: Spread | undefined;
  /** How many faults were followed by no acknowledgement. */
  unanswered: number;
}

export interface Spread {
  p50: number;
  p95: number;
  max: number;
}

/** How long it took after each kind of fault, in the order in which the kinds first came. */
export function recoveries(data: ReportData): Recovery[] {
  return [...new Set(data.faults.map((fault) => fault.kind))].map((kind) => {
    const faults = data.faults.filter((fault) => fault.kind === kind);
    const acks = faults.map((fault) => fault.toNextAck).filter((ms) => ms !== undefined);
    const deliveries = faults.map((fault) => slowestDelivery(fault)).filter((ms) => ms !== undefined);
    return {
      kind,
      count: faults.length,
      ack: spread(acks),
      delivery: spread(deliveries),
      unanswered: faults.length - acks.length,
    };
  });
}

/** The time of the slowest subscription. Undefined when one had no delivery. */
export function slowestDelivery({
  toNextDelivery,
}: {
  toNextDelivery: Record<string, number | undefined>;
}): number | undefined {
  const all = Object.values(toNextDelivery);
  const there = all.filter((ms) => ms !== undefined);
  return there.length === 0 || there.length < all.length ? undefined : Math.max(...there);
}

function spread(values: readonly number[]): Spread | undefined {
  const [p50, p95] = [percentile(values, 0.5), percentile(values, 0.95)];
  return p50 === undefined || p95 === undefined ? undefined : { p50, p95, max: Math.max(...values) };
}
