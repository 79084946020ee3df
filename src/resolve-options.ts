/** From what a user passed to what the library works with: everything checked, defaults filled in, nothing shared. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { ConnectionOptions } from 'node:tls';
import { types } from 'node:util';
import { checkCredsFile, CREDENTIAL_HINTS, CREDENTIAL_NAMES, readCredentials } from './connection/auth.js';
import { parseServers, type ServerAddress } from './connection/servers.js';
import { checkTlsOptions } from './connection/tls-options.js';
import { InvalidArgumentError } from './errors.js';
import { LOG_LEVELS, safeLogger, type ResolvedLogger } from './logger.js';
import { MAX_MILLISECONDS, OptionReader, readForeign, type OptionNames } from './option-reader.js';
import type {
  ConnectionLostHandler,
  CredentialsProvider,
  DeadLetterHandler,
  Logger,
  ResolvedConnectOptions,
  ResolvedCredentials,
  ResolvedPublishingOptions,
  ResolvedPublishOptions,
  ResolvedRetryOptions,
  ResolvedSubscribeOptions,
  StartAt,
  TlsProvider,
} from './options.js';
import { checkChannel, checkClientId, checkClusterId, checkSubscriptionName, show } from './validation.js';

const CLOSE_TIMEOUT = 10_000;
/** Counts in the protocol are 32 bits wide. */
const MAX_INT32 = 2 ** 31 - 1;

const INITIAL_CONNECT: ResolvedRetryOptions = {
  retries: 3,
  factor: 2,
  minTimeout: 100,
  maxTimeout: 1000,
  randomize: true,
  maxRetryTime: Infinity,
};
const RECONNECT: ResolvedRetryOptions = {
  retries: Infinity,
  factor: 1.5,
  minTimeout: 50,
  maxTimeout: 500,
  randomize: true,
  maxRetryTime: Infinity,
};

