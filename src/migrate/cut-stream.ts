/** The cut where the fence is a part of each stream, from 2.10 on: one change of its configuration opens it. */
import { pause } from '../clock/pause.js';
import { describe } from '../errors.js';
import { apiCode, SUBJECT_IN_USE } from './api-errors.js';
import { copyWatched } from './cut-copy.js';
import { isOfServers, noteOf, notOpen, notOpened, type ChannelCut, type Step } from './cut-step.js';
import { hasFence, openEntrance, todoOf, type ServerDoors } from './fence.js';
import { unlessTold } from './interruptible.js';
import type { Problem } from './report.js';
import type { Target } from './target.js';

/** The pause between two looks at the servers' fences, in ms. */
const LOOK = 250;
/** How often a channel is copied again because STAN has gone on. What comes after that is a straggler. */
const ROUNDS = 3;

/**
 * From 2.10 on: each stream is opened by one change of its configuration. When one is open, servers that do not answer for another one are
 * a problem of that one.
 * @throws what the servers do not answer before one is open
 */
export async function openStreams(step: Step, cuts: readonly ChannelCut[]): Promise<void> {
  const shut = cuts.filter(({ state }) => state === 'shut');
  const problems = shut.length === 0 ? undefined : await copyWatched(step, shut);
  for (const each of shut) {
    each.problem = problems?.get(each.channel);
    try {
      await openStream(step, each);
    } catch (error) {
      if (!isOfServers(step, error) || cuts.every(({ state }) => state === 'shut')) throw error;
      each.problem ??= notOpened(each, describe(error));
    }
  }
}

async function openStream(step: Step, each: ChannelCut): Promise<void> {
  const { source, target, ask, signal } = step;
  for (let round = 1; each.problem === undefined; round++) {
    const info = await ask(`channel '${each.channel}'`, () => target.stream(each.stream));
    if (signal.aborted) return each.interrupted();
    if (info === undefined || !hasFence(info.config, each.channel)) {
      each.problem = notOpened(each, 'its stream is gone or was changed');
      return;
    }
    each.last = info.state.last_seq;
    const figures = await ask(`channel '${each.channel}'`, () => source.channel(each.channel));
    if ((figures?.last ?? 0) > each.last && round <= ROUNDS) {
      each.problem = (await copyWatched(step, [each]))?.get(each.channel);
      continue;
    }
    if (signal.aborted) continue;
    try {
      const { subjects } = openEntrance(each.channel);
      await target.manager.streams.update(each.stream, {
        subjects,
        subject_transform: undefined as never,
        description: noteOf(step, each, each.last),
      });
      each.state = 'opened';
    } catch (error) {
      each.problem = await whyNotOpened(target, each, error);
    }
    return;
  }
}

/** Waits until publishers get into streams that are open. */
export async function waitForDoors(
  { tell, clock, signal }: Step,
  cuts: readonly ChannelCut[],
  isPart: boolean,
  look: (cuts: readonly ChannelCut[]) => Promise<ServerDoors[]>,
): Promise<void> {
  let todo: readonly string[] = [];
  let shut: readonly ChannelCut[] = cuts;
  while (shut.length > 0 && !signal.aborted) {
    const servers = await unlessTold(signal, () => look(cuts));
    if (servers === undefined) break;
    todo = todoOf(servers, cuts, isPart);
    shut = notOpen(servers, cuts);
    if (shut.length === 0) return;
    tell({ phase: 'waiting', todo: todo.join('\n'), stragglers: 0 });
    await unlessTold(signal, () => pause(clock, LOOK));
  }
  // Nobody has looked, or they are known to be shut.
  for (const each of todo.length === 0 ? [] : shut) {
    each.state = 'shut';
    each.interrupted(todo.join('; '));
  }
}

async function whyNotOpened(target: Target, each: ChannelCut, error: unknown): Promise<Problem> {
  const { channel, stream } = each;
  if (apiCode(error) !== SUBJECT_IN_USE) return notOpened(each, describe(error));
  const others = (await target.streamsOn(channel).catch(() => [])).filter((name) => name !== stream);
  const which = others.length === 0 ? 'another stream' : others.map((name) => `stream '${name}'`).join(', ');
  return {
    code: 'subject-bound',
    channel,
    message:
      `stream '${stream}' was not opened: ${which} listens on '${channel}' already, and two streams cannot. Delete that one, or take the ` +
      'subject from it, and run this again',
  };
}
