/** The STAN side of a migration: what its monitoring says, and a client that reads its channels. */
import '../dispose.js';
import { expectManyListeners } from '../abort-signal.js';
import { makeClock, type Clock } from '../clock/clock.js';
import { describe } from '../errors.js';
import { figuresOf, type ChannelFigures } from '../monitoring/channel-figures.js';
import type { Channelz, Routez, Serverz } from '../monitoring/pages.js';
import {
  allChannels,
  findStreamingServer,
  leads,
  oneChannel,
  type Monitoring,
} from '../monitoring/streaming-server.js';
import { ResilientStan, type ConnectOptions } from '../resilient-stan.js';
import { suggest } from '../suggest.js';
import { checkChannel } from '../validation.js';
import { MigrationSourceError } from './errors.js';
import { interruptible, interruptiblePause } from './interruptible.js';
import { matches, isPattern, type ResolvedMigrateOptions } from './options.js';
import type { Problem } from './report.js';
import { limitsOf, type ChannelLimits, type StoreLimits } from './stan-limits.js';
import { noConnection } from './target.js';

/** One channel of STAN. */
export interface SourceChannel extends ChannelFigures {
  readonly limits: ChannelLimits;
}

/** The channels that were asked for. */
export interface SourceChannels {
  /** By name. */
  readonly channels: SourceChannel[];
  /** What is wrong with names that were given, or that channels have. */
  readonly problems: Problem[];
  /** What the monitoring says of each channel and its subscriptions, by name. */
  readonly pages: ReadonlyMap<string, Channelz>;
}

interface Storez {
  readonly limits: StoreLimits;
}

/** How long a server that leads is looked for, in ms. The servers' own timings need up to eight seconds. */
const PATIENCE = 15_000;
/** The pause before it is looked for again, in ms. */
const PAUSE = 200;
/** How often the monitoring may not know a client that has just connected. */
const STRANGE = 8;

/** Up to so many times as many channels as are asked for, all of them are asked for at once. */
const PAGES_OF_ALL = 20;

/** Questions for channels that are asked together. */
interface Batch {
  readonly names: Set<string>;
  readonly pages: Promise<ReadonlyMap<string, Channelz>>;
}

/** What is found at the monitoring, or why nothing is. */
type Found = { readonly monitoring: Monitoring } | { readonly reason: string };

/** A server that leads, or why there is none at the moment. */
type Look = { readonly leader: Monitoring } | { readonly reason: string };

export class Source {
  readonly #options: ResolvedMigrateOptions;
  readonly #clock: Clock = makeClock();
  #monitoring: Monitoring;
  /** The server that leads, as it was found last. Undefined: it is to be found. */
  #leader: Promise<Look> | undefined;
  /** How many channels there are, as it was told last. */
  #total = Infinity;
  /** The questions for channels that are collected while others are on their way. */
  #batch: Batch | undefined;
  #batches: Promise<unknown> = Promise.resolve();
  /** How often in a row the monitoring did not know our client. */
  #strange = 0;
  /** Whether a server that leads was found before, which knew our client. */
  #wasFound = false;
  #limits: StoreLimits | undefined;
  #stan: Promise<ResilientStan> | undefined;

  /** Ends the requests that are on their way. */
  readonly #end: AbortController;

  private constructor(options: ResolvedMigrateOptions, monitoring: Monitoring, end: AbortController) {
    this.#options = options;
    this.#monitoring = monitoring;
    this.#end = end;
  }

  /**
   * Finds the monitoring. Nothing is connected yet.
   * @throws MigrationSourceError when nobody answers, or it is another cluster; AbortedError when the signal is aborted
   */
  static async open(options: ResolvedMigrateOptions): Promise<Source> {
    const { signal } = options;
    signal.throwIfAborted();
    const end = new AbortController();
    expectManyListeners(end.signal);
    try {
      const found = await interruptible(signal, () => find(options, end.signal), { grace: 0 });
      if ('reason' in found) throw new MigrationSourceError(found.reason);
      return new Source(options, found.monitoring, end);
    } catch (error) {
      end.abort();
      throw error;
    }
  }

  /** What the server says of itself. */
  get server(): Monitoring['server'] {
    return this.#monitoring.server;
  }

  /** The monitoring that is asked now. */
  get monitorUrl(): string {
    return this.#monitoring.url;
  }

  /** A client of the STAN servers. It is connected at the first call, and closed by {@link close}. */
  stan(): Promise<ResilientStan> {
    this.#stan ??= this.#anotherStan();
    return this.#stan;
  }

