/** Runs the command `resilient-stan` as a user does: as a process. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory } from '../../src/testing/server-binary/cache.js';
import { COMMAND } from './built-command.js';

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  child: ChildProcessWithoutNullStreams;
  /** What it has said up to now. */
  said: { stdout: string; stderr: string };
  closed: Promise<Ended>;
}

/** Without the settings in the home directory of whoever runs the tests. The server binary is where it always is. */
const HOMELESS = {
  RESILIENT_STAN_CACHE: cacheDirectory(process.env),
  HOME: join(tmpdir(), 'resilient-stan-test-no-home'),
  USERPROFILE: join(tmpdir(), 'resilient-stan-test-no-home'),
};

export function startCommand(
  args: readonly string[],
  { env = {}, cwd, detached = false }: { env?: NodeJS.ProcessEnv; cwd?: string; detached?: boolean } = {},
): Running {
  const child = spawn(process.execPath, [COMMAND, ...args], {
    env: { ...process.env, ...HOMELESS, ...env },
    stdio: 'pipe',
    detached,
    ...(cwd !== undefined && { cwd }),
  });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (said[name] += text));
  }
  child.stdin.on('error', () => undefined);
  const closed = once(child, 'close').then(([code]) => ({ code: code as number | null, ...said }));
  return { child, said, closed };
}

/** @param input what comes through stdin */
export function runCommand(
  args: readonly string[],
  { input = '', ...options }: { env?: NodeJS.ProcessEnv; cwd?: string; input?: string | Uint8Array } = {},
): Promise<Ended> {
  const { child, closed } = startCommand(args, options);
  child.stdin.end(input);
  return closed;
}
