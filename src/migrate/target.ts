/** The JetStream side of a migration, through the official client. It alone loads that client, when it is asked for. */
import '../dispose.js';
import { readFile } from 'node:fs/promises';
import type * as jetstream from '@nats-io/jetstream';
import type { JetStreamClient, JetStreamManager, StoredMsg, StreamInfo } from '@nats-io/jetstream';
import type * as core from '@nats-io/transport-node';
import type { Authenticator, NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node';
import { makeClock, type Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { describe } from '../errors.js';
import { apiCode, isRefusal, NO_MESSAGE, STREAM_NOT_FOUND } from './api-errors.js';
import { MigrationSourceError, MigrationTargetError, PeerMissingError } from './errors.js';
import { GRACE, interruptible, interruptiblePause } from './interruptible.js';
import type { Side } from './options.js';

/** The packages of the official client. */
export interface OfficialClient {
  readonly core: typeof core;
  readonly jetstream: typeof jetstream;
}

/** @throws PeerMissingError when they are not installed */
export async function loadOfficialClient(): Promise<OfficialClient> {
  return { core: await loadCore(), jetstream: await loadJetStream() };
}

// Bundlers take a package that may be absent for optional only where the import itself stands in a `try`.
async function loadCore(): Promise<OfficialClient['core']> {
  try {
    return await import('@nats-io/transport-node');
  } catch (error) {
    throw new PeerMissingError('@nats-io/transport-node', error);
  }
}

async function loadJetStream(): Promise<OfficialClient['jetstream']> {
  try {
    return await import('@nats-io/jetstream');
  } catch (error) {
    throw new PeerMissingError('@nats-io/jetstream', error);
  }
}

/** The version of a server, as numbers. */
export type Version = readonly [major: number, minor: number, patch: number];

/** For how long a cluster may be without a leader of JetStream, in ms. */
const PATIENCE = 10_000;
/** How often a stream that was there is asked for, and the pause between, in ms: 10 s in all. */
const ASK_AGAIN = 41;
const ASK_AGAIN_AFTER = 250;

/** Where a server says that the configuration of a stream was changed; the name of the stream follows. */
const STREAM_CHANGES = '$JS.EVENT.ADVISORY.STREAM.UPDATED.';
/** How long a stream may take to choose another leader, in ms. */
const STEP_DOWN = 20_000;

/** A connection to the servers with JetStream. */
export class Target {
  readonly client: OfficialClient;
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly jetstream: JetStreamClient;
  readonly #signal: AbortSignal | undefined;
  readonly #clock = makeClock();

  private constructor(
    client: OfficialClient,
    connection: NatsConnection,
    manager: JetStreamManager,
    signal: AbortSignal | undefined,
  ) {
    this.client = client;
    this.connection = connection;
    this.manager = manager;
    this.jetstream = manager.jetstream();
    this.#signal = signal;
  }

  /**
   * Connects, and makes sure that there is JetStream.
   * @throws PeerMissingError when the official client is not installed
   * @throws MigrationTargetError when there is no connection, or no JetStream
   * @throws AbortedError when the signal is aborted
   */
  static async open(side: Side, signal?: AbortSignal, leave: Leave = {}): Promise<Target> {
    signal?.throwIfAborted();
    const client = await loadOfficialClient();
    const connection = await dial(client, side, signal, leave);
    try {
      const manager = await client.jetstream.jetstreamManager(connection, { checkAPI: false });
      const target = new Target(client, connection, manager, signal);
      await interruptible(signal, () => target.#checkJetStream(), { grace: 0 });
      return target;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  /** The version of the server that it is connected to. */
  get version(): Version {
    const [, major, minor, patch] = /^v?(\d+)\.(\d+)\.(\d+)/.exec(this.connection.info?.version ?? '') ?? [];
    return [Number(major ?? 0), Number(minor ?? 0), Number(patch ?? 0)];
  }

  /** The largest message that the server takes, with its headers, in bytes. */
  get maxPayload(): number {
    return this.connection.info?.max_payload ?? 0;
  }

  /** Whether the server is one of a cluster. */
  get isClustered(): boolean {
    return this.connection.info?.cluster !== undefined;
  }

  /** Whether the server is of a version or a later one. */
  isAtLeast(major: number, minor: number): boolean {
    const [ours, own] = this.version;
    return ours > major || (ours === major && own >= minor);
  }

  /** A stream as it is now. Undefined when there is none of this name. */
  async stream(name: string): Promise<StreamInfo | undefined> {
    try {
      return await this.#ask(() => this.manager.streams.info(name));
    } catch (error) {
      if (apiCode(error) === STREAM_NOT_FOUND) return undefined;
      throw error;
    }
  }

  /**
   * A stream that was there a moment ago. A server that has just become the leader of JetStream, or has just started, may not know
   * it yet and says that there is none; so that is believed only when it is said for a while.
   */
  async knownStream(name: string): Promise<StreamInfo | undefined> {
    for (let asked = 1; ; asked++) {
      const found = await this.stream(name);
      if (found !== undefined || !this.isClustered || asked === ASK_AGAIN) return found;
      await this.pause(ASK_AGAIN_AFTER);
    }
  }

  /**
   * Lets a stream with several replicas choose its leader anew, and waits for the new one. The new leader tells the others to count
   * from nothing what they had to refuse. It takes at most {@link STEP_DOWN} and one question more.
   * @returns whether another server leads the stream now, or it has one replica only, or there is none. False when the signal is aborted
   */
  async stepDown(name: string, signal = this.#signal): Promise<boolean> {
    const deadline = this.#clock.now() + STEP_DOWN;
    let former: string | undefined;
    while (this.#clock.now() < deadline && signal?.aborted !== true) {
      // Nobody answers while a leader is elected.
      const found = await this.stream(name).catch(() => 'no answer' as const);
      if (found === undefined) return true;
      const { config, cluster } = found === 'no answer' ? {} : found;
      if (config?.num_replicas === 1) return true;
      const leader = cluster?.leader;
      if (leader !== undefined && former !== undefined && leader !== former) return true;
      if (leader !== undefined) {
        former = leader;
        const subject = `$JS.API.STREAM.LEADER.STEPDOWN.${name}`;
        await interruptible(signal, () => this.connection.request(subject, '{}', { timeout: 5000 })).catch(
          () => undefined,
        );
      }
      await interruptiblePause(this.#clock, ASK_AGAIN_AFTER, signal).catch(() => undefined);
    }
    return false;
  }

  /** A message of a stream, as the leader of the stream has it. Undefined when there is none of this number. */
  async message(stream: string, seq: number): Promise<StoredMsg | undefined> {
    try {
      return (await this.#ask(() => this.manager.streams.getMessage(stream, { seq }))) ?? undefined;
    } catch (error) {
      if (apiCode(error) === NO_MESSAGE) return undefined;
      throw error;
    }
  }

  /** The names of the streams that listen on a subject, or on a part of it. */
  async streamsOn(subject: string): Promise<string[]> {
    return await this.#ask(async () => {
      const names: string[] = [];
      for await (const name of this.manager.streams.names(subject)) names.push(name);
      return names;
    });
  }

  /** Calls back each time that the connection is lost. Returns what ends that. */
  onDisconnect(callback: () => void): () => void {
    const status = this.connection.status()[Symbol.asyncIterator]();
    let over = false;
    const listen = async (): Promise<void> => {
      for (let next = await status.next(); next.done !== true && !over; next = await status.next()) {
        if (next.value.type === 'disconnect') callback();
      }
    };
    void listen();
    return () => void (over = true);
  }

  /**
   * Calls back with the name of a stream each time that somebody has changed its configuration, as long as the user may hear of it.
   * Returns what ends that.
   */
  onStreamChange(callback: (stream: string) => void): () => void {
    const subscription = this.connection.subscribe(`${STREAM_CHANGES}*`, {
      callback: (error, message) => {
        // A user without the permission learns of changes when nobody takes a message any more.
        if (error === null) callback(message.subject.slice(STREAM_CHANGES.length));
      },
    });
    return () => {
      if (!subscription.isClosed()) subscription.unsubscribe();
    };
  }

  /** Whether the official client has given up, as when its credentials are refused. */
  get isClosed(): boolean {
    return this.connection.isClosed();
  }

  /** Whether an error is what the servers have answered, or that they have not, and no fault of this program. */
  isAnswer(error: unknown): boolean {
    const { core, jetstream } = this.client;
    const kinds = [...Object.values(core.errors), jetstream.JetStreamError, jetstream.JetStreamApiError];
    // The client does not export every error that it throws.
    return kinds.some((kind) => error instanceof kind) || (error as Error | undefined)?.name === 'JetStreamNotEnabled';
  }

  /** What a step ends with when the official client has given up. */
  closedError(cause: unknown): MigrationTargetError {
    return new MigrationTargetError(`the connection to JetStream is closed for good: ${describe(cause)}`, { cause });
  }

  async close(): Promise<void> {
    await this.connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Resolves after so many ms.
   * @throws AbortedError as soon as the signal is aborted
   */
  pause(ms: number): Promise<void> {
    return interruptiblePause(this.#clock, ms, this.#signal);
  }

  /** An answer that does not come any more is not waited for when the signal is aborted. */
  #ask<T>(question: () => Promise<T>): Promise<T> {
    return interruptible(this.#signal, question);
  }

  async #checkJetStream(): Promise<void> {
    const patience = this.#clock.now() + PATIENCE;
    for (;;) {
      try {
        await this.manager.getAccountInfo();
        return;
      } catch (error) {
        const { version, jetstream } = this.connection.info ?? {};
        const server = `${this.connection.getServer()} (${version})`;
        // Nobody answers for a server without JetStream, unless others of its cluster have it.
        if (jetstream !== true) {
          throw new MigrationTargetError(
            `the server at ${server} has no JetStream. For a move in place, 'resilient-stan migrate plan --in-place' says which ` +
              "lines the configuration of each server lacks. For a move to other servers, name them with 'to' (--to)",
            { cause: error },
          );
        }
        // A cluster refuses for as long as it has no leader.
        if (this.#clock.now() < patience) {
          await this.pause(500);
          continue;
        }
        throw new MigrationTargetError(
          `JetStream at ${server} does not answer: ${describe(error)}. Enable it for the account, or, if its cluster has no leader, ` +
            'start the missing servers',
          { cause: error },
        );
      }
    }
  }
}

/** Whether an error says, or was caused by one that says, that the user lacks a permission. It does not pass by itself. */
export function isDenied(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each.name === 'PermissionViolationError') return true;
  }
  return false;
}

/** Whether an error is of the official client, or of the servers that it asks. */
const isOfClient = (error: unknown): error is Error =>
  error instanceof Error &&
  /^(JetStream\w*|(StreamNotFound|ConsumerNotFound|Timeout|Request|Connection|ClosedConnection|DrainingConnection|Protocol|PermissionViolation|Authorization)Error|NoResponders)$/.test(
    error.name,
  );

/** What a step ends with when the official client fails. Any other error stays what it is. */
export function targetError(error: unknown, what: string): unknown {
  if (!isOfClient(error)) return error;
  return new MigrationTargetError(
    `JetStream did not answer as it should while ${what}: ${describe(error)}. See that all its servers run, above all the one that ` +
      'keeps the stream, and run it again',
    {
      cause: error,
    },
  );
}

/** How often a step asks anew while the servers are restarted or elect, and the pause before, in ms. */
const ATTEMPTS = 15;
const PAUSE = 1000;

/**
 * Does a piece of work that only reads, and does it anew when the servers of the target are away for a moment.
 * @param what the work, for the error: "channel 'orders' was compared"
 * @throws MigrationTargetError when they stay away; the errors of the work
 */
export async function readPatiently<T>(
  what: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await interruptible(signal, work);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isOfClient(error) || isRefusal(error) || isDenied(error) || attempt === ATTEMPTS)
        throw targetError(error, what);
      await interruptiblePause(makeClock(), PAUSE, signal);
    }
  }
}

/** How a connection ends when the signal of its step is aborted. */
export interface Leave {
  /**
   * Whether the step says then what it has done, and asks the servers for that. The connection is closed all the same when they do not
   * even answer a ping. Default false: it is closed a second later.
   */
  readonly inGoodOrder?: boolean;
}

/**
 * Connects to the servers of one side.
 * @throws MigrationTargetError, or MigrationSourceError, when there is no connection; AbortedError when the signal is aborted
 */
export async function dial(
  { core }: OfficialClient,
  side: Side,
  signal: AbortSignal | undefined,
  { inGoodOrder = false }: Leave = {},
): Promise<NatsConnection> {
  const { addresses, options } = side;
  const { tls } = options;
  const secure = tls === true || typeof tls === 'object' || addresses.some((address) => address.tls);
  const authenticator = await authenticators(core, side);
  try {
    const connect = (): Promise<NatsConnection> =>
      core.connect({
        servers: addresses.map(({ host, port }) => `${host}:${port}`),
        name: 'resilient-stan migrate',
        authenticator,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 100,
        reconnectJitter: 50,
        timeout: 5000,
        ...(secure && { tls: (typeof tls === 'object' ? tls : {}) as NonNullable<NodeConnectionOptions['tls']> }),
      });
    const connection = await interruptible(signal, connect, { grace: 0, discard: (late) => late.close() });
    if (signal !== undefined) void closeAfterAbort(connection, signal, inGoodOrder);
    return connection;
  } catch (error) {
    signal?.throwIfAborted();
    throw noConnection(side, error);
  }
}

/** Closes a connection a second after its signal is aborted, or a second after the servers fall silent. */
async function closeAfterAbort(connection: NatsConnection, signal: AbortSignal, inGoodOrder: boolean): Promise<void> {
  const clock = makeClock();
  const aborted = new Promise<void>((resolve) => {
    const hear = (): void => resolve();
    signal.addEventListener('abort', hear, { once: true });
    if (signal.aborted) hear();
    void connection.closed().then(() => {
      signal.removeEventListener('abort', hear);
      resolve();
    });
  });
  await aborted;
  let heard = clock.now();
  while (!connection.isClosed() && clock.now() - heard < GRACE) {
    if (inGoodOrder && (await answersPing(connection, clock))) heard = clock.now();
    await Promise.race([pause(clock, PING_AGAIN), connection.closed()]);
  }
  await connection.close();
}

/** The pause between two pings, in ms. */
const PING_AGAIN = 200;

async function answersPing(connection: NatsConnection, clock: Clock): Promise<boolean> {
  const answer = connection.rtt().then(
    () => true,
    () => false,
  );
  return await Promise.race([answer, pause(clock, GRACE).then(() => false)]);
}

/** The error of a side that cannot be connected to: which side, which servers, and what to do. */
export function noConnection(side: Side, error: unknown, as = ''): MigrationSourceError | MigrationTargetError {
  const { role, addresses } = side;
  const Kind = role === 'STAN' ? MigrationSourceError : MigrationTargetError;
  const where = addresses.map(({ host, port }) => `${host}:${port}`).join(', ');
  return new Kind(
    `no connection to ${role} at ${where}${as && ` ${as}`}: ${describe(error)}. ${adviceFor(error, side)}`,
    {
      cause: error,
    },
  );
}

/** What to do when there is no connection. */
function adviceFor(error: unknown, { option, role }: Side): string {
  const text = `${(error as Error | undefined)?.name}: ${describe(error)}`;
  const dashes = option === 'source' ? '--' : '--to-';
  if (/authori[sz]ation|authentication|credentials|nkey|seed|JWT/i.test(text)) {
    const flags = ['user', 'pass', 'token', 'nkey', 'creds'].map((name) => `${dashes}${name}`).join(', ');
    return `Correct the credentials of the servers of ${role}, in the option '${option}' (${flags}) or in the URL`;
  }
  if (/certificate|TLS|SSL|altname|handshake|secure/i.test(text)) {
    const flags = ['tls', 'tls-ca', 'tls-cert', 'tls-key', 'tls-servername']
      .map((name) => `${dashes}${name}`)
      .join(', ');
    return `Correct the TLS options of the servers of ${role}, in the option '${option}' (${flags})`;
  }
  return `See that they run, and that the URLs of ${role} are right`;
}

async function authenticators(core: OfficialClient['core'], side: Side): Promise<Authenticator[]> {
  const { addresses } = side;
  const { user, pass, token, nkey, userCreds } = side.options;
  if (userCreds !== undefined) {
    let file: Buffer;
    try {
      file = await readFile(userCreds);
    } catch (error) {
      throw noConnection(side, error);
    }
    return [core.credsAuthenticator(file)];
  }
  if (nkey !== undefined) return [core.nkeyAuthenticator(Buffer.from(nkey))];
  if (token !== undefined) return [core.tokenAuthenticator(token)];
  if (user !== undefined) return [core.usernamePasswordAuthenticator(user, pass)];
  const inUrl = addresses.find((address) => address.user !== undefined || address.token !== undefined);
  if (inUrl?.token !== undefined) return [core.tokenAuthenticator(inUrl.token)];
  if (inUrl?.user !== undefined) return [core.usernamePasswordAuthenticator(inUrl.user, inUrl.pass)];
  return [];
}
