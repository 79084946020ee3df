/** `resilient-stan pub`: publishes what stands on the command line or comes through stdin. */
import { describe } from '../errors.js';
import type { ResilientStan } from '../resilient-stan.js';
import { plural } from '../testing/report/format.js';
import { checkChannel } from '../validation.js';
import { defineCommand, type Options, type Values } from './command.js';
import { CommandError, connectFor } from './connect.js';
import { CONNECTION_OPTIONS } from './connection-options.js';
import { Interruption } from './interruption.js';
import { linesOf } from './lines.js';
import { say } from './say.js';
import { UsageError } from './usage.js';
import { lengthOfTime } from './values.js';

const OPTIONS = {
  lines: { type: 'boolean', short: 'l', help: 'each line of stdin is a message (default: all of it is one message)' },
  timeout: {
    type: 'string',
    value: '<time>',
    help: 'give up on a message that is not acknowledged after so long, as 500ms, 10s or 2m (default 30s)',
  },
  ...CONNECTION_OPTIONS,
} as const satisfies Options;

export const pubCommand = defineCommand({
  name: 'pub',
  summary: 'publish a message, or one for each line of stdin',
  about: [
    'It ends when the cluster has acknowledged all of it, and says so on stderr. Without data, or with -, the data comes from ' +
      'stdin: byte for byte as one message, or with --lines as a message for each line, without the line end, in this order. ' +
      "An empty stdin is refused, because the command before it has probably failed: '' as data publishes an empty message.",
    'At the first message that is not acknowledged it stops with exit code 1, and says whether that one can still arrive.',
  ],
  positionals: [
    { name: 'channel', help: 'the channel' },
    { name: 'data|-', help: 'the message as text; - or nothing: stdin', optional: true },
  ],
  options: OPTIONS,
  examples: [
    { command: `resilient-stan pub orders '{ "id": 1 }'`, what: 'one message' },
    { command: 'resilient-stan pub images - < cat.png', what: 'a file as one message' },
    { command: 'tail -f app.log | resilient-stan pub logs --lines', what: 'line by line, for as long as lines come' },
    { command: 'resilient-stan pub temperatures -- -5', what: 'data that starts with a dash' },
    { command: "resilient-stan pub ticks ''", what: 'an empty message' },
  ],
  exitCodes: {
    0: 'everything is acknowledged',
    1: 'a message is not acknowledged, stdin was empty, or there is no connection',
    130: 'it was interrupted; what had been read is acknowledged',
  },
  run: runPub,
});

async function runPub(values: Values<typeof OPTIONS>, [channel, data]: readonly string[]): Promise<number> {
  checkChannel(channel);
  const fromStdin = data === undefined || data === '-';
  if (values.lines === true && !fromStdin) {
    throw new UsageError(`--lines is for stdin, and the data stands on the command line: leave one of the two out`);
  }
  const timeout = lengthOfTime('timeout', values.timeout ?? '30s');
  using interruption = new Interruption();
  const { signal } = interruption;
  const stan = await connectFor(values, interruption, {});
  try {
    if (fromStdin && process.stdin.isTTY) {
      say(`type ${values.lines === true ? 'messages, one on each line' : 'the message'}; Ctrl-D ends it`);
    }
    const messages = !fromStdin ? [data] : values.lines === true ? linesOf(stdin(signal)) : whole(stdin(signal));
    const sent = await publishAll(stan, channel, messages, timeout, signal);
    say(`${plural(sent.messages, 'message')} acknowledged on '${channel}' (${plural(sent.bytes, 'byte')})`);
    return interruption.exitCode ?? 0;
  } finally {
    process.stdin.destroy();
    await stan.close({ timeout: 0 });
  }
}

interface Sent {
  messages: number;
  bytes: number;
}

/**
 * Publishes one after the other, so that their order holds through any failover, and nothing follows one that failed.
 * @throws CommandError at the first that is not acknowledged
 */
async function publishAll(
  stan: ResilientStan,
  channel: string,
  messages: Iterable<string> | AsyncIterable<Buffer>,
  timeout: number,
  signal: AbortSignal,
): Promise<Sent> {
  const sent: Sent = { messages: 0, bytes: 0 };
  try {
    for await (const data of messages) {
      try {
        await stan.publish(channel, data, { timeout });
      } catch (error) {
        const before = sent.messages;
        const which = before === 0 ? '' : `message ${before + 1}: `;
        const rest = before === 0 ? '' : `\n${plural(before, 'message')} before it: acknowledged.`;
        throw new CommandError(`${which}${describe(error)}${rest}`, { cause: error });
      }
      sent.messages += 1;
      sent.bytes += Buffer.byteLength(data);
    }
  } catch (error) {
    // What had been read up to the interruption is acknowledged.
    if (!signal.aborted || error instanceof CommandError) throw error;
  }
  return sent;
}

/** The bytes of stdin, up to its end. At the signal it throws, so that a half of a message is not taken for a whole one. */
async function* stdin(signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  const end = (): void => void process.stdin.destroy();
  signal.addEventListener('abort', end, { once: true });
  try {
    for await (const chunk of process.stdin) yield chunk as Uint8Array;
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', end);
  }
}

async function* whole(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void, undefined> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  const data = Buffer.concat(parts);
  if (data.length === 0) {
    throw new CommandError(
      "stdin was empty, and nothing is published: the command before it has probably failed. '' as data publishes an empty message.",
    );
  }
  yield data;
}
