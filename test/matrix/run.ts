/** Runs groups of the matrix, one case after the other. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Group } from './cases.js';
import { Referee } from './referee.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Outcome {
  /** The ids of the group and of the case. */
  id: string;
  /** What was wrong. */
  error?: Error;
}

/** The package as its users get it. */
async function pack(dir: string): Promise<string> {
  await promisify(execFile)('npm', ['pack', '--pack-destination', dir], { cwd: ROOT });
  const tarball = (await readdir(dir)).find((name) => name.endsWith('.tgz'));
  return join(dir, tarball!);
}

/** @param onOutcome is told of each case at its end */
export async function runMatrix(
  groups: readonly Group[],
  onOutcome: (outcome: Outcome) => void,
  wanted: (id: string) => boolean = () => true,
): Promise<void> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'resilient-stan-matrix-')));
  const referee = await Referee.start();
  try {
    const tarball = await pack(dir);
    for (const { id, make, cases } of groups) {
      const chosen = Object.entries(cases).filter(([name]) => wanted(`${id}/${name}`));
      if (chosen.length === 0) continue;
      const made = await make(join(dir, id), tarball).catch((error: Error) => error);
      for (const [name, run] of chosen) {
        const outcome: Outcome = { id: `${id}/${name}` };
        try {
          if (made instanceof Error) throw made;
          await run(made, (start) => referee.judge(start));
        } catch (error) {
          outcome.error = error as Error;
        }
        onOutcome(outcome);
      }
      // Hundreds of megabytes, some of them.
      await rm(join(dir, id), { recursive: true, force: true });
    }
  } finally {
    await referee.stop();
    await rm(dir, { recursive: true, force: true });
  }
}
