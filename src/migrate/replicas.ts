/**
 * Whether all servers that keep a stream have the same. JetStream answers with what the leader of a stream has, or with what any one
 * server has, so a replica that is behind, or that has other messages, does not show in what is read. It shows when that server
 * becomes the leader.
 */
import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import type { Clock } from '../clock/clock.js';
import { pause } from '../clock/pause.js';
import type { Problem } from './report.js';
import { readPatiently, type Target } from './target.js';

/** For how long replicas are waited for, in ms. They catch up after a restart. */
const PATIENCE = 20_000;
/** The pause before they are looked at again, in ms. */
const PAUSE = 250;
/**
 * How many consumers are made for a stream, until each of its servers has had one. JetStream chooses the server by chance: of five
 * servers, one is left out by chance once in a million times.
 */
const TRIES = 60;
/** How many of them may fail, and after which time they have, in ms. */
const FAILURES = 4;
const ANSWER = 2000;

/** A replica that does not have what the leader has. */
interface ReplicaFault {
  /** Name of the server. */
  readonly server: string;
  /** What is the matter with it. */
  readonly what: string;
}

/** What a server has of a stream. */
export interface Content {
  /** Its first message. */
  readonly first: number;
  readonly messages: number;
}

/** Looks at the replicas of streams. It waits for those that are behind, and not again for each stream. */
export class Replicas {
  readonly #target: Target;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #patience: number;
  #manager: Promise<JetStreamManager> | undefined;

  /** @param patience for how long in all replicas may be behind, or may differ, in ms */
  constructor(target: Target, clock: Clock, signal: AbortSignal, patience = PATIENCE) {
    this.#target = target;
    this.#clock = clock;
    this.#signal = signal;
    this.#patience = patience;
  }

  /** What keeps the replicas of a stream from being the same. Undefined if they are, or there is one only. */
  async fault(channel: string, stream: string): Promise<Problem | undefined> {
    for (;;) {
      this.#signal.throwIfAborted();
      const began = this.#clock.now();
      const info = await this.#stream(stream);
      if (info === undefined || info.config.num_replicas === 1) return undefined;
      const behind = replicasBehind(info);
      const fault = behind.length > 0 ? behindProblem(channel, info, behind) : await this.#difference(channel, info);
      if (fault === undefined || this.#patience <= 0) return fault;
      await pause(this.#clock, PAUSE);
      this.#patience -= this.#clock.now() - began;
    }
  }

  /** Whether there are replicas whose first message, or whose number of messages, is not that of the leader. */
  async #difference(channel: string, before: StreamInfo): Promise<Problem | undefined> {
    const { name } = before.config;
    const servers = new Set((before.cluster?.replicas ?? []).map((replica) => replica.name));
    const contents = new Map<string, Content>();
    for (let tries = 0, failures = 0; tries < TRIES && failures < FAILURES && contents.size < servers.size; tries++) {
      this.#signal.throwIfAborted();
      try {
        const content = await this.#contentSomewhere(name);
        if (content !== undefined && servers.has(content.server)) contents.set(content.server, content);
      } catch (error) {
        // A server that has just been killed or started is chosen, and does not answer.
        if (!this.#target.isAnswer(error)) throw error;
        failures++;
      }
    }
    const after = await this.#stream(name);
    if (after === undefined) return undefined;
    const silent = [...servers].filter((server) => !contents.has(server));
    if (silent.length > 0) {
      const faults = silent.map((server) => ({ server, what: 'does not say what it has' }));
      return behindProblem(channel, before, faults);
    }
    const differing = [...contents].filter(([, content]) => differs(content, before, after));
    if (differing.length === 0) return undefined;
    const faults = differing.map(([server, { first, messages }]) => ({ server, what: hasText(messages, first) }));
    return differsProblem(channel, after, faults);
  }

  /** The stream as its leader has it. There may be none for a moment, and then what was compared need not be compared again. */
  #stream(name: string): Promise<StreamInfo | undefined> {
    return readPatiently(`the replicas of stream '${name}' were looked at`, this.#signal, () =>
      this.#target.stream(name),
    );
  }

  /** What one of the servers has: a consumer counts what is stored where it is. */
  async #contentSomewhere(stream: string): Promise<(Content & { server: string }) | undefined> {
    const { client, connection } = this.#target;
    this.#manager ??= client.jetstream.jetstreamManager(connection, { checkAPI: false, timeout: ANSWER });
    const manager = await this.#manager;
    const { name, cluster, num_pending, delivered } = await manager.consumers.add(stream, {
      ack_policy: client.jetstream.AckPolicy.None,
      deliver_policy: client.jetstream.DeliverPolicy.All,
      headers_only: true,
      inactive_threshold: 5e9,
      mem_storage: true,
      num_replicas: 1,
    });
    await manager.consumers.delete(stream, name).catch(() => false);
    if (cluster?.leader === undefined) return undefined;
    return { server: cluster.leader, first: delivered.stream_seq + 1, messages: num_pending };
  }
}

