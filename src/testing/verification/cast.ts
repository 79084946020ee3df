/** Who takes part in a run. Pure. */
import type { SubscribeOptions } from '../../options.js';
import type { SubscriptionKind } from '../continuity/verdict.js';
import type { ProcessPlan } from './recorder.js';

export interface Member {
  name: string;
  kind: SubscriptionKind;
}

export interface Cast extends ProcessPlan {
  subscriptions: Member[];
  /** The fault `client-kill` may befall it. */
  killable: boolean;
}

const QUEUE: Member = { name: 'queue', kind: 'queue' };
const DURABLE_QUEUE: Member = { name: 'durable-queue', kind: 'durable-queue' };

/**
 * Killed are publishers, and a process whose subscription is durable: that has to continue. What a killed process knew of
 * a plain subscription, or had received as a member of a group that is not durable, is gone with it.
 *
 * @param groupMembers of each queue group, 1 or 2, in as many processes. With more than one the server itself may lose messages:
 *   what was on its way to a member that leaves is given to another one by the leader alone, and its followers hear of
 *   that up to a second later; if the leader dies in that second, nobody gets it [seen]. No client can make up for that.
 */
export function castOf(groupMembers: number): Cast[] {
  const second = (member: Member): Member[] => (groupMembers > 1 ? [member] : []);
  return [
    { name: 'publisher-1', role: 'publisher', subscriptions: [], killable: true },
    { name: 'publisher-2', role: 'publisher', subscriptions: [], killable: true },
    {
      name: 'subscriber-1',
      role: 'subscriber',
      subscriptions: [{ name: 'plain', kind: 'plain' }, QUEUE],
      killable: false,
    },
    {
      name: 'subscriber-2',
      role: 'subscriber',
      subscriptions: [{ name: 'durable', kind: 'durable' }, DURABLE_QUEUE, ...second(QUEUE)],
      killable: false,
    },
    {
      name: 'subscriber-3',
      role: 'subscriber',
      subscriptions: [{ name: 'durable-killed', kind: 'durable' }, ...second(DURABLE_QUEUE)],
      killable: true,
    },
  ];
}

export function subscribeOptionsOf({ name, kind }: Member): SubscribeOptions {
  const options: SubscribeOptions = { startAt: 'first' };
  if (kind === 'durable' || kind === 'durable-queue') options.durableName = name;
  if (kind === 'queue' || kind === 'durable-queue') {
    options.queueGroup = name;
    // What was on its way to a member that is gone, only the server can give to another one, and only after ackWait: its
    // default of 30 s would be most of a run.
    options.ackWait = 5000;
  }
  return options;
}
