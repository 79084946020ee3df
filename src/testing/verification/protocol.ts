/**
 * What the processes of a run tell each other. Orders go over the IPC channel. Events come as lines of JSON over a pipe
 * of their own, each written before what it announces is done: a process may be killed at any instant, and what it had
 * written by then is all there is of it.
 */
import type { SubscribeOptions } from '../../options.js';
import type { Ordering } from '../continuity/verdict.js';
import type { ClientNews } from './adapter.js';

/** The pipe of the events. */
export const EVENT_FD = 3;

export interface PublisherOrder {
  name: string;
  /** Its first counter: in a later life, where the one before left off. */
  from: number;
  /** Messages a second. */
  rate: number;
  /** Bytes; 0: no more than the value. */
  size: number;
  /** How many may be unacknowledged at a time. */
  window: number;
}

export interface SubscriptionOrder {
  name: string;
  options: SubscribeOptions;
}

/** To a process. */
export type Order =
  | {
      do: 'start';
      /** Module of the adapter; undefined: this library. */
      client: string | undefined;
      servers: string[];
      clusterId: string;
      clientId: string;
      channel: string;
      ordering: Ordering;
      publisher: PublisherOrder | undefined;
      subscriptions: SubscriptionOrder[];
    }
  | { do: 'publish' }
  | { do: 'stop-publishing' }
  | { do: 'close' };

/** Of a process. `at`: ms of the machine's monotonic clock. */
export type WorkerEvent =
  /** Connected, and subscribed to everything. */
  | readonly ['ready', at: number, client: string, version: string | null]
  | readonly ['attempt', at: number, counter: number]
  | readonly ['acknowledged', at: number, counter: number]
  | readonly ['failed', at: number, counter: number, delivery: string, error: string]
  /** `value`: as published, without its padding; anything else is not what was published. */
  | readonly ['delivered', at: number, subscription: string, sequence: number, value: string]
  | readonly ['news', at: number, news: ClientNews, text: string | null]
  | readonly ['sample', at: number, heap: number, rss: number, handles: number, listeners: number]
  | readonly ['closed', at: number];

/** In ms; the same for all processes of a machine. */
export function machineClock(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
