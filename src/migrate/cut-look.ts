/** What a cut finds before it begins: whether a stream is open already, and whether it is one that a copy has made. */
import type { ChannelCut, Step } from './cut-step.js';
import { fenceKind } from './fence.js';
import { findSeam, lookForSeam } from './seam.js';
import { readStreamNote, streamNoteText } from './stream-note.js';

/**
 * Sees whether a stream is open already. One that gets what is published to a channel, and that no copy has made, is not touched. Where
 * the fence is in the servers, they are asked later.
 */
export async function lookAtStream({ target, clusterId, ask }: Step, each: ChannelCut): Promise<void> {
  const { channel, stream } = each;
  const isFencing = fenceKind(target) === 'stream';
  const found = await ask(`channel '${channel}'`, async () => {
    const info = await target.stream(stream);
    if (info === undefined || !info.config.subjects.includes(channel)) return 'shut';
    const state = readStreamNote(info.config.description)?.state;
    if (isFencing && state !== undefined) return 'open';
    if (state === 'cut') return 'cut';
    if (state === 'being cut') return (await findSeam(target, info)) < info.state.last_seq ? 'cut' : 'shut';
    if (state === 'copied') return 'shut';
    // Without a fence of its own, an empty stream with the right name is as good as one that the copy makes.
    if (info.state.messages === 0) return isFencing ? 'foreign' : 'shut';
    // Somebody may have changed its description.
    const { seam, isKnown } = await lookForSeam(target, info);
    return isKnown && seam > 0 ? 'open' : 'foreign';
  });
  if (found === 'open' && isFencing) each.state = 'open';
  each.isCut = found === 'cut';
  if (found !== 'foreign') return;
  const note = streamNoteText({ clusterId, channel, state: 'cut' });
  each.problem = {
    code: 'foreign-content',
    channel,
    message:
      `stream '${stream}' gets what is published to '${channel}', and no copy has made it: nothing was changed, and nothing was appended. ` +
      `Rename or delete it, copy the channel, and run this again; or leave the channel out with 'channels'. If it was opened by this step ` +
      `before, and has got another description since, give it back the old one: nats stream edit ${stream} --description="${note}"`,
  };
}
