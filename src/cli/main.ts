#!/usr/bin/env node
/** The `resilient-stan` command. Results go to stdout, everything else to stderr. Exit code 2 is a wrong command line. */
import { describe } from '../errors.js';
import { either } from '../option-reader.js';
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
    if (rest.length === 0) return help(undefined);
    const { command, args } = commandOf(rest);
    if (command === undefined) return steps(rest[0]!);
    if (args.length > 0) throw new UsageError(`'help' takes one command, not '${args[0]}' as well`);
    return help(command);
  }
  if (asksForHelp([name])) return help(undefined);
  const { command, args } = commandOf(argv);
  if (command === undefined) {
    if (asksForHelp(args)) return steps(name);
    const names = stepsOf(name).map((step) => step.name.slice(name.length + 1));
    const given = args[0] === undefined || args[0].startsWith('-') ? '' : `, not '${args[0]}'`;
    throw new UsageError(`'${name}' needs one of ${either(names)} behind it${given}`);
  }
  return asksForHelp(args) ? help(command) : await command.run(args);
}

/** What comes after `--` is no option. */
function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  const options = end < 0 ? args : args.slice(0, end);
  return options.includes('--help') || options.includes('-h');
}

function help(command: Command | undefined): number {
  const width = columnsOf(process.stdout);
  console.log(command === undefined ? renderOverview(COMMANDS, width) : renderHelp(command, width));
  return 0;
}

/** Lists the commands whose names begin with a word. */
function steps(word: string): number {
  console.log(renderOverview(stepsOf(word), columnsOf(process.stdout)));
  return 0;
}

const named = (name: string): Command | undefined =>
  COMMANDS.find((each) => each.name === name || each.aliases?.includes(name));

const stepsOf = (word: string): Command[] => COMMANDS.filter(({ name }) => name.startsWith(`${word} `));

/**
 * The command at the beginning of a command line, and what follows it. Its name may have two words, as `migrate copy`; undefined when
 * only the first of them is there.
 * @throws UsageError when there is none of this name
 */
function commandOf([word, ...rest]: readonly string[]): { command: Command | undefined; args: string[] } {
  const long = rest[0] === undefined ? undefined : named(`${word} ${rest[0]}`);
  if (long !== undefined) return { command: long, args: rest.slice(1) };
  const command = named(word!);
  if (command !== undefined || stepsOf(word!).length > 0) return { command, args: rest };
  const names = [...new Set(COMMANDS.flatMap((each) => [each.name.split(' ')[0]!, ...(each.aliases ?? [])]))];
  const near = suggest(word!, names);
  throw new UsageError(
    `there is no command '${word}'${near === undefined ? `: there are ${names.join(', ')}` : `: did you mean '${near}'?`}`,
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
    const words = [argv.slice(0, 2).join(' '), argv[0] ?? ''];
    const command = words.map(named).find((each) => each !== undefined);
    say(`resilient-stan: ${inOptions(describe(error), command?.options ?? {})}`);
    if (error instanceof UsageError) {
      const known = words.find((word) => named(word) !== undefined || stepsOf(word).length > 0);
      say(`Try 'resilient-stan ${known === undefined ? '' : `${known} `}--help'.`);
    }
    process.exitCode = error instanceof UsageError ? 2 : 1;
  },
);
