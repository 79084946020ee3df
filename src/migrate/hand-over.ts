/**
 * Makes a JetStream consumer that delivers exactly what a STAN durable would have got: the messages that are pending, and then all
 * above the last one that was sent.
 *
 * JetStream has no call for that. So the consumer starts at the first pending message, is sent everything up to the last one that
 * was sent, acknowledges what is not pending, and gives the pending back. While it is made it gets headers only, which makes that
 * quick, its description says that it is not ready, and it refuses the requests of everybody else, because a reader may have waited
 * for it to be there. If this is cut short, the next run deletes it and begins again.
 */
import type { ConsumerConfig, ConsumerInfo } from '@nats-io/jetstream';
import { makeClock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { apiCode, CONSUMER_NOT_FOUND } from './api-errors.js';
import { noteText, type ConsumerNote } from './consumer-note.js';
import { MigrationTargetError } from './errors.js';
import { NOT_READY_EXPIRES, takePrivately } from './private-pull.js';
import type { Target } from './target.js';

/** How many messages are asked for at a time. */
const BATCH = 1000;
/** How long a batch may take, in ms. */
const BATCH_TIMEOUT = 10_000;
/** How long the server may take to work off acknowledgements, in ms. */
const ACK_TIMEOUT = 10_000;
/** The pause between two looks at that, in ms. */
const LOOK = 50;
/** For how long the pending messages of a consumer that is being made are not sent again by themselves, in ns: an hour. */
const MAKING_ACK_WAIT = 3600 * 1e9;

/** What a consumer is made of. */
export interface HandOver {
  readonly stream: string;
  readonly consumer: string;
  /** The position of the durable, for the note. */
  readonly lastSent: number;
  /** The sequences in STAN that are pending. */
  readonly pending: ReadonlySet<number>;
  /** The first sequence of the stream that it may have to deliver. */
  readonly start: number;
  /** The last sequence of the stream that was sent to the durable. Below `start` when nothing is pending. */
  readonly end: number;
  /** In seconds. */
  readonly ackWait: number;
  readonly maxInFlight: number;
  readonly isGroup: boolean;
}

/** A consumer as it is now. Undefined when there is none of this name. */
export async function findConsumer(
  target: Target,
  stream: string,
  consumer: string,
): Promise<ConsumerInfo | undefined> {
  try {
    return await target.manager.consumers.info(stream, consumer);
  } catch (error) {
    if (apiCode(error) === CONSUMER_NOT_FOUND) return undefined;
    throw error;
  }
}

/** Whether somebody has used a consumer since it was made. */
export function wasUsed(info: ConsumerInfo, note: ConsumerNote & { state: 'made' }): boolean {
  return info.delivered.consumer_seq !== note.deliveries || info.num_ack_pending !== note.kept;
}

/**
 * Whether a consumer has less behind it than when it was made: a server that has died, or that has lost its disk, has taken a part of its
 * state. It would deliver once more what is done.
 */
export function hasLostState(info: ConsumerInfo, note: ConsumerNote & { state: 'made' }): boolean {
  const { consumer_seq } = info.delivered;
  return consumer_seq < note.deliveries || (consumer_seq === note.deliveries && info.num_ack_pending > note.kept);
}

/** @param most how many messages it is to deliver while it is made */
async function add(
  { manager, client }: Target,
  stream: string,
  consumer: string,
  start: number,
  most: number,
): Promise<void> {
  await manager.consumers.add(stream, {
    durable_name: consumer,
    description: noteText({ state: 'making' }),
    ack_policy: client.jetstream.AckPolicy.Explicit,
    deliver_policy: client.jetstream.DeliverPolicy.StartSequence,
    opt_start_seq: start,
    ack_wait: MAKING_ACK_WAIT,
    max_ack_pending: most + 2 * BATCH,
    max_expires: NOT_READY_EXPIRES,
    headers_only: true,
  });
}

/** The consumer is not what it has to be, because something came between: it can be made anew. */
class DisturbedError extends MigrationTargetError {}

/** How often a consumer is made anew. Its leader may change while it is made, and what is on its way then is lost. */
const ATTEMPTS = 3;

/**
 * Makes the consumer.
 * @param stands whether the durable is still where it was, and so whether the consumer is the right one
 * @returns whether it is made. Not so when the durable has moved
 * @throws MigrationTargetError when its state is not what it has to be
 */
export async function makeConsumer(
  target: Target,
  handOver: HandOver,
  stands: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      const deliveries = await begin(target, handOver, signal);
      if (!(await stands())) return false;
      await finish(target, handOver, deliveries);
      return true;
    } catch (error) {
      if (!(error instanceof DisturbedError) || attempt === ATTEMPTS) throw error;
    }
  }
}

