/**
 * The content of `report.json`: plain data on a verified run. `report.html`, the picture and the tables are made of it.
 * All times are milliseconds since the run began, by one monotonic clock.
 */
import type { Ordering, Verdict } from '../continuity/verdict.js';

/**
 * How a run has ended: `'complete'`, `'interrupted'` by its signal, or `'failed'` for a reason other than the client, as when
 * the cluster did not come up again.
 * @category Reports
 */
export type RunEnd = 'complete' | 'interrupted' | 'failed';

/**
 * The report on a run of {@link verify}. All times are milliseconds since the run began.
 * @category Reports
 */
export interface ReportData {
  /** Version of this structure. Fields may be added without a new version; the others keep their meaning. */
  format: 1;
  /** When the run began, as ISO 8601. */
  startedAt: string;
  /** Time from the first publish to the verdict, in ms. */
  duration: number;
  /** When publishing ended, in ms. From then on only what was under way came to its end. */
  publishedUntil?: number;
  /** How the run has ended. */
  end: RunEnd;
  /** Why it failed, if it did. */
  failure?: string;
  /** The client that was verified. */
  client: {
    /** Name of the client. */
    name: string;
    /** Version of the client. */
    version?: string;
  };
  /** The settings of the run. */
  settings: ReportSettings;
  /** The machine and the software. */
  environment: {
    /** Version of Node. */
    node: string;
    /** Operating system and processor architecture. */
    platform: string;
    /** How many processors the machine has. */
    cpus: number;
    /** Version of the server. */
    server?: string;
  };
  /** The command that repeats the run. */
  replay: string;
  /**
   * Messages a second, of all publishers together, that were published and acknowledged while nothing was broken. Less than was
   * asked for means that the machine or the servers are too slow for it. Undefined: that time was too short.
   */
  reachedRate?: number;
  /** The verdict on publishers and subscriptions. */
  verdict: Verdict;
  /** What else went wrong, in sentences: a process that ended by itself, or memory that grew. */
  incidents: string[];
  /** The faults, in the order in which they began. */
  faults: ReportFault[];
  /** The processes of publishers and subscribers. */
  processes: ReportProcess[];
  /** What happened to the clients. */
  marks: ReportMark[];
  /** Which node served from when on. Empty when the servers are somebody else's. */
  leaders: {
    /** From when on, in ms. */
    at: number;
    /** Name of the node. Undefined: none served. */
    node: string | undefined;
  }[];
  /** Throughput and latency over time. */
  series: ReportSeries;
}

/**
 * The settings of a run.
 * @category Reports
 */
export interface ReportSettings {
  /** The seed of the run. */
  seed: number;
  /** How long to publish, in ms. */
  publishFor: number;
  /** The order that the publishers were configured for. */
  ordering: Ordering;
  /** How many messages a second, of all publishers together. */
  rate: number;
  /** Size of a message, in bytes. 0: the size of its value. */
  size: number;
  /** The kinds of faults. */
  faults: string[];
  /** How many messages the channel keeps. Undefined: all. */
  maxMessages?: number;
  /** How many idle subscriptions one of the clients has. */
  subscriptions?: number;
  /** The cluster that was started. Undefined when the servers are somebody else's. */
  cluster?: {
    /** How the nodes work together. */
    mode: string;
    /** How many nodes there are. */
    nodes: number;
  };
  /** URLs of somebody else's servers, without credentials. */
  servers?: string[];
}

/**
 * One fault of a run.
 * @category Reports
 */
export interface ReportFault {
  /** Kind of the fault: `kill`, `pause` … */
  kind: string;
  /** What happened to which node or client: `leader b killed`. */
  name: string;
  /** The same in a word or two, for the picture: `kill b`. */
  label: string;
  /** When it began, in ms. */
  at: number;
  /** When it was over, in ms. Undefined when it was a moment, or was never mended. */
  until?: number;
  /** Time from its last blow until the next acknowledgement of a message that was published after that, in ms. Undefined: none came. */
  toNextAck?: number;
  /** For each subscription the time until the next delivery of a message that was published after it began, in ms. */
  toNextDelivery: Record<string, number | undefined>;
}

/**
 * One process of a run.
 * @category Reports
 */
export interface ReportProcess {
  /** Name of the process. */
  name: string;
  /** What it does. */
  role: 'publisher' | 'subscriber';
  /** Names of its publishers or subscriptions. */
  parts: string[];
  /** How often it was started. */
  lives: number;
  /** What it used, taken every few seconds after a garbage collection. */
  samples: ResourceSample[];
}

/**
 * What a process uses at a moment.
 * @category Reports
 */
export interface ResourceSample {
  /** When it was taken, in ms. */
  at: number;
  /** Which life of the process it was, from 1. */
  life: number;
  /** Size of the used heap, in bytes. */
  heap: number;
  /** Size of its memory, in bytes. */
  rss: number;
  /** How many sockets, pipes and timers keep the process alive. */
  handles: number;
  /** How many listeners there are on the process and on the client. */
  listeners: number;
}

/**
 * What happened to a client:
 *
 * - `'connected'`: its process is up, and it is connected;
 * - `'loss'`, `'reconnect'`: it lost its connection, or has it again;
 * - `'killed'`: its process was killed, as a fault;
 * - `'died'`: its process or the client has ended, and nobody asked for it;
 * - `'gap'`, `'reset'`, `'error'`: it said so;
 * - `'stopped'`: its process was stopped at the end of the run.
 *
 * @category Reports
 */
export type MarkKind = 'connected' | 'loss' | 'reconnect' | 'killed' | 'died' | 'gap' | 'reset' | 'error' | 'stopped';

/**
 * Something that happened to a client.
 * @category Reports
 */
export interface ReportMark {
  /** When it happened, in ms. */
  at: number;
  /** Name of the process. */
  process: string;
  /** What happened. */
  kind: MarkKind;
  /** Why it happened, or how long it took. */
  text?: string;
}

/**
 * Numbers over time, in buckets of equal length that begin at 0.
 * @category Reports
 */
export interface ReportSeries {
  /** Length of a bucket, in ms. */
  interval: number;
  /** How many publishes were acknowledged in each bucket. */
  acknowledged: number[];
  /** How many publishes failed in each bucket. */
  failed: number[];
  /** How many messages were handed to handlers in each bucket. */
  delivered: number[];
  /** Time from publish to acknowledgement, of the messages acknowledged in each bucket. */
  ackLatency: LatencySeries;
  /** Time from publish to the handler, of the messages delivered in each bucket. */
  deliveryLatency: LatencySeries;
}

/**
 * Latencies over time, in ms. Null where there was nothing to measure.
 * @category Reports
 */
export interface LatencySeries {
  /** The median of each bucket. */
  p50: (number | null)[];
  /** The longest of each bucket. */
  max: (number | null)[];
}

/**
 * Whether a run is clean: it is complete, every promise was kept, and nothing else went wrong.
 * @category Reports
 */
export function isClean(data: ReportData): boolean {
  return data.end === 'complete' && data.verdict.clean && data.incidents.length === 0;
}
