/** What the parent asks of the client with many subscriptions, and of its neighbour, each in a process of its own. */
export type Kind = 'durable' | 'plain';

export type Command =
  /** Connects, subscribes, and has received one message on each channel. */
  | { do: 'fill'; url: string; clusterId: string; kind: Kind; count: number; channels: number }
  /** Waits until it is back after a loss: all subscriptions are at the server again. */
  | { do: 'back' }
  /** Connects, and subscribes again and again from now on. */
  | { do: 'live'; url: string; clusterId: string }
  /** How long each `subscribe()` took since the last time this was asked. */
  | { do: 'latencies' }
  | { do: 'stop' };

export interface Answer {
  /** When it was back, by {@link now}. */
  at?: number;
  /** ms each, and the one that is still without an answer. */
  latencies?: number[];
  /** Sessions that the client has lost so far. */
  losses?: number;
}

/** The neighbour's channel. */
export const NEIGHBOUR = 'neighbour';

/** ms by the machine's monotonic clock, the same in all processes. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;
