/**
 * How a command reaches the servers: the options that all commands share, and what they come to. Values may also come from
 * the environment and from a file. No message shows a secret.
 */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { resolve } from 'node:path';
import { parseServers, redact } from '../connection/servers.js';
import { describe, InvalidArgumentError } from '../errors.js';
import { resolveConnectOptions } from '../options.js';
import { inOptions, optionFor, type Options, type Values } from './command.js';
import { CONFIG_OPTION, isSeed, readSettings, type Setting, type Settings, type Surroundings } from './settings.js';
import { UsageError } from './usage.js';

const group = 'Connection';
const credentials = 'Credentials and TLS';

/** Which servers, and of which cluster. */
export const SERVER_OPTIONS = {
  servers: {
    type: 'string',
    short: 's',
    value: '<urls>',
    list: true,
    help: 'nats://host:port or tls://host:port, several separated by commas (default nats://localhost:4222)',
    group,
    env: ['STAN_SERVERS', 'NATS_URL'],
    file: 'servers',
  },
  'cluster-id': {
    type: 'string',
    short: 'c',
    value: '<id>',
    help: "the servers' cluster ID (default test-cluster)",
    group,
    env: ['STAN_CLUSTER_ID'],
    file: 'clusterId',
  },
} as const satisfies Options;

/** Who we are for the servers, and how they prove who they are. */
export const CREDENTIAL_OPTIONS = {
  user: {
    type: 'string',
    value: '<name>',
    help: 'user name, with --pass',
    group: credentials,
    env: ['STAN_USER', 'NATS_USER'],
    file: 'user',
  },
  pass: {
    type: 'string',
    value: '<word>',
    help: 'password; others can see it in the list of processes, so better set the variable',
    group: credentials,
    env: ['STAN_PASS', 'NATS_PASSWORD'],
    file: 'pass',
    empty: true,
  },
  token: {
    type: 'string',
    value: '<word>',
    help: 'token, in the place of user and password; the same holds for it',
    group: credentials,
    env: ['STAN_TOKEN', 'NATS_TOKEN'],
    file: 'token',
  },
  nkey: {
    type: 'string',
    value: '<file>',
    help: "file with the seed of a user's NKey, or the seed (SU…) itself",
    group: credentials,
    env: ['STAN_NKEY', 'NATS_NKEY'],
    file: 'nkey',
  },
  creds: {
    type: 'string',
    value: '<file>',
    help: 'credentials file with JWT and seed',
    group: credentials,
    env: ['STAN_CREDS', 'NATS_CREDS'],
    file: 'userCreds',
    sets: 'userCreds',
  },
  tls: {
    type: 'boolean',
    help: 'use TLS, also where the URL says nats://; any --tls-… means it, too',
    group: credentials,
    env: ['STAN_TLS'],
    file: 'tls',
  },
  'tls-ca': {
    type: 'string',
    value: '<file>',
    help: "certificate (PEM) of the authority that signed the servers' certificates",
    group: credentials,
    env: ['STAN_TLS_CA', 'NATS_CA'],
    file: 'tls.ca',
    sets: 'tls.ca',
  },
  'tls-cert': {
    type: 'string',
    value: '<file>',
    help: 'certificate (PEM) to show to the servers, with --tls-key',
    group: credentials,
    env: ['STAN_TLS_CERT', 'NATS_CERT'],
    file: 'tls.cert',
    sets: 'tls.cert',
  },
  'tls-key': {
    type: 'string',
    value: '<file>',
    help: 'private key (PEM) of that certificate',
    group: credentials,
    env: ['STAN_TLS_KEY', 'NATS_KEY'],
    file: 'tls.key',
    sets: 'tls.key',
  },
  'tls-servername': {
    type: 'string',
    value: '<host>',
    help: "the name that the servers' certificates are for (default: the host of the URL)",
    group: credentials,
    env: ['STAN_TLS_SERVERNAME'],
    file: 'tls.servername',
    sets: 'tls.servername',
  },
} as const satisfies Options;

/** All options of a command that connects. */
export const CONNECTION_OPTIONS = {
  ...SERVER_OPTIONS,
  ...CONFIG_OPTION,
  ...CREDENTIAL_OPTIONS,
} as const satisfies Options;

/** What `ResilientStan.connect` takes. All of it can be sent to another process as JSON. */
export interface ConnectionOptions {
  clusterId?: string;
  user?: string;
  pass?: string;
  token?: string;
  /** The seed. */
  nkey?: string;
  /** An absolute path. */
  userCreds?: string;
  tls?: boolean | { ca?: string; cert?: string; key?: string; servername?: string };
}

/** How to reach the servers, checked. */
export interface Connection {
  /** The URLs, with their credentials if they have any. */
  readonly servers: string[];
  readonly options: ConnectionOptions;
  /** The URLs without credentials, to be shown. */
  readonly shown: string[];
  /** What a person should know of it, without secrets: where each part has come from. */
  readonly sources: ConnectionSources;
}

export interface ConnectionSources {
  /** Where the servers have come from, as `--servers`, `STAN_SERVERS` or `the default`. */
  readonly servers: string;
  /** The kind of the credentials and where they have come from, as `user and password (STAN_USER)`, or `none`. */
  readonly credentials: string;
  /** Path of the file of settings that was read. */
  readonly file: string | undefined;
}

const KINDS = { user: 'user and password', token: 'a token', nkey: 'an NKey', creds: 'a credentials file' } as const;
const CREDENTIALS = ['user', 'pass', 'token', 'nkey', 'creds'] as const;

