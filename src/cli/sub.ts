/** `resilient-stan sub` and `tail`: write the messages of a channel to stdout. */
import { describe } from '../errors.js';
import type { ResilientStan } from '../resilient-stan.js';
import type { StanMessage } from '../subscribing/message.js';
import type { StartAt } from '../subscribing/subscribe-options.js';
import { plural } from '../testing/report/format.js';
import { checkChannel, checkSubscriptionName } from '../validation.js';
import { defineCommand, type Command, type Options, type Values } from './command.js';
import { CommandError, connectFor } from './connect.js';
import { CONNECTION_OPTIONS } from './connection-options.js';
import { Interruption } from './interruption.js';
import { formatMessage, type Format } from './message-format.js';
import { Output, ReaderGone } from './output.js';
import { say } from './say.js';
import { UsageError } from './usage.js';
import { pointInTime, wholeNumber } from './values.js';

const start = 'Where to start';

const OPTIONS = {
  first: { type: 'boolean', help: 'with the oldest stored message', group: start },
  last: { type: 'string', short: 'n', value: '<n>', help: 'with the newest n stored messages', group: start },
  since: {
    type: 'string',
    value: '<time>',
    help: 'with what was stored since then: 10m (ago), 1h30m, 2d, or a date as 2026-01-31T08:00:00Z',
    group: start,
  },
  sequence: { type: 'string', value: '<n>', help: 'with the message of this number', group: start },
  new: { type: 'boolean', help: 'with the next message that is published', group: start },
  count: { type: 'string', value: '<n>', help: 'end after so many messages (default: never)' },
  'no-follow': { type: 'boolean', help: 'end at what is the newest message now' },
  json: {
    type: 'boolean',
    help: 'one JSON object on each line: channel, sequence, timestamp, redelivered, data (or dataBase64 if it is not UTF-8)',
  },
  lines: {
    type: 'boolean',
    short: 'l',
    help: "the data alone, byte for byte, each with a line end; 'pub --lines' reads it",
  },
  raw: { type: 'boolean', help: 'the data alone, byte for byte, with nothing between' },
  group: {
    type: 'string',
    value: '<name>',
    help: 'be a member of this queue group: its members share the messages',
    sets: 'queueGroup',
  },
  durable: {
    type: 'string',
    value: '<name>',
    help: 'the server keeps the position under this name; needs --client-id or --group',
    sets: 'durableName',
  },
  'client-id': { type: 'string', value: '<id>', help: 'the client ID (default: a new one each time)' },
  ...CONNECTION_OPTIONS,
} as const satisfies Options;

const ABOUT = [
  'Without a format, each message is one line: its number, when it was stored (UTC), and its text, in which characters that ' +
    'cannot be seen are escaped.',
  'A message is acknowledged when it is written. Ctrl-C ends it in good order, and a durable is kept: the next time it goes on ' +
    'where it was. It outlives its servers: what comes after a loss is told on stderr.',
];
const EXIT_CODES = {
  0: 'it ended as it was asked to: by --count, --no-follow or Ctrl-C, or because nobody reads what it writes (| head)',
  1: 'there is no connection, or the subscription is refused',
};

export const subCommand: Command = defineCommand({
  name: 'sub',
  summary: 'write the messages of a channel as they come',
  about: [...ABOUT, 'It starts with the next message that is published, unless one of the options says otherwise.'],
  positionals: [{ name: 'channel', help: 'the channel' }],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan sub orders --first --no-follow', what: 'all that is stored' },
    {
      command: 'resilient-stan sub orders --since 10m --json | jq .data',
      what: 'what came in the last ten minutes, and goes on',
    },
    {
      command: 'resilient-stan sub orders --durable audit --client-id audit-1',
      what: 'goes on where it was the last time',
    },
    { command: 'resilient-stan sub images --last 1 --count 1 --raw > cat.png', what: 'the newest message as a file' },
  ],
  exitCodes: EXIT_CODES,
  run: (values, [channel]) => runSub(values, channel!, 'new'),
});

/** How many messages `tail` shows at first. */
const TAIL = 10;

export const tailCommand: Command = defineCommand({
  name: 'tail',
  summary: `write the last messages of a channel, and those that come: sub with --last ${TAIL}`,
  about: ABOUT,
  positionals: [{ name: 'channel', help: 'the channel' }],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan tail orders', what: `the last ${TAIL} messages, and what comes` },
    { command: 'resilient-stan tail orders -n 100 --no-follow --json', what: 'the last 100 as JSON lines' },
  ],
  exitCodes: EXIT_CODES,
  run: (values, [channel]) => runSub(values, channel!, { last: TAIL }),
});

/** Where to start, as the command line says it. */
export type Start = StartAt | { last: number };

