/** What the parent asks of a worker, and what comes back. */
import type { ConnectLoad, DeliverLoad, PublishLoad } from './clients/client.js';

export type Contender = 'raw' | 'resilient';

export type Payload = 'bytes' | 'string';

export type Command =
  | { do: 'connect'; load: ConnectLoad }
  | { do: 'publish'; load: Omit<PublishLoad, 'payload'>; size: number; payload: Payload }
  | { do: 'deliver'; load: DeliverLoad }
  | { do: 'subscribe'; channels: string[] }
  /** From now on it counts what comes on the kept subscriptions. */
  | { do: 'count' }
  /** Waits until so many messages have come since then. */
  | { do: 'counted'; count: number }
  | { do: 'idle'; ms: number }
  /** From now on every message costs this much more. For the gate, to show that it sees it. */
  | { do: 'worsen'; cpu: number; bytes: number }
  /** What the next command allocates is counted, in bytes, garbage included. */
  | { do: 'allocations'; of: Command & { do: 'publish' | 'deliver' } }
  /** Publishes all at once; says how much memory that takes. */
  | { do: 'queue'; channel: string; count: number; size: number; payload: Payload }
  /** Waits for the acknowledgements of what was queued; measured from the first on. */
  | { do: 'flushed' }
  /** Waits for the so-manieth reconnect; `ms` is how long it took. */
  | { do: 'reconnected'; times: number }
  | { do: 'peak' };

export interface Usage {
  ms: number;
  /** User and system time of the whole process, µs. */
  cpu: number;
  /** The part of it outside the kernel. */
  user: number;
}

export interface Answer extends Partial<Usage> {
  bytes?: number;
  /** The most memory it ever had, bytes. */
  peak?: number;
}
