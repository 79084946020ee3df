/**
 * What a verified run came to: the content of `report.json`. Plain data, of which `report.html`, the picture and the
 * tables are pure renderings. All times are milliseconds since the run began, by one monotonic clock.
 */
import type { Ordering, Verdict } from '../continuity/verdict.js';

/** How the run ended. `failed`: something else than the client broke it, as a cluster that did not come up again. */
export type RunEnd = 'complete' | 'interrupted' | 'failed';

export interface ReportData {
  /** Of this structure. It grows without a new number; what is there keeps its meaning. */
  format: 1;
  /** ISO 8601. */
  startedAt: string;
  /** From the first publish to the verdict. */
  duration: number;
  /** When no more was published: from then on, what was under way came to its end. */
  publishedUntil?: number;
  end: RunEnd;
  /** Why it failed. */
  failure?: string;
  /** The client under test. */
  client: { name: string; version?: string };
  settings: ReportSettings;
  environment: { node: string; platform: string; cpus: number; server?: string };
  /** The command that replays it. */
  replay: string;
  verdict: Verdict;
  /** What broke besides the promises of the verdict: a process that died by itself, memory that grew. */
  incidents: string[];
  /** In the order in which they began. */
  faults: ReportFault[];
  /** The processes of the run: publishers and subscribers. */
  processes: ReportProcess[];
  /** What happened to a client, or was told by it. */
  marks: ReportMark[];
  /** Since `at`, this node serves; undefined: none. Without servers of our own: empty. */
  leaders: { at: number; node: string | undefined }[];
  series: ReportSeries;
}

export interface ReportSettings {
  seed: number;
  /** How long to publish, in ms. */
  publishFor: number;
  ordering: Ordering;
  /** Messages a second, all publishers together. */
  rate: number;
  /** Bytes of a message; 0: no more than its value. */
  size: number;
  /** Kinds of faults, by name. */
  faults: string[];
  /** How many messages the channel keeps. Undefined: all. */
  maxMessages?: number;
  /** How many idle subscriptions one of the clients has. */
  subscriptions?: number;
  /** Servers of our own. */
  cluster?: { mode: string; nodes: number };
  /** Servers of somebody else, without credentials. */
  servers?: string[];
}

export interface ReportFault {
  /** `kill`, `pause`, … */
  kind: string;
  /** What happened, to whom: `leader b killed`. */
  name: string;
  /** The same in a word or two, for the picture: `kill b`. */
  label: string;
  at: number;
  /** When it was mended. Undefined: it was a moment, or was never mended. */
  until?: number;
  /** To the next acknowledgement of something published after it. Undefined: there was none. */
  toNextAck?: number;
  /** For each subscription: to the next delivery of something published after it. */
  toNextDelivery: Record<string, number | undefined>;
}

export interface ReportProcess {
  name: string;
  role: 'publisher' | 'subscriber';
  /** What it holds: names of publishers or subscriptions. */
  parts: string[];
  lives: number;
  /** Taken every few seconds, after a garbage collection. */
  samples: ResourceSample[];
}

export interface ResourceSample {
  at: number;
  /** Which life of the process. */
  life: number;
  /** Bytes. */
  heap: number;
  rss: number;
  /** Open sockets, pipes and timers that keep a process alive. */
  handles: number;
  /** Listeners on the process and on the client. */
  listeners: number;
}

export type MarkKind =
  /** The process is up, and its client connected. */
  | 'connected'
  | 'loss'
  | 'reconnect'
  /** The process was killed, as a fault. */
  | 'killed'
  /** The process or its client ended, and nobody asked for it. */
  | 'died'
  | 'gap'
  | 'reset'
  | 'error'
  /** The process was stopped at the end of the run. */
  | 'stopped';

export interface ReportMark {
  at: number;
  process: string;
  kind: MarkKind;
  /** Why, or how long it took. */
  text?: string;
}

/** Everything in buckets of equal length, from 0 on. */
export interface ReportSeries {
  /** Length of a bucket, in ms. */
  interval: number;
  /** Publishes acknowledged in the bucket, of all publishers. */
  acknowledged: number[];
  /** Publishes that failed in the bucket. */
  failed: number[];
  /** Messages handed to handlers, of all subscriptions. */
  delivered: number[];
  /** From publish to acknowledgement, of those acknowledged in the bucket. Null: there were none. */
  ackLatency: LatencySeries;
  /** From publish to the handler, of those delivered in the bucket. */
  deliveryLatency: LatencySeries;
}

export interface LatencySeries {
  p50: (number | null)[];
  max: (number | null)[];
}

/** Nothing promised was broken, and the run came to its end. */
export function isClean(data: ReportData): boolean {
  return data.end === 'complete' && data.verdict.clean && data.incidents.length === 0;
}
