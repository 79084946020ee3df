/** The options that all steps of a migration take. They are checked here; nothing is dialled. */
import '../dispose.js';
import { FollowedSignal } from '../abort-signal.js';
import { parseServers, type ServerAddress } from '../connection/servers.js';
import { InvalidArgumentError } from '../errors.js';
import { customaryMonitors, monitorUrl, MONITOR_PORT } from '../monitoring/streaming-server.js';
import type { OptionReader } from '../option-reader.js';
import { resolveConnectOptions } from '../options.js';
import { checkChannel, show } from '../validation.js';

/**
 * The credentials and the TLS options for the servers of one side.
 * @category Migration
 */
export interface SideOptions {
  /** User name, with `pass`. Default: that of the URL, else none. */
  user?: string | undefined;
  /** Password. Default: that of the URL, else none. */
  pass?: string | undefined;
  /** Token, in the place of user and password. Default: that of the URL, else none. */
  token?: string | undefined;
  /** The seed (`SU…`) of a user's NKey. Default: none. */
  nkey?: string | undefined;
  /** Path of a credentials file with JWT and seed. Default: none. */
  userCreds?: string | undefined;
  /**
   * `true`: use TLS, also where the URL says `nats://`. An object: the same, with certificates as PEM, and the name that the
   * servers' certificates are for. Default: as the URLs say.
   */
  tls?: boolean | TlsFiles | undefined;
}

/**
 * The TLS options of one side.
 * @category Migration
 */
export interface TlsFiles {
  /** Certificates (PEM) of the authority that signed the servers' certificates. Default: those that Node trusts. */
  ca?: string | undefined;
  /** Certificate (PEM) to show to the servers, with `key`. Default: none. */
  cert?: string | undefined;
  /** Private key (PEM) of that certificate. Default: none. */
  key?: string | undefined;
  /** The name that the servers' certificates are for. Default: the host of the URL. */
  servername?: string | undefined;
}

/**
 * What every step of a migration takes.
 *
 * @example
 * ```ts
 * const options: MigrateOptions = {
 *   from: ['nats://a:4222', 'nats://b:4222'], // in place: JetStream is in the same servers
 *   clusterId: 'test-cluster',
 *   channels: ['orders', 'invoices.>'],
 * };
 * ```
 * @category Migration
 */
export interface MigrateOptions {
  /** URLs of the STAN servers. Default `nats://localhost:4222`. */
  from?: string | readonly string[] | undefined;
  /** URLs of the servers with JetStream. Default: those of `from`, in place. */
  to?: string | readonly string[] | undefined;
  /** The cluster ID of the STAN servers. Default `test-cluster`. */
  clusterId?: string | undefined;
  /**
   * Which channels: names, or patterns with the wildcards of NATS, as `invoices.>`. The name of a channel that does not exist is a problem.
   * Default: all channels.
   */
  channels?: readonly string[] | undefined;
  /**
   * URLs of the STAN servers' monitoring, as `http://host:8222`. Of several servers the one that leads is asked. Default: port 8222 of
   * the hosts of `from`, and 4000 above the ports there.
   */
  monitor?: string | readonly string[] | undefined;
  /** Credentials and TLS of the STAN servers. Default: as the URLs say. */
  source?: SideOptions | undefined;
  /**
   * Credentials and TLS of the servers with JetStream. Default: those of the STAN servers in place, else as the URLs of `to` say:
   * what is for one side is never sent to the other.
   */
  target?: SideOptions | undefined;
  /**
   * When it is aborted, the step ends at the next safe point. A copy or a cut that has begun then answers what it has done; any other
   * step rejects with an AbortedError. Default: none.
   */
  signal?: AbortSignal | undefined;
}

/** How to reach the servers of one side, checked. */
export interface Side {
  /** What the servers are for the step. */
  readonly role: 'STAN' | 'JetStream';
  /** The option that has their credentials. */
  readonly option: 'source' | 'target';
  /** The URLs, with their credentials if they have any. */
  readonly servers: readonly string[];
  /** The same, parsed. */
  readonly addresses: readonly ServerAddress[];
  readonly options: SideOptions;
}

/** The options of a migration, checked. */
export interface ResolvedMigrateOptions {
  readonly source: Side;
  readonly target: Side;
  /** Whether both sides are the same servers. */
  readonly inPlace: boolean;
  readonly clusterId: string;
  readonly channels: readonly string[] | undefined;
  /** The URLs of the monitoring, as `http://host:8222`. */
  readonly monitor: readonly string[];
  /** Whether the URLs of the monitoring are where it is by custom, because nobody has said where it is. */
  readonly monitorByCustom: boolean;
  /** Is aborted with the caller's. Its reason is an AbortedError then. */
  readonly signal: AbortSignal;
  /** Stops listening to the caller's signal. */
  [Symbol.dispose](): void;
}

/** The names of the options that all steps take. A step adds its own. */
export const MIGRATE_OPTIONS = [
  ...['from', 'to', 'clusterId', 'channels', 'monitor', 'source', 'target', 'signal'],
] as const;

/** What the names of options elsewhere mean here. */
export const MIGRATE_HINTS: Readonly<Record<string, string>> = {
  servers: "the URLs are 'from' (STAN) and 'to' (JetStream)",
  channel: "did you mean 'channels'? It is an array",
  user: "the credentials of each side are in 'source' and 'target'",
  token: "the credentials of each side are in 'source' and 'target'",
  tls: "the TLS options of each side are in 'source' and 'target'",
};

