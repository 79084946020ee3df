import { REAL_SOURCES } from '../clock/sources.js';
import type { StartAt, SubscribeOptions } from '../subscribing/subscribe-options.js';
import { numberOf } from './options.js';
import { StartPosition } from './start-position.js';

const MAX_IN_FLIGHT = 16_384;
const ACK_WAIT = 30_000;
/** The server takes whole seconds, and no fewer than one. */
const LEAST_ACK_WAIT = 1000;
const NANOSECONDS = 1_000_000;
/** What ns that were once ms may be off by, in ms. */
const EXACT = 0.001;

/**
 * The options of a subscription, made by `Stan.subscriptionOptions()`. Its fields may be set as well as its methods called.
 * @category Subscribing
 */
export class SubscriptionOptions {
  /** The name under which the server keeps the position, for this client ID or for the queue group. Default: none. */
  durableName: string | undefined;
  /** The number of messages that the server sends ahead of their acknowledgements. Default 16384. */
  maxInFlight: number = MAX_IN_FLIGHT;
  /** Time after which an unacknowledged message comes again, in ms. It is rounded up to whole seconds. Default 30000. */
  ackWait: number = ACK_WAIT;
  /** Where the subscription starts. Default `StartPosition.NEW_ONLY`. */
  startPosition: StartPosition | undefined;
  /** The number of the first message, for `StartPosition.SEQUENCE_START`. */
  startSequence: number | undefined;
  /** How long ago to start, in nanoseconds, for `StartPosition.TIME_DELTA_START`. */
  startTime: number | undefined;
  /** True: only `Message.ack()` acknowledges. Default: a message is acknowledged when its listeners have returned. */
  manualAcks: boolean | undefined;
  /**
   * True: a message is acknowledged when the promises that its listeners returned have resolved. A rejection counts as an error
   * of the listener. node-nats-streaming does not have this option.
   */
  ackOnResolve: boolean | undefined;

  /** Sets `maxInFlight`. */
  setMaxInFlight(n: number): this {
    this.maxInFlight = n;
    return this;
  }

  /** Sets `ackWait`, in ms. */
  setAckWait(millis: number): this {
    this.ackWait = millis;
    return this;
  }

  /** Sets `startPosition`. */
  setStartAt(startPosition: StartPosition): this {
    this.startPosition = startPosition;
    return this;
  }

  /** Starts with the message that has this number. */
  setStartAtSequence(sequence: number): this {
    this.startPosition = StartPosition.SEQUENCE_START;
    this.startSequence = sequence;
    return this;
  }

  /** Starts with the messages that were stored at this time or later. */
  setStartTime(date: Date): this {
    this.startPosition = StartPosition.TIME_DELTA_START;
    this.startTime = (REAL_SOURCES.wall() - date.valueOf()) * NANOSECONDS;
    return this;
  }

  /** Starts with the messages of this time before now, in ms. */
  setStartAtTimeDelta(millis: number): this {
    this.startPosition = StartPosition.TIME_DELTA_START;
    this.startTime = millis * NANOSECONDS;
    return this;
  }

  /** Starts with the last message of the channel. */
  setStartWithLastReceived(): this {
    this.startPosition = StartPosition.LAST_RECEIVED;
    return this;
  }

  /** Starts with the first message that the channel still has. */
  setDeliverAllAvailable(): this {
    this.startPosition = StartPosition.FIRST;
    return this;
  }

  /** Sets `manualAcks`. */
  setManualAckMode(tf: boolean): this {
    this.manualAcks = tf;
    return this;
  }

  /** Sets `durableName`. */
  setDurableName(durableName: string): this {
    this.durableName = durableName;
    return this;
  }

  /** Sets `ackOnResolve`. Up to `maxInFlight` handlers run at a time. node-nats-streaming does not have this method. */
  setAckOnResolve(tf: boolean): this {
    this.ackOnResolve = tf;
    return this;
  }
}

/** Turns any object with these fields into options of `subscribe`. Pure. */
export function subscribeOptionsOf(
  options: Partial<SubscriptionOptions>,
  queueGroup: string | undefined,
): SubscribeOptions {
  const { durableName, manualAcks, ackOnResolve } = options;
  const maxInFlight = numberOf(options.maxInFlight, MAX_IN_FLIGHT);
  return {
    ...(isNamed(durableName) && { durableName }),
    ...(isNamed(queueGroup) && { queueGroup }),
    startAt: startAtOf(options),
    maxInFlight,
    ackWait: Math.max(LEAST_ACK_WAIT, numberOf(options.ackWait, ACK_WAIT)),
    ...(manualAcks ? { manualAck: true } : ackOnResolve && { concurrency: maxInFlight }),
  };
}

/** An empty string is no name. */
function isNamed(name: string | null | undefined): name is string {
  return name !== undefined && name !== null && name !== '';
}

function startAtOf(options: Partial<SubscriptionOptions>): StartAt {
  const startSequence = numberOf(options.startSequence, 0);
  switch (options.startPosition ?? StartPosition.NEW_ONLY) {
    case StartPosition.LAST_RECEIVED:
      return 'last';
    case StartPosition.FIRST:
      return 'first';
    case StartPosition.SEQUENCE_START:
      // A number below 1 means the first message.
      return startSequence < 1 ? 'first' : { sequence: startSequence };
    case StartPosition.TIME_DELTA_START:
      // It is counted in ns there, and a float of so many digits is not exact.
      return { ago: Math.max(0, Math.ceil(numberOf(options.startTime, 0) / NANOSECONDS - EXACT)) };
    case StartPosition.NEW_ONLY:
      return 'new';
    default:
      throw new Error('stan: invalid start position');
  }
}
