/** The protocol between the parent and a worker. */
import type { ConnectLoad, DeliverLoad, PublishLoad } from './clients/client.js';

/** `facade` is `resilient-stan/stan`. */
export type Contender = 'raw' | 'resilient' | 'facade';

export type Payload = 'bytes' | 'string';

export type Command =
  | { do: 'connect'; load: ConnectLoad }
  | { do: 'publish'; load: Omit<PublishLoad, 'payload'>; size: number; payload: Payload }
  | { do: 'deliver'; load: DeliverLoad }
  | { do: 'subscribe'; channels: string[] }
  /** Begins to count the messages of the kept subscriptions. */
  | { do: 'count' }
  /** Waits until so many of them have come. */
  | { do: 'counted'; count: number }
  | { do: 'idle'; ms: number }
  /** Makes each message cost more from now on. It shows that the gate notices it. */
  | { do: 'worsen'; cpu: number; bytes: number }
  /** Counts what the next command allocates, with garbage, in bytes. */
  | { do: 'allocations'; of: Command & { do: 'publish' | 'deliver' } }
  /** Publishes all messages at once, and measures the memory that they take. */
  | { do: 'queue'; channel: string; count: number; size: number; payload: Payload }
  /** Waits for the acknowledgements of these messages. The time counts from the first one. */
  | { do: 'flushed' }
  /** Waits for the reconnect of this number. `ms` is the time it took. */
  | { do: 'reconnected'; times: number }
  | { do: 'peak' };

export interface Usage {
  ms: number;
  /** User and system time of the whole process, in microseconds. */
  cpu: number;
  /** The user time of it, in microseconds. */
  user: number;
}

export interface Answer extends Partial<Usage> {
  bytes?: number;
  /** The most memory that the process has had, in bytes. */
  peak?: number;
}
