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
}

const TEXTS: Readonly<Record<StreamNote['state'], string>> = {
  copied: 'copied',
  'being cut': 'copied and being cut',
  cut: 'copied and cut',
};

/** The note as text for people, which {@link readStreamNote} understands. */
export function streamNoteText({ clusterId, channel, state }: StreamNote): string {
  return `STAN channel '${channel}' of cluster '${clusterId}', ${TEXTS[state]} by resilient-stan`;
}

/** Undefined for a description of somebody else. */
export function readStreamNote(description: string | undefined): StreamNote | undefined {
  const [, channel, clusterId, text] =
    /^STAN channel '(.*)' of cluster '(.*)', (.*) by resilient-stan$/.exec(description ?? '') ?? [];
  const state = (Object.keys(TEXTS) as StreamNote['state'][]).find((each) => TEXTS[each] === text);
  if (channel === undefined || clusterId === undefined || state === undefined) return undefined;
  return { clusterId, channel, state };
}

/** Whether the cut of a stream is done, or at work. */
export function isCut({ description }: { readonly description?: string | undefined }): boolean {
  return (readStreamNote(description)?.state ?? 'copied') !== 'copied';
}