/** The replicas that do not have everything, by the word of the leader. Pure. */
export function replicasBehind({ config, cluster }: Pick<StreamInfo, 'config' | 'cluster'>): ReplicaFault[] {
  const replicas = cluster?.replicas ?? [];
  const faults = replicas.flatMap(({ name: server, current, offline = false, lag = 0 }): ReplicaFault[] => {
    if (offline) return [{ server, what: 'is offline' }];
    if (current) return [];
    return [{ server, what: lag > 0 ? `is ${lag} operations behind` : 'is not current' }];
  });
  const lacking = config.num_replicas - 1 - replicas.length;
  return lacking > 0 ? [...faults, { server: '', what: `${lacking} of ${config.num_replicas} are not there` }] : faults;
}

/** Whether the content of a server is not that of the leader, which was looked at before and after. Pure. */
export function differs(
  { first, messages }: Content,
  { config, state: before }: { config: { max_age: number }; state: LeaderState },
  { state: after }: { state: LeaderState },
): boolean {
  if (before.messages === 0 || after.messages === 0) return messages > before.messages + after.messages;
  // What limits drop at the beginning, and what comes at the end, may change meanwhile. Both only grow.
  const end = first + messages;
  if (end < before.first_seq + before.messages || end > after.first_seq + after.messages) return true;
  // Each server drops what is too old by itself.
  return config.max_age === 0 && (first < before.first_seq || first > after.first_seq);
}

type LeaderState = Pick<StreamInfo['state'], 'first_seq' | 'messages'>;

const hasText = (messages: number, first: number): string => `has ${messages} messages from ${first} on`;

const listOf = (faults: readonly ReplicaFault[]): string =>
  faults.map(({ server, what }) => (server === '' ? what : `'${server}' ${what}`)).join(', ');

function behindProblem(channel: string, { config }: StreamInfo, faults: readonly ReplicaFault[]): Problem {
  return {
    code: 'replica-behind',
    channel,
    message:
      `of the servers that keep stream '${config.name}' of channel '${channel}', not all have it: ${listOf(faults)}. Start those that are ` +
      'down, replace no other one meanwhile, and run this again',
  };
}

function differsProblem(channel: string, info: StreamInfo, faults: readonly ReplicaFault[]): Problem {
  const { config, state, cluster } = info;
  return {
    code: 'replica-differs',
    channel,
    message:
      `of the servers that keep stream '${config.name}' of channel '${channel}', not all have the same: '${cluster?.leader}', which leads it, ` +
      `${hasText(state.messages, state.first_seq)}, and ${listOf(faults)}. Who leads it has the last word, so let the others copy ` +
      `it anew: 'nats stream edit ${config.name} --replicas 1', then '--replicas ${config.num_replicas}', and run this again`,
  };
}
