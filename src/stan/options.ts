/** Turns the options of node-nats-streaming into those of `ResilientStan`. Pure. */
import type { EventEmitter } from 'node:events';
import type { ConnectionOptions, TlsOptions } from 'node:tls';
import type { Credentials, CredentialsProvider, NonceSigner } from '../connection/credentials.js';
import { INITIAL_CONNECT } from '../connection/retry-options.js';
import { MAX_INT32 } from '../int32.js';
import type { ConnectOptions } from '../resilient-stan.js';
import type { RetryOptions } from '../retry-options.js';
import { badAuthentication } from './errors.js';
import { BINARY_ENCODING_REQUIRED } from './texts.js';

/**
 * The part of a client of `nats` 1.x that is looked at.
 * @category Connecting
 */
export interface NatsClient extends EventEmitter {
  /** Its encoding, which must be `'binary'`. */
  readonly encoding?: string;
  /** Its options, of which the credentials are taken. */
  readonly options?: object;
  /** Its servers. */
  readonly servers?: readonly {
    /** URL of the server. */
    url?: unknown;
  }[];
  /** Closes it. */
  close(): void;
}

/**
 * The options of {@link connect} that belong to NATS. Times are milliseconds.
 * @category Connecting
 */
export interface ClientOpts {
  /** Must be `'binary'`. */
  encoding?: BufferEncoding | undefined;
  /** The client gives up an outage after this many times `reconnectTimeWait` (2000 if that is not set). Default -1: it never gives up. */
  maxReconnectAttempts?: number | undefined;
  /** Name of the connection in the server's monitoring. Default: the client ID. */
  name?: string | undefined;
  /** The user's public key, with `nonceSigner`; or the seed. */
  nkey?: string | undefined;
  /** True: the servers are dialled in the order of the list. Default: in random order. */
  noRandomize?: boolean | undefined;
  /** Signs the server's nonce, with `nkey` or `userJWT`. */
  // eslint-disable-next-line @typescript-eslint/no-unsafe-function-type -- as it is declared there
  nonceSigner?: Function | undefined;
  /** Password. It needs `user`. */
  pass?: string | undefined;
  /** False: the client is closed at its first loss. Default true. */
  reconnect?: boolean | undefined;
  /** Wait between two attempts, in ms. Default: 50, which grows to 500. */
  reconnectTimeWait?: number | undefined;
  /** URLs of the servers, as a list or as one text with commas. */
  servers?: string[] | string | undefined;
  /** True, or options of TLS. Default: TLS only where a server asks for it. */
  tls?: boolean | ConnectionOptions | TlsOptions | undefined;
  /** Authorization token. */
  token?: string | undefined;
  /** Returns the token. It is asked before each dial. */
  // eslint-disable-next-line @typescript-eslint/no-unsafe-function-type -- as it is declared there
  tokenHandler?: Function | undefined;
  /** URL of a server. Default `nats://localhost:4222`. */
  url?: string | undefined;
  /** User name. */
  user?: string | undefined;
  /** Path of a credentials file. */
  userCreds?: string | undefined;
  /** The user's JWT, or a function that returns it and is asked before each dial. It needs `nonceSigner` or `nkey`. */
  // eslint-disable-next-line @typescript-eslint/no-unsafe-function-type -- as it is declared there
  userJWT?: string | Function | undefined;
  /** True: the first connect is tried as long as `maxReconnectAttempts` allows an outage to last. Default false. */
  waitOnFirstConnect?: boolean | undefined;
  /** Without effect here. */
  maxPingOut?: number | undefined;
  /** Without effect here. */
  pedantic?: boolean | undefined;
  /** Without effect here. */
  pingInterval?: number | undefined;
  /** Without effect here. */
  useOldRequestStyle?: boolean | undefined;
  /** Without effect here. */
  verbose?: boolean | undefined;
  /** Without effect here. */
  yieldTime?: number | undefined;
}

/**
 * The options of {@link connect}. Unknown ones are ignored, and an empty text counts as absent. Times are milliseconds.
 * @category Client
 */
