/** What the pages of the server's monitoring say of channels and subscriptions, in terms that help a person. Pure. */
import type { Channelz, SubscriptionMonitor } from './pages.js';

export interface SubscriptionFigures {
  /** `client`, `durable of client`, or the name of a group. */
  readonly name: string;
  readonly kind: 'plain' | 'durable' | 'group' | 'durable group';
  readonly clients: readonly string[];
  readonly durable?: string;
  readonly group?: string;
  /** Nobody is subscribed to it now, and the server keeps its position. */
  readonly offline: boolean;
  /** It gets nothing more until it acknowledges something. */
  readonly stalled: boolean;
  readonly lastSent: number;
  /** Sent, and not acknowledged. */
  readonly pending: number;
  /** Messages that are not acknowledged yet, sent or not. */
  readonly lag: number;
}

export interface ChannelFigures {
  readonly channel: string;
  readonly messages: number;
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
  /** The members of a queue group count as one subscription. */
  readonly subscriptions: readonly SubscriptionFigures[];
}

export function figuresOf({ name, msgs, bytes, first_seq, last_seq, subscriptions = [] }: Channelz): ChannelFigures {
  const groups = new Map<string, SubscriptionMonitor[]>();
  for (const sub of subscriptions) {
    // Members have the position of their group, so they belong together.
    const key = sub.queue_name ?? `\0${sub.client_id}\0${sub.durable_name ?? sub.inbox}`;
    groups.set(key, [...(groups.get(key) ?? []), sub]);
  }
  return {
    channel: name,
    messages: msgs,
    bytes,
    first: msgs === 0 ? 0 : first_seq,
    last: last_seq,
    subscriptions: [...groups.values()].map((members) => subscriptionFigures(members, first_seq, last_seq)),
  };
}

/** The two names of a durable group, which the server calls "durable:group". It takes no colon in the durable's name. */
export function durableGroupOf(queueName: string | undefined): { durable?: string; group?: string } {
  const colon = queueName?.indexOf(':') ?? -1;
  return colon < 0 ? {} : { durable: queueName!.slice(0, colon), group: queueName!.slice(colon + 1) };
}

function subscriptionFigures(
  members: readonly SubscriptionMonitor[],
  first: number,
  last: number,
): SubscriptionFigures {
  const { durable_name, queue_name, client_id, is_durable } = members[0]!;
  const pending = members.reduce((sum, { pending_count }) => sum + pending_count, 0);
  const lastSent = Math.max(...members.map(({ last_sent }) => last_sent));
  const clients = [...new Set(members.filter(({ is_offline }) => !is_offline).map((each) => each.client_id))].sort();
  const { durable = durable_name, group = queue_name } = is_durable ? durableGroupOf(queue_name) : {};
  const kind = group === undefined ? (is_durable ? 'durable' : 'plain') : is_durable ? 'durable group' : 'group';
  return {
    name: group ?? durable ?? client_id,
    kind,
    clients: kind === 'durable' ? [client_id] : clients,
    ...(durable !== undefined && durable !== '' && { durable }),
    ...(group !== undefined && { group }),
    offline: members.every(({ is_offline }) => is_offline),
    stalled: members.some(({ is_stalled }) => is_stalled),
    lastSent,
    pending,
    // What the limits of the channel have dropped cannot come any more.
    lag: pending + Math.max(last - Math.max(lastSent, first - 1), 0),
  };
}

/** The largest lag of a channel. 0 without subscriptions. */
export function largestLag({ subscriptions }: ChannelFigures): number {
  return Math.max(0, ...subscriptions.map(({ lag }) => lag));
}
