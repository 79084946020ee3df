/** A command as a table. Its command line is read by it, and its help is made of it. */
import { parseArgs } from 'node:util';
import { describe, InvalidArgumentError } from '../errors.js';
import { either } from '../option-reader.js';
import { suggest } from '../suggest.js';
import { show } from '../validation.js';
import { UsageError } from './usage.js';

/** One option of a command. */
export interface Option {
  readonly type: 'string' | 'boolean';
  /** One letter, as `s` for `-s`. */
  readonly short?: string;
  /** What stands for its value in the help, as `<n>`. */
  readonly value?: string;
  /** What it is for, without a full stop at the end. */
  readonly help: string;
  /** The heading in the help. Default: Options. */
  readonly group?: string;
  /** Whether its value is a list with commas. Then it may be given several times, and all of them count. */
  readonly list?: boolean;
  /** Whether an empty value means something. */
  readonly empty?: boolean;
  /** The values that are allowed. Default: the command checks them itself. */
  readonly choices?: readonly string[];
  /** The environment variables that set it, the strongest first. */
  readonly env?: readonly string[];
  /** Its place in a file of settings, as `tls.ca`. */
  readonly file?: string;
  /** The option of the library that it sets, as `durableName`. Default: its own name in camelCase. */
  readonly sets?: string;
}

export type Options = Readonly<Record<string, Option>>;

/** The values of options. One that was not given is undefined. */
export type Values<O extends Options> = {
  readonly [Name in keyof O]?: O[Name]['type'] extends 'boolean' ? boolean : string;
};

export interface Positional {
  readonly name: string;
  readonly help: string;
  readonly optional?: boolean;
  readonly choices?: readonly string[];
}

export interface Example {
  readonly command: string;
  readonly what: string;
}

/** What the help shows of a command. */
export interface Described {
  readonly name: string;
  /** Other names of the same command. */
  readonly aliases?: readonly string[];
  /** One line for the list of commands. */
  readonly summary: string;
  /** More about it, in paragraphs. */
  readonly about?: readonly string[];
  readonly positionals?: readonly Positional[];
  readonly options: Options;
  readonly examples?: readonly Example[];
  /** What the exit codes mean, where it is more than the usual. */
  readonly exitCodes?: Readonly<Record<number, string>>;
}

export interface Definition<O extends Options> extends Described {
  readonly options: O;
  /** Resolves to the exit code. */
  run(values: Values<O>, positionals: readonly string[]): Promise<number>;
}

export interface Command extends Described {
  /**
   * Reads the command line and runs the command.
   * @returns the exit code
   * @throws UsageError when the command line is wrong
   */
  run(args: readonly string[]): Promise<number>;
}

export function defineCommand<const O extends Options>(definition: Definition<O>): Command {
  return {
    ...definition,
    async run(args) {
      const { values, positionals } = parse(definition, args);
      try {
        return await definition.run(values, positionals);
      } catch (error) {
        if (!(error instanceof InvalidArgumentError)) throw error;
        throw new UsageError(inOptions(error.message, definition.options, error.argument), { cause: error });
      }
    },
  };
}

/**
 * Reads a command line.
 * @throws UsageError that names the wrong part and what is allowed
 */
export function parse<O extends Options>(
  { name, options, positionals = [] }: Described & { readonly options: O },
  args: readonly string[],
): { values: Values<O>; positionals: string[] } {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    const { tokens, ...rest } = parseArgs({
      args: [...args],
      options,
      allowPositionals: true,
      strict: true,
      tokens: true,
    });
    const given = tokens.flatMap((token) =>
      token.kind === 'option' ? [[token.name, token.value ?? true] as const] : [],
    );
    parsed = { values: valuesOf(given, options), positionals: rest.positionals };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(explain(describe(error), name, options, positionals));
  }
  for (const [option, value] of Object.entries(parsed.values)) {
    const { choices } = options[option]!;
    if (typeof value === 'string' && choices !== undefined) checkChoice(`--${option} must be`, value, choices);
  }
  checkPositionals(name, positionals, parsed.positionals);
  return parsed as { values: Values<O>; positionals: string[] };
}

