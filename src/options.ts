/** The options of `connect`, `flush` and `close`, checked and with their defaults. Each layer checks its own part. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { ConnectionOptions } from 'node:tls';
import {
  CREDENTIAL_HINTS,
  CREDENTIAL_NAMES,
  resolveCredentials,
  type Credentials,
  type CredentialsProvider,
} from './connection/credentials.js';
import { resolveInitialConnect, resolveReconnect } from './connection/retry-options.js';
import { parseServers } from './connection/servers.js';
import { PINGS_NAMES, resolvePings, type ConnectionSettings, type PingOptions } from './connection/settings.js';
import { resolveTls, type TlsProvider } from './connection/tls-options.js';
import type { ConnectionLostError } from './errors.js';
import { resolveLogger, type Logger } from './logger.js';
import { OptionReader, type OptionNames } from './option-reader.js';
import {
  PUBLISHING_NAMES,
  resolvePublishing,
  type PublishingOptions,
  type ResolvedPublishingOptions,
} from './publishing/publisher-options.js';
import { RETRY_OPTION_NAMES, type RetryOptions } from './retry-options.js';
import { checkClientId, checkClusterId } from './validation.js';

/** The options of `connect` whose types do not name the client. */
export interface BaseConnectOptions extends Credentials {
  /** The cluster ID of the servers. Default `'test-cluster'`. Servers do not answer to a wrong one. */
  clusterId?: string | undefined;
  /**
   * The client ID: letters, digits, `-` and `_`. Each process needs another one. Default: a new one is generated for each
   * client, so a durable that is not a queue group needs one that is set.
   */
  clientId?: string | undefined;
  /** STAN pings, which find out whether a leader answers. Default `{ interval: 1000, maxOut: 3 }`. */
  pings?: PingOptions | undefined;
  /**
   * The limit for each of three steps, in ms: TCP and the NATS greeting of one server, the first answer of a leader, and the
   * STAN handshake. Default 2000.
   */
  connectTimeout?: number | undefined;
  /**
   * How the first connect is tried again. Default
   * `{ retries: 3, factor: 2, minTimeout: 100, maxTimeout: 1000, randomize: true, maxRetryTime: Infinity }`. With
   * `ResilientStan.create`, the default of `retries` is `Infinity`.
   */
  initialConnect?: RetryOptions | undefined;
  /**
   * How a connect after a loss is tried again. `false` closes the client at the first loss. Default
   * `{ retries: Infinity, factor: 1.5, minTimeout: 50, maxTimeout: 500, randomize: true, maxRetryTime: Infinity }`.
   */
  reconnect?: RetryOptions | false | undefined;
  /**
   * What to do when another live client has the same client ID: `'retry'` goes on trying until that one has gone, as in a
   * rolling deployment, within the limits of {@link RetryOptions}. `'close'` closes this client. Default `'retry'`.
   */
  clientIdConflict?: 'retry' | 'close' | undefined;
  /** Options of all publishes. */
  publishing?: PublishingOptions | undefined;
  /** Whether the list of servers is shuffled, so that many clients spread over the servers. Default true. */
  randomize?: boolean | undefined;
  /**
   * Whether servers that the cluster announces are dialled as well, after the listed ones. They get the same credentials,
   * under the same TLS rules. `false` is for clients that cannot reach them, as from outside of a NAT. Default true.
   */
  discover?: boolean | undefined;
  /**
   * TLS for every server: `true`, or options of `tls.connect` (`ca`, `cert`, `key`, `servername` … as contents, not as
   * paths), or a function that is asked for them before each dial. Default: TLS for servers with a `tls://` URL only, and a
   * list that mixes `tls://` and `nats://` is refused. The certificate is checked against the host of the URL.
   */
  tls?: boolean | ConnectionOptions | TlsProvider | undefined;
  /** A function that is asked for credentials before each dial, instead of static ones. Default: none. */
  credentials?: CredentialsProvider | undefined;
  /** The name of the NATS connections in the server's monitoring. Default: the client ID. */
  name?: string | undefined;
  /** When it is aborted, the connect is given up, or the connected client is closed at once. Default: none. */
  signal?: AbortSignal | undefined;
  /** Where the client logs, for instance `console` or a logger of pino. Each line has the client ID. Default: nowhere. */
  logger?: Logger | undefined;
}

/**
 * Options of {@link ResilientStan.flush}.
 * @category Client
 */
export interface FlushOptions {
  /** Time after which it rejects with a {@link TimeoutError}, in ms. Default: no limit. */
  timeout?: number | undefined;
}

/**
 * Options of {@link ResilientStan.close}.
 * @category Client
 */
export interface CloseOptions {
  /**
   * Time for the drain, in ms: for running handlers, pending publishes and durables that are to be dropped. Then the client
   * closes all the same. 0 closes at once, `Infinity` is no limit. It also hurries a `close()` that is under way.
   * Default 10000.
   */
  timeout?: number | undefined;
}

/** @typeParam Stan the class of the client, which this file must not import */
type LostHandler<Stan> = (error: ConnectionLostError, stan: Stan) => unknown;

export interface ResolvedConnectOptions<Stan> extends ConnectionSettings {
  readonly clientIdGenerated: boolean;
  readonly connectionLostHandler?: LostHandler<Stan>;
  readonly publishing: ResolvedPublishingOptions;
  readonly signal?: AbortSignal;
}

