/** The JetStream side of a migration, through the official client. It alone loads that client, when it is asked for. */
import '../dispose.js';
import { readFile } from 'node:fs/promises';
import type * as jetstream from '@nats-io/jetstream';
import type { JetStreamClient, JetStreamManager, StoredMsg, StreamInfo } from '@nats-io/jetstream';
import type * as core from '@nats-io/transport-node';
import type { Authenticator, NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node';
import { makeClock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import { describe } from '../errors.js';
import { apiCode, isRefusal, NO_MESSAGE, STREAM_NOT_FOUND } from './api-errors.js';
import { MigrationTargetError, PeerMissingError } from './errors.js';
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

  private constructor(client: OfficialClient, connection: NatsConnection, manager: JetStreamManager) {
    this.client = client;
    this.connection = connection;
    this.manager = manager;
    this.jetstream = manager.jetstream();
  }

  /**
   * Connects, and makes sure that there is JetStream.
   * @throws PeerMissingError when the official client is not installed
   * @throws MigrationTargetError when there is no connection, or no JetStream
   */
  static async open(side: Side, signal?: AbortSignal): Promise<Target> {
    signal?.throwIfAborted();
    const client = await loadOfficialClient();
    const connection = await dial(client, side);
    try {
      const manager = await client.jetstream.jetstreamManager(connection, { checkAPI: false });
      const target = new Target(client, connection, manager);
      await target.#checkJetStream(signal);
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
      return await this.manager.streams.info(name);
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
      await this.client.core.delay(ASK_AGAIN_AFTER);
    }
  }

  /**
   * Lets a stream with several replicas choose its leader anew, and waits for the new one. The new leader tells the others to count
   * from nothing what they had to refuse. It takes at most {@link STEP_DOWN} and one question more.
   * @returns whether another server leads the stream now, or it has one replica only
   */
  async stepDown(name: string, signal?: AbortSignal): Promise<boolean> {
    const clock = makeClock();
    const deadline = clock.now() + STEP_DOWN;
    let former: string | undefined;
    while (clock.now() < deadline && signal?.aborted !== true) {
      // Nobody answers while a leader is elected.
      const found = await this.stream(name).catch(() => undefined);
      if (found?.config.num_replicas === 1) return true;
      const leader = found?.cluster?.leader;
      if (leader !== undefined && former !== undefined && leader !== former) return true;
      if (leader !== undefined) {
        former = leader;
        const subject = `$JS.API.STREAM.LEADER.STEPDOWN.${name}`;
        await this.connection.request(subject, '{}', { timeout: 5000 }).catch(() => undefined);
      }
      await this.client.core.delay(ASK_AGAIN_AFTER);
    }
    return false;
  }

  /** A message of a stream, as the leader of the stream has it. Undefined when there is none of this number. */
  async message(stream: string, seq: number): Promise<StoredMsg | undefined> {
    try {
      return (await this.manager.streams.getMessage(stream, { seq })) ?? undefined;
    } catch (error) {
      if (apiCode(error) === NO_MESSAGE) return undefined;
      throw error;
    }
  }

  /** The names of the streams that listen on a subject, or on a part of it. */
  async streamsOn(subject: string): Promise<string[]> {
    const names: string[] = [];
    for await (const name of this.manager.streams.names(subject)) names.push(name);
    return names;
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

  async #checkJetStream(signal: AbortSignal | undefined): Promise<void> {
    const clock = makeClock();
    const patience = clock.now() + PATIENCE;
    for (;;) {
      try {
        await this.manager.getAccountInfo();
        return;
      } catch (error) {
        signal?.throwIfAborted();
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
        if (clock.now() < patience) {
          await pause(clock, 500);
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
    `JetStream did not answer as it should while ${what}: ${describe(error)}. Run it again`,
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
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      if (!isOfClient(error) || isRefusal(error) || isDenied(error) || attempt === ATTEMPTS)
        throw targetError(error, what);
      await pause(makeClock(), PAUSE);
    }
  }
}

/** Connects to the servers of one side. @throws MigrationTargetError */
export async function dial({ core }: OfficialClient, { addresses, options }: Side): Promise<NatsConnection> {
  const { tls } = options;
  const secure = tls === true || typeof tls === 'object' || addresses.some((address) => address.tls);
  try {
    return await core.connect({
      servers: addresses.map(({ host, port }) => `${host}:${port}`),
      name: 'resilient-stan migrate',
      authenticator: await authenticators(core, addresses, options),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
      reconnectJitter: 50,
      timeout: 5000,
      ...(secure && { tls: (typeof tls === 'object' ? tls : {}) as NonNullable<NodeConnectionOptions['tls']> }),
    });
  } catch (error) {
    throw new MigrationTargetError(
      `no connection to JetStream at ${addresses.map(({ url }) => url).join(', ')}: ${describe(error)}`,
      { cause: error },
    );
  }
}

async function authenticators(
  core: OfficialClient['core'],
  addresses: Side['addresses'],
  { user, pass, token, nkey, userCreds }: Side['options'],
): Promise<Authenticator[]> {
  if (userCreds !== undefined) {
    let file: Buffer;
    try {
      file = await readFile(userCreds);
    } catch (error) {
      throw new MigrationTargetError(`the credentials file cannot be read: ${describe(error)}`, { cause: error });
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
