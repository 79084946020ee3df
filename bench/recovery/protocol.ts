/** The protocol between the parent and a pair of clients in a process of their own. */
export interface PairOptions {
  publisher: { urls: string[] };
  subscriber: { urls: string[] };
  clusterId: string;
  channel: string;
  /** Time between two publishes, in ms. 0: only those that are asked for. */
  every: number;
}

export type PairCommand =
  | { do: 'start'; options: PairOptions }
  /** Publishes one more message. */
  | { do: 'publish' }
  /** Stops publishing, and answers with the record. */
  | { do: 'record' }
  | { do: 'stop' };

/** What the clients have seen. Times are those of {@link now}. */
export interface PairRecord {
  acks: number[];
  deliveries: number[];
  published: number;
  acknowledged: number;
  /** How many publishes were answered with an error. */
  failed: number;
  /** How many messages were stored more than once. */
  duplicates: number;
  /** How many sessions or connections were lost, as the client tells. */
  losses: number;
  suspicions: number;
  log: string[];
}

export interface PairAnswer {
  record?: PairRecord;
}

/** The machine's monotonic clock, in ms. It is the same in all processes. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;
