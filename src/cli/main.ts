#!/usr/bin/env node
/** The `resilient-stan` command. Results go to stdout, everything else to stderr. Exit code 2 is a wrong command line. */
import { describe } from '../errors.js';
import { suggest } from '../suggest.js';
import { version } from '../version.js';
import { COMMANDS } from './commands.js';
import { inOptions, type Command } from './command.js';
import { renderHelp, renderOverview } from './help.js';
import { Interrupted } from './interruption.js';
import { isReaderGone } from './output.js';
import { say } from './say.js';
import { columnsOf } from './text.js';
import { UsageError } from './usage.js';

/** Runs a command. Resolves to the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === '--version' || name === '-v') {
    console.log(version);
    return 0;
  }
  if (name === undefined) {
    console.error(renderOverview(COMMANDS, columnsOf(process.stderr)));
    return 2;
  }
  if (name === 'help') {
    if (rest.length > 1) throw new UsageError(`'help' takes one command, not '${rest[1]}' as well`);
    help(rest[0] === undefined ? undefined : commandOf(rest[0]));
    return 0;
  }
  if (asksForHelp([name])) {
    help(undefined);
    return 0;
  }
  const command = commandOf(name);
  if (asksForHelp(rest)) {
    help(command);
    return 0;
  }
  return await command.run(rest);
}

/** What comes after `--` is no option. */
function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  const options = end < 0 ? args : args.slice(0, end);
  return options.includes('--help') || options.includes('-h');
}

function help(command: Command | undefined): void {
  const width = columnsOf(process.stdout);
  console.log(command === undefined ? renderOverview(COMMANDS, width) : renderHelp(command, width));
}

/** @throws UsageError when there is none of this name */
function commandOf(name: string): Command {
  const command = COMMANDS.find((each) => each.name === name || each.aliases?.includes(name));
  if (command !== undefined) return command;
  const names = COMMANDS.flatMap((each) => [each.name, ...(each.aliases ?? [])]);
  const near = suggest(name, names);
  throw new UsageError(
    `there is no command '${name}'${near === undefined ? `: there are ${names.join(', ')}` : `: did you mean '${near}'?`}`,
  );
}

/** Whether results could not be written. */
let unwritten = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // That nobody reads any more, as after `| head`, is no failure.
  if (unwritten || isReaderGone(error)) return;
  unwritten = true;
  say(`resilient-stan: the results could not be written to stdout: ${error.message}`);
  if (process.exitCode === undefined || process.exitCode === 0) process.exitCode = 1;
});
process.stderr.on('error', () => undefined);

const argv = process.argv.slice(2);
main(argv).then(
  (code) => {
    process.exitCode = code === 0 && unwritten ? 1 : code;
  },
  (error: unknown) => {
    if (error instanceof Interrupted) {
      process.exitCode = error.exitCode;
      return;
    }
    const command = COMMANDS.find(({ name, aliases = [] }) => [name, ...aliases].includes(argv[0] ?? ''));
    say(`resilient-stan: ${inOptions(describe(error), command?.options ?? {})}`);
    if (error instanceof UsageError) {
      say(`Try 'resilient-stan ${command === undefined ? '' : `${argv[0]} `}--help'.`);
    }
    process.exitCode = error instanceof UsageError ? 2 : 1;
  },
);
