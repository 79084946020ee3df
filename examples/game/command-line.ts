/** Reads the command line of the game. Pure. */
import { parseArgs } from 'node:util';

export const USAGE = `Usage: npm run example [-- [options] [servers]]

  servers            URLs of your own servers, with commas between them: nats://host:4222,nats://host:4223
                     (default: boots a cluster of three on this machine, and stops it at the end)
  --monkey           kills random nodes by itself, and starts them again
  --seconds <n>      ends by itself after so many seconds (default: at Ctrl-C)
  --cluster-id <id>  cluster ID of your servers (default: test-cluster)
  --help             this text
`;

/** The command line is wrong. The message says what is wrong with it. */
export class UsageError extends Error {}

export interface Game {
  /** URLs of the user's own servers. Empty when a cluster is booted. */
  servers: string[];
  clusterId: string;
  monkey: boolean;
  /** How long the game lasts, in seconds. Undefined: until Ctrl-C. */
  seconds: number | undefined;
  help: boolean;
}

const OPTIONS = {
  monkey: { type: 'boolean', default: false },
  seconds: { type: 'string' },
  'cluster-id': { type: 'string', default: 'test-cluster' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;
const NAMES = Object.keys(OPTIONS);

/** @throws UsageError */
export function readCommandLine(args: readonly string[], env: NodeJS.ProcessEnv = {}): Game {
  // `npm run example --monkey`: without the `--`, npm keeps the option for itself, and the game would start without it.
  const swallowed = NAMES.find((name) => env[`npm_config_${name.replaceAll('-', '_')}`] !== undefined);
  if (swallowed !== undefined && env['npm_lifecycle_event'] !== undefined && !args.includes(`--${swallowed}`)) {
    throw new UsageError(`npm took --${swallowed} for an option of its own; write: npm run example -- --${swallowed}`);
  }

  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    options: OPTIONS,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  // It is checked here and not by parseArgs, so that the answer is better.
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    if (!NAMES.includes(token.name)) throw new UsageError(unknown(token.rawName, token.name));
    const { type } = OPTIONS[token.name as keyof typeof OPTIONS];
    if (type === 'boolean' && token.value !== undefined) {
      throw new UsageError(`${token.rawName} takes no value, and got '${token.value}'`);
    }
    if (type === 'string' && (token.value === undefined || token.value === '')) {
      throw new UsageError(`${token.rawName} needs a value, as in ${token.rawName} ${EXAMPLES[token.name]}`);
    }
  }

  const servers = positionals.flatMap((list) => list.split(',')).filter((url) => url !== '');
  const game: Game = {
    servers,
    clusterId: values['cluster-id'] as string,
    monkey: values.monkey === true,
    seconds: values.seconds === undefined ? undefined : readSeconds(values.seconds as string),
    help: values.help === true,
  };
  if (game.monkey && servers.length > 0) {
    throw new UsageError('--monkey kills the servers it has booted, not yours: leave the URLs out, or --monkey');
  }
  return game;
}

const EXAMPLES: Readonly<Record<string, string>> = { seconds: '30', 'cluster-id': 'test-cluster' };
/** The longest time of a timer, in seconds. */
const MAX_SECONDS = Math.floor((2 ** 31 - 1) / 1000);

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && seconds <= MAX_SECONDS) return seconds;
  throw new UsageError(`--seconds needs a number above 0 and up to ${MAX_SECONDS}, not '${text}'`);
}

function unknown(rawName: string, name: string): string {
  const near = NAMES.map((known) => ({ known, slips: slips(name.toLowerCase(), known) }))
    .filter(({ slips, known }) => slips <= Math.max(2, known.length / 3))
    .sort((a, b) => a.slips - b.slips)[0]?.known;
  return `there is no option ${rawName}: ${near === undefined ? `there are --${NAMES.join(', --')}` : `did you mean --${near}?`}`;
}

/** How many characters have to be inserted, removed or replaced to get from one word to the other. */
function slips(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [index, char] of [...from].entries()) {
    const above = row;
    row = [index + 1];
    for (let column = 1; column <= to.length; column++) {
      const replace = above[column - 1]! + (char === to[column - 1] ? 0 : 1);
      row.push(Math.min(replace, above[column]! + 1, row[column - 1]! + 1));
    }
  }
  return row[to.length]!;
}
