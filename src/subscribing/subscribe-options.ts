/** Checks the options of a subscription, fills in the defaults and copies them. */
import { types } from 'node:util';
import { InvalidArgumentError } from '../errors.js';
import { MAX_INT32 } from '../int32.js';
import { OptionReader, readForeign, type OptionNames } from '../option-reader.js';
import {
  resolveRetry,
  RETRY_OPTION_NAMES,
  retryOptionNames,
  type ResolvedRetryOptions,
  type RetryOptions,
} from '../retry-options.js';
import { checkChannel, checkSubscriptionName, show } from '../validation.js';
import type { StanMessage } from './message.js';

/**
 * Where a subscription starts that the server does not know yet:
 *
 * - `'new'`: with the first message that is published after the server has the subscription;
 * - `'last'`: with the newest stored message;
 * - `'first'`: with the oldest stored message;
 * - `{ sequence }`, `{ time }`, `{ ago }`: with a message that is named by its number or its age.
 *
 * @example
 * ```ts
 * await stan.subscribe('orders', handler, { startAt: { ago: 60_000 } }); // what was stored in the last minute, and all after it
 * ```
 * @category Subscribing
 */
export type StartAt =
  | 'new'
  | 'last'
  | 'first'
  | {
      /**
       * Starts with the message of this number, or with the oldest stored one above it; the missing ones between are told as
       * a `gap`. If there is none yet, it starts with the next one that is published, whatever its number. In the `gap` of a
       * durable there may be messages that were handled before, because the server does not say whether a durable is new.
       */
      sequence: number;
    }
  | {
      /**
       * Starts with the first message that was stored at this time or later, by the server's clock. The time may be in the
       * future: messages that are stored earlier are then acknowledged and not handed over. For a durable or a queue group a
       * time more than a minute ahead is refused with an `InvalidArgumentError`, and a nearer one counts as `'new'`.
       */
      time: Date;
    }
  | {
      /** Starts with the first message that was stored at most this long ago, in ms. More than 292 years count as `'first'`. */
      ago: number;
    };

/**
 * Takes a message that was delivered `maxDeliveries` times in vain, or for which the handler failed for the last time with `retry`. The
 * message is acknowledged when the promise resolves. If it rejects, the message stays unacknowledged and comes again.
 * @param error the last error of the handler
 * @category Subscribing
 */
export type DeadLetterHandler = (message: StanMessage, error: unknown) => void | Promise<void>;

/**
 * Options of {@link ResilientStan.subscribe} and {@link ResilientStan.messages}. Times are milliseconds.
 * @category Subscribing
 */
