/**
 * The protocol between the processes of a run. Orders go over the IPC channel. Events come as lines of JSON over a pipe of
 * their own. An event is written before the thing that it tells is done, because a process may be killed at any moment, and
 * then only what it has written is known.
 */
import type { SubscribeOptions } from '../../subscribing/subscribe-options.js';
import type { Ordering } from '../continuity/verdict.js';
import type { HandlerFailures } from '../nemesis/nemesis.js';
import type { ClientNews } from './adapter.js';
import type { VerifyConnectOptions } from './connect-options.js';

/** The file descriptor of the pipe for events. */
export const EVENT_FD = 3;

export interface PublisherOrder {
  name: string;
  /** The first counter. In a later life it goes on where the last one ended. */
  from: number;
  /** How many messages a second. */
  rate: number;
  /** Size of a message, in bytes. 0: the size of its value. */
  size: number;
  /** How many messages may be unacknowledged at a time. */
  window: number;
}

export interface SubscriptionOrder {
  name: string;
  options: SubscribeOptions;
}

/** Idle subscriptions besides those that are judged. Each has to get a message at the end, in the roll call. */
export interface IdleOrder {
  count: number;
  /** The beginning of the names of their channels. */
  channel: string;
}

/** An order to a process. */
export type Order =
  | {
      do: 'start';
      /** Path of the module with the adapter. Undefined for this library. */
      client: string | undefined;
      servers: string[];
      clusterId: string;
      connectOptions: VerifyConnectOptions;
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
  /** Publishes a message to each channel of the idle subscriptions, and waits up to `timeout` ms until all have got it. */
  | { do: 'roll-call'; timeout: number }
  | { do: 'stop-publishing' }
  | { do: 'close' };

/** An event of a process. `at` is the machine's monotonic clock, in ms. */
export type WorkerEvent =
  /** The client is connected, and all its subscriptions are made. */
  | readonly [what: 'ready', at: number, client: string, version: string | null]
  | readonly [what: 'attempt', at: number, counter: number]
  | readonly [what: 'acknowledged', at: number, counter: number]
  | readonly [what: 'failed', at: number, counter: number, delivery: string, error: string]
  /** A message was handed over. `value` is what was published, without padding; anything else was not published so. */
  | readonly [what: 'delivered', at: number, subscription: string, sequence: number, value: string]
  /** A message was handed over, and its handler failed on purpose. */
  | readonly [what: 'threw', at: number, subscription: string, sequence: number, value: string]
  /** A subscription was told that these sequences are gone. */
  | readonly [what: 'gap', at: number, subscription: string, from: number, to: number]
  /** How many idle subscriptions were asked, how many got the message, and how many got it twice. */
  | readonly [what: 'roll-call', at: number, asked: number, answered: number, twice: number]
  /** A message of the pulse was acknowledged. */
  | readonly [what: 'pulse', at: number, took: number]
  | readonly [what: 'news', at: number, news: ClientNews, text: string | null]
  | readonly [what: 'sample', at: number, heap: number, rss: number, handles: number, listeners: number]
  | readonly [what: 'closed', at: number];

/** The machine's monotonic clock, in ms. It is the same for all processes. */
export function machineClock(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