export interface StanOptions extends ClientOpts {
  /** Longest wait of a publish with a callback for its answer, in ms. Default 30000. */
  ackTimeout?: number | undefined;
  /** Longest time of the whole first connect, in ms, if it is more than 2000. Default: four attempts. */
  connectTimeout?: number | undefined;
  /** Must be `'_STAN.discover'`. */
  discoverPrefix?: string | undefined;
  /** When more publishes than this have no answer, the next one is refused. Default 16384. */
  maxPubAcksInflight?: number | undefined;
  /** `'binary'` when `Message.getData()` is to return Buffers. Default `'utf8'`. */
  stanEncoding?: string | undefined;
  /** The number of pings without an answer after which a session is lost. Default 3. */
  stanMaxPingOut?: number | undefined;
  /**
   * Time between two pings of an idle session, in ms. A value below 3000 is not obeyed. Without one it is 1000, although
   * `Stan.options` says 5000, as in node-nats-streaming.
   */
  stanPingInterval?: number | undefined;
  /** A NATS connection. Its servers and credentials are taken, and its `close` closes this client. */
  nc?: NatsClient | undefined;
}

/**
 * The options of a client with their defaults, each by one name.
 * @category Client
 */
export interface ParsedOptions extends StanOptions {
  ackTimeout: number;
  connectTimeout: number;
  maxPubAcksInflight: number;
  url: string;
}

const DEFAULT_PRE = 'nats://localhost:';
const DEFAULT_PORT = 4222;
const DEFAULT_DISCOVER_PREFIX = '_STAN.discover';
/** What nats 1.4.12 waits between two attempts. */
const RECONNECT_TIME_WAIT = 2000;
/** The limit of one step of the first connect, here and in node-nats-streaming. */
const CONNECT_STEP = 2000;
/** The defaults of node-nats-streaming: `ackTimeout` and `stanPingInterval` in ms, and the number of publishes without an answer. */
export const ACK_TIMEOUT = 30_000;
export const MAX_PUB_ACKS_IN_FLIGHT = 16_384;
const STAN_PING_INTERVAL = 5000;
/** A shorter interval is ignored, because with it a busy cluster is taken for dead. */
const LEAST_PING_INTERVAL = 3000;
const PINGS = { interval: 1000, maxOut: 3 };
/** Other names of options. If an option is given by several names, the last one in this table counts, as in node-nats-streaming. */
const ALIASES: Readonly<Record<string, keyof StanOptions>> = {
  client: 'name',
  credentials: 'userCreds',
  dontRandomize: 'noRandomize',
  jwt: 'userJWT',
  JWT: 'userJWT',
  nkeys: 'nkey',
  NoRandomize: 'noRandomize',
  password: 'pass',
  secure: 'tls',
  sig: 'nonceSigner',
  sigCB: 'nonceSigner',
  sigCallback: 'nonceSigner',
  sigcb: 'nonceSigner',
  uri: 'url',
  urls: 'servers',
  usercreds: 'userCreds',
  userjwt: 'userJWT',
};

/** @param given a port, a URL, or an object */
export function parseOptions(given: unknown): ParsedOptions {
  const options: ParsedOptions = {
    ackTimeout: ACK_TIMEOUT,
    connectTimeout: CONNECT_STEP,
    discoverPrefix: DEFAULT_DISCOVER_PREFIX,
    maxPubAcksInflight: MAX_PUB_ACKS_IN_FLIGHT,
    maxReconnectAttempts: -1,
    stanEncoding: 'utf8',
    stanMaxPingOut: PINGS.maxOut,
    stanPingInterval: STAN_PING_INTERVAL,
    url: DEFAULT_PRE + DEFAULT_PORT,
  };
  if (typeof given === 'number') options.url = DEFAULT_PRE + given;
  else if (typeof given === 'string') options.url = given;
  else if (typeof given === 'object' && given !== null) {
    const named = given as Record<string, unknown>;
    if (isThere(named.port)) options.url = `${DEFAULT_PRE}${String(named.port)}`;
    const all = options as unknown as Record<string, unknown>;
    for (const [name, value] of Object.entries(named)) if (!(name in ALIASES) && isThere(value)) all[name] = value;
    for (const [alias, name] of Object.entries(ALIASES)) if (isThere(named[alias])) all[name] = named[alias];
  }
  return options;
}

/** Whether a value was given. An empty string counts as absent, because an unset variable often becomes one. */
function isThere(value: unknown): boolean {
  return value !== undefined && value !== null && value !== '';
}

export interface ConnectArguments {
  servers: string[];
  options: ConnectOptions;
}

/**
 * @param given what the program passed
 * @throws Error as node-nats-streaming and nats do at once; for a URL that is none as well
 */
