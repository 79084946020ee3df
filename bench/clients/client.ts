/** What both contestants can do. Each does it in the way that is natural, and cheapest, with its own API. */
export interface BenchClient {
  publish(load: PublishLoad): Promise<void>;
  deliver(load: DeliverLoad): Promise<void>;
  /** One subscription per channel, kept until the end. Resolves when the server has all of them. */
  subscribe(channels: readonly string[], onMessage: () => void): Promise<void>;
  /** Publishes at once, and goes on when all have been handed over. */
  burst(load: BurstLoad): Burst;
  /** How long each loss took until everything was up again, ms. Not the raw client's: its subscriptions do not come back. */
  readonly downtimes?: readonly number[];
}

export interface ConnectLoad {
  urls: string[];
  clusterId: string;
  clientId: string;
  ordering: 'pipelined' | 'strict';
  /** Messages in flight. */
  window: number;
}

export interface PublishLoad {
  channels: readonly string[];
  payload: string | Uint8Array;
  count: number;
  /** Messages not acknowledged, over all channels. */
  window: number;
  /** One in flight per channel. */
  strict: boolean;
}

export interface DeliverLoad {
  channel: string;
  count: number;
  maxInFlight: number;
}

export interface BurstLoad {
  channel: string;
  payload: () => string | Uint8Array;
  count: number;
}

export interface Burst {
  /** Resolves at the first acknowledgement, and when all are acknowledged. */
  first: Promise<void>;
  all: Promise<void>;
}
