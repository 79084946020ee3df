/** The verdict on a run. It is plain data, to be printed, written as JSON, or asserted on. */

/**
 * The order that a client was configured for: `'strict'`, the order of a channel holds through faults; `'pipelined'`, messages
 * in flight at a fault may change places.
 * @category Continuity
 */
export type Ordering = 'strict' | 'pipelined';

/**
 * The kind of a subscription. `'plain'` and `'durable'` have to see each sequence once and in order. The groups, `'queue'` and
 * `'durable-queue'`, have to see each message at least once, in any member.
 * @category Continuity
 */
export type SubscriptionKind = 'plain' | 'durable' | 'queue' | 'durable-queue';

/**
 * A time in which nothing came.
 * @category Continuity
 */
export interface Stall {
  /** How long it was, in ms. 0: there was none. */
  ms: number;
  /** When it ended, by the clock of the run, in ms. */
  at: number;
}

/**
 * The numbers of one publisher.
 * @category Continuity
 */
export interface PublisherVerdict {
  /** Name of the publisher. */
  name: string;
  /** How many messages it has published. */
  attempted: number;
  /** How many were acknowledged. */
  acknowledged: number;
  /** How many were rejected with `delivery: 'not-sent'`. */
  notSent: number;
  /** How many were rejected with `delivery: 'rejected'`. */
  rejected: number;
  /** How many were rejected with `delivery: 'unknown'`, or without a word about the delivery. */
  unknown: number;
  /** How many were not settled when the process was killed. */
  abandoned: number;
  /** How many were neither acknowledged nor rejected. */
  unsettled: number;
  /** How often a message was settled again. */
  settledTwice: number;
  /** The longest time without an acknowledgement while a message waited for one. */
  longestStall: Stall;
}

/**
 * How many acknowledged messages a subscription has never got.
 * @category Continuity
 */
export interface Lost {
  /** How many in all. */
  total: number;
  /** How many before the first message of their publisher that arrived: the subscription began too late. */
  prefix: number;
  /** How many between two messages that arrived. */
  middle: number;
  /** How many after the last message of their publisher that arrived: the subscription is behind, or dead. */
  tail: number;
}

/**
 * The kinds of faults of which a verdict gives examples: names of fields of {@link SubscriptionVerdict}.
 * @category Continuity
 */
export type ExampleKind =
  | ('lost' | 'ghosts' | 'aliens' | 'handledTwice' | 'afterTakeover' | 'reordered' | 'outOfSequence')
  | ('falseGaps' | 'untold' | 'unattended' | 'serverLost');

/**
 * The numbers of one subscription.
 * @category Continuity
 */
export interface SubscriptionVerdict {
  /** Name of the subscription. */
  name: string;
  /** Kind of the subscription. */
  kind: SubscriptionKind;
  /** How many different messages it got. */
  received: number;
  /** The acknowledged messages that it never got. */
  lost: Lost;
  /**
   * How many acknowledged messages it had not got when the run was interrupted, and may still have got. Not lost. 0 when the
   * run came to its end.
   */
  underWay: number;
  /** How many it got that were not acknowledged, because the acknowledgement was lost or the publisher killed. */
  recovered: number;
  /** How many it got that were rejected as `not-sent` or `rejected`, which must not be. */
  ghosts: number;
  /** How many it got that nobody has published: changed ones, or somebody else's. */
  aliens: number;
  /** How many more copies of a message it got, stored under another sequence, as when a publish is sent again. */
  duplicated: number;
  /** How often one life of it handled a sequence again. */
  handledTwice: number;
  /** How often a later life, or another member, handled a sequence again. */
  repeated: number;
  /**
   * How many of the repeated ones must not be: another life had taken over, handled a message that was published after that,
   * and left in good order; then the life before it handled the message again.
   */
  afterTakeover: number;
  /** How often its handler failed on purpose. */
  threw: number;
  /** How many sequences it was told to be gone, by the event `gap`. */
  told: number;
  /** How many acknowledged messages it never got but was told to be gone, where the channel keeps only so many. Not lost. */
  gone: number;
  /** How many sequences it was told to be gone that were there: it got them, or they were too young to be gone. */
  falseGaps: number;
  /** How many sequences the same life was told twice to be gone. */
  toldTwice: number;
  /** How many sequences without a lost message it neither got nor was told of. Counted where messages may be gone. */
  untold: number;
  /**
   * How many acknowledged messages it never got because the channel dropped them while no process had the subscription. The
   * server does not tell the next process where it stood. Not lost.
   */
  unattended: number;
  /** How many acknowledged messages a group never got for which the server itself may be to blame. Not lost. */
  serverLost: number;
  /** How many messages first came after a later one of their publisher. 0 for groups, which have no order. */
  reordered: number;
  /** How many messages came with a sequence below one before. 0 for groups. */
  outOfSequence: number;
  /** How often the channel has begun again. */
  resets: number;
  /** The longest time without a delivery while a published message waited for its delivery. */
  longestStall: Stall;
  /** A few messages for each kind of fault that was found. */
  examples: Partial<Record<ExampleKind, string[]>>;
}

