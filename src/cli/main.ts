#!/usr/bin/env node
/** The `resilient-stan` command. Results go to stdout, everything else to stderr. Exit code 2 is a wrong command line. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { describe } from '../errors.js';
import { suggest } from '../suggest.js';
import { runCluster } from './cluster.js';
import { runServer } from './server.js';
import { UsageError, type Command } from './usage.js';
import { HELP as VERIFY_HELP } from './verify/arguments.js';
import { runVerify } from './verify/verify.js';
import { version } from '../version.js';

const COMMANDS: Readonly<Record<string, Command>> = {
  cluster: runCluster,
  verify: runVerify,
  server: runServer,
};

const HELP = `resilient-stan ${version}

Usage: resilient-stan <command> [options]

  cluster           boot a NATS Streaming cluster, print its URLs, keep it until Ctrl-C
    --nodes <n>       how many servers (default 3)
    --mode <mode>     clustered, fault-tolerant or single (default clustered)
    --cluster-id <id> cluster ID (default test-cluster)
    --dir <path>      keep stores and configuration there (default: a temporary directory, removed at the end)
${VERIFY_HELP}
  server path       print the path of the nats-streaming-server that would be used, getting it if need be
  server install    the same, with its progress
  server doctor     show every place it is looked for, and how to mend what is wrong

  --help, --version
`;

/** Runs a command. Resolves to the exit code. */
async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === '--version' || name === '-v') {
    console.log(version);
    return 0;
  }
  if (name === undefined || name === 'help' || argv.includes('--help') || argv.includes('-h')) {
    (name === undefined ? console.error : console.log)(HELP);
    return name === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const near = suggest(name, Object.keys(COMMANDS));
    throw new UsageError(`there is no command '${name}'${near === undefined ? '' : `: did you mean '${near}'?`}`);
  }
  return await command((options) => parse(rest, options));
}

function parse<const Options extends NonNullable<ParseArgsConfig['options']>>(args: string[], options: Options) {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    // Node's own words are used, without its advice on arguments that start with a dash.
    const [words] = describe(error).split('. ');
    const unknown = /^Unknown option '(-+)([^']+)'/.exec(words ?? '');
    const near = unknown ? suggest(unknown[2]!, Object.keys(options)) : undefined;
    throw new UsageError(near === undefined ? words : `${words}: did you mean '--${near}'?`);
  }
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error(`resilient-stan: ${describe(error)}`);
    if (error instanceof UsageError) console.error("Try 'resilient-stan --help'.");
    process.exitCode = error instanceof UsageError ? 2 : 1;
  },
);
