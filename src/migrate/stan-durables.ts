/** The durables of a channel, as the monitoring of the leader tells them. Pure. */
import { durableGroupOf } from '../monitoring/channel-figures.js';
import type { Channelz, SubscriptionMonitor } from '../monitoring/pages.js';
import { windowOf } from './looking-inbox.js';
import { consumerName, type DurableId } from './names.js';

/** A durable subscription, or a durable queue group with all its members. */
export interface StanDurable {
  readonly channel: string;
  readonly id: DurableId;
  /** The client IDs that hold it now. Empty when it is offline. */
  readonly holders: readonly string[];
  readonly position: Position;
  /** How long the server waits for an acknowledgement, in seconds: the longest of the members. */
  readonly ackWait: number;
  /** How many messages its last subscriber, and not ourselves, may have unacknowledged: the most of the members. */
  readonly maxInFlight: number;
}

/** How far a durable has come. While it is offline, an equal position is the same set of messages. */
export interface Position {
  /** The highest sequence that was sent. */
  readonly lastSent: number;
  /** How many messages up to there are not acknowledged. */
  readonly pending: number;
}

/** The durables of a channel, by the names of their consumers. */
export function durablesOf({ name, subscriptions = [] }: Channelz): StanDurable[] {
  const byName = new Map<string, { id: DurableId; members: SubscriptionMonitor[] }>();
  for (const subscription of subscriptions) {
    const id = idOf(subscription);
    if (id === undefined) continue;
    const key = consumerName(id);
    const known = byName.get(key) ?? { id, members: [] };
    known.members.push(subscription);
    byName.set(key, known);
  }
  return [...byName]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([, { id, members }]) => ({
      channel: name,
      id,
      holders: members.filter((each) => !each.is_offline).map((each) => each.client_id),
      position: {
        lastSent: Math.max(...members.map((each) => each.last_sent)),
        pending: members.reduce((sum, each) => sum + each.pending_count, 0),
      },
      ackWait: Math.max(...members.map((each) => each.ack_wait)),
      maxInFlight: Math.max(...members.map(windowOf)),
    }));
}

/** Undefined for a subscription that is not durable. */
function idOf({ client_id, durable_name, queue_name, is_durable }: SubscriptionMonitor): DurableId | undefined {
  if (!is_durable) return undefined;
  const { durable, group } = durableGroupOf(queue_name);
  if (durable === undefined || group === undefined) return { clientId: client_id, durable: durable_name ?? '' };
  return { durable, group };
}

/** What a person calls a durable. */
export function durableText({ clientId, durable, group }: DurableId): string {
  return group === undefined
    ? `durable '${durable}' of client '${clientId}'`
    : `durable '${durable}' of the queue group '${group}'`;
}

/**
 * Whether a durable was asked for: by the name of the durable, with the client ID or the group before a slash if it is not enough,
 * as `printer` or `orders-1/printer`.
 */
export function isMeant(given: string, { clientId, group, durable }: DurableId): boolean {
  return given === durable || given === `${clientId ?? group}/${durable}`;
}
