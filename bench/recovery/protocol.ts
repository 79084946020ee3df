/** What the parent asks of a pair of clients in a process of their own, and what they saw. */
export interface PairOptions {
  publisher: { urls: string[] };
  subscriber: { urls: string[] };
  clusterId: string;
  channel: string;
  /** ms between two publishes; 0: none but those that are asked for. */
  every: number;
}

export type PairCommand =
  | { do: 'start'; options: PairOptions }
  /** One message, not of the rhythm. */
  | { do: 'publish' }
  /** No more publishes; the record of all so far. */
  | { do: 'record' }
  | { do: 'stop' };

/** Times are those of {@link now}, which is the same clock in all processes. */
export interface PairRecord {
  acks: number[];
  deliveries: number[];
  published: number;
  acknowledged: number;
  /** Publishes that were answered with an error. */
  failed: number;
  /** Stored more than once. */
  duplicates: number;
  /** Sessions lost, or connections, as the client tells. */
  losses: number;
  suspicions: number;
  log: string[];
}

export interface PairAnswer {
  record?: PairRecord;
}

/** ms by the machine's monotonic clock. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;
