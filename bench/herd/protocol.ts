/** The protocol between the parent, the client with many subscriptions, and its neighbour, each in a process of its own. */
export type Kind = 'durable' | 'plain';

export type Command =
  /** Connects, subscribes, and waits for one message on each channel. */
  | { do: 'fill'; url: string; clusterId: string; kind: Kind; count: number; channels: number }
  /** Waits until it is back after a loss: all subscriptions are at the server again. */
  | { do: 'back' }
  /** Connects, and subscribes again and again from now on. */
  | { do: 'live'; url: string; clusterId: string }
  /** How long each `subscribe()` took since the last time this was asked. */
  | { do: 'latencies' }
  | { do: 'stop' };

export interface Answer {
  /** When it was back, as {@link now} tells it. */
  at?: number;
  /** The times in ms, with the one that still has no answer. */
  latencies?: number[];
  /** How many sessions the client has lost so far. */
  losses?: number;
}

/** Name of the neighbour's channel. */
export const NEIGHBOUR = 'neighbour';

/** The machine's monotonic clock, in ms. It is the same in all processes. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;
