/**
 * What the description of a stream says of where it comes from, and how far its move has come. Every server keeps a description, also
 * those before 2.10, which have no metadata. Pure.
 */

/** The note of a stream. */
export interface StreamNote {
  readonly clusterId: string;
  readonly channel: string;
  /**
   * - `'copied'`: all in it is of STAN. A message that is not is a foreign one;
   * - `'being cut'`: all that STAN had is in it, and native messages may come from now on;
   * - `'cut'`: it is open, and has the limits of the channel.
   */
  readonly state: 'copied' | 'being cut' | 'cut';
  /**
   * The last message whose number is that of STAN, as the last run of the cut has seen it. The limits of the stream may have dropped
   * it since. Undefined before the cut.
   */
  readonly cutAt?: number;
  /** The last message of STAN that the stream has got, as the last run of the cut has seen it. Undefined when nobody has noted it. */
  readonly last?: LastOfStan;
}

/** The last message of STAN that a stream has got. The limits of the stream may have dropped it since. */
export interface LastOfStan {
  /** Its sequence in STAN. */
  readonly inStan: number;
  /** Its sequence in the stream. */
  readonly sequence: number;
  /** When STAN has stored it, as the header `Stan-Timestamp` has it. */
  readonly timestamp: string;
}

const TEXTS: Readonly<Record<StreamNote['state'], string>> = {
  copied: 'copied',
  'being cut': 'copied and being cut',
  cut: 'copied and cut',
};

/** The note as text for people, which {@link readStreamNote} understands. */
export function streamNoteText({ clusterId, channel, state, cutAt, last }: StreamNote): string {
  const at = cutAt === undefined ? '' : ` at ${cutAt}`;
  const end =
    last === undefined ? '' : ` (message ${last.inStan} of STAN, of ${last.timestamp}, is message ${last.sequence})`;
  return `STAN channel '${channel}' of cluster '${clusterId}', ${TEXTS[state]}${at}${end} by resilient-stan`;
}

const PATTERN =
  /^STAN channel '(.*)' of cluster '(.*)', ([a-z ]+?)(?: at (\d+))?(?: \(message (\d+) of STAN, of (\S+), is message (\d+)\))? by resilient-stan$/;

/** Undefined for a description of somebody else. */
export function readStreamNote(description: string | undefined): StreamNote | undefined {
  const [, channel, clusterId, text, cutAt, inStan, timestamp, sequence] = PATTERN.exec(description ?? '') ?? [];
  const state = (Object.keys(TEXTS) as StreamNote['state'][]).find((each) => TEXTS[each] === text);
  if (channel === undefined || clusterId === undefined || state === undefined) return undefined;
  return {
    clusterId,
    channel,
    state,
    ...(cutAt !== undefined && { cutAt: Number(cutAt) }),
    ...(timestamp !== undefined && { last: { inStan: Number(inStan), sequence: Number(sequence), timestamp } }),
  };
}

/** Whether the cut of a stream is done, or at work. */
export function isCut({ description }: { readonly description?: string | undefined }): boolean {
  return (readStreamNote(description)?.state ?? 'copied') !== 'copied';
}
