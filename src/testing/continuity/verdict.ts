/** What a run came to: plain data, to be printed, written as JSON, or asserted on. */

export type Ordering = 'strict' | 'pipelined';

/**
 * `plain` and `durable` are promised every sequence once and in order; groups (`queue`, `durable-queue`) every message at
 * least once, by any member.
 */
export type SubscriptionKind = 'plain' | 'durable' | 'queue' | 'durable-queue';

export interface Stall {
  /** 0: there was none. */
  ms: number;
  /** When it ended, on the run's own clock. */
  at: number;
}

export interface PublisherVerdict {
  name: string;
  attempted: number;
  acknowledged: number;
  /** Rejected with `delivery: 'not-sent'`, `'rejected'`, `'unknown'`. */
  notSent: number;
  rejected: number;
  unknown: number;
  /** Its process was killed before they settled. */
  abandoned: number;
  /** Neither resolved nor rejected. */
  unsettled: number;
  settledTwice: number;
  /** Longest time without an acknowledgement while one was owed. */
  longestStall: Stall;
}

export interface Lost {
  total: number;
  /** Before the first of its publisher that arrived: missed at the start. */
  prefix: number;
  /** Between two that arrived. */
  middle: number;
  /** After the last that arrived: the subscription is behind, or dead. */
  tail: number;
}

export type ExampleKind =
  | ('lost' | 'ghosts' | 'aliens' | 'handledTwice' | 'afterTakeover' | 'reordered' | 'outOfSequence')
  | ('falseGaps' | 'untold' | 'unattended' | 'serverLost');

export interface SubscriptionVerdict {
  name: string;
  kind: SubscriptionKind;
  /** Different values it got. */
  received: number;
  /** Acknowledged, and never handed to it. */
  lost: Lost;
  /** Not acknowledged, and there all the same: the acknowledgement got lost, or its publisher was killed. */
  recovered: number;
  /** Rejected as `not-sent` or `rejected`, and there all the same: a broken promise. */
  ghosts: number;
  /** Messages nobody published: altered, or somebody else's. */
  aliens: number;
  /** Copies beyond the first: stored twice, as a publish that is sent again may be. */
  duplicated: number;
  /** The same sequence handled again by the same life of the subscription. */
  handledTwice: number;
  /** The same sequence handled again by a later life, or another member. */
  repeated: number;
  /**
   * Of what is repeated: published and handled after another life had taken over, which then left in good order, and
   * handled again by the life before it.
   */
  afterTakeover: number;
  /** Calls of its handler that failed on purpose. */
  threw: number;
  /** Sequences it was told to be gone, by the event `gap`. */
  told: number;
  /** Acknowledged, never handed to it, and told to be gone, where the channel keeps only so many: not lost. */
  gone: number;
  /** Sequences it was told to be gone that were there: handed to it, or too young to be gone. */
  falseGaps: number;
  /** Sequences that the same life was told twice to be gone. */
  toldTwice: number;
  /** Sequences neither handed to it nor told to be gone, beside those of lost messages. Looked at where messages may be gone. */
  untold: number;
  /**
   * Acknowledged, never handed to it, and dropped by the channel while no process had the subscription: the server does
   * not tell the next one where it stood. Not lost.
   */
  unattended: number;
  /** Of groups: acknowledged and never handed to it, by what the server itself may do to a group. Not lost. */
  serverLost: number;
  /** First deliveries that came after a later one of their publisher. Of groups: 0, there is no order in them. */
  reordered: number;
  /** Deliveries whose sequence is below one before. Of groups: 0. */
  outOfSequence: number;
  /** How often the channel began again. */
  resets: number;
  /** Longest time without a delivery while something that was published waited to be delivered. */
  longestStall: Stall;
  /** A few values for each thing that went wrong. */
  examples: Partial<Record<ExampleKind, string[]>>;
}

export interface FaultVerdict {
  name: string;
  /** On the run's own clock, in ms. */
  at: number;
  /** Undefined: it was a moment, or was never mended. */
  until: number | undefined;
  /**
   * ms to the next acknowledgement of something published after the fault, of whichever publisher. Where publishes queue up
   * behind each other, those from before it come first. Undefined: there was none.
   */
  toNextAck: number | undefined;
  /** The longest that a publisher waited for an acknowledgement from the fault on until it was over, in ms. */
  ackStall: number;
  /** For each subscription: ms to the next delivery of something published after the fault. */
  toNextDelivery: Record<string, number | undefined>;
  /** For each subscription: the longest it waited for a delivery from the fault on until it was over, in ms. */
  deliveryStall: Record<string, number>;
}

export interface Verdict {
  /** Nothing promised was broken: `violations` is empty. */
  clean: boolean;
  /** One sentence for each promise that was broken. */
  violations: string[];
  ordering: Ordering;
  publishers: PublisherVerdict[];
  subscriptions: SubscriptionVerdict[];
  faults: FaultVerdict[];
}

export interface JudgeOptions {
  /** What the publishers were configured for. Default `pipelined`: then order is not promised across faults. */
  ordering?: Ordering;
  /** Whether a publish may be rejected: with timeouts, or a client that gives up. Default false. */
  rejections?: boolean;
}

/** The promises, one by one. */
export function violationsOf(
  publishers: readonly PublisherVerdict[],
  subscriptions: readonly SubscriptionVerdict[],
  { ordering = 'pipelined', rejections = false }: JudgeOptions,
): string[] {
  const broken: string[] = [];
  const check = (who: string, count: number, what: string, examples: readonly string[] = []): void => {
    if (count > 0) broken.push(`${who}: ${count} ${what}${examples.length > 0 ? ` (${examples.join(', ')})` : ''}`);
  };
  for (const p of publishers) {
    const who = `publisher '${p.name}'`;
    check(who, p.unsettled, 'publishes never settled');
    check(who, p.settledTwice, 'publishes settled more than once');
    if (!rejections) check(who, p.notSent + p.rejected + p.unknown, 'publishes failed');
  }
  for (const s of subscriptions) {
    const who = `subscription '${s.name}'`;
    const { lost, examples } = s;
    check(
      who,
      lost.total,
      `acknowledged messages lost: ${lost.prefix} at the start, ${lost.middle} in the middle, ${lost.tail} at the end`,
      examples.lost,
    );
    check(who, s.ghosts, 'messages arrived that were reported as not stored', examples.ghosts);
    check(who, s.aliens, 'messages arrived that nobody published', examples.aliens);
    check(who, s.untold, 'sequences neither arrived nor were told to be gone', examples.untold);
    check(who, s.falseGaps, 'sequences were told to be gone and were there', examples.falseGaps);
    check(who, s.toldTwice, 'sequences were told twice to be gone');
    if (s.kind === 'queue' || s.kind === 'durable-queue') continue;
    check(who, s.handledTwice, 'messages handled twice', examples.handledTwice);
    check(who, s.afterTakeover, 'messages handled again after a takeover', examples.afterTakeover);
    check(who, s.outOfSequence, 'messages out of sequence', examples.outOfSequence);
    if (ordering === 'strict')
      check(who, s.reordered, 'messages out of the order they were published in', examples.reordered);
  }
  return broken;
}