export function connectArguments(
  clusterId: string,
  clientId: string,
  parsed: ParsedOptions,
  given: unknown,
): ConnectArguments {
  const { nc, encoding, discoverPrefix } = parsed;
  if (typeof nc === 'object' ? nc.encoding !== 'binary' : encoding !== undefined && encoding !== 'binary') {
    throw new Error(BINARY_ENCODING_REQUIRED);
  }
  if (discoverPrefix !== DEFAULT_DISCOVER_PREFIX) {
    throw new Error(
      `stan: only the discover prefix '${DEFAULT_DISCOVER_PREFIX}' is supported, not '${discoverPrefix}'`,
    );
  }
  const adopted = typeof nc === 'object' ? { ...parsed, ...(nc.options as StanOptions) } : parsed;
  const { servers, credentials } = withCredentials(
    typeof nc === 'object' ? serversOf(nc) : serverList(parsed, given),
    adopted,
  );
  const { noRandomize, name, tls } = adopted;
  // The rest of its patience is that of nats, which this client is there to exceed.
  const waitOnFirstConnect = adopted.waitOnFirstConnect === true || parsed.waitOnFirstConnect === true;
  return {
    servers,
    options: {
      clusterId,
      clientId,
      clientIdConflict: 'close',
      pings: pingsOf(parsed, given),
      initialConnect: initialConnectOf({ ...parsed, waitOnFirstConnect }),
      reconnect: reconnectOf(parsed),
      publishing: {
        // The facade enforces the limit itself, so the core must take more than that.
        maxPending: Math.max(1, numberOf(parsed.maxPubAcksInflight, MAX_PUB_ACKS_IN_FLIGHT)) + 2,
        maxPendingBytes: Number.MAX_SAFE_INTEGER,
      },
      ...(noRandomize && { randomize: false }),
      ...(isThere(name) && { name: String(name) }),
      ...(tls && { tls: typeof tls === 'object' ? (tls as ConnectionOptions) : true }),
      ...credentials,
    },
  };
}

function serverList({ url, servers }: ParsedOptions, given: unknown): string[] {
  const list = (Array.isArray(servers) ? servers : [servers]).filter(isThere);
  // node-nats-streaming adds its default URL to every list of servers. Here it counts only if there is no list.
  const hasUrl =
    list.length === 0 || ['url', 'uri', 'port'].some((name) => isThere((given as Record<string, unknown>)[name]));
  // A URL object is taken, too.
  return unique((hasUrl ? [url, ...list] : list).flatMap((entry) => String(entry).split(',')).map(sanitizeUrl));
}

function serversOf(nc: NatsClient): string[] {
  const list = (nc.servers ?? []).map(({ url }) => (url instanceof URL ? url.href : String(url)));
  return list.map(sanitizeUrl);
}

