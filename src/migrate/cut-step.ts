/** What the parts of a cut share: the channels on their way to be open, and what is at hand for the work. */
import type { Clock } from '../clock/clock.js';
import { CallbackError, InternalError, InvalidArgumentError, ResilientStanError } from '../errors.js';
import type { WaitingChannel } from './copy.js';
import type { Door, ServerDoors } from './fence.js';
import { streamName } from './names.js';
import type { Problem } from './report.js';
import type { Source } from './source.js';
import { streamNoteText } from './stream-note.js';
import type { Target } from './target.js';

/**
 * How far `cut` has come.
 * @category Migration
 */
export interface CutProgress {
  /**
   * - `'copying'`: what is missing is copied;
   * - `'waiting'`: the servers still keep native publishers out, by their configuration;
   * - `'stragglers'`: the streams are open, and what reaches STAN is appended.
   */
  readonly phase: 'copying' | 'waiting' | 'stragglers';
  /** What has to be done now by a person. Undefined when there is nothing. */
  readonly todo?: string;
  /** How many messages were appended so far. */
  readonly stragglers: number;
}

/** One channel on its way to be open. */
export class ChannelCut {
  readonly channel: string;
  readonly stream: string;
  state: 'opened' | 'open' | 'shut' = 'shut';
  problem: Problem | undefined;
  /**
   * Whether an earlier run has cut it where the fence is in the servers. Then nothing is copied any more: what has come to STAN since is
   * appended.
   */
  isCut = false;
  /** Whether this run has seen a server that keeps somebody out of it. */
  wasShut = false;
  /** Whether the step was told to stop before it was done with the channel. */
  isCutShort = false;
  /** The last message of the stream, as long as nobody else publishes to it. */
  last = 0;

  /** For how long STAN keeps the channel while nobody uses it, in ms. */
  readonly inactivity: number | undefined;

  constructor(channel: string, inactivity: number | undefined) {
    this.channel = channel;
    this.stream = streamName(channel);
    this.inactivity = inactivity;
  }

  /** Says why it is not open. What was said before counts. */
  interrupted(why = 'it was interrupted'): void {
    this.isCutShort ||= this.problem === undefined;
    this.problem ??= notOpened(this, why);
  }
}

export interface Step {
  readonly source: Source;
  readonly target: Target;
  readonly clock: Clock;
  readonly clusterId: string;
  /**
   * Copies what is missing of these. Returns what is wrong, by channel; undefined when it was told to stop.
   * @param stop ends it, as the signal of the step does
   * @param onProgress hears how much it has copied, and which channels wait, about four times a second
   */
  readonly copyAgain: (
    cuts: readonly ChannelCut[],
    stop: AbortSignal,
    onProgress: (copied: number, waiting: readonly WaitingChannel[]) => void,
  ) => Promise<ReadonlyMap<string, Problem> | undefined>;
  /** Asks a side something, and waits for servers that are away for a moment. Undefined when it is told to stop. */
  readonly ask: <T>(what: string, work: () => Promise<T>) => Promise<T | undefined>;
  readonly tell: (progress: CutProgress) => void;
  readonly signal: AbortSignal;
}

export const isWell = ({ problem }: ChannelCut): boolean => problem === undefined;
export const names = (cuts: readonly ChannelCut[]): string[] => cuts.map(({ channel }) => channel);
/** Those of which a server has a door of some kinds. Default: any but the open one. */
export function notOpen(
  servers: readonly ServerDoors[],
  cuts: readonly ChannelCut[],
  kinds: readonly Door[] = ['shut', 'closed', 'foreign'],
): ChannelCut[] {
  return cuts.filter(({ channel }) =>
    servers.some(({ doors }) => {
      const door = doors?.get(channel);
      return door !== undefined && kinds.includes(door);
    }),
  );
}

export function notOpened({ channel, stream }: ChannelCut, why: string): Problem {
  return {
    code: 'not-opened',
    channel,
    message: `stream '${stream}' of channel '${channel}' was not opened: ${why}. Run this again`,
  };
}

/** Whether an error is that a server does not answer, or does not answer as it should. The others are of the caller, or of this program. */
export function isOfServers({ target }: Pick<Step, 'target'>, error: unknown): boolean {
  if ([CallbackError, InternalError, InvalidArgumentError].some((kind) => error instanceof kind)) return false;
  return error instanceof ResilientStanError || target.isAnswer(error);
}

/** The note of a stream that is opened now. */
export function noteOf({ clusterId }: Step, { channel }: ChannelCut, cutAt: number): string {
  return streamNoteText({ clusterId, channel, state: 'being cut', cutAt });
}
