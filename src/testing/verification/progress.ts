import type { Counters } from './recorder.js';

/**
 * The state of a run of {@link verify} at a moment.
 * @category Verification
 */
export interface Progress {
  /** The part of the run: before the first publish, publishing, waiting for what is under way, or closing. */
  phase: 'starting' | 'running' | 'settling' | 'stopping';
  /** What is being done, in words. Empty while it simply runs. */
  doing: string;
  /** Time since the first publish, in ms. */
  at: number;
  /** How long to publish, in ms. Infinity: until `faultCount` is reached. */
  publishFor: number;
  /** After how many faults the run ends. Infinity: no limit. */
  faultCount: number;
  /** How many faults have begun. */
  faults: number;
  /** Names of the faults that are under way. */
  current: readonly string[];
  /** Name of the node that serves. Undefined: none, or the servers are somebody else's. */
  leader: string | undefined;
  /** Sums so far. */
  counters: Readonly<Counters>;
  /** How many publishes are not settled. */
  pending: number;
  /** How many deliveries are missing, over all subscriptions. */
  owed: number;
  /** How many processes have a client that is connected. */
  connected: number;
  /** How many processes there are. */
  processes: number;
}

/**
 * Something that happened in a run of {@link verify}, in words.
 * @category Verification
 */
export interface RunNote {
  /** Time since the first publish, in ms. */
  at: number;
  /**
   * What it is about: a fault that began or was mended, another leader, a process that began or ended (`'client'`), a
   * connection that was lost or regained (`'connection'`), or something that went wrong (`'trouble'`).
   */
  kind: 'fault' | 'mended' | 'leader' | 'client' | 'connection' | 'trouble';
  /** What happened. */
  text: string;
}