const SIDE_NAMES = ['user', 'pass', 'token', 'nkey', 'userCreds', 'tls'] as const;
const TLS_NAMES = ['ca', 'cert', 'key', 'servername'] as const;

/** @throws InvalidArgumentError */
export function readMigrateOptions(read: OptionReader): ResolvedMigrateOptions {
  const from = read.values['from'];
  const to = read.values['to'];
  const clusterId = read.string('clusterId', 'test-cluster');
  const source = side(read, 'STAN', 'source', from, clusterId);
  const inPlace = to === undefined;
  const option = inPlace && !read.has('target') ? 'source' : 'target';
  const target = side(read, 'JetStream', option, inPlace ? from : to, clusterId);
  const channels = channelsOf(read);
  const monitor = monitorOf(read, source);
  const followed = new FollowedSignal(read.signal(), 'the step of the migration was interrupted before its end');
  const { signal } = followed;
  return {
    ...{ source, target, inPlace, clusterId, channels, monitor, signal },
    monitorByCustom: read.values['monitor'] === undefined,
    [Symbol.dispose]: () => followed.stop(),
  };
}

function side(
  read: OptionReader,
  role: Side['role'],
  option: Side['option'],
  servers: unknown,
  clusterId: string,
): Side {
  const nested = read.nested(option, {
    known: SIDE_NAMES,
    hints: { password: "did you mean 'pass'?", creds: "did you mean 'userCreds'?" },
  });
  const options: SideOptions = {};
  for (const key of ['user', 'token', 'nkey', 'userCreds'] as const) {
    const value = nested.secret(key);
    if (value !== undefined) options[key] = value;
  }
  const pass = nested.secret('pass', { empty: true });
  if (pass !== undefined) options.pass = pass;
  if (typeof nested.values['tls'] === 'boolean') options.tls = nested.values['tls'];
  else if (nested.has('tls')) {
    const tls = nested.nested('tls', {
      known: TLS_NAMES,
      hints: {
        serverName: "did you mean 'servername'?",
        caFile: 'read the file: { ca: readFileSync(path, "utf8") }',
        certFile: 'read the file: { cert: readFileSync(path, "utf8") }',
        keyFile: 'read the file: { key: readFileSync(path, "utf8") }',
      },
    });
    options.tls = {};
    for (const key of TLS_NAMES) {
      const value = tls.secret(key);
      if (value !== undefined) options.tls[key] = value;
    }
  }
  const addresses = parseServers(servers);
  // The library's own check: it knows which credentials go together, and what a certificate is.
  try {
    resolveConnectOptions(servers as string | string[] | undefined, { clusterId, ...options });
  } catch (error) {
    throw ofSide(error, option);
  }
  const list = typeof servers === 'string' ? [servers] : ((servers as string[] | undefined) ?? []);
  const texts = list.flatMap((entry) => entry.split(',')).map((entry) => entry.trim());
  return { role, option, servers: texts.length > 0 ? texts : addresses.map(({ url }) => url), addresses, options };
}

/** The error of an option, which names the option of the side as well. */
function ofSide(error: unknown, side: Side['option']): unknown {
  if (!(error instanceof InvalidArgumentError)) return error;
  const [name] = error.argument.split('.');
  if (name === undefined || !(SIDE_NAMES as readonly string[]).includes(name)) return error;
  const message = error.message.replaceAll(`'${error.argument}'`, `'${side}.${error.argument}'`);
  return new InvalidArgumentError(`${side}.${error.argument}`, message, { cause: error });
}

function channelsOf(read: OptionReader): string[] | undefined {
  const given = read.values['channels'];
  if (given === undefined) return undefined;
  if (!Array.isArray(given)) return read.refuse('channels', `must be an array of names, not ${show(given)}`);
  if (given.length === 0) read.refuse('channels', 'is an empty array: leave it out for all channels');
  return given.map((channel: unknown) => {
    if (typeof channel !== 'string' || !isPattern(channel)) checkChannel(channel);
    return channel;
  });
}

/** Whether a name has wildcards of NATS, which the name of a channel cannot have. */
export function isPattern(channel: string): boolean {
  return channel.split('.').some((token) => token === '*' || token === '>');
}

/** Whether a name is the channel that was given, or fits the pattern that was given. */
export function matches(given: string, channel: string): boolean {
  const wanted = given.split('.');
  const tokens = channel.split('.');
  for (const [i, token] of wanted.entries()) {
    if (token === '>' && i === wanted.length - 1) return tokens.length > i;
    if (i >= tokens.length || (token !== '*' && token !== tokens[i])) return false;
  }
  return wanted.length === tokens.length;
}

function monitorOf(read: OptionReader, source: Side): string[] {
  const given = read.values['monitor'];
  if (given === undefined) return customaryMonitors(source.addresses);
  const list: unknown[] = typeof given === 'string' ? given.split(',') : Array.isArray(given) ? given : [given];
  return list.map((entry) => {
    const url = typeof entry === 'string' ? monitorUrl(entry) : undefined;
    if (url !== undefined) return url;
    throw new InvalidArgumentError(
      'monitor',
      `option 'monitor' must be URLs as http://host:${MONITOR_PORT}, not ${show(entry)}`,
    );
  });
}