export interface SubscribeOptions {
  /**
   * Makes the subscription durable: the server keeps its position under this name, for each client ID or each queue group. It
   * needs a `clientId` that is set, unless there is a `queueGroup`. Default: not durable.
   */
  durableName?: string | undefined;
  /** Name of a queue group. The members of a group share the messages of the channel. Default: none. */
  queueGroup?: string | undefined;
  /** Where to start. It has no effect on a durable or a queue group that the server knows already. Default `'new'`. */
  startAt?: StartAt | undefined;
  /** How many messages the server may send before the first of them is acknowledged. Default 1024. */
  maxInFlight?: number | undefined;
  /**
   * Time after which the server sends an unacknowledged message again, in ms. It is 1000 or more, and rounded up to whole
   * seconds, because the protocol has no other unit. Default 30000.
   */
  ackWait?: number | undefined;
  /**
   * `false`: a message is acknowledged when its handler's promise resolves. `true`: only by {@link StanMessage.ack}.
   * Default `false`.
   */
  manualAck?: boolean | undefined;
  /** How many handlers may run at a time, at most `maxInFlight`. With 1 messages are handled in order. Default 1. */
  concurrency?: number | undefined;
  /**
   * Hands a message whose handler failed to its handler again, by this client and after a delay, without the server. The message
   * keeps its place among the handlers that run: with a `concurrency` of 1 all messages behind it wait, so the order survives a
   * failure (`1 2 2 2 3`). After the last try it is given to `deadLetter`; without one, the server sends it again after
   * `ackWait`, and the tries begin anew.
   *
   * An empty object has the defaults `{ retries: 5, factor: 2, minTimeout: 200, maxTimeout: 5000, randomize: true,
   * maxRetryTime: Infinity }`, which take at most 6.2 s. What the server sends again meanwhile is left alone, so tries may go on
   * for longer than `ackWait`, and through a loss. In a queue group they end where `ackWait` is over, because another member may
   * have the message then; only if all messages of the group come to this client, they go on. They end with the subscription.
   *
   * To give up a message at once, call `message.ack()` before the handler throws. With `manualAck`, a message is tried again if
   * its handler throws or rejects, and not because it is only left unacknowledged. Default: no tries of its own.
   *
   * @example
   * ```ts
   * await stan.subscribe('orders', handler, { retry: { retries: 3 }, deadLetter: (message, error) => park(message, error) });
   * ```
   */
  retry?: RetryOptions | undefined;
  /**
   * After how many deliveries in vain a message is a dead letter, when its handler fails again. It is then given to `deadLetter`,
   * acknowledged, and told as `dead_letter`. What the server has sent in vain counts as well, as to a process that died, or over a
   * connection that was lost. Each try of `retry` is a delivery. Default: never, or with `retry` and `deadLetter` after the last try.
   */
  maxDeliveries?: number | undefined;
  /** Takes dead letters. It needs `maxDeliveries` or `retry`. Default: they are only told. */
  deadLetter?: DeadLetterHandler | undefined;
  /** When it is aborted, the subscription is closed and a durable is kept. Default: none. */
  signal?: AbortSignal | undefined;
}

export interface ResolvedSubscribeOptions {
  readonly durableName?: string;
  readonly queueGroup?: string;
  readonly startAt: StartAt;
  readonly maxInFlight: number;
  /** In ms, a multiple of 1000. */
  readonly ackWait: number;
  readonly manualAck: boolean;
  readonly concurrency: number;
  readonly retry?: ResolvedRetryOptions;
  readonly maxDeliveries?: number;
  readonly deadLetter?: DeadLetterHandler;
  readonly signal?: AbortSignal;
}

const SUBSCRIBE_NAMES: OptionNames = {
  known: [
    'durableName',
    'queueGroup',
    'startAt',
    'maxInFlight',
    'ackWait',
    'manualAck',
    'concurrency',
    'retry',
    'maxDeliveries',
    'deadLetter',
    'signal',
  ],
  hints: {
    // The names of the same options in node-nats-streaming, stan.go and nats.
    durable: "did you mean 'durableName'?",
    qGroup: "did you mean 'queueGroup'?",
    group: "did you mean 'queueGroup'?",
    queue: "did you mean 'queueGroup'?",
    manualAcks: "did you mean 'manualAck'?",
    manualAckMode: "did you mean 'manualAck'?",
    startPosition: "use 'startAt': 'new', 'last', 'first', { sequence }, { time } or { ago }",
    startSequence: "use 'startAt: { sequence }'",
    startTime: "use 'startAt: { time }'",
    startTimeDelta: "use 'startAt: { ago }'",
    deliverAllAvailable: `use "startAt: 'first'"`,
    deliverAll: `use "startAt: 'first'"`,
    ...Object.fromEntries(RETRY_OPTION_NAMES.map((name) => [name, `did you mean 'retry.${name}'?`])),
  },
};

/** The tries of a handler take at most 6.2 s by default, well within the default of `ackWait`. */
export const RETRY: ResolvedRetryOptions = {
  retries: 5,
  factor: 2,
  minTimeout: 200,
  maxTimeout: 5000,
  randomize: true,
  maxRetryTime: Infinity,
};

const RETRY_NAMES = retryOptionNames({
  signal: "'signal' is an option of the subscription itself",
  onFailedAttempt: "listen to the event 'handler_error' instead",
  shouldRetry: 'call message.ack() in the handler before it throws, and the message is not tried again',
  unref: 'no delay keeps the process alive',
});

/** What the check of the options needs of the client. */
export interface SubscribeContext {
  readonly clientIdGenerated: boolean;
  /** The present, in ms since the epoch. */
  readonly now: number;
}

