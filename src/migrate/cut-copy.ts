/** The copy inside a cut: it copies what is still missing, and says meanwhile why nothing goes on. */
import { pause } from '../clock/pause.js';
import type { WaitingChannel } from './copy.js';
import type { ChannelCut, Step } from './cut-step.js';
import type { Problem } from './report.js';
import { todoLines } from './stragglers.js';

/** The pause between two looks at how the copy goes on, in ms. */
const LOOK = 250;
/** How often it is looked why nothing is copied, in ms. */
const STUCK = 1000;

/** What keeps a copy out at the servers. */
export interface Hindrance {
  /** What is to be done, so that messages get in. */
  readonly todo: readonly string[];
  /** The channels that it is about. */
  readonly channels: readonly string[];
}

const NOTHING: Hindrance = { todo: [], channels: [] };

/**
 * Copies what is missing, and tells meanwhile why nothing gets in. When a callback throws, the copy is ended before.
 * @param look finds what is to be done at the servers when nothing gets in for a while. Only streams that are there have doors. Default:
 * the servers are not asked
 * @returns what is wrong, by channel; undefined when it was told to stop
 */
export async function copyWatched(
  { target, copyAgain, tell, clock, signal }: Step,
  cuts: readonly ChannelCut[],
  look?: (stuck: readonly ChannelCut[]) => Promise<Hindrance>,
): Promise<ReadonlyMap<string, Problem> | undefined> {
  const stop = new AbortController();
  let copied = 0;
  let waiting: readonly WaitingChannel[] = [];
  let hindrance = NOTHING;
  let isOver = false;
  const copying = copyAgain(cuts, stop.signal, (now, why) => {
    copied = now;
    waiting = why;
  }).finally(() => (isOver = true));
  const ended = copying.catch(() => undefined);
  const isAtWork = (): boolean => !isOver && !signal.aborted && !stop.signal.aborted;

  const watch = async (): Promise<void> => {
    for (let wasTold = false; isAtWork();) {
      await Promise.race([pause(clock, LOOK), ended]);
      if (!isAtWork()) return;
      const others = waiting.filter(({ channel }) => !hindrance.channels.includes(channel));
      const todo = [...hindrance.todo, ...waitingLines(others)];
      if (todo.length > 0) tell({ phase: 'copying', todo: todo.join('\n'), stragglers: 0 });
      else if (wasTold) tell({ phase: 'copying', stragglers: 0 });
      wasTold = todo.length > 0;
    }
  };
  // It may take long, so it is done beside the telling.
  const watchServers = async (): Promise<void> => {
    if (look === undefined) return;
    let before = -1;
    while (isAtWork()) {
      await Promise.race([pause(clock, STUCK), ended]);
      if (!isAtWork()) return;
      const isStuck = copied === before;
      before = copied;
      if (!isStuck) {
        hindrance = NOTHING;
        continue;
      }
      // What a server does not say now is asked again in the next round.
      const there = await Promise.all(
        cuts.map(async (each) => {
          const info = await target.stream(each.stream).catch(() => undefined);
          return info === undefined ? [] : [each];
        }),
      );
      if (isAtWork()) hindrance = await look(there.flat()).catch(() => hindrance);
    }
  };

  try {
    const [problems] = await Promise.all([copying, watch(), watchServers()]);
    return problems;
  } finally {
    stop.abort();
    await ended;
  }
}

/** Why channels are not copied at the moment. Channels with the same reason have one line. */
function waitingLines(waiting: readonly WaitingChannel[]): string[] {
  return todoLines(
    waiting.map(({ channel, reason }) => {
      const which = channel === '' ? 'nothing' : `nothing of channel '${channel}'`;
      const text = `${which} is copied at the moment: ${reason}. See that all servers run`;
      return { channel, text, kind: reason };
    }),
  );
}
