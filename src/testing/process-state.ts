import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';

/** The state of a process as `ps` shows it: `R`, `S`, `T` (stopped), `Z` (dead, not yet waited for). Undefined when it is gone. */
export async function processState(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') {
    try {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2)[0];
    } catch {
      return undefined;
    }
  }
  return new Promise((resolve) => {
    execFile('ps', ['-o', 'state=', '-p', String(pid)], (error, stdout) => {
      resolve(error ? undefined : (stdout.trim()[0] ?? undefined));
    });
  });
}

/** The bit of SIGHUP in the masks of signals. */
const HANGUP = 1n;

/**
 * Whether a process handles SIGHUP. One that does not ends by it. Where the system does not tell, it is taken to handle it.
 * @param pid the process
 */
export async function handlesHangup(pid: number): Promise<boolean> {
  if (process.platform !== 'linux') return true;
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const [, mask] = /^SigCgt:\s*([\da-f]+)$/m.exec(status) ?? [];
  return mask === undefined || (BigInt(`0x${mask}`) & HANGUP) !== 0n;
}
