/** The cut where the fence is in the configuration of the servers, as in place: a person opens it, and the cut waits for that. */
import { pause } from '../clock/pause.js';
import { CUT_ALREADY } from './anchor.js';
import { copyWatched } from './cut-copy.js';
import { isWell, names, noteOf, notOpen, type ChannelCut, type Step } from './cut-step.js';
import { todoOf, type Door, type ServerDoors } from './fence.js';
import { unlessTold } from './interruptible.js';
import { findSeam } from './seam.js';
import { readStreamNote } from './stream-note.js';

/** The pause between two looks at the servers' fences, in ms. */
const LOOK = 250;

/**
 * Before 2.10: the servers open, when their configuration is changed. Until then it goes on copying. The stream says when all of STAN
 * was in it: native messages that come after that are in their place, and one that came before is a foreign one.
 * @param look asks each server for the doors of these
 * @param isPart whether the servers may keep publishers out of other channels, which are not cut
 */
export async function waitForServers(
  step: Step,
  cuts: readonly ChannelCut[],
  look: (cuts: readonly ChannelCut[]) => Promise<ServerDoors[]>,
  isPart: boolean,
): Promise<void> {
  const { source, target, tell, clock, ask, signal } = step;
  let todo: readonly string[] = [];
  for (let round = 1; ; round++) {
    const open = cuts.filter(isWell);
    const copied = open.filter(({ isCut }) => !isCut);
    const problems = await copyWatched(step, copied, async (stuck) => {
      const servers = (await unlessTold(signal, () => look(stuck))) ?? [];
      // What keeps only native publishers out does not keep the copy out.
      const kinds: readonly Door[] = ['closed', 'foreign'];
      const shut = notOpen(servers, stuck, kinds);
      for (const each of shut) each.wasShut = true;
      todo = todoOf(servers, stuck, isPart, kinds);
      return { todo, channels: names(shut) };
    });
    // What replicas had to refuse while it was copied they count, and 2.9.24 may lose that count when a server is replaced.
    if (round === 1) for (const { stream } of copied) await unlessTold(signal, () => target.stepDown(stream, signal));
    const servers = await unlessTold(signal, () => look(open));
    for (const each of open) {
      if (servers === undefined || problems === undefined) break;
      const problem = problems.get(each.channel);
      // Behind the first native message nothing is copied: that is where the cut is.
      const inStan = async (): Promise<number> =>
        (await ask(`channel '${each.channel}'`, () => source.channel(each.channel)))?.last ?? Infinity;
      const isInPlace =
        problem === undefined ||
        problem.code === CUT_ALREADY ||
        (problem.code === 'foreign-message' && problem.sequence! > (await inStan()));
      if (!isInPlace) {
        if (!signal.aborted) each.problem = problem;
        continue;
      }
      await ask(`channel '${each.channel}'`, async () => {
        const info = await target.stream(each.stream);
        if (info === undefined) return;
        each.last = await findSeam(target, info);
        if (readStreamNote(info.config.description)?.state !== 'copied') return;
        await target.manager.streams.update(each.stream, { description: noteOf(step, each, each.last) });
      });
    }
    if (signal.aborted) {
      for (const each of open) each.interrupted(todo.length === 0 ? undefined : todo.join('; '));
      return;
    }
    const waiting = open.filter(isWell);
    todo = todoOf(servers ?? [], waiting, isPart);
    for (const each of notOpen(servers ?? [], waiting)) each.wasShut = true;
    if (todo.length === 0) {
      for (const each of waiting) each.state = each.wasShut ? 'opened' : 'open';
      return;
    }
    tell({ phase: 'waiting', todo: todo.join('\n'), stragglers: 0 });
    await unlessTold(signal, () => pause(clock, LOOK));
  }
}