  /** A further client, which the caller closes. */
  async #anotherStan(): Promise<ResilientStan> {
    const { source, clusterId, signal } = this.#options;
    const options: ConnectOptions = {
      clusterId,
      name: 'resilient-stan migrate',
      ...(source.options as ConnectOptions),
      signal,
    };
    try {
      return await interruptible(signal, () => ResilientStan.connect([...source.servers], options));
    } catch (error) {
      signal.throwIfAborted();
      throw noConnection(source, error);
    }
  }

  /**
   * The channels that were asked for, by name, and a problem for each name that does not exist.
   * @param settings `figures: false` when only the names count, and those of a server that does not lead will do. Default: true
   * @throws MigrationSourceError when the monitoring does not answer, nobody leads, or STAN cannot be reached
   */
  async channels({ figures = true } = {}): Promise<SourceChannels> {
    const all = figures ? await this.#ask(allChannels) : await this.#askAnybody(allChannels);
    this.#total = all.length;
    const limits = await this.#serverLimits();
    const wanted = this.#options.channels;
    const names = all.map(({ name }) => name);
    const problems = (wanted ?? []).flatMap((given): Problem[] => {
      if (names.some((name) => matches(given, name))) return [];
      const near = suggest(given, names);
      const what = isPattern(given) ? `no channel fits '${given}'` : `there is no channel '${given}'`;
      const hint = near === undefined ? "'resilient-stan channels' lists them" : `did you mean '${near}'?`;
      return [
        { code: 'no-channel', channel: given, message: `${what} in cluster '${this.#options.clusterId}': ${hint}` },
      ];
    });
    const meant = all.filter(({ name }) => wanted === undefined || wanted.some((given) => matches(given, name)));
    for (const { name } of meant) {
      const fault = nameFault(name);
      if (fault === undefined) continue;
      const message = `${fault}, so it cannot be moved: name the others with 'channels'`;
      problems.push({ code: 'impossible-name', channel: name, message });
    }
    const channels = meant
      .filter(({ name }) => nameFault(name) === undefined)
      .map((page) => ({ ...figuresOf(page), limits: limitsOf(limits, page.name) }))
      .sort((a, b) => (a.channel < b.channel ? -1 : 1));
    return { channels, problems, pages: new Map(meant.map((page) => [page.name, page])) };
  }

  /** The figures of one channel as they are now. Undefined when there is none of this name. */
  async channel(name: string): Promise<SourceChannel | undefined> {
    const page = await this.page(name);
    if (page === undefined) return undefined;
    return { ...figuresOf(page), limits: limitsOf(await this.#serverLimits(), name) };
  }

  /** What the monitoring says of one channel and its subscriptions. Undefined when there is none of this name. */
  async page(name: string): Promise<Channelz | undefined> {
    this.#batch ??= this.#nextBatch();
    this.#batch.names.add(name);
    return (await this.#batch.pages).get(name);
  }

  /** What is asked when the pages that are on their way have come. An answer is never older than its question. */
  #nextBatch(): Batch {
    const names = new Set<string>();
    const pages = this.#batches.then(() => {
      this.#batch = undefined;
      return this.#ask((monitoring) => this.#pagesOf(monitoring, [...names]));
    });
    this.#batches = pages.catch(() => undefined);
    return { names, pages };
  }

  /** The pages of some channels, by name. Many of them are asked for by one page of all, which costs the servers less. */
  async #pagesOf(monitoring: Monitoring, names: readonly string[]): Promise<ReadonlyMap<string, Channelz>> {
    const pages =
      names.length > 1 && this.#total <= names.length * PAGES_OF_ALL
        ? await allChannels(monitoring)
        : await Promise.all(names.map((name) => oneChannel(monitoring, name)));
    return new Map(pages.flatMap((page) => (page === undefined ? [] : [[page.name, page]])));
  }

  /** The heartbeat inbox of a client. Undefined when no client of this name is registered. */
  async heartbeatInbox(clientId: string): Promise<string | undefined> {
    const path = `/streaming/clientsz?client=${encodeURIComponent(clientId)}`;
    return (await this.#ask((monitoring) => monitoring.get<{ hb_inbox?: string }>(path)))?.hb_inbox;
  }

  /** The IDs that the servers of the cluster have for NATS: of the one that is asked, and of those that it has routes to. */
  async serverIds(): Promise<ReadonlySet<string>> {
    const page = await this.#ask((monitoring) => monitoring.get<Routez>('/routez'));
    return new Set(
      [page?.server_id, ...(page?.routes ?? []).map(({ remote_id }) => remote_id)].filter((id) => id !== undefined),
    );
  }

  /** Closes the client, if there is one, and ends what is asked. */
  async close(): Promise<void> {
    this.#end.abort();
    await (await this.#stan?.catch(() => undefined))?.close({ timeout: 2000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #serverLimits(): Promise<StoreLimits> {
    this.#limits ??=
      (await this.#askAnybody((monitoring) => monitoring.get<Storez>('/streaming/storez')))?.limits ?? {};
    return this.#limits;
  }

  /**
   * Asks the server that leads. The others, and a server that has just begun to lead or was just started, may be behind: what they
   * say of a channel can be older than what the stream has already. So an answer counts only if the server leads when it is given,
   * and has led, without a restart, since a client was registered there, because that waits until all is applied.
   */
  #ask<T>(question: (monitoring: Monitoring) => Promise<T>): Promise<T> {
    return interruptible(this.#options.signal, () => this.#askPatiently(question));
  }

  async #askPatiently<T>(question: (monitoring: Monitoring) => Promise<T>): Promise<T> {
    const deadline = this.#clock.now() + PATIENCE;
    for (;;) {
      const looking = (this.#leader ??= this.#look());
      // Another question may have begun to look anew by then.
      const forget = (): void => {
        if (this.#leader === looking) this.#leader = undefined;
      };
      const found = await looking.catch((error: unknown) => {
        forget();
        throw error;
      });
      let { reason = 'it does not lead any more' } = found as { reason?: string };
      if ('leader' in found) {
        const { leader } = found;
        try {
          const answer = await question(leader);
          const server = await leader.get<Serverz>('/streaming/serverz');
          if (server?.server_id === leader.server.server_id && leads(server)) return answer;
        } catch (error) {
          reason = describe(error);
        }
        reason = `the monitoring at ${leader.url} gives no answer that counts: ${reason}`;
      }
      forget();
      if (this.#end.signal.aborted || this.#clock.now() > deadline) throw new MigrationSourceError(reason);
      await interruptiblePause(this.#clock, PAUSE, this.#options.signal);
    }
  }

  /** Looks once for the server that leads. Nobody may answer for a moment. @throws MigrationSourceError when it is of no use to look again */
  async #look(): Promise<Look> {
    const { clusterId } = this.#options;
    const found = await find(this.#options, this.#end.signal);
    if ('reason' in found) return found;
    const { monitoring } = found;
    const { server, url } = monitoring;
    if (!leads(server)) {
      const reason =
        `no server whose monitoring answers leads cluster '${clusterId}' (${url} is a ` +
        `${server.role?.toLowerCase() ?? server.state}): name the monitoring of all its servers by the option 'monitor', ` +
        'and see that most of them run';
      return { reason };
    }
    this.#monitoring = monitoring;
    try {
      if (await this.#knowsClient(monitoring)) {
        this.#strange = 0;
        this.#wasFound = true;
        return { leader: monitoring };
      }
    } catch (error) {
      // The servers of STAN took our client before, so they are away for a moment only.
      this.#options.signal.throwIfAborted();
      if (!this.#wasFound) throw error;
      return { reason: describe(error) };
    }
    const reason =
      `the monitoring at ${url} is of other servers than those at ${addressesOf(this.#options)}, although both say cluster ` +
      `'${clusterId}': it does not know the client that is connected there. Correct 'monitor' or 'from'`;
    // Another server may lead since it was asked.
    if (++this.#strange >= STRANGE) throw new MigrationSourceError(reason);
    return { reason };
  }

  /** Registers a client, and asks the monitoring for it: whether it is of the servers that we speak to. */
  async #knowsClient(monitoring: Monitoring): Promise<boolean> {
    const client = await this.#anotherStan();
    try {
      return (await monitoring.get(`/streaming/clientsz?client=${encodeURIComponent(client.clientId)}`)) !== undefined;
    } finally {
      await client.close({ timeout: 2000 });
    }
  }

  /** Asks for what all servers know, and looks for another server if that one does not answer. */
  #askAnybody<T>(question: (monitoring: Monitoring) => Promise<T>): Promise<T> {
    return interruptible(this.#options.signal, () => this.#askOne(question));
  }

  async #askOne<T>(question: (monitoring: Monitoring) => Promise<T>): Promise<T> {
    const deadline = this.#clock.now() + PATIENCE;
    for (;;) {
      let reason: string;
      try {
        return await question(this.#monitoring);
      } catch (error) {
        reason = `the monitoring at ${this.#monitoring.url} does not answer: ${describe(error)}`;
      }
      const found = await find(this.#options, this.#end.signal);
      if ('monitoring' in found) this.#monitoring = found.monitoring;
      else reason = found.reason;
      if (this.#end.signal.aborted || this.#clock.now() > deadline) throw new MigrationSourceError(reason);
      await interruptiblePause(this.#clock, PAUSE, this.#options.signal);
    }
  }
}

const addressesOf = ({ source }: ResolvedMigrateOptions): string =>
  source.addresses.map(({ host, port }) => `${host}:${port}`).join(', ');

/** Looks once for the monitoring. @throws MigrationSourceError when it is of another cluster */
async function find({ monitor, clusterId, source }: ResolvedMigrateOptions, signal: AbortSignal): Promise<Found> {
  const { tls } = source.options;
  const found = await findStreamingServer(monitor, typeof tls === 'object' ? tls.ca : undefined, signal);
  if ('reasons' in found) {
    const reason =
      `no streaming server answers at its monitoring port: ${found.reasons.join('; ')}. Servers have one when they are ` +
      `started with -m 8222 or 'http: 8222'; the option 'monitor' says where it is`;
    return { reason };
  }
  if (found.server.cluster_id !== clusterId) {
    throw new MigrationSourceError(
      `the monitoring at ${found.url} is of cluster '${found.server.cluster_id}', and 'clusterId' is '${clusterId}': ` +
        'correct the one that is wrong',
    );
  }
  return { monitoring: found };
}

/** Why neither side could do anything with a channel of this name. Undefined if both can. */
function nameFault(name: string): string | undefined {
  if (name.startsWith('$JS.')) return `channel '${name}' has a name that belongs to JetStream's own interface`;
  try {
    checkChannel(name);
    return undefined;
  } catch (error) {
    return describe(error);
  }
}
