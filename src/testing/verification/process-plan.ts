import type { SubscriptionKind } from '../continuity/verdict.js';

/** A process of a run, as far as the record has to know it. */
export interface ProcessPlan {
  name: string;
  role: 'publisher' | 'subscriber';
  subscriptions: readonly {
    name: string;
    kind: SubscriptionKind;
    /** How many messages can be on their way to it. Default 1024. */
    maxInFlight?: number;
  }[];
  /** Whether it only takes over for other processes, for a while. */
  standIn?: boolean;
}
