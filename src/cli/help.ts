/** Makes the help of the commands. Pure. */
import { version } from '../version.js';
import type { Described, Option, Options } from './command.js';
import { definitions, indented, wrap } from './text.js';

const EXIT_CODES: Readonly<Record<number, string>> = {
  0: 'it was done',
  1: 'it failed',
  2: 'the command line or a setting is wrong',
};

/** The list of all commands. */
export function renderOverview(commands: readonly Described[], width: number): string {
  return [
    `resilient-stan ${version}`,
    '',
    'Usage: resilient-stan <command> [options]',
    '',
    ...definitions(
      commands.map((command) => [
        [command.name, ...(command.aliases ?? [])].join(', ') + argumentsOf(command),
        command.summary,
      ]),
      width,
    ),
    '',
    ...definitions(
      [
        ['help <command>', "a command's arguments, options and examples; the same as <command> --help"],
        ['--version', 'the version'],
      ],
      width,
    ),
    '',
    'Examples:',
    '  resilient-stan cluster --nodes 1 --port 4222',
    '  resilient-stan pub orders \'{ "id": 1 }\'',
    '  resilient-stan tail orders --json',
    '  resilient-stan server path',
    '',
    ...wrap(
      'Results go to stdout, everything else to stderr. Exit codes: ' +
        `${Object.entries(EXIT_CODES)
          .map(([code, what]) => `${code}: ${what}`)
          .join('; ')}.`,
      width,
    ),
  ].join('\n');
}

/** All about one command. */
export function renderHelp(command: Described, width: number): string {
  const { name, aliases = [], summary, about = [], positionals = [], options, examples = [], exitCodes } = command;
  const usage = `resilient-stan ${name}${argumentsOf(command)}${Object.keys(options).length > 0 ? ' [options]' : ''}`;
  const parts = [
    `Usage: ${usage}`,
    wrap(
      `${capital(summary)}.${aliases.length === 0 ? '' : ` Also as: ${aliases.join(', ')}.`}`,
      width,
      0,
      'whole',
    ).join('\n'),
    ...about.map((paragraph) => wrap(paragraph, width, 0, 'whole').join('\n')),
  ];
  if (positionals.length > 0) {
    parts.push(
      section(
        'Arguments',
        definitions(
          positionals.map((each) => [`<${each.name}>`, each.help]),
          width,
        ),
      ),
    );
  }
  for (const [title, group] of groupsOf(options)) {
    parts.push(
      section(
        title,
        definitions(
          group.map(([option, spec]) => [term(option, spec), helpOf(spec)]),
          width,
        ),
      ),
    );
  }
  if (examples.length > 0) {
    parts.push(
      section(
        'Examples',
        examples.flatMap(({ command: example, what }) => [`  ${example}`, ...indented(what, width, 6)]),
      ),
    );
  }
  const codes = Object.entries({ ...EXIT_CODES, ...exitCodes });
  parts.push(section('Exit codes', definitions(codes, width)));
  return parts.join('\n\n');
}

function section(title: string, lines: readonly string[]): string {
  return [`${title}:`, ...lines].join('\n');
}

/** The arguments as the usage shows them, with a blank before. */
export function argumentsOf({ positionals = [] }: Described): string {
  return positionals
    .map(({ name, optional = false, choices }) => {
      const what = choices === undefined ? `<${name}>` : choices.join('|');
      return optional ? ` [${name}]` : ` ${what}`;
    })
    .join('');
}

/** Options by their headings, in the order in which these first come. */
export function groupsOf(options: Options): [title: string, group: [name: string, option: Option][]][] {
  const groups = new Map<string, [string, Option][]>();
  for (const [name, option] of Object.entries(options)) {
    const title = option.group ?? 'Options';
    groups.set(title, [...(groups.get(title) ?? []), [name, option]]);
  }
  return [...groups];
}

/** An option as the help shows it, as `-s, --servers <urls>`. */
export function term(name: string, { short, type, value = '<value>' }: Option): string {
  return `${short === undefined ? '' : `-${short}, `}--${name}${type === 'string' ? ` ${value}` : ''}`;
}

/** What the help says of an option. */
export function helpOf({ help, env = [] }: Option): string {
  return env.length === 0 ? help : `${help} [${env[0]}]`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
