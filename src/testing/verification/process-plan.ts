import type { SubscriptionKind } from '../continuity/verdict.js';

/** A process that takes part in a run, so far as the book is concerned. */
export interface ProcessPlan {
  name: string;
  role: 'publisher' | 'subscriber';
  subscriptions: readonly {
    name: string;
    kind: SubscriptionKind;
    /** How many messages the server has on their way to it at most. Default 1024. */
    maxInFlight?: number;
  }[];
  /** Is there only while it stands in for another one. */
  standIn?: boolean;
}
