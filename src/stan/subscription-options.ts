import type { StartAt, SubscribeOptions } from '../subscribing/subscribe-options.js';
import { StartPosition } from './start-position.js';

const MAX_IN_FLIGHT = 16_384;
const ACK_WAIT = 30_000;
/** The server takes whole seconds, and no fewer than one. */
const LEAST_ACK_WAIT = 1000;
const NANOSECONDS = 1_000_000;

/** How a subscription is to be made. Got from `Stan.subscriptionOptions()`; its fields may be set as well. */
export class SubscriptionOptions {
  /** The server keeps the position under it, for this client ID or for the queue group. */
  durableName: string | undefined;
  /** So many messages the server sends ahead of their acknowledgements. Default 16384. */
  maxInFlight: number = MAX_IN_FLIGHT;
  /** What is not acknowledged in so many milliseconds comes again. Default 30000; rounded up to whole seconds. */
  ackWait: number = ACK_WAIT;
  /** Default: what is published from now on. */
  startPosition: StartPosition | undefined;
  startSequence: number | undefined;
  /** How long ago to start, in nanoseconds. */
  startTime: number | undefined;
  /** Only `Message.ack()` acknowledges. Default: a message is acknowledged when its listeners have returned. */
  manualAcks: boolean | undefined;
  /**
   * A message is acknowledged when the promises that its listeners returned have resolved; one that rejects is an error of
   * the listener. Not in node-nats-streaming.
   */
  ackOnResolve: boolean | undefined;

  setMaxInFlight(n: number): this {
    this.maxInFlight = n;
    return this;
  }

  setAckWait(millis: number): this {
    this.ackWait = millis;
    return this;
  }

  setStartAt(startPosition: StartPosition): this {
    this.startPosition = startPosition;
    return this;
  }

  setStartAtSequence(sequence: number): this {
    this.startPosition = StartPosition.SEQUENCE_START;
    this.startSequence = sequence;
    return this;
  }

  setStartTime(date: Date): this {
    this.startPosition = StartPosition.TIME_DELTA_START;
    this.startTime = (Date.now() - date.valueOf()) * NANOSECONDS;
    return this;
  }

  setStartAtTimeDelta(millis: number): this {
    this.startPosition = StartPosition.TIME_DELTA_START;
    this.startTime = millis * NANOSECONDS;
    return this;
  }

  setStartWithLastReceived(): this {
    this.startPosition = StartPosition.LAST_RECEIVED;
    return this;
  }

  setDeliverAllAvailable(): this {
    this.startPosition = StartPosition.FIRST;
    return this;
  }

  setManualAckMode(tf: boolean): this {
    this.manualAcks = tf;
    return this;
  }

  setDurableName(durableName: string): this {
    this.durableName = durableName;
    return this;
  }

  /** See {@link ackOnResolve}. As many handlers run at a time as before, up to `maxInFlight`. Not in node-nats-streaming. */
  setAckOnResolve(tf: boolean): this {
    this.ackOnResolve = tf;
    return this;
  }
}

/** What any object with these fields comes to. Pure. */
export function subscribeOptionsOf(
  options: Partial<SubscriptionOptions>,
  queueGroup: string | undefined,
): SubscribeOptions {
  const { durableName, maxInFlight = MAX_IN_FLIGHT, ackWait = ACK_WAIT, manualAcks, ackOnResolve } = options;
  return {
    ...(isNamed(durableName) && { durableName }),
    ...(isNamed(queueGroup) && { queueGroup }),
    startAt: startAtOf(options),
    maxInFlight,
    ackWait: Math.max(LEAST_ACK_WAIT, ackWait),
    ...(manualAcks ? { manualAck: true } : ackOnResolve && { concurrency: maxInFlight }),
  };
}

/** An empty string is no name. */
function isNamed(name: string | null | undefined): name is string {
  return name !== undefined && name !== null && name !== '';
}

function startAtOf({ startPosition, startSequence = 0, startTime = 0 }: Partial<SubscriptionOptions>): StartAt {
  switch (startPosition ?? StartPosition.NEW_ONLY) {
    case StartPosition.LAST_RECEIVED:
      return 'last';
    case StartPosition.FIRST:
      return 'first';
    case StartPosition.SEQUENCE_START:
      // What is before the first message begins with it.
      return startSequence < 1 ? 'first' : { sequence: startSequence };
    case StartPosition.TIME_DELTA_START:
      return { ago: Math.max(0, startTime / NANOSECONDS) };
    case StartPosition.NEW_ONLY:
      return 'new';
    default:
      throw new Error('stan: invalid start position');
  }
}
