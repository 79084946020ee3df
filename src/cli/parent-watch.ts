/** Notices that whoever started this process has gone, so that it does not stay behind alone. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';

/** How often it is looked, in ms. */
const INTERVAL = 500;

/**
 * Resolves when the parent has ended. If a package runner (npx) is behind a shell, its end counts as well: killed, it leaves
 * the shell waiting for us.
 * @param signal ends the watch
 */
export async function parentGone(signal: AbortSignal): Promise<void> {
  const parent = process.ppid;
  const runner = process.env['npm_config_user_agent'] === undefined ? undefined : await parentOf(parent);
  await new Promise<void>((resolve) => {
    if (signal.aborted) return;
    const timer = setInterval(() => {
      const gone = process.ppid !== parent || (runner !== undefined && runner > 1 && !exists(runner));
      if (!gone) return;
      clearInterval(timer);
      resolve();
    }, INTERVAL);
    signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  });
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It is there, and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The parent of a process. Undefined where it cannot be found out. */
async function parentOf(pid: number): Promise<number | undefined> {
  if (process.platform === 'win32') return undefined;
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return new Promise((resolve) => {
      execFile('ps', ['-o', 'ppid=', '-p', String(pid)], (error, stdout) => {
        resolve(error ? undefined : Number(stdout) || undefined);
      });
    });
  }
}
