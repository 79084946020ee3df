/** Checks the range and the options of a read, and copies them. */
import { types } from 'node:util';
import { InvalidArgumentError } from '../errors.js';
import { OptionReader, type OptionNames } from '../option-reader.js';
import { checkChannel, show } from '../validation.js';

/**
 * Which stored messages {@link ResilientStan.read} reads. What is published after the call is never read.
 *
 * @example
 * ```ts
 * stan.read('orders'); // everything
 * stan.read('orders', { from: 100, to: 199 }); // by their numbers
 * stan.read('orders', { last: 10 }); // the newest ten
 * stan.read('orders', { since: new Date(Date.now() - 3_600_000) }); // what was stored in the last hour
 * ```
 * @category Subscribing
 */
export type ReadRange =
  | {
      /**
       * The first message, by its number. Where messages from here on are no longer stored, that is told as `gap`. Default: the
       * oldest stored message. Above the newest message there is nothing to read.
       */
      from?: number | undefined;
      /** The last message, by its number. Default, and at most: the message that is the newest at the call. */
      to?: number | undefined;
    }
  | {
      /** How many messages, up to the newest. Fewer, if fewer are stored. */
      last: number;
    }
  | {
      /** The time from which on messages are wanted, by the clock of the server. In the future there is nothing to read. */
      since: Date;
    };

/**
 * Options of {@link ResilientStan.read} and of other questions to the server.
 * @category Subscribing
 */
export interface QuestionOptions {
  /** When it is aborted, the call rejects with an {@link AbortedError}. Default: none. */
  signal?: AbortSignal | undefined;
}

export type ResolvedRange =
  | { readonly kind: 'numbers'; readonly from: number | undefined; readonly to: number }
  | { readonly kind: 'last'; readonly count: number }
  /** `since` in ms since the epoch. */
  | { readonly kind: 'since'; readonly since: number };

const RANGE_NAMES: OptionNames = {
  known: ['from', 'to', 'last', 'since'],
  hints: {
    start: "did you mean 'from'?",
    end: "did you mean 'to'?",
    sequence: "did you mean 'from'?",
    first: "leave 'from' out to begin with the oldest message",
    time: "did you mean 'since'?",
    ago: "use 'since: new Date(Date.now() - milliseconds)'",
    startAt: "use 'from', 'last' or 'since'",
    signal: 'the options come after the range: read(channel, range, { signal })',
  },
  insteadOf: { function: 'read() takes no handler: iterate over it, or use subscribe()' },
};

/**
 * Checks the arguments of `read()`.
 * @throws InvalidArgumentError
 */
export function resolveRange(channel: unknown, range: unknown): ResolvedRange {
  checkChannel(channel);
  const reader = new OptionReader(range, 'range', RANGE_NAMES);
  const numbers = reader.has('from') || reader.has('to');
  const kinds = [...(numbers ? ['from and to'] : []), ...['last', 'since'].filter((name) => reader.has(name))];
  if (kinds.length > 1) {
    throw new InvalidArgumentError(
      'range',
      `the range must be { from, to }, { last } or { since }; it has ${kinds.join(' and ')}`,
    );
  }
  if (reader.has('last')) {
    return {
      kind: 'last',
      count: reader.number('last', 1, {
        min: 1,
        unit: 'messages',
        because: 'without messages there is nothing to read',
      }),
    };
  }
  if (reader.has('since')) {
    const { since } = reader.values;
    if (!types.isDate(since)) reader.refuse('since', `must be a Date, not ${show(since)}: use new Date(…)`);
    // A Date may have a getTime of its own, so the built-in one is called.
    const at = Date.prototype.getTime.call(since);
    if (Number.isNaN(at)) reader.refuse('since', 'is an invalid Date');
    return { kind: 'since', since: at };
  }
  const rule = { min: 1, because: 'the first message of a channel has sequence 1' };
  const from = reader.number('from', undefined, rule);
  const to = reader.number('to', Infinity, rule);
  if (to < (from ?? 1)) reader.refuse('to', `must not be below 'from' (${from}); it is ${to}`);
  return { kind: 'numbers', from, to };
}

const OPTION_NAMES: OptionNames = { known: ['signal'] };

/** @throws InvalidArgumentError */
export function resolveQuestionOptions(options: unknown): { signal: AbortSignal | undefined } {
  return { signal: new OptionReader(options, 'options', OPTION_NAMES).signal() };
}