const CONNECT_NAMES: OptionNames = {
  insteadOf: {
    string:
      "connect('cluster', 'client', options) is connect('nats://host:4222', { clusterId: 'cluster', clientId: 'client' }) here",
  },
  known: [
    'clusterId',
    'clientId',
    'pings',
    'connectTimeout',
    'initialConnect',
    'reconnect',
    'connectionLostHandler',
    'clientIdConflict',
    'publishing',
    'randomize',
    'discover',
    ...CREDENTIAL_NAMES,
    'tls',
    'credentials',
    'name',
    'signal',
    'logger',
  ],
  hints: {
    ...CREDENTIAL_HINTS,
    ...Object.fromEntries(PUBLISHING_NAMES.known.map((name) => [name, `did you mean 'publishing.${name}'?`])),
    ...Object.fromEntries(
      RETRY_OPTION_NAMES.filter((name) => name !== 'randomize').map((name) => [
        name,
        `did you mean 'reconnect.${name}' or 'initialConnect.${name}'?`,
      ]),
    ),
    // Names of the same options in node-nats-streaming and nats.
    stanPingInterval: "did you mean 'pings.interval'?",
    stanMaxPingOut: "did you mean 'pings.maxOut'?",
    pingInterval: "did you mean 'pings.interval'?",
    maxPingOut: "did you mean 'pings.maxOut'?",
    interval: "did you mean 'pings.interval'?",
    maxOut: "did you mean 'pings.maxOut'?",
    maxPubAcksInflight: "did you mean 'publishing.maxPending'?",
    stanEncoding: 'payloads are bytes here: message.string() decodes them',
    encoding: 'payloads are bytes here: message.string() decodes them',
    nc: 'every session has a NATS connection of its own, so none can be handed in',
    url: 'the servers are the first argument: connect(servers, options)',
    uri: 'the servers are the first argument: connect(servers, options)',
    urls: 'the servers are the first argument: connect(servers, options)',
    servers: 'the servers are the first argument: connect(servers, options)',
    port: "the port is a part of the server's URL",
    timeout: "did you mean 'connectTimeout'?",
    reconnectTimeWait: "did you mean 'reconnect.minTimeout'?",
    maxReconnectAttempts: "did you mean 'reconnect.retries'?",
    waitOnFirstConnect: "use 'initialConnect: { retries: Infinity }'",
    noRandomize: "use 'randomize: false'",
    dontRandomize: "use 'randomize: false'",
    secure: "did you mean 'tls'?",
    ignoreClusterUpdates: "use 'discover: false'",
  },
};

/**
 * @param servers one URL, several separated by commas, or an array; `nats://localhost:4222` when absent
 * @param initialRetries how often the first connect is tried again, when the options do not say
 * @throws InvalidArgumentError; its `argument` is `servers` or the path of the option
 */
export function resolveConnectOptions<Stan>(
  servers?: unknown,
  options?: unknown,
  initialRetries?: number,
): ResolvedConnectOptions<Stan> {
  const addresses = parseServers(servers);
  const reader = new OptionReader(options, 'options', CONNECT_NAMES);

  const { clusterId = 'test-cluster', clientId = generateClientId() } = reader.values;
  checkClusterId(clusterId);
  checkClientId(clientId);

  const staticCredentials = resolveCredentials(reader, addresses);
  const signal = reader.signal();
  const connectionLostHandler = reader.callback<LostHandler<Stan>>('connectionLostHandler', '(error, stan) => …');
  const credentials = reader.callback<CredentialsProvider>(
    'credentials',
    '() => Promise<{ user, pass } | { token } | …>',
  );
  return {
    servers: addresses,
    clusterId,
    clientId,
    clientIdGenerated: !reader.has('clientId'),
    pings: resolvePings(reader.nested('pings', PINGS_NAMES)),
    connectTimeout: reader.milliseconds('connectTimeout', 2000),
    initialConnect: resolveInitialConnect(reader, initialRetries),
    reconnect: resolveReconnect(reader),
    ...(connectionLostHandler && { connectionLostHandler }),
    clientIdConflict: reader.oneOf('clientIdConflict', 'retry', ['retry', 'close']),
    publishing: resolvePublishing(reader.nested('publishing', PUBLISHING_NAMES)),
    randomize: reader.boolean('randomize', true),
    discover: reader.boolean('discover', true),
    staticCredentials,
    ...(credentials && { credentials }),
    tls: resolveTls(reader, addresses),
    name: reader.string('name', clientId),
    ...(signal && { signal }),
    logger: resolveLogger(reader, clientId),
  };
}

function generateClientId(): string {
  // The name of the host helps a person who reads the server's list of clients.
  const host = hostname()
    .replace(/[^a-zA-Z0-9_-]/g, '-')
    .slice(0, 40);
  return `rs-${host}-${randomBytes(8).toString('hex')}`;
}

const CLOSE_TIMEOUT = 10_000;

/** @throws InvalidArgumentError */
export function resolveFlushOptions(options?: unknown): { timeout: number | undefined } {
  return { timeout: new OptionReader(options, 'options', { known: ['timeout'] }).timeout('timeout') };
}

/** `timeout` 0 closes without a drain; undefined is no limit. @throws InvalidArgumentError */
export function resolveCloseOptions(options?: unknown): { timeout: number | undefined } {
  const reader = new OptionReader(options, 'options', { known: ['timeout'] });
  return { timeout: reader.timeout('timeout', CLOSE_TIMEOUT, { min: 0 }) };
}
