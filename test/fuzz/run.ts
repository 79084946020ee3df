/** Many cases side by side in one process, and what must not happen in any of them. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Peer } from '../support/peer.js';
import { describePlan, plan, runCase } from './case.js';

export interface FuzzOptions {
  seed: number;
  /** Cases `first` to `first + count - 1`. */
  first: number;
  count: number;
  /** So many at a time. */
  lanes: number;
  onProgress?: (done: number, total: FuzzResult) => void;
}

export interface FuzzResult {
  cases: number;
  /** In so many of them the lie was told, and in so many the client left the liar for it. */
  lied: number;
  left: number;
  losses: number;
  failures: { number: number; what: string }[];
  /** MB, after the first tenth and after the last. */
  heap: { early: number; late: number };
}

/** So many cases share a good server: its fake remembers what it has seen. */
const BATCH = 200;

export async function fuzz({ seed, first, count, lanes, onProgress }: FuzzOptions): Promise<FuzzResult> {
  const result: FuzzResult = { cases: 0, lied: 0, left: 0, losses: 0, failures: [], heap: { early: 0, late: 0 } };
  const running = new Set<number>();
  const uncaught = (kind: string) => (error: unknown) => {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    result.failures.push({ number: NaN, what: `${kind}, while cases ${[...running].join(', ')} ran: ${text}` });
  };
  const listeners = { uncaughtException: uncaught('uncaught'), unhandledRejection: uncaught('unhandled rejection') };
  const onWarning = uncaught('warning');
  for (const [event, listener] of Object.entries(listeners)) process.on(event, listener);
  process.on('warning', onWarning);
  try {
    for (let done = 0; done < count; done += BATCH) {
      const batch = Math.min(BATCH, count - done);
      await runBatch(seed, first + done, batch, lanes, running, result);
      if (result.heap.early === 0 && done + batch >= count / 10) result.heap.early = heapUsed();
      onProgress?.(done + batch, result);
    }
    result.heap.late = heapUsed();
    return result;
  } finally {
    for (const [event, listener] of Object.entries(listeners)) process.off(event, listener);
    process.off('warning', onWarning);
  }
}

async function runBatch(
  seed: number,
  first: number,
  count: number,
  lanes: number,
  running: Set<number>,
  result: FuzzResult,
): Promise<void> {
  await using good = await Peer.listen();
  let next = first;
  const lane = async (): Promise<void> => {
    while (next < first + count) {
      const number = next++;
      running.add(number);
      try {
        const { lied, left, losses } = await runCase(good, seed, number);
        if (lied) result.lied += 1;
        if (left) result.left += 1;
        result.losses += losses;
      } catch (error) {
        const what = error instanceof Error ? error.message : String(error);
        result.failures.push({ number, what: `${describePlan(plan(seed, number))}: ${what}` });
      }
      running.delete(number);
      result.cases += 1;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** MB, without what is garbage. */
function heapUsed(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed / 1e6;
}
