/** The stream that a channel becomes: its configuration, and how it is made. */
import type { StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { describe } from '../errors.js';
import { apiCode, NAME_IN_USE, NO_PEERS, NOT_CLUSTERED, SUBJECT_IN_USE } from './api-errors.js';
import { fencedEntrance, fenceKind, openEntrance, type Entrance } from './fence.js';
import { NS } from './limits.js';
import { streamName } from './names.js';
import type { ChannelLimits } from './stan-limits.js';
import { streamNoteText } from './stream-note.js';
import type { Target } from './target.js';

/** The longest time that a server remembers IDs by default, in ms. */
const DUPLICATE_WINDOW = 120_000;

/** How a step makes streams. */
export interface StreamSettings {
  /** The number of servers that keep each stream. Undefined: as {@link replicasOf} says. */
  readonly replicas: number | undefined;
}

/** The entrance that a stream has while it is copied into. */
export function importEntrance(target: Target, channel: string): Entrance {
  return fenceKind(target) === 'stream' ? fencedEntrance(channel) : openEntrance(channel);
}

/** Whether a stream has this entrance. */
export function hasEntrance({ subjects = [], subject_transform }: Partial<StreamConfig>, wanted: Entrance): boolean {
  return (
    subjects.length === wanted.subjects.length &&
    subjects.every((subject, i) => subject === wanted.subjects[i]) &&
    (subject_transform?.src || '') === (wanted.subject_transform?.src ?? '') &&
    (subject_transform?.dest || '') === (wanted.subject_transform?.dest ?? '')
  );
}

/**
 * Whether a cluster keeps a stream on several servers without losing it when they die. Before 2.10 it does not: a replica that is
 * started again may take the state of the others for its own, or clear theirs. In place that is so until plain servers are in the
 * places of the streaming servers, and STAN has all messages until the cut.
 */
export function keepsReplicas(target: Pick<Target, 'isAtLeast'>): boolean {
  return target.isAtLeast(2, 10);
}

/** The number of servers that will keep a stream. By default three in a cluster that {@link keepsReplicas}, else one. */
export function replicasOf(target: Pick<Target, 'isAtLeast' | 'isClustered'>, { replicas }: StreamSettings): number {
  return replicas ?? (target.isClustered && keepsReplicas(target) ? 3 : 1);
}

/**
 * The configuration of a stream. It keeps at least what STAN keeps: the limit of messages is the same, and ages count from the
 * copy. The limit of bytes is left out while messages are copied, because with their headers they are larger than in STAN. The cut
 * sets it.
 */
export function streamConfig(
  target: Target,
  clusterId: string,
  channel: string,
  limits: ChannelLimits,
  settings: StreamSettings,
  first: number,
): Partial<StreamConfig> & { name: string } {
  return {
    name: streamName(channel),
    description: streamNoteText({ clusterId, channel, state: 'copied' }),
    ...importEntrance(target, channel),
    storage: 'file',
    retention: 'limits',
    discard: 'old',
    num_replicas: replicasOf(target, settings),
    max_msgs: limits.messages ?? -1,
    max_bytes: -1,
    max_age: (limits.age ?? 0) * NS,
    duplicate_window: Math.min(DUPLICATE_WINDOW, limits.age ?? Infinity) * NS,
    allow_direct: true,
    ...(target.isAtLeast(2, 10) && first > 1 && { first_seq: first }),
  };
}

/** Makes the stream. @returns a text that says why it cannot be made, and what to do */
export async function makeStream(
  target: Target,
  config: Partial<StreamConfig> & { name: string },
): Promise<StreamInfo | string> {
  const what = `stream '${config.name}'`;
  try {
    const made = await target.manager.streams.add(config);
    // A server before 2.10 that dies now does not find its last assignment when it is started, and deletes the stream. So another one
    // follows.
    if (target.isClustered && !keepsReplicas(target)) return await target.manager.streams.update(config.name, config);
    return made;
  } catch (error) {
    switch (apiCode(error)) {
      case NAME_IN_USE:
        return `${what} was made by somebody else at this moment, with other settings: run this again`;
      case SUBJECT_IN_USE:
        return (
          `${what} cannot be made, because another stream listens on ${config.subjects?.join(', ')}: ` +
          `${(await target.streamsOn(config.subjects![0]!)).join(', ')}. Delete that stream, or take the subject from it`
        );
      case NO_PEERS:
      case NOT_CLUSTERED:
        return `${what} cannot be kept on ${config.num_replicas} servers (${describe(error)}): say on how many with 'replicas'`;
      default:
        throw error;
    }
  }
}
