import type { Counters } from './recorder.js';

/** How a run goes, at a moment. */
export interface Progress {
  phase: 'starting' | 'running' | 'settling' | 'stopping';
  /** What is being done, when it is not simply running. */
  doing: string;
  /** ms since the first publish. */
  at: number;
  /** How long it is to publish, in ms; Infinity: until `faultCount` is reached. */
  publishFor: number;
  faultCount: number;
  /** How many faults have begun. */
  faults: number;
  /** What is broken at this moment. */
  current: readonly string[];
  leader: string | undefined;
  counters: Readonly<Counters>;
  /** Publishes that have not settled. */
  pending: number;
  /** Deliveries that are owed, over all subscriptions. */
  owed: number;
  /** Processes whose client is connected, of how many. */
  connected: number;
  processes: number;
}

/** Something that happened, for people. */
export interface RunNote {
  /** ms since the first publish. */
  at: number;
  kind:
    | 'fault'
    | 'mended'
    | 'leader'
    /** A process of the run began or ended. */
    | 'client'
    /** A client lost its connection, or has it again. */
    | 'connection'
    | 'trouble';
  text: string;
}
