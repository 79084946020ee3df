/** Plans the processes of a run. Pure. */
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import type { SubscriptionKind } from '../continuity/verdict.js';
import type { FaultKind } from '../nemesis/plan.js';
import type { ProcessPlan } from './process-plan.js';

export interface Member {
  name: string;
  kind: SubscriptionKind;
  maxInFlight?: number;
}

export interface Cast extends ProcessPlan {
  subscriptions: Member[];
  /** The kinds of faults that may happen to it. */
  faults: readonly FaultKind[];
  /** How many idle subscriptions it has besides. */
  idle: number;
}

export interface CastOptions {
  /**
   * How many members each queue group has, 1 or 2, each in a process of its own. With 2 the server itself may lose messages: when
   * a member leaves, the leader gives its messages to the other one, and followers hear of it up to a second later. If the leader
   * dies in that second, no member gets them [seen]. No client can make up for that.
   */
  groupMembers: number;
  /** The kinds of faults of the run. */
  faults: readonly FaultKind[];
  /** How many idle subscriptions there are. */
  subscriptions: number;
}

/** Time after which the server sends an unacknowledged message again, in ms. */
export const ACK_WAIT = 5000;

/** Name of the process that takes over from a frozen one. There is one at a time. */
export const STAND_IN = 'stand-in';

/** The `maxInFlight` of a member of a group with several. It bounds what the server itself may lose of a member. */
const FEW_IN_FLIGHT = 64;

const FROZEN: readonly FaultKind[] = ['client-pause', 'client-replace', 'handler-fail'];

/**
 * The processes of a run. Publishers may be killed, and a process with a durable, which has to continue. A plain subscription
 * or a member of a group that is not durable would lose what it knew. All subscribers may be frozen and replaced, because
 * they still know everything when they go on.
 */
export function castOf({ groupMembers, faults, subscriptions }: CastOptions): Cast[] {
  const few = groupMembers > 1 ? { maxInFlight: FEW_IN_FLIGHT } : {};
  const queue: Member = { name: 'queue', kind: 'queue', ...few };
  const durableQueue: Member = { name: 'durable-queue', kind: 'durable-queue', ...few };
  const second = (member: Member): Member[] => (groupMembers > 1 ? [member] : []);
  const publisher = (name: string): Cast => ({
    ...{ name, role: 'publisher', subscriptions: [], idle: 0 },
    faults: ['client-kill', 'client-pause'],
  });
  const subscriber = (name: string, members: Member[], more: readonly FaultKind[] = [], idle = 0): Cast => ({
    ...{ name, role: 'subscriber', subscriptions: members, idle },
    faults: [...FROZEN, ...more],
  });
  const cast = [
    publisher('publisher-1'),
    publisher('publisher-2'),
    subscriber('subscriber-1', [{ name: 'plain', kind: 'plain' }, queue]),
    subscriber('subscriber-2', [{ name: 'durable', kind: 'durable' }, durableQueue, ...second(queue)]),
    subscriber('subscriber-3', [{ name: 'durable-killed', kind: 'durable' }, ...second(durableQueue)], ['client-kill']),
  ];
  if (faults.includes('group-kill')) {
    const member: Member = { name: 'killed-group', kind: 'durable-queue', maxInFlight: FEW_IN_FLIGHT };
    for (const name of ['member-1', 'member-2']) {
      cast.push({ ...subscriber(name, [member]), faults: ['group-kill', 'client-pause', 'handler-fail'] });
    }
  }
  if (subscriptions > 0) {
    const durable: Member = { name: 'durable-crowd', kind: 'durable' };
    // A process that takes over from it would have to take over all of them.
    cast.push({ ...subscriber('crowd', [durable], [], subscriptions), faults: ['client-pause', 'handler-fail'] });
  }
  return cast;
}

/** The subscriptions that another process with its client ID takes over: those that the server keeps under it. */
export function durablesOf({ subscriptions }: { readonly subscriptions: readonly Member[] }): Member[] {
  return subscriptions.filter(({ kind }) => kind === 'durable' || kind === 'durable-queue');
}

export function subscribeOptionsOf({ name, kind, maxInFlight }: Member): SubscribeOptions {
  // Only the server can give another member what was on its way to one that is gone or has failed, and only after ackWait.
  // The default of 30 s would be most of a run.
  const options: SubscribeOptions = { startAt: 'first', ackWait: ACK_WAIT };
  if (kind === 'durable' || kind === 'durable-queue') options.durableName = name;
  if (kind === 'queue' || kind === 'durable-queue') options.queueGroup = name;
  if (maxInFlight !== undefined) options.maxInFlight = maxInFlight;
  return options;
}