/** @throws UsageError when two are given, or a value is wrong */
export function readStart(values: Values<typeof OPTIONS>, fallback: Start): Start {
  const given = (['first', 'last', 'since', 'sequence', 'new'] as const).filter((name) => values[name] !== undefined);
  if (given.length > 1) throw new UsageError(`--${given[0]} and --${given[1]} each say where to start: leave one out`);
  if (values.first) return 'first';
  if (values.new) return 'new';
  if (values.since !== undefined) return pointInTime('since', values.since);
  const sequence = wholeNumber('sequence', values.sequence, { min: 1 });
  if (sequence !== undefined) return { sequence };
  const last = wholeNumber('last', values.last, { min: 1 });
  return last === undefined ? fallback : { last };
}

/** @throws UsageError when two are given */
export function readFormat(values: Values<typeof OPTIONS>): Format {
  const given = (['json', 'lines', 'raw'] as const).filter((name) => values[name]);
  if (given.length > 1) throw new UsageError(`--${given[0]} and --${given[1]} are two formats: leave one out`);
  return given[0] ?? 'text';
}

async function runSub(values: Values<typeof OPTIONS>, channel: string, fallback: Start): Promise<number> {
  checkChannel(channel);
  const start = readStart(values, fallback);
  const format = readFormat(values);
  const count = wholeNumber('count', values.count, { min: 1 });
  const follow = values['no-follow'] !== true;
  const { group, durable, 'client-id': clientId } = values;
  if (durable !== undefined) checkSubscriptionName(durable, 'durableName');
  if (group !== undefined) checkSubscriptionName(group, 'queueGroup');
  if (durable !== undefined && clientId === undefined && group === undefined) {
    throw new UsageError(
      `--durable needs --client-id: the server keeps a durable for each client ID, and a generated one is another the next time`,
    );
  }
  if (!follow && group !== undefined) {
    throw new UsageError('--no-follow does not go with --group: the newest message may go to another member');
  }
  using interruption = new Interruption();
  const output = new Output();
  const stan = await connectFor(values, interruption, { clientId });
  const reading = new Reading(output, format, count);
  try {
    const newest = await newestFor(stan, channel, start, follow);
    if (!follow && newest === 0) return 0;
    if (!follow) reading.upTo = newest;
    const quiet = typeof start === 'object' && 'last' in start;
    const subscription = await stan.subscribe(channel, (message) => reading.take(message), {
      startAt: startAtOf(start, newest),
      durableName: durable,
      queueGroup: group,
    });
    subscription.on('gap', ({ from, to }) => {
      // Of the last n messages, fewer may be there.
      if (!quiet || reading.messages > 0) say(`messages ${from} to ${to} of '${channel}' are not stored any more`);
      reading.passed(to);
    });
    // Where it starts, there may be nothing: behind the end, or all that a durable has to do is done.
    if (!follow)
      void subscription.caughtUp().then(
        () => reading.end(),
        () => undefined,
      );
    subscription.on('reset', () => say(`channel '${channel}' was deleted and began again`));
    if (process.stderr.isTTY) say(`'${channel}' at ${stan.server}; Ctrl-C ends it`);
    const ended = stan.closed().then((error) => {
      if (error !== undefined) throw new CommandError(describe(error), { cause: error });
    });
    await Promise.race([interruption.came, reading.done, output.gone, ended]);
    if (process.stderr.isTTY) say(plural(reading.messages, 'message'));
    return 0;
  } finally {
    // What is being written is acknowledged, so that it is not written again the next time. What is not is left.
    reading.end();
    await stan.close({ timeout: 1000 });
  }
}

/** The number of the newest message, if the start or the end depends on it. */
async function newestFor(
  stan: ResilientStan,
  channel: string,
  start: Start,
  follow: boolean,
): Promise<number | undefined> {
  if (follow && !(typeof start === 'object' && 'last' in start)) return undefined;
  return await stan.lastSequence(channel);
}

function startAtOf(start: Start, newest: number | undefined): StartAt {
  if (typeof start !== 'object' || !('last' in start)) return start;
  if (start.last === 1) return 'last';
  const first = (newest ?? 0) - start.last + 1;
  return first <= 1 ? 'first' : { sequence: first };
}

/** Takes messages until there are enough. */
class Reading {
  readonly done: Promise<void>;
  /** The number of the message after which it is done. Undefined for none. */
  upTo: number | undefined;
  #messages = 0;
  readonly #output: Output;
  readonly #format: Format;
  readonly #most: number;
  #end!: () => void;
  #over = false;

  constructor(output: Output, format: Format, most = Infinity) {
    this.#output = output;
    this.#format = format;
    this.#most = most;
    this.done = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** How many were written. */
  get messages(): number {
    return this.#messages;
  }

  /** Writes a message. @throws ReaderGone when it is not written, so that it is not acknowledged */
  async take(message: StanMessage): Promise<void> {
    if (this.#over) throw new ReaderGone();
    await this.#output.write(formatMessage(message, this.#format));
    this.#messages += 1;
    if (this.#messages >= this.#most) this.end();
    this.passed(message.sequence);
    // It is acknowledged before the client closes.
    if (this.#over) message.ack();
  }

  /** Notes that there is nothing more up to this number. */
  passed(sequence: number): void {
    if (this.upTo !== undefined && sequence >= this.upTo) this.end();
  }

  /** Takes no more. */
  end(): void {
    this.#over = true;
    this.#end();
  }
}
