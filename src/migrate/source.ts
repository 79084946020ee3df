/** The STAN side of a migration: what its monitoring says, and a client that reads its channels. */
import '../dispose.js';
import { figuresOf, type ChannelFigures } from '../monitoring/channel-figures.js';
import type { Channelz } from '../monitoring/pages.js';
import { allChannels, findStreamingServer, oneChannel, type Monitoring } from '../monitoring/streaming-server.js';
import { ResilientStan, type ConnectOptions } from '../resilient-stan.js';
import { suggest } from '../suggest.js';
import { MigrationSourceError } from './errors.js';
import { matches, isPattern, type ResolvedMigrateOptions } from './options.js';
import type { Problem } from './report.js';
import { limitsOf, type ChannelLimits, type StoreLimits } from './stan-limits.js';

/** One channel of STAN. */
export interface SourceChannel extends ChannelFigures {
  readonly limits: ChannelLimits;
}

interface Storez {
  readonly limits: StoreLimits;
}

export class Source {
  readonly #options: ResolvedMigrateOptions;
  #monitoring: Monitoring;
  #limits: StoreLimits | undefined;
  #stan: Promise<ResilientStan> | undefined;

  private constructor(options: ResolvedMigrateOptions, monitoring: Monitoring) {
    this.#options = options;
    this.#monitoring = monitoring;
  }

  /**
   * Finds the monitoring of the server that leads. Nothing is connected yet.
   * @throws MigrationSourceError when nobody answers, or it is another cluster
   */
  static async open(options: ResolvedMigrateOptions): Promise<Source> {
    const monitoring = await find(options);
    return new Source(options, monitoring);
  }

  /** What the server says of itself. */
  get server(): Monitoring['server'] {
    return this.#monitoring.server;
  }

  /** The monitoring that is asked now. */
  get monitorUrl(): string {
    return this.#monitoring.url;
  }

  /**
   * A client of the STAN servers. It is connected at the first call, and closed by {@link close}.
   * @param more options that the step sets
   */
  stan(more: ConnectOptions = {}): Promise<ResilientStan> {
    this.#stan ??= this.anotherStan(more);
    return this.#stan;
  }

  /** A further client, which the caller closes. */
  async anotherStan(more: ConnectOptions = {}): Promise<ResilientStan> {
    const { source, clusterId, signal } = this.#options;
    return await ResilientStan.connect([...source.servers], {
      clusterId,
      name: 'resilient-stan migrate',
      ...(source.options as ConnectOptions),
      ...(signal !== undefined && { signal }),
      ...more,
    });
  }

  /**
   * The channels that were asked for, by name, and a problem for each name that does not exist.
   * @throws MigrationSourceError when the monitoring does not answer
   */
  async channels(): Promise<{ channels: SourceChannel[]; problems: Problem[] }> {
    const all = await this.#ask((monitoring) => allChannels(monitoring));
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
    const channels = all
      .filter(({ name }) => wanted === undefined || wanted.some((given) => matches(given, name)))
      .map((page) => ({ ...figuresOf(page), limits: limitsOf(limits, page.name) }))
      .sort((a, b) => (a.channel < b.channel ? -1 : 1));
    return { channels, problems };
  }

  /** The figures of one channel as they are now. Undefined when there is none of this name. */
  async channel(name: string): Promise<SourceChannel | undefined> {
    const page = await this.#ask((monitoring) => oneChannel(monitoring, name));
    if (page === undefined) return undefined;
    return { ...figuresOf(page), limits: limitsOf(await this.#serverLimits(), name) };
  }

  /** What the monitoring says of one channel and its subscriptions. Undefined when there is none of this name. */
  async page(name: string): Promise<Channelz | undefined> {
    return await this.#ask((monitoring) => oneChannel(monitoring, name));
  }

  /** The heartbeat inbox of a client. Undefined when no client of this name is registered. */
  async heartbeatInbox(clientId: string): Promise<string | undefined> {
    const path = `/streaming/clientsz?client=${encodeURIComponent(clientId)}`;
    return (await this.#ask((monitoring) => monitoring.get<{ hb_inbox?: string }>(path)))?.hb_inbox;
  }

  /** Closes the client, if there is one. */
  async close(): Promise<void> {
    await (await this.#stan?.catch(() => undefined))?.close({ timeout: 2000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #serverLimits(): Promise<StoreLimits> {
    this.#limits ??= (await this.#ask((monitoring) => monitoring.get<Storez>('/streaming/storez')))?.limits ?? {};
    return this.#limits;
  }

  /** Asks the server that leads, and looks for another one if it does not answer. */
  async #ask<T>(question: (monitoring: Monitoring) => Promise<T>): Promise<T> {
    try {
      return await question(this.#monitoring);
    } catch {
      this.#monitoring = await find(this.#options);
      try {
        return await question(this.#monitoring);
      } catch (error) {
        throw new MigrationSourceError(`the monitoring at ${this.#monitoring.url} does not answer: ${String(error)}`, {
          cause: error,
        });
      }
    }
  }
}

async function find({ monitor, clusterId, source }: ResolvedMigrateOptions): Promise<Monitoring> {
  const { tls } = source.options;
  const found = await findStreamingServer(monitor, typeof tls === 'object' ? tls.ca : undefined);
  if ('reasons' in found) {
    throw new MigrationSourceError(
      `no streaming server answers at its monitoring port: ${found.reasons.join('; ')}. Servers have one when they are ` +
        `started with -m 8222 or 'http: 8222'; the option 'monitor' says where it is`,
    );
  }
  if (found.server.cluster_id !== clusterId) {
    throw new MigrationSourceError(
      `the monitoring at ${found.url} is of cluster '${found.server.cluster_id}', and 'clusterId' is '${clusterId}': ` +
        'correct the one that is wrong',
    );
  }
  return found;
}