/** The value of each option. Of an option that was given several times, none may be left out silently. @throws UsageError */
function valuesOf(
  given: readonly (readonly [option: string, value: string | boolean])[],
  options: Options,
): Record<string, string | boolean> {
  const values = new Map<string, string | boolean>();
  for (const [option, value] of given) {
    const { list = false, empty = false, value: what = '<value>' } = options[option]!;
    if (value === '' && !empty) throw new UsageError(`--${option} is empty: give it a value, or leave it out`);
    const before = values.get(option);
    if (typeof before === 'string' && !list) {
      throw new UsageError(`--${option} is given more than once, and has one value: write --${option} ${what} once`);
    }
    values.set(option, typeof before === 'string' ? `${before},${String(value)}` : value);
  }
  return Object.fromEntries(values);
}

/** Node's own words, without its advice on arguments that start with a dash, and with a better one. */
function explain(words: string, name: string, options: Options, positionals: readonly Positional[]): string {
  const [sentence = words] = words.split('. ')[0]!.split('\n');
  const unknown = /^Unknown option '(-+)([^']*)'/.exec(sentence);
  if (unknown) {
    const near = suggest(unknown[2]!, Object.keys(options));
    if (near !== undefined)
      return `there is no option '${unknown[1]}${unknown[2]}' of '${name}': did you mean '--${near}'?`;
    const dash = positionals.length === 0 ? '' : `; what starts with a dash and is no option comes after '--'`;
    return `there is no option '${unknown[1]}${unknown[2]}' of '${name}'${dash}`;
  }
  const missing = /^Option '(?:-\w, )?(--[\w-]+)(?: <value>)?' argument (missing|is ambiguous)/.exec(sentence);
  if (missing) {
    const option = missing[1]!;
    const what = options[option.slice(2)]?.value ?? '<value>';
    return missing[2] === 'missing'
      ? `${option} needs a value: ${option} ${what}`
      : `${option} needs a value; one that starts with a dash is written ${option}=${what}`;
  }
  const superfluous = /^Option '(?:-\w, )?(--[\w-]+)' does not take an argument/.exec(sentence);
  if (superfluous) return `${superfluous[1]} takes no value`;
  return sentence;
}

function checkPositionals(name: string, wanted: readonly Positional[], given: readonly string[]): void {
  const more = given[wanted.length];
  if (more !== undefined) {
    if (wanted.length === 0) throw new UsageError(`'${name}' takes options only, not '${more}'`);
    const taken = wanted.map((each) => `<${each.name}>`).join(' ');
    throw new UsageError(
      `'${name}' takes ${taken} and nothing more, not ${show(more)}: what has spaces goes into quotes`,
    );
  }
  for (const [index, { name: what, optional = false, choices }] of wanted.entries()) {
    const value = given[index];
    if (value === undefined) {
      if (optional) continue;
      const which = choices === undefined ? `a <${what}>` : `one of ${either(choices)}`;
      throw new UsageError(`'${name}' needs ${which}`);
    }
    if (choices !== undefined) checkChoice(`'${name}' needs one of`, value, choices);
  }
}

function checkChoice(what: string, value: string, choices: readonly string[]): void {
  if (choices.includes(value)) return;
  const near = suggest(value, choices);
  throw new UsageError(
    `${what} ${either(choices)}, not ${show(value)}${near === undefined ? '' : `: did you mean '${near}'?`}`,
  );
}

/** The option that sets an option of the library. Undefined when there is none. */
export function optionFor(options: Options, path: string): string | undefined {
  const found = Object.entries(options).find(([name, { sets = camelCase(name) }]) => sets === path);
  return found && `--${found[0]}`;
}

/**
 * A text of the library in the words of the command line: `option 'tls.ca'` becomes `--tls-ca`. What the command has no option for
 * stays as it is.
 * @param options the options of the command, or what stands for an option of the library
 * @param argument the option that an error is about; its name counts without the word "option" as well
 */
export function inOptions(
  text: string,
  options: Options | ((path: string) => string | undefined),
  argument?: string,
): string {
  const nameOf =
    typeof options === 'function' ? options : (path: string): string | undefined => optionFor(options, path);
  return text.replace(/((?:the )?option )?'([a-z]\w*(?:\.\w+)?)'/gi, (whole, word: string | undefined, path: string) =>
    word !== undefined || argument !== undefined ? (nameOf(path) ?? whole) : whole,
  );
}

function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
