/** What users may say of a subscription, and what it comes to: everything checked, defaults filled in, nothing shared. */
import { types } from 'node:util';
import { InvalidArgumentError } from '../errors.js';
import { MAX_INT32, OptionReader, readForeign, type OptionNames } from '../option-reader.js';
import { checkChannel, checkSubscriptionName, show } from '../validation.js';
import type { StanMessage } from './message.js';

/** Where a subscription starts that the server does not know yet. */
export type StartAt =
  /** With what is published from when the server has the subscription. */
  | 'new'
  /** With the newest stored message. */
  | 'last'
  /** With the oldest stored message. */
  | 'first'
  /**
   * With this sequence, or the oldest stored one above it: what is missing below that is a `gap`. If there is none yet, with what is
   * published next, of any number. Of a durable the server does not say whether it is new, so messages in such a `gap` may have been
   * handled before.
   */
  | { sequence: number }
  /**
   * With the first message stored at or after this time, by the server's clock. It may be yet to come; then what is stored before is
   * acknowledged and not handed over. Not for a durable or a queue group: there a time more than a minute ahead is refused
   * with an `InvalidArgumentError`, and a nearer one is `'new'`.
   */
  | { time: Date }
  /** With the first message stored at most this many milliseconds ago. More than 292 years is `'first'`. */
  | { ago: number };

/** Takes a message that was delivered `maxDeliveries` times in vain. It is acknowledged when the promise resolves. */
export type DeadLetterHandler = (message: StanMessage, error: unknown) => void | Promise<void>;

/** Options of `subscribe` and `messages`. */
export interface SubscribeOptions {
  /**
   * Makes it durable: the server keeps its position under this name, per client ID (or per queue group). It needs a
   * `clientId` that is set, unless there is a `queueGroup`.
   */
  durableName?: string | undefined;
  /** Members of one group share the messages of the channel. */
  queueGroup?: string | undefined;
  /** Where to start. Default `'new'`. Without effect on a durable or a queue group that the server knows already. */
  startAt?: StartAt | undefined;
  /** The most messages the server sends ahead of our acknowledgements. Default 1024. */
  maxInFlight?: number | undefined;
  /**
   * Milliseconds after which the server sends an unacknowledged message again; 1000 or more, and rounded up to whole
   * seconds, as the protocol has no others. Default 30000.
   */
  ackWait?: number | undefined;
  /**
   * `false` (default): a message is acknowledged when its handler's promise resolves. `true`: only by `message.ack()`.
   */
  manualAck?: boolean | undefined;
  /** How many handlers may run at a time; 1 (default) handles in order. At most `maxInFlight`. */
  concurrency?: number | undefined;
  /** After this many deliveries in vain a message is a dead letter: handed to `deadLetter`, acknowledged, told. */
  maxDeliveries?: number | undefined;
  /** Takes dead letters; needs `maxDeliveries`. */
  deadLetter?: DeadLetterHandler | undefined;
  /** Closes the subscription, keeping a durable. */
  signal?: AbortSignal | undefined;
}

export interface ResolvedSubscribeOptions {
  readonly durableName?: string;
  readonly queueGroup?: string;
  readonly startAt: StartAt;
  readonly maxInFlight: number;
  /** A multiple of 1000. */
  readonly ackWait: number;
  readonly manualAck: boolean;
  readonly concurrency: number;
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
    'maxDeliveries',
    'deadLetter',
    'signal',
  ],
  hints: {
    // What the same thing is called in node-nats-streaming, stan.go and nats.
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
  },
};

/** What a subscription's options mean depends on this of its client. */
export interface SubscribeContext {
  readonly clientIdGenerated: boolean;
}

/** @throws InvalidArgumentError */
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

/** For `messages()`, which has no handler: a message is acknowledged when the next one is asked for. @throws InvalidArgumentError */
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
  if (resolved.concurrency > 1) refuse('concurrency', 'the loop takes one message at a time; use subscribe()');
  return resolved;
}

function readSubscribeOptions(options: unknown, { clientIdGenerated }: SubscribeContext): ResolvedSubscribeOptions {
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
  if (deadLetter !== undefined && maxDeliveries === undefined) {
    reader.refuse('deadLetter', "would never be called without 'maxDeliveries': set it beside");
  }
  const signal = reader.signal();
  const startAt = resolveStartAt(reader);
  if (durableName !== undefined || queueGroup !== undefined) refuseFuture(reader, startAt);
  return {
    ...(durableName !== undefined && { durableName }),
    ...(queueGroup !== undefined && { queueGroup }),
    startAt,
    maxInFlight,
    ackWait: Math.ceil(ackWait / 1000) * 1000,
    manualAck: reader.boolean('manualAck', false),
    concurrency,
    ...(maxDeliveries !== undefined && { maxDeliveries }),
    ...(deadLetter && { deadLetter }),
    ...(signal && { signal }),
  };
}

/** The clocks of two hosts may be so far apart, ms. */
const CLOCKS_APART = 60_000;

/** What is before the time cannot be dropped where the server may know a position, which goes before any start. */
function refuseFuture(reader: OptionReader, startAt: StartAt): void {
  if (typeof startAt !== 'object' || !('time' in startAt) || startAt.time.getTime() <= Date.now() + CLOCKS_APART)
    return;
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
    // No timer waits for it, so it may be as long as anybody likes.
    return { ago: nested.number('ago', 0, { min: 0, unit: 'milliseconds' }) };
  }
  const time = nested.values.time;
  if (!types.isDate(time)) return nested.refuse('time', `must be a Date, not ${show(time)}: use new Date(…)`);
  // Not its own: a Date may have been given another getTime.
  const at = Date.prototype.getTime.call(time);
  if (Number.isNaN(at)) nested.refuse('time', 'is an invalid Date');
  return { time: new Date(at) };
}