/**
 * Checks the arguments of `subscribe()`.
 * @throws InvalidArgumentError
 */
export function resolveSubscribeOptions(
  channel: unknown,
  handler: unknown,
  options: unknown,
  context: SubscribeContext,
): ResolvedSubscribeOptions {
  checkChannel(channel);
  if (typeof handler !== 'function') {
    const hint =
      typeof handler === 'string'
        ? `: the group is an option, subscribe(channel, handler, { queueGroup: ${show(handler)} })`
        : handler === undefined || typeof options === 'function' || typeof handler === 'object'
          ? ': subscribe(channel, handler, options)'
          : '';
    throw new InvalidArgumentError(
      'handler',
      `the handler must be a function (message) => …, not ${show(handler)}${hint}`,
    );
  }
  return readSubscribeOptions(options, context);
}

/**
 * Checks the arguments of `messages()`, which has no handler, because a message is acknowledged when the next one is requested.
 * @throws InvalidArgumentError
 */
export function resolveMessagesOptions(
  channel: unknown,
  options: unknown,
  context: SubscribeContext,
): ResolvedSubscribeOptions {
  checkChannel(channel);
  if (typeof options === 'function') {
    throw new InvalidArgumentError(
      'options',
      'messages(channel, options) takes no handler: iterate over it, or use subscribe()',
    );
  }
  const resolved = readSubscribeOptions(options, context);
  const refuse = (name: string, reason: string) => {
    throw new InvalidArgumentError(name, `option '${name}' has no meaning for messages(): ${reason}`);
  };
  if (resolved.manualAck) refuse('manualAck', 'a message is acknowledged when the next one is asked for');
  if (resolved.retry !== undefined) refuse('retry', 'an error in the body ends the loop; use subscribe()');
  if (resolved.concurrency > 1) refuse('concurrency', 'the loop takes one message at a time; use subscribe()');
  return resolved;
}

function readSubscribeOptions(
  options: unknown,
  { clientIdGenerated, now }: SubscribeContext,
): ResolvedSubscribeOptions {
  const reader = new OptionReader(options, 'options', SUBSCRIBE_NAMES);
  const { durableName, queueGroup } = reader.values;
  if (durableName !== undefined) checkSubscriptionName(durableName, 'durableName');
  if (queueGroup !== undefined) checkSubscriptionName(queueGroup, 'queueGroup');
  if (durableName !== undefined && queueGroup === undefined && clientIdGenerated) {
    reader.refuse(
      'durableName',
      'needs a client ID of your own: the server keeps a durable per client ID, and a generated one is another at the ' +
        "next start, so the durable would never be found again. Set 'clientId' in the options of connect",
    );
  }

  const maxInFlight = reader.number('maxInFlight', 1024, { min: 1, max: MAX_INT32, unit: 'messages' });
  const concurrency = reader.number('concurrency', 1, { min: 1, unit: 'handlers' });
  if (concurrency > maxInFlight) {
    reader.refuse(
      'concurrency',
      `must not be more than 'maxInFlight' (${maxInFlight}), because the server sends no more than that at a time; it is ${concurrency}`,
    );
  }
  const ackWait = reader.milliseconds('ackWait', 30_000, { min: 1000, because: 'the protocol has whole seconds' });
  const maxDeliveries = reader.number('maxDeliveries', undefined, { min: 1, unit: 'deliveries' });
  const deadLetter = reader.callback<DeadLetterHandler>('deadLetter', '(message, error) => Promise<void>');
  const retry = resolveHandlerRetry(reader);
  if (deadLetter !== undefined && maxDeliveries === undefined) {
    if (retry === undefined) {
      reader.refuse('deadLetter', "would never be called without 'maxDeliveries' or 'retry': set one of them beside");
    } else if (retry.retries === Infinity && retry.maxRetryTime === Infinity) {
      reader.refuse(
        'deadLetter',
        "would never be called, because the tries never end: set 'retry.retries', 'retry.maxRetryTime' or 'maxDeliveries'",
      );
    }
  }
  const signal = reader.signal();
  const startAt = resolveStartAt(reader);
  if (durableName !== undefined || queueGroup !== undefined) refuseFuture(reader, startAt, now);
  return {
    ...(durableName !== undefined && { durableName }),
    ...(queueGroup !== undefined && { queueGroup }),
    startAt,
    maxInFlight,
    ackWait: Math.ceil(ackWait / 1000) * 1000,
    manualAck: reader.boolean('manualAck', false),
    concurrency,
    ...(retry && { retry }),
    ...(maxDeliveries !== undefined && { maxDeliveries }),
    ...(deadLetter && { deadLetter }),
    ...(signal && { signal }),
  };
}

