/**
 * What the processes of a run tell each other. Orders go over the IPC channel. Events come as lines of JSON over a pipe
 * of their own, each written before what it announces is done: a process may be killed at any instant, and what it had
 * written by then is all there is of it.
 */
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import type { Ordering } from '../continuity/verdict.js';
import type { HandlerFailures } from '../nemesis/nemesis.js';
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

/** Subscriptions beside those that are judged, each of which has to answer the roll call at the end. */
export interface IdleOrder {
  count: number;
  /** What their channels begin with. */
  channel: string;
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
      idle: IdleOrder | undefined;
    }
  | { do: 'publish' }
  /** Handlers fail from now on. */
  | ({ do: 'fail' } & HandlerFailures)
  /** A message goes to every channel of the idle ones; whoever does not get it within `timeout` ms is missing. */
  | { do: 'roll-call'; timeout: number }
  | { do: 'stop-publishing' }
  | { do: 'close' };

/** Of a process. `at`: ms of the machine's monotonic clock. */
export type WorkerEvent =
  /** Connected, and subscribed to everything. */
  | readonly [what: 'ready', at: number, client: string, version: string | null]
  | readonly [what: 'attempt', at: number, counter: number]
  | readonly [what: 'acknowledged', at: number, counter: number]
  | readonly [what: 'failed', at: number, counter: number, delivery: string, error: string]
  /** `value`: as published, without its padding; anything else is not what was published. */
  | readonly [what: 'delivered', at: number, subscription: string, sequence: number, value: string]
  /** Its handler was called for it, and failed on purpose. */
  | readonly [what: 'threw', at: number, subscription: string, sequence: number, value: string]
  /** It was told that these are gone. */
  | readonly [what: 'gap', at: number, subscription: string, from: number, to: number]
  /** Of so many idle subscriptions so many got the message, and so many were handed it twice. */
  | readonly [what: 'roll-call', at: number, asked: number, answered: number, twice: number]
  | readonly [what: 'news', at: number, news: ClientNews, text: string | null]
  | readonly [what: 'sample', at: number, heap: number, rss: number, handles: number, listeners: number]
  | readonly [what: 'closed', at: number];

/** In ms; the same for all processes of a machine. */
export function machineClock(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
