/** What users may say of a client as a whole, and what it comes to. The parts of it are owned by whoever they concern. */
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
import { RETRY_NAMES, resolveInitialConnect, resolveReconnect, type RetryOptions } from './connection/retry-options.js';
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
import { checkClientId, checkClusterId } from './validation.js';

/** Options of `connect`, but for those that speak of the client itself. */
export interface BaseConnectOptions extends Credentials {
  /** Cluster ID as the servers are configured. Default `'test-cluster'`. A wrong one is answered by silence only. */
  clusterId?: string | undefined;
  /**
   * Letters, digits, `-` and `_`; must be different for every process. Default: generated, and another one in every
   * process, which is why plain durables need one that is set.
   */
  clientId?: string | undefined;
  /** STAN pings. Default every 1000 ms, lost after 3. */
  pings?: PingOptions | undefined;
  /**
   * Limit of each step: TCP and NATS greeting of one server; the first answer of a leader; the STAN handshake.
   * Default 2000.
   */
  connectTimeout?: number | undefined;
  /**
   * Retries of the first connect. Default
   * `{ retries: 3, factor: 2, minTimeout: 100, maxTimeout: 1000, randomize: true, maxRetryTime: Infinity }`; with
   * `ResilientStan.create`, `retries` is `Infinity`.
   */
  initialConnect?: RetryOptions | undefined;
  /**
   * Retries after a loss; `false` to close instead. Default
   * `{ retries: Infinity, factor: 1.5, minTimeout: 50, maxTimeout: 500, randomize: true, maxRetryTime: Infinity }`.
   */
  reconnect?: RetryOptions | false | undefined;
  /** When another live process holds or took our client ID: go on trying (`'retry'`, default), or `'close'`. */
  clientIdConflict?: 'retry' | 'close' | undefined;
  /** What holds for all publishes. */
  publishing?: PublishingOptions | undefined;
  /** Shuffle the server list, so that many clients spread over the servers. Default true. */
  randomize?: boolean | undefined;
  /**
   * Dial the servers that the cluster announces, after the listed ones. They get the same credentials, under the same TLS
   * rules. `false` for clients that cannot reach them, as from outside of a NAT. Default true.
   */
  discover?: boolean | undefined;
  /**
   * `true`, or the options of `tls.connect` (`ca`, `cert`, `key`, `servername` …, as contents, not as paths), or a function
   * that is asked for them before every dial: then every server is reached over TLS. Left out, only those with a `tls://`
   * URL are, and a list that mixes `tls://` and `nats://` is refused. The certificate is checked against the host of the URL.
   */
  tls?: boolean | ConnectionOptions | TlsProvider | undefined;
  /** Asked before every dial; instead of static credentials. */
  credentials?: CredentialsProvider | undefined;
  /** Name of the NATS connections in the server's monitoring. Default: the client ID. */
  name?: string | undefined;
  /** Aborts the connect, or closes the client when it is connected already. */
  signal?: AbortSignal | undefined;
  /** Where to log. Default: nowhere. `console` will do. */
  logger?: Logger | undefined;
}

/** Options of `flush`. */
export interface FlushOptions {
  /** Milliseconds after which it rejects with a `TimeoutError`. Default: never. */
  timeout?: number | undefined;
}

/** Options of `close`. */
export interface CloseOptions {
  /**
   * Milliseconds for the drain: running handlers, pending publishes, durables that are to be dropped. Then it closes all the
   * same. Default 10000; 0: at once. It also hurries a `close()` that is under way.
   */
  timeout?: number | undefined;
}

/** @typeParam Stan the client, which this file need not know */
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
      RETRY_NAMES.known
        .filter((name) => name !== 'randomize')
        .map((name) => [name, `did you mean 'reconnect.${name}' or 'initialConnect.${name}'?`]),
    ),
    // What the same thing is called in node-nats-streaming and nats.
    stanPingInterval: "did you mean 'pings.interval'?",
    stanMaxPingOut: "did you mean 'pings.maxOut'?",
    pingInterval: "did you mean 'pings.interval'?",
    maxPingOut: "did you mean 'pings.maxOut'?",
    interval: "did you mean 'pings.interval'?",
    maxOut: "did you mean 'pings.maxOut'?",
    maxPubAcksInflight: "did you mean 'publishing.maxInFlight'?",
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
    logger: resolveLogger(reader),
  };
}

function generateClientId(): string {
  // The host's name is for those who look at the server's list of clients.
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