function resolveHandlerRetry(reader: OptionReader): ResolvedRetryOptions | undefined {
  const given = reader.values.retry;
  if (given === undefined) return undefined;
  if (typeof given === 'boolean') {
    const instead = given ? 'use {} for the defaults' : 'leave it out for no tries';
    reader.refuse('retry', `must be an object, not ${given}: ${instead}`);
  }
  if (typeof given === 'number') reader.refuse('retry', `must be an object: use { retries: ${given} }`);
  return resolveRetry(reader.nested('retry', RETRY_NAMES), RETRY);
}

/** Greatest difference between the clocks of two hosts, in ms. */
const CLOCKS_APART = 60_000;

/**
 * Refuses a time in the future for a durable or a queue group. The server may know a position for them, which counts more than
 * the start, so older messages could not be dropped.
 */
function refuseFuture(reader: OptionReader, startAt: StartAt, now: number): void {
  if (typeof startAt !== 'object' || !('time' in startAt) || startAt.time.getTime() <= now + CLOCKS_APART) return;
  reader.refuse(
    'startAt',
    `must not be a time to come for a durable or a queue group, and ${startAt.time.toISOString()} is one: the server would ` +
      "deliver what is stored before it. Use 'new', or subscribe at that time",
  );
}

const START_POSITIONS = ['new', 'last', 'first'] as const;
const START_NAMES: OptionNames = {
  known: ['sequence', 'time', 'ago'],
  hints: { delta: "did you mean 'startAt.ago'?", date: "did you mean 'startAt.time'?" },
};

function resolveStartAt(reader: OptionReader): StartAt {
  const given = reader.values.startAt;
  if (types.isDate(given)) reader.refuse('startAt', 'must not be a bare Date: use { time: date }');
  if (typeof given === 'number')
    reader.refuse('startAt', `must not be a bare number: use { sequence: ${given} } or { ago: milliseconds }`);
  if (typeof given !== 'object' || given === null || readForeign('startAt', 'startAt', () => Array.isArray(given))) {
    const named =
      typeof given === 'string' && given !== '' ? reader.oneOf('startAt', 'new' as const, START_POSITIONS) : undefined;
    if (given === undefined || named !== undefined) return named ?? 'new';
    reader.refuse('startAt', `must be 'new', 'last', 'first', { sequence }, { time } or { ago }, not ${show(given)}`);
  }

  const nested = reader.nested('startAt', START_NAMES);
  const names = START_NAMES.known.filter((name) => nested.has(name));
  if (names.length !== 1) {
    reader.refuse(
      'startAt',
      `must have exactly one of sequence, time and ago; it has ${names.length === 0 ? 'none' : names.join(' and ')}`,
    );
  }
  if (nested.has('sequence')) {
    return {
      sequence: nested.number('sequence', 1, { min: 1, because: 'the first message of a channel has sequence 1' }),
    };
  }
  if (nested.has('ago')) {
    // No timer waits for this age, so it has no upper limit.
    return { ago: nested.number('ago', 0, { min: 0, unit: 'milliseconds' }) };
  }
  const time = nested.values.time;
  if (!types.isDate(time)) return nested.refuse('time', `must be a Date, not ${show(time)}: use new Date(…)`);
  // A Date may have a getTime of its own, so the built-in one is called.
  const at = Date.prototype.getTime.call(time);
  if (Number.isNaN(at)) nested.refuse('time', 'is an invalid Date');
  return { time: new Date(at) };
}
