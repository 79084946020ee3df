import { execFile } from 'node:child_process';
import { parseVersion } from './release.js';

/** The answer of a file: its version, or why it is not a server. */
export type Answer = { version: string } | { reason: string };

/** Asks a file for its version, by `file --version`. */
export function askVersion(file: string): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(file, ['--version'], { timeout: 15_000, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      const version = parseVersion(stdout);
      if (version !== undefined) return resolve({ version });
      resolve({
        reason: `${file} ${error ? explain(error) : `is not nats-streaming-server: it says ${quote(stdout + stderr)}`}`,
      });
    });
  });
}

type ExecError = Error & {
  code?: number | string | null | undefined;
  signal?: NodeJS.Signals | null;
  killed?: boolean;
};

function explain(error: ExecError): string {
  if (error.code === 'ENOENT') return 'does not exist (or what it needs to run does not)';
  if (error.code === 'EACCES') return 'is not an executable file, or we may not run it';
  if (error.code === 'ENOEXEC') return 'is not a program for this machine';
  if (error.killed) return 'did not answer --version within 15 s';
  const how = error.signal ? `was ended by ${error.signal}` : `ended with ${String(error.code ?? error.message)}`;
  return `is not nats-streaming-server: asked for --version, it ${how}`;
}

function quote(text: string): string {
  const line = text.trim().split('\n')[0] ?? '';
  return line === '' ? 'nothing' : `'${line.slice(0, 120)}'`;
}
