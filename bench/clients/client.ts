/** The interface of both clients. Each uses its own API in the natural and cheapest way. */
export interface BenchClient {
  publish(load: PublishLoad): Promise<void>;
  deliver(load: DeliverLoad): Promise<void>;
  /** Makes one subscription for each channel, kept until the end. Resolves when the server has all. */
  subscribe(channels: readonly string[], onMessage: () => void): Promise<void>;
  /** Publishes all messages at once. Resolves when all are handed over. */
  burst(load: BurstLoad): Burst;
  /** How long each loss lasted until everything was up again, in ms. The raw client has none, as its subscriptions do not come back. */
  readonly downtimes?: readonly number[];
}

export interface ConnectLoad {
  urls: string[];
  clusterId: string;
  clientId: string;
  ordering: 'pipelined' | 'strict';
  /** How many messages are in flight. */
  window: number;
}

export interface PublishLoad {
  channels: readonly string[];
  payload: string | Uint8Array;
  count: number;
  /** How many messages may be unacknowledged, over all channels. */
  window: number;
  /** Whether one message for each channel is in flight at a time. */
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
  /** Two promises: one resolves at the first acknowledgement, the other when all are acknowledged. */
  first: Promise<void>;
  all: Promise<void>;
}
