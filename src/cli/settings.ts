/**
 * Values of options that may come from the command line, from the environment or from a file, and where each has come from.
 *
 * A stronger source wins for each option: the command line, then variables of this command (`STAN_…`), then those that the
 * `nats` command has as well (`NATS_…`), then the file.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { describe, InvalidArgumentError } from '../errors.js';
import { OptionReader } from '../option-reader.js';
import { kindOf } from '../validation.js';
import type { Option, Options } from './command.js';
import { UsageError } from './usage.js';

/** Name of the file that is looked for. */
export const SETTINGS_FILE = '.resilient-stan.json';

export const CONFIG_OPTION = {
  config: {
    type: 'string',
    value: '<file>',
    help: `settings as JSON (default: ${SETTINGS_FILE} here, else in the home directory)`,
    env: ['STAN_CONFIG'],
    group: 'Connection',
  },
} as const satisfies Options;

/** One value, and where it has come from. */
export interface Setting {
  readonly value: string | boolean;
  /** What a person calls its source, as `--token`, `STAN_TOKEN` or `'token' in /home/me/.resilient-stan.json`. */
  readonly from: string;
  /** The strength of its source. 0 is the command line, which is the strongest. */
  readonly rank: number;
}

/** The surroundings of the command. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Undefined when there is none. */
  readonly home: string | undefined;
}

/** All values that were given. */
export interface Settings {
  /** The strongest value of an option. Undefined when nobody gave one. */
  get(option: string): Setting | undefined;
  /** What a person calls an option in a source, also where it has no value. */
  nameAt(option: string, rank: number): string;
  /** Path of the file, if there is one. */
  readonly file: string | undefined;
}

/** The ranks of the sources. Those of the environment follow the place of the variable in the list of the option. */
const COMMAND_LINE = 0;
const ENVIRONMENT = 1;
const FILE = 3;
const RANKS = [COMMAND_LINE, ENVIRONMENT, ENVIRONMENT + 1, FILE] as const;

/**
 * @param values the values of the command line, that of `config` as well
 * @param table what may be set
 * @throws UsageError when the file cannot be used
 */
export async function readSettings(
  values: Readonly<Record<string, string | boolean | undefined>>,
  table: Options,
  { env, cwd, home }: Surroundings,
): Promise<Settings> {
  const named = (values['config'] as string | undefined) ?? (env['STAN_CONFIG'] || undefined);
  const found =
    named === undefined
      ? await firstOf([join(cwd, SETTINGS_FILE), ...(home === undefined ? [] : [join(home, SETTINGS_FILE)])])
      : await open(resolve(cwd, named), values['config'] === undefined ? 'STAN_CONFIG' : '--config');
  const fromFile = found === undefined ? undefined : readValues(found.text, found.path);
  const valueAt = (name: string, option: Option, rank: number): string | boolean | undefined => {
    if (rank === COMMAND_LINE) return values[name];
    if (rank === FILE) return option.file === undefined ? undefined : fromFile?.get(option.file);
    const variable = option.env?.[rank - ENVIRONMENT];
    // An empty variable counts as none, because scripts and container files have no other way to leave one out.
    const value = variable === undefined ? undefined : env[variable] || undefined;
    return value === undefined ? undefined : valueOf(option, variable!, value);
  };
  const nameAt = (name: string, rank: number): string => {
    const option = table[name];
    if (rank === FILE) return `'${option?.file}' in ${found?.path}`;
    return (rank === COMMAND_LINE ? undefined : option?.env?.[rank - ENVIRONMENT]) ?? `--${name}`;
  };
  return {
    file: found?.path,
    nameAt,
    get(name) {
      const option = table[name];
      if (option === undefined) return undefined;
      for (const rank of RANKS) {
        const value = valueAt(name, option, rank);
        if (value !== undefined) return { value, from: nameAt(name, rank), rank };
      }
      return undefined;
    },
  };
}

