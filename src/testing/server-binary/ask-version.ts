import { execFile } from 'node:child_process';
import { parseVersion, type ServerProgram } from './release.js';

/** The answer of a file: its version, or why it is not a server. */
export type Answer = { version: string } | { reason: string };

/** Asks a file for its version, by `file --version`. Another program than this one is refused. */
export function askVersion(file: string, program: ServerProgram): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(file, ['--version'], { timeout: 15_000, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      const version = parseVersion(program, stdout);
      if (version !== undefined) return resolve({ version });
      resolve({
        reason: `${file} ${error ? explain(error, program) : `is not ${program}: it says ${quote(stdout + stderr)}`}`,
      });
    });
  });
}

type ExecError = Error & {
  code?: number | string | null | undefined;
  signal?: NodeJS.Signals | null;
  killed?: boolean;
};

function explain(error: ExecError, program: ServerProgram): string {
  if (error.code === 'ENOENT') return 'does not exist (or what it needs to run does not)';
  if (error.code === 'EACCES') return 'is not an executable file, or we may not run it';
  if (error.code === 'ENOEXEC') return 'is not a program for this machine';
  if (error.killed) return 'did not answer --version within 15 s';
  const how = error.signal ? `was ended by ${error.signal}` : `ended with ${String(error.code ?? error.message)}`;
  return `is not ${program}: asked for --version, it ${how}`;
}

function quote(text: string): string {
  const line = text.trim().split('\n')[0] ?? '';
  return line === '' ? 'nothing' : `'${line.slice(0, 120)}'`;
}
