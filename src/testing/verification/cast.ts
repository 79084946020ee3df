/** Who takes part in a run. Pure. */
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
  /** Which faults may befall it. */
  faults: readonly FaultKind[];
  /** How many subscriptions it has beside these, which have nothing to do. */
  idle: number;
}

export interface CastOptions {
  /**
   * Of each queue group, 1 or 2, in as many processes. With more than one the server itself may lose messages:
   * what was on its way to a member that leaves is given to another one by the leader alone, and its followers hear of
   * that up to a second later; if the leader dies in that second, nobody gets it [seen]. No client can make up for that.
   */
  groupMembers: number;
  /** Which faults there are. */
  faults: readonly FaultKind[];
  /** How many idle subscriptions there are. */
  subscriptions: number;
}

/** After so long, in ms, the server sends again what is not acknowledged. */
export const ACK_WAIT = 5000;

/** Stands in for a process that is frozen; there is one at a time. */
export const STAND_IN = 'stand-in';

/**
 * Of a member of a group of several, so that there is a bound to what the server itself may lose of what was on its way
 * to one of them.
 */
const FEW_IN_FLIGHT = 64;

const FROZEN: readonly FaultKind[] = ['client-pause', 'client-replace', 'handler-fail'];

/**
 * Killed are publishers, and a process whose subscription is durable: that has to continue. What a killed process knew of
 * a plain subscription, or had received as a member of a group that is not durable, is gone with it. Frozen and replaced
 * may be all that subscribe: when they go on, they know all they knew.
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
    // Who takes over from it would have to take over all of them.
    cast.push({ ...subscriber('crowd', [durable], [], subscriptions), faults: ['client-pause', 'handler-fail'] });
  }
  return cast;
}

/** What of it another process takes over that has its client ID: what the server keeps under that. */
export function durablesOf({ subscriptions }: { readonly subscriptions: readonly Member[] }): Member[] {
  return subscriptions.filter(({ kind }) => kind === 'durable' || kind === 'durable-queue');
}

export function subscribeOptionsOf({ name, kind, maxInFlight }: Member): SubscribeOptions {
  // What was on its way to a member that is gone, or has failed, only the server can give again, and only after ackWait:
  // its default of 30 s would be most of a run.
  const options: SubscribeOptions = { startAt: 'first', ackWait: ACK_WAIT };
  if (kind === 'durable' || kind === 'durable-queue') options.durableName = name;
  if (kind === 'queue' || kind === 'durable-queue') options.queueGroup = name;
  if (maxInFlight !== undefined) options.maxInFlight = maxInFlight;
  return options;
}