/** The value of a variable. A switch is on or off there. */
function valueOf({ type }: Option, variable: string, value: string): string | boolean {
  if (type === 'string') return value;
  if (value === '1' || value === 'true') return true;
  if (value === '0' || value === 'false') return false;
  throw new UsageError(`${variable} must be 1 or 0, true or false, not '${value}'`);
}

interface Found {
  readonly path: string;
  readonly text: string;
}

async function firstOf(paths: readonly string[]): Promise<Found | undefined> {
  for (const path of paths) {
    try {
      return { path, text: await readFile(path, 'utf8') };
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) continue;
      throw new UsageError(`the settings in ${path} cannot be read: ${describe(error)}`, { cause: error });
    }
  }
  return undefined;
}

async function open(path: string, from: string): Promise<Found> {
  try {
    return { path, text: await readFile(path, 'utf8') };
  } catch (error) {
    throw new UsageError(`${from} names a file that cannot be read: ${describe(error)}`, { cause: error });
  }
}

/** The names are those of the library's options; a file stands for the content of a certificate. */
const FILE_NAMES = {
  known: ['servers', 'clusterId', 'user', 'pass', 'token', 'nkey', 'userCreds', 'tls', 'monitor'],
  hints: {
    url: "did you mean 'servers'?",
    urls: "did you mean 'servers'?",
    cluster: "did you mean 'clusterId'?",
    password: "did you mean 'pass'?",
    username: "did you mean 'user'?",
    creds: "did you mean 'userCreds'?",
    clientId: 'two commands at a time cannot have the same one: give it with --client-id',
  },
};
const TLS_NAMES = { known: ['ca', 'cert', 'key', 'servername'], hints: { serverName: "did you mean 'servername'?" } };

/** Reads a file of settings. Paths in it are relative to it. @throws UsageError that shows no secret */
export function readValues(text: string, path: string): Map<string, string | boolean> {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // Node's own words would show a piece of the file.
    throw new UsageError(`the settings in ${path} are not JSON`);
  }
  const result = new Map<string, string | boolean>();
  const put = (name: string, value: string | boolean | undefined): void => {
    if (value !== undefined) result.set(name, value);
  };
  const toFile = (value: string | undefined): string | undefined => value && resolve(dirname(path), value);
  try {
    const read = new OptionReader(content, 'options', FILE_NAMES);
    put('servers', serversOf(read));
    for (const name of ['clusterId', 'monitor']) put(name, read.string(name, undefined));
    for (const name of ['user', 'token']) put(name, read.secret(name));
    put('pass', read.secret('pass', { empty: true }));
    // A seed, or the path of a file with it.
    const nkey = read.secret('nkey');
    put('nkey', nkey !== undefined && isSeed(nkey) ? nkey : toFile(nkey));
    put('userCreds', toFile(read.string('userCreds', undefined)));
    if (typeof read.values['tls'] === 'boolean') put('tls', read.values['tls']);
    else if (read.has('tls')) {
      const tls = read.nested('tls', TLS_NAMES);
      put('tls', true);
      for (const name of ['ca', 'cert', 'key']) put(`tls.${name}`, toFile(tls.secret(name)));
      put('tls.servername', tls.string('servername', undefined));
    }
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw new UsageError(`the settings in ${path}: ${error.message}`);
    throw error;
  }
  return result;
}

function serversOf(read: OptionReader): string | undefined {
  const servers = read.values['servers'];
  if (servers === undefined) return undefined;
  if (typeof servers === 'string' && servers !== '') return servers;
  if (Array.isArray(servers) && servers.length > 0 && servers.every((url) => typeof url === 'string')) {
    return servers.join(',');
  }
  return read.refuse('servers', `must be a URL or an array of URLs, not ${kindOf(servers)}`);
}

/** Whether a text is the seed of an NKey of a user, and not the path of a file with one. */
export function isSeed(text: string): boolean {
  return /^SU[A-Z2-7]{56}$/.test(text);
}