const RETRY_NAMES: OptionNames = {
  known: ['retries', 'factor', 'minTimeout', 'maxTimeout', 'randomize', 'maxRetryTime'],
  hints: {
    forever: "use 'retries: Infinity'",
    signal: "'signal' is an option of connect itself",
    onFailedAttempt: "listen to the event 'reconnecting' instead",
    shouldRetry: "use 'connectionLostHandler', an option of connect itself",
    unref: 'a client keeps the process alive until it is closed',
    jitter: "did you mean 'randomize'?",
  },
};
const PINGS_NAMES: OptionNames = { known: ['interval', 'maxOut'] };
const PUBLISHING_NAMES: OptionNames = {
  known: ['ordering', 'maxInFlight', 'ackTimeout', 'maxPending', 'maxPendingBytes', 'whenFull'],
  hints: {
    maxPubAcksInflight: "did you mean 'publishing.maxInFlight'?",
    timeout: "'timeout' is an option of each publish; for one sending there is 'publishing.ackTimeout'",
  },
};
const CONNECT_NAMES: OptionNames = {
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
 * @throws InvalidArgumentError; its `argument` is `servers` or the path of the option
 */
export function resolveConnectOptions(servers?: unknown, options?: unknown): ResolvedConnectOptions {
  const addresses = parseServers(servers);
  const reader = new OptionReader(options, 'options', CONNECT_NAMES);

  const { clusterId = 'test-cluster', clientId = generateClientId() } = reader.values;
  checkClusterId(clusterId);
  checkClientId(clientId);

  const staticCredentials = resolveCredentials(reader, addresses);
  const signal = reader.signal();
  const connectionLostHandler = reader.callback<ConnectionLostHandler>('connectionLostHandler', '(error, stan) => …');
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
    initialConnect: resolveInitialConnect(reader),
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

function resolvePings(reader: OptionReader): ResolvedConnectOptions['pings'] {
  const because = 'the protocol has whole seconds';
  const interval = reader.milliseconds('interval', 1000, { min: 1000, because });
  if (interval % 1000 !== 0)
    reader.refuse('interval', `must be a multiple of 1000 milliseconds (${because}), not ${interval}`);
  return { interval, maxOut: reader.number('maxOut', 3, { min: 1, max: MAX_INT32, unit: 'pings' }) };
}

function resolveInitialConnect(reader: OptionReader): ResolvedRetryOptions {
  if (reader.values.initialConnect === false) {
    reader.refuse('initialConnect', 'must be an object, not false: for a single attempt use { retries: 0 }');
  }
  return resolveRetry(reader.nested('initialConnect', RETRY_NAMES), INITIAL_CONNECT);
}

function resolveReconnect(reader: OptionReader): ResolvedRetryOptions | false {
  const given = reader.values.reconnect;
  if (given === false) return false;
  if (given === true)
    reader.refuse('reconnect', 'must be an object or false, not true: leave it out to reconnect for ever');
  return resolveRetry(reader.nested('reconnect', RETRY_NAMES), RECONNECT);
}

function resolveRetry(reader: OptionReader, defaults: ResolvedRetryOptions): ResolvedRetryOptions {
  const minGiven = reader.milliseconds('minTimeout', undefined);
  const maxGiven = reader.milliseconds('maxTimeout', undefined, { infinity: true });
  if (minGiven !== undefined && maxGiven !== undefined && minGiven > maxGiven) {
    reader.refuse(
      'minTimeout',
      `must not be more than '${reader.path('maxTimeout')}' (${maxGiven}), but is ${minGiven}`,
    );
  }
  // With only one of the two given, the other's default makes way.
  const minTimeout = minGiven ?? Math.min(defaults.minTimeout, maxGiven ?? Infinity);
  const maxTimeout = Math.min(MAX_MILLISECONDS, maxGiven ?? Math.max(defaults.maxTimeout, minTimeout));
  return {
    retries: reader.number('retries', defaults.retries, { min: 0, infinity: true }),
    factor: reader.number('factor', defaults.factor, { min: 1, fraction: true }),
    minTimeout,
    maxTimeout,
    randomize: reader.boolean('randomize', defaults.randomize),
    maxRetryTime: reader.milliseconds('maxRetryTime', defaults.maxRetryTime, { infinity: true }),
  };
}

function resolvePublishing(reader: OptionReader): ResolvedPublishingOptions {
  return {
    ordering: reader.oneOf('ordering', 'pipelined', ['pipelined', 'strict']),
    maxInFlight: reader.number('maxInFlight', 1024, { min: 1, unit: 'messages' }),
    ackTimeout: reader.milliseconds('ackTimeout', 30_000),
    maxPending: reader.number('maxPending', 100_000, { min: 1, unit: 'messages' }),
    maxPendingBytes: reader.number('maxPendingBytes', 256 * 1024 * 1024, { min: 1, unit: 'bytes' }),
    whenFull: reader.oneOf('whenFull', 'reject', ['reject', 'wait']),
  };
}

function resolveCredentials(reader: OptionReader, addresses: readonly ServerAddress[]): ResolvedCredentials {
  const credentials = readCredentials(reader);
  const given = CREDENTIAL_NAMES.find((name) => reader.has(name));
  if (reader.has('credentials') && given !== undefined) {
    reader.refuse(given, "cannot be combined with 'credentials', which is asked before every dial: use one of the two");
  }
  const fromUrl = addresses.find(({ user, token }) => user !== undefined || token !== undefined);
  const option = reader.has('credentials') ? 'credentials' : given;
  if (fromUrl !== undefined && option !== undefined) {
    reader.refuse(option, `cannot be combined with the credentials in the URL of ${fromUrl.url}: use one of the two`);
  }
  if (credentials.kind === 'file') checkCredsFile(credentials.userCreds);
  return credentials;
}

function resolveTls(
  reader: OptionReader,
  addresses: readonly ServerAddress[],
): boolean | ConnectionOptions | TlsProvider {
  const given = reader.values.tls;
  const secure = addresses.find(({ tls }) => tls);
  const plain = addresses.find(({ tls }) => !tls);
  if (given === undefined) {
    if (secure !== undefined && plain !== undefined) {
      throw new InvalidArgumentError(
        'servers',
        `the server list mixes ${secure.url}, which asks for TLS, and ${plain.url}, which does not: what is protected on ` +
          "the way to one would go to the other in the clear. Write tls:// for all of them, or set 'tls' to true",
      );
    }
    return false;
  }
  if (given === false) {
    if (secure !== undefined) reader.refuse('tls', `must not be false, because the URL ${secure.url} asks for TLS`);
    return false;
  }
  if (typeof given === 'function') return given as TlsProvider;
  if (given !== true && (typeof given !== 'object' || given === null)) {
    reader.refuse(
      'tls',
      `must be true, false or an object with options of tls.connect, or a function that is asked for it, not ${show(given)}`,
    );
  }
  return checkTlsOptions(given, 'tls');
}

function resolveLogger(reader: OptionReader): ResolvedLogger {
  const logger = reader.values.logger;
  if (logger === undefined) return safeLogger(undefined);
  if (typeof logger !== 'object' && typeof logger !== 'function') {
    reader.refuse('logger', `must be an object with debug, info, warn or error functions, not ${show(logger)}`);
  }
  const levels = LOG_LEVELS.map((level) => {
    const path = `logger.${level}`;
    const value = readForeign(path, `option '${path}'`, () => (Object(logger) as Record<string, unknown>)[level]);
    if (value !== undefined && typeof value !== 'function') {
      throw new InvalidArgumentError(path, `option '${path}' must be a function, not ${show(value)}`);
    }
    return value;
  });
  if (levels.every((level) => level === undefined)) {
    reader.refuse(
      'logger',
      `must have at least one of the functions debug, info, warn and error, and ${show(logger)} has none`,
    );
  }
  return safeLogger(logger as Logger);
}

const PUBLISH_NAMES: OptionNames = {
  known: ['timeout', 'signal'],
  hints: { ackTimeout: "'publishing.ackTimeout' is an option of connect; the limit of this publish is 'timeout'" },
};
const NO_PUBLISH_OPTIONS: ResolvedPublishOptions = Object.freeze({});
const NOT_SENT = { delivery: 'not-sent' } as const;

/** @throws InvalidArgumentError with `delivery: 'not-sent'` */
export function resolvePublishOptions(options?: unknown): ResolvedPublishOptions {
  // Most publishes have none, and this is their hot path.
  if (options === undefined) return NO_PUBLISH_OPTIONS;
  const reader = new OptionReader(options, 'options', PUBLISH_NAMES, NOT_SENT);
  const timeout = resolveTimeout(reader);
  const signal = reader.signal();
  return { ...(timeout !== undefined && { timeout }), ...(signal && { signal }) };
}

/** Infinity says the same as leaving it out. */
function resolveTimeout(reader: OptionReader): number | undefined {
  const timeout = reader.milliseconds('timeout', undefined, { infinity: true });
  return timeout === Infinity ? undefined : timeout;
}

/** @throws InvalidArgumentError */
export function resolveFlushOptions(options?: unknown): { timeout: number | undefined } {
  return { timeout: resolveTimeout(new OptionReader(options, 'options', { known: ['timeout'] })) };
}

/** `timeout` 0 closes without a drain; undefined is no limit. @throws InvalidArgumentError */
export function resolveCloseOptions(options?: unknown): { timeout: number | undefined } {
  const reader = new OptionReader(options, 'options', { known: ['timeout'] });
  const timeout = reader.milliseconds('timeout', CLOSE_TIMEOUT, { min: 0, infinity: true });
  return { timeout: timeout === Infinity ? undefined : timeout };
}

const SUBSCRIBE_NAMES: OptionNames = {
  known: [
    'durableName',
    'queueGroup',
    'startAt',
    'maxInFlight',
    'ackWait',
    'manualAck',
    'concurrency',
    'maxDeliveries',
    'deadLetter',
    'signal',
  ],
  hints: {
    // What the same thing is called in node-nats-streaming, stan.go and nats.
    durable: "did you mean 'durableName'?",
    qGroup: "did you mean 'queueGroup'?",
    group: "did you mean 'queueGroup'?",
    queue: "did you mean 'queueGroup'?",
    manualAcks: "did you mean 'manualAck'?",
    manualAckMode: "did you mean 'manualAck'?",
    startPosition: "use 'startAt': 'new', 'last', 'first', { sequence }, { time } or { ago }",
    startSequence: "use 'startAt: { sequence }'",
    startTime: "use 'startAt: { time }'",
    startTimeDelta: "use 'startAt: { ago }'",
    deliverAllAvailable: `use "startAt: 'first'"`,
    deliverAll: `use "startAt: 'first'"`,
  },
};

/** What a subscription's options mean depends on this of its client. */
export interface SubscribeContext {
  readonly clientIdGenerated: boolean;
}

/** @throws InvalidArgumentError */
export function resolveSubscribeOptions(
  channel: unknown,
  handler: unknown,
  options: unknown,
  context: SubscribeContext,
): ResolvedSubscribeOptions {
  checkChannel(channel);
  if (typeof handler !== 'function') {
    const hint =
      handler === undefined || typeof options === 'function' || typeof handler === 'object'
        ? ': subscribe(channel, handler, options)'
        : '';
    throw new InvalidArgumentError(
      'handler',
      `the handler must be a function (message) => …, not ${show(handler)}${hint}`,
    );
  }
  return readSubscribeOptions(options, context);
}

/** For `messages()`, which has no handler: a message is acknowledged when the next one is asked for. @throws InvalidArgumentError */
export function resolveMessagesOptions(
  channel: unknown,
  options: unknown,
  context: SubscribeContext,
): ResolvedSubscribeOptions {
  checkChannel(channel);
  if (typeof options === 'function') {
    throw new InvalidArgumentError(
      'options',
      'messages(channel, options) takes no handler: iterate over it, or use subscribe()',
    );
  }
  const resolved = readSubscribeOptions(options, context);
  const refuse = (name: string, reason: string) => {
    throw new InvalidArgumentError(name, `option '${name}' has no meaning for messages(): ${reason}`);
  };
  if (resolved.manualAck) refuse('manualAck', 'a message is acknowledged when the next one is asked for');
  if (resolved.concurrency > 1) refuse('concurrency', 'the loop takes one message at a time; use subscribe()');
  return resolved;
}

function readSubscribeOptions(options: unknown, { clientIdGenerated }: SubscribeContext): ResolvedSubscribeOptions {
  const reader = new OptionReader(options, 'options', SUBSCRIBE_NAMES);
  const { durableName, queueGroup } = reader.values;
  if (durableName !== undefined) checkSubscriptionName(durableName, 'durableName');
  if (queueGroup !== undefined) checkSubscriptionName(queueGroup, 'queueGroup');
  if (durableName !== undefined && queueGroup === undefined && clientIdGenerated) {
    reader.refuse(
      'durableName',
      'needs a client ID of your own: the server keeps a durable per client ID, and a generated one is another at the ' +
        "next start, so the durable would never be found again. Set 'clientId' in the options of connect",
    );
  }

  const maxInFlight = reader.number('maxInFlight', 1024, { min: 1, max: MAX_INT32, unit: 'messages' });
  const concurrency = reader.number('concurrency', 1, { min: 1, unit: 'handlers' });
  if (concurrency > maxInFlight) {
    reader.refuse(
      'concurrency',
      `must not be more than 'maxInFlight' (${maxInFlight}), because the server sends no more than that at a time; it is ${concurrency}`,
    );
  }
  const ackWait = reader.milliseconds('ackWait', 30_000, { min: 1000, because: 'the protocol has whole seconds' });
  const maxDeliveries = reader.number('maxDeliveries', undefined, { min: 1, unit: 'deliveries' });
  const deadLetter = reader.callback<DeadLetterHandler>('deadLetter', '(message, error) => Promise<void>');
  if (deadLetter !== undefined && maxDeliveries === undefined) {
    reader.refuse('deadLetter', "would never be called without 'maxDeliveries': set it beside");
  }
  const signal = reader.signal();
  const startAt = resolveStartAt(reader);
  if (durableName !== undefined || queueGroup !== undefined) refuseFuture(reader, startAt);
  return {
    ...(durableName !== undefined && { durableName }),
    ...(queueGroup !== undefined && { queueGroup }),
    startAt,
    maxInFlight,
    ackWait: Math.ceil(ackWait / 1000) * 1000,
    manualAck: reader.boolean('manualAck', false),
    concurrency,
    ...(maxDeliveries !== undefined && { maxDeliveries }),
    ...(deadLetter && { deadLetter }),
    ...(signal && { signal }),
  };
}

/** The clocks of two hosts may be so far apart, ms. */
const CLOCKS_APART = 60_000;

/** What is before the time cannot be dropped where the server may know a position, which goes before any start. */
function refuseFuture(reader: OptionReader, startAt: StartAt): void {
  if (typeof startAt !== 'object' || !('time' in startAt) || startAt.time.getTime() <= Date.now() + CLOCKS_APART)
    return;
  reader.refuse(
    'startAt',
    `must not be a time to come for a durable or a queue group, and ${startAt.time.toISOString()} is one: the server would ` +
      "deliver what is stored before it. Use 'new', or subscribe at that time",
  );
}

const START_POSITIONS = ['new', 'last', 'first'] as const;
const START_NAMES: OptionNames = {
  known: ['sequence', 'time', 'ago'],
  hints: { delta: "did you mean 'startAt.ago'?", date: "did you mean 'startAt.time'?" },
};

function resolveStartAt(reader: OptionReader): StartAt {
  const given = reader.values.startAt;
  if (types.isDate(given)) reader.refuse('startAt', 'must not be a bare Date: use { time: date }');
  if (typeof given === 'number')
    reader.refuse('startAt', `must not be a bare number: use { sequence: ${given} } or { ago: milliseconds }`);
  if (typeof given !== 'object' || given === null || readForeign('startAt', 'startAt', () => Array.isArray(given))) {
    const named =
      typeof given === 'string' && given !== '' ? reader.oneOf('startAt', 'new' as const, START_POSITIONS) : undefined;
    if (given === undefined || named !== undefined) return named ?? 'new';
    reader.refuse('startAt', `must be 'new', 'last', 'first', { sequence }, { time } or { ago }, not ${show(given)}`);
  }

  const nested = reader.nested('startAt', START_NAMES);
  const names = START_NAMES.known.filter((name) => nested.has(name));
  if (names.length !== 1) {
    reader.refuse(
      'startAt',
      `must have exactly one of sequence, time and ago; it has ${names.length === 0 ? 'none' : names.join(' and ')}`,
    );
  }
  if (nested.has('sequence')) {
    return {
      sequence: nested.number('sequence', 1, { min: 1, because: 'the first message of a channel has sequence 1' }),
    };
  }
  if (nested.has('ago')) {
    // No timer waits for it, so it may be as long as anybody likes.
    return { ago: nested.number('ago', 0, { min: 0, unit: 'milliseconds' }) };
  }
  const time = nested.values.time;
  if (!types.isDate(time)) return nested.refuse('time', `must be a Date, not ${show(time)}: use new Date(…)`);
  // Not its own: a Date may have been given another getTime.
  const at = Date.prototype.getTime.call(time);
  if (Number.isNaN(at)) nested.refuse('time', 'is an invalid Date');
  return { time: new Date(at) };
}