/**
 * Makes the consumer, and leaves it not ready: {@link finish} makes it ready.
 * @returns how many messages it was sent
 * @throws DisturbedError when its state is not what it has to be
 */
async function begin(target: Target, handOver: HandOver, signal: AbortSignal): Promise<number> {
  const { stream, consumer, start, end } = handOver;
  const existing = await findConsumer(target, stream, consumer);
  if (existing !== undefined) await target.manager.consumers.delete(stream, consumer);
  await add(target, stream, consumer, start, Math.max(0, end - start + 1));
  if (end < start) return 0;
  const { deliveries, kept } = await deliverUpTo(target, handOver, signal);
  await settled(target, handOver, kept.length);
  for (const giveBack of kept) giveBack();
  await target.connection.flush();
  return deliveries;
}

/**
 * Takes the messages up to the end, and acknowledges those that are not pending.
 * @returns what gives each of the others back, ascending
 */
async function deliverUpTo(
  target: Target,
  { stream, consumer, pending, start, end, lastSent }: HandOver,
  signal: AbortSignal,
): Promise<{ deliveries: number; kept: (() => void)[] }> {
  const kept: (() => void)[] = [];
  const clock = makeClock();
  let heard = clock.now();
  let deliveries = 0;
  for (let next = start; next <= end;) {
    signal.throwIfAborted();
    const before = next;
    const batch = await takePrivately(target, stream, consumer, Math.min(BATCH, end - next + 1), BATCH_TIMEOUT);
    for (const { sequence, inStan, ack, giveBack } of batch) {
      if (inStan <= lastSent && !pending.has(inStan)) ack();
      else kept.push(giveBack);
      next = sequence + 1;
    }
    deliveries += batch.length;
    if (next > before) heard = clock.now();
    // Nobody is there while the consumer has no leader.
    else if (clock.now() - heard < BATCH_TIMEOUT) await pause(clock, LOOK);
    else {
      throw new DisturbedError(
        `the consumer '${consumer}' of stream '${stream}' got nothing for ${BATCH_TIMEOUT / 1000} s, and has to get the ` +
          `messages ${next} to ${end}: look at the stream, and run it again`,
      );
    }
  }
  await target.connection.flush();
  return { deliveries, kept };
}

/**
 * Waits until the server has worked off all acknowledgements. Only messages that are not pending were acknowledged, so an equal
 * number shows that exactly the pending ones are left.
 */
async function settled(target: Target, { stream, consumer }: HandOver, kept: number): Promise<void> {
  const clock = makeClock();
  const deadline = clock.now() + ACK_TIMEOUT;
  for (;;) {
    const info = await target.manager.consumers.info(stream, consumer);
    if (info.num_ack_pending === kept) return;
    if (clock.now() > deadline) {
      throw new DisturbedError(
        `the consumer '${consumer}' of stream '${stream}' has ${info.num_ack_pending} messages pending, and not ${kept} as it ` +
          'should: an acknowledgement was lost, or somebody else uses the consumer. Run it again',
      );
    }
    await pause(clock, LOOK);
  }
}

/**
 * Makes the consumer ready: from now on it delivers whole messages to everybody, and its description says so.
 * @param deliveries how many messages it was sent while it was made
 * @throws DisturbedError when somebody else has got something of it meanwhile
 */
async function finish(target: Target, handOver: HandOver, deliveries: number): Promise<ConsumerInfo> {
  const { stream, consumer, lastSent, pending, ackWait } = handOver;
  const { delivered, num_ack_pending: kept } = await target.manager.consumers.info(stream, consumer);
  if (delivered.consumer_seq !== deliveries) {
    throw new DisturbedError(
      `the consumer '${consumer}' of stream '${stream}' has delivered ${delivered.consumer_seq} messages while it was made, and ` +
        `${deliveries} have come: somebody else has got the others, without their bodies, or its leader has changed. Stop such a ` +
        'reader until this is done, and run it again',
    );
  }
  return await target.manager.consumers.update(stream, consumer, {
    description: noteText({ state: 'made', lastSent, pending: pending.size, kept, deliveries }),
    ack_wait: Math.max(1, ackWait) * 1e9,
    max_ack_pending: maxAckPending(handOver),
    max_expires: 0,
    headers_only: false,
  } satisfies Partial<ConsumerConfig>);
}

/** JetStream's own default for the messages in flight of a consumer. */
const MAX_ACK_PENDING = 1000;

/**
 * One at a time stays so, because it keeps the order. Any other limit is of each member in STAN and of all together in JetStream:
 * each takes only what it has room for, so the limit at the server is a high one.
 */
export function maxAckPending({ maxInFlight, isGroup }: Pick<HandOver, 'maxInFlight' | 'isGroup'>): number {
  return maxInFlight === 1 && !isGroup ? 1 : Math.max(maxInFlight, MAX_ACK_PENDING);
}