/**
 * What a fault did to publishers and subscriptions.
 * @category Continuity
 */
export interface FaultVerdict {
  /** What happened. */
  name: string;
  /** When it began, by the clock of the run, in ms. */
  at: number;
  /**
   * When its last blow had fallen, by the clock of the run, in ms. A fault that takes its time, as a server that shuts down or
   * several kills one after the other, has done nothing yet when it begins. Other faults: as `at`.
   */
  struck: number;
  /** When it was over, by the clock of the run, in ms. Undefined when it was a moment, or was never mended. */
  until: number | undefined;
  /**
   * Time from `struck` until the next acknowledgement of a message that was published after it, of any publisher, in ms.
   * Where publishes wait for each other, the earlier ones come first. Undefined when there was none.
   */
  toNextAck: number | undefined;
  /** The longest time that a publisher waited for an acknowledgement, from the beginning of the fault to its end, in ms. */
  ackStall: number;
  /** For each subscription the time from `struck` until the next delivery of a message that was published after it, in ms. */
  toNextDelivery: Record<string, number | undefined>;
  /** For each subscription the longest time it waited for a delivery, from the beginning of the fault to its end, in ms. */
  deliveryStall: Record<string, number>;
}

/**
 * The verdict on a run.
 * @category Continuity
 */
export interface Verdict {
  /** Whether every promise was kept, which is when `violations` is empty. */
  clean: boolean;
  /** One sentence for each promise that was broken. */
  violations: string[];
  /** The order that was promised. */
  ordering: Ordering;
  /** The numbers of each publisher. */
  publishers: PublisherVerdict[];
  /** The numbers of each subscription. */
  subscriptions: SubscriptionVerdict[];
  /** What each fault did, in the order in which the faults began. */
  faults: FaultVerdict[];
}

/**
 * What was promised of a run.
 * @category Continuity
 */
export interface JudgeOptions {
  /** The order that the publishers were configured for. Default `'pipelined'`. */
  ordering?: Ordering;
  /** Whether publishes may be rejected, as with timeouts or with a client that gives up. Default false. */
  rejections?: boolean;
  /**
   * Whether the run was ended before everything could arrive. What is missing then counts as under way, and not as lost, unless
   * half a minute ago the subscription had already got something that was published after it. Publishes may be unsettled.
   * Default false.
   */
  interrupted?: boolean;
}

/** One sentence for each promise that was broken. */
export function violationsOf(
  publishers: readonly PublisherVerdict[],
  subscriptions: readonly SubscriptionVerdict[],
  { ordering = 'pipelined', rejections = false, interrupted = false }: JudgeOptions,
): string[] {
  const broken: string[] = [];
  const check = (who: string, count: number, what: string, examples: readonly string[] = []): void => {
    if (count > 0) broken.push(`${who}: ${count} ${what}${examples.length > 0 ? ` (${examples.join(', ')})` : ''}`);
  };
  for (const p of publishers) {
    const who = `publisher '${p.name}'`;
    if (!interrupted) check(who, p.unsettled, 'publishes never settled');
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