/**
 * Puts together how to reach the servers, and checks it. Nothing is dialled.
 *
 * The credentials are taken from one source only, the strongest that has any, so that those of another source cannot be mixed
 * with them or sent to servers they are not for: those in a URL count as of the source of the URL.
 *
 * @param values the values of the command line
 * @throws UsageError that names the option, the variable or the place in the file
 */
export async function readConnection(
  values: Values<typeof CONNECTION_OPTIONS>,
  surroundings: Surroundings = hostSurroundings(),
): Promise<Connection> {
  const settings = await readSettings(values, CONNECTION_OPTIONS, surroundings);
  return await connectionOf(settings, surroundings.cwd);
}

export function hostSurroundings(): Surroundings {
  let home: string | undefined;
  try {
    home = homedir();
  } catch {
    // A process may run as a user without a home directory.
  }
  return { env: process.env, cwd: process.cwd(), home };
}

export async function connectionOf(settings: Settings, cwd: string): Promise<Connection> {
  const servers = settings.get('servers');
  const text = (servers?.value as string | undefined) ?? 'nats://localhost:4222';
  const urls = text.split(',').map((url) => url.trim());
  const urlCredentials = urls.some((url) => url.includes('@')) ? servers : undefined;
  const chosen = credentialSource(settings, urlCredentials);
  const used = new Map<string, Setting>();
  const value = (name: string): string | undefined => {
    const setting = settings.get(name);
    if (setting === undefined) return undefined;
    used.set(name, setting);
    return setting.value as string;
  };
  const options: ConnectionOptions = {};
  const set = <Name extends keyof ConnectionOptions>(name: Name, given: ConnectionOptions[Name] | undefined): void => {
    if (given !== undefined) options[name] = given;
  };
  set('clusterId', value('cluster-id'));
  for (const name of CREDENTIALS) {
    if (chosen === undefined || settings.get(name)?.rank !== chosen) continue;
    const given = value(name)!;
    if (name === 'nkey') set('nkey', await seedOf(given, used.get(name)!, cwd));
    else if (name === 'creds') set('userCreds', resolve(cwd, given));
    else set(name, given);
  }
  set('tls', await tlsOf(settings, value, used, cwd));

  check(text, options, settings, chosen);
  return {
    servers: urls,
    options,
    shown: parseServers(text).map(({ url }) => url),
    sources: {
      servers: servers?.from ?? 'the default',
      credentials: shownCredentials(used, urlCredentials),
      file: settings.file,
    },
  };
}

/**
 * Lets the library check all of it, and tells an error in the words of whoever gave the value.
 * @throws UsageError
 */
function check(servers: string, options: ConnectionOptions, settings: Settings, credentials: number | undefined): void {
  try {
    resolveConnectOptions(servers, options);
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    const nameOf = (path: string): string | undefined => {
      const option = optionFor(CONNECTION_OPTIONS, path)?.slice(2);
      if (option === undefined) return undefined;
      // A part that is missing belongs to where the other parts are.
      return settings.get(option)?.from ?? settings.nameAt(option, credentials ?? 0);
    };
    const message = inOptions(error.message, nameOf, error.argument);
    const from = nameOf(error.argument);
    const named = from === undefined || from.startsWith('--') || message.includes(from);
    throw new UsageError(named ? message : `${from}: ${message}`, { cause: error });
  }
}

/** The rank of the source that gives the credentials. Undefined when it is the URLs, or nothing. */
function credentialSource(settings: Settings, inUrls: Setting | undefined): number | undefined {
  const ranks = CREDENTIALS.flatMap((name) => settings.get(name)?.rank ?? []);
  if (ranks.length === 0) return undefined;
  const strongest = Math.min(...ranks);
  return inUrls !== undefined && inUrls.rank < strongest ? undefined : strongest;
}

function shownCredentials(used: ReadonlyMap<string, Setting>, inUrls: Setting | undefined): string {
  for (const [name, kind] of Object.entries(KINDS)) {
    const setting = used.get(name);
    if (setting !== undefined) return `${kind} (${setting.from})`;
  }
  return inUrls === undefined ? 'none' : `in the URL (${inUrls.from})`;
}

async function seedOf(given: string, { from }: Setting, cwd: string): Promise<string> {
  if (isSeed(given)) return given;
  const text = await readText(resolve(cwd, given), from);
  // Files of the NATS tools may have comments, or lines of dashes around the seed.
  const seed = /\bSU[A-Z2-7]{56}\b/.exec(text)?.[0];
  if (seed === undefined) throw new UsageError(`${from} names a file without the seed (SU…) of a user: ${given}`);
  return seed;
}

async function tlsOf(
  settings: Settings,
  value: (name: string) => string | undefined,
  used: ReadonlyMap<string, Setting>,
  cwd: string,
): Promise<ConnectionOptions['tls']> {
  const tls: { ca?: string; cert?: string; key?: string; servername?: string } = {};
  for (const name of ['ca', 'cert', 'key'] as const) {
    const path = value(`tls-${name}`);
    if (path === undefined) continue;
    const { from } = used.get(`tls-${name}`)!;
    const text = await readText(resolve(cwd, path), from);
    if (!text.includes('-----BEGIN '))
      throw new UsageError(`${from} names a file that is not PEM ('-----BEGIN …'): ${path}`);
    tls[name] = text;
  }
  const servername = value('tls-servername');
  if (servername !== undefined) tls.servername = servername;
  if (Object.keys(tls).length > 0) return tls;
  const wanted = settings.get('tls')?.value as boolean | undefined;
  return wanted === true ? true : undefined;
}

/** The text of a file that a setting names. Its content is never shown. */
async function readText(path: string, from: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${from} names a file that cannot be read: ${redact(describe(error))}`, { cause: error });
  }
}