/** Drops any scheme but tls, and everything after the port. */
function sanitizeUrl(url: string): string {
  const [, scheme = 'nats', rest = ''] = /^\s*(?:([a-zA-Z][\w+.-]*):\/\/)?(.*?)\s*$/s.exec(url) ?? [];
  const place = rest.lastIndexOf('@') + 1;
  const address = rest.slice(place).replace(/[/?#].*$/s, '');
  return `${/^tls$/i.test(scheme) ? 'tls' : 'nats'}://${rest.slice(0, place)}${address}`;
}

function pingsOf(
  { stanPingInterval, stanMaxPingOut }: ParsedOptions,
  given: unknown,
): { interval: number; maxOut: number } {
  const interval = numberOf(stanPingInterval, PINGS.interval);
  const maxOut = Math.max(1, Math.floor(numberOf(stanMaxPingOut, PINGS.maxOut)));
  const asked = isThere((given as StanOptions | undefined)?.stanPingInterval);
  if (!asked || interval < LEAST_PING_INTERVAL) {
    return { interval: PINGS.interval, maxOut: Math.max(PINGS.maxOut, maxOut) };
  }
  return { interval: Math.ceil(interval / 1000) * 1000, maxOut };
}

function initialConnectOf(options: ParsedOptions): RetryOptions {
  const { connectTimeout, waitOnFirstConnect } = options;
  if (waitOnFirstConnect) return { retries: Infinity, ...pace(options), ...patience(options) };
  const whole = Math.min(numberOf(connectTimeout, CONNECT_STEP), MAX_INT32);
  return whole > CONNECT_STEP ? { retries: Infinity, maxRetryTime: whole } : { retries: INITIAL_CONNECT.retries };
}

function reconnectOf(options: ParsedOptions): RetryOptions | false {
  const { reconnect, maxReconnectAttempts } = options;
  if (reconnect === false || numberOf(maxReconnectAttempts, -1) === 0) return false;
  return { retries: Infinity, ...pace(options), ...patience(options) };
}

/** Limits an outage to `maxReconnectAttempts` times `reconnectTimeWait`. */
function patience({ maxReconnectAttempts, reconnectTimeWait }: ParsedOptions): RetryOptions {
  const attempts = numberOf(maxReconnectAttempts, -1);
  if (attempts < 0) return {};
  const time = attempts * numberOf(reconnectTimeWait, RECONNECT_TIME_WAIT);
  return { maxRetryTime: Math.min(Math.max(1, time), MAX_INT32) };
}

function pace({ reconnectTimeWait }: ParsedOptions): RetryOptions {
  if (!isThere(reconnectTimeWait)) return {};
  const wait = Math.min(Math.max(1, Math.round(numberOf(reconnectTimeWait, RECONNECT_TIME_WAIT))), MAX_INT32);
  // A wait over 1 s is shortened at random, so that many clients do not come at once.
  return { factor: 1, minTimeout: wait, maxTimeout: wait, randomize: wait > 1000 };
}

/** Reads a number, or a text with a number as environment variables have it. */
export function numberOf(value: unknown, otherwise: number): number {
  const number = isThere(value) ? Number(value) : NaN;
  return Number.isFinite(number) ? number : otherwise;
}

/**
 * As nats 1.4.12 has it: user, password and token of the options go before those in a URL, and those in a URL hold for the servers
 * after it that have none.
 */
function withCredentials(
  servers: readonly string[],
  options: StanOptions,
): { servers: string[]; credentials: ReturnType<typeof credentialsOf> } {
  const given = credentialsOf(options);
  const { user, token } = options;
  if (isThere(user) || isThere(token)) return { servers: unique(servers.map(withoutCredentials)), credentials: given };
  const inUrls = servers.map((server) => /\/\/(.*@)/.exec(server)?.[1]);
  let last = inUrls.find((own) => own !== undefined);
  if (last === undefined) return { servers: [...servers], credentials: given };
  // Those of a URL go before keys and files.
  const filled = servers.map((server, i) => {
    last = inUrls[i] ?? last;
    return server.replace(/\/\/(.*@)?/, () => `//${last}`);
  });
  return { servers: unique(filled), credentials: {} };
}

const withoutCredentials = (server: string): string => server.replace(/\/\/.*@/, '//');
const unique = (servers: readonly string[]): string[] => [...new Set(servers)];

function credentialsOf(options: StanOptions): Credentials & { credentials?: CredentialsProvider } {
  const { user, pass, token, tokenHandler, nkey, userJWT, userCreds } = options;
  const nonceSigner = options.nonceSigner as NonceSigner | undefined;
  if (isThere(user) && isThere(token)) throw badAuthentication('User and Token can not both be provided');
  if (isThere(token) && isThere(tokenHandler)) {
    throw badAuthentication('token and tokenHandler cannot both be provided');
  }
  if (isThere(tokenHandler) && typeof tokenHandler !== 'function') {
    throw badAuthentication('tokenHandler must be a function returning a token');
  }
  if (isThere(userCreds)) return { userCreds: String(userCreds) };
  if (isThere(tokenHandler))
    return { credentials: () => ({ token: String(Reflect.apply(tokenHandler as () => unknown, undefined, [])) }) };
  if (typeof userJWT === 'function') {
    const jwt = (): string => String(Reflect.apply(userJWT, undefined, []));
    return { credentials: () => ({ userJWT: jwt(), ...(nonceSigner ? { nonceSigner } : { nkey }) }) };
  }
  if (isThere(userJWT)) return { userJWT: String(userJWT), ...(nonceSigner ? { nonceSigner } : { nkey }) };
  if (isThere(nkey)) return { nkey: String(nkey), ...(nonceSigner && { nonceSigner }) };
  if (isThere(token)) return { token: String(token) };
  return isThere(user) ? { user: String(user), pass: String(pass ?? '') } : {};
}
