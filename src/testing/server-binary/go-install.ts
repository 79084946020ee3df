import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { Release } from './release.js';

/** Builds the server in `workDir` with the `go` at this path. Returns the path of the server. It takes a minute or two. */
export function goInstall(
  workDir: string,
  { program, goModule }: Release,
  go: string,
  env: NodeJS.ProcessEnv,
  timeout = 15 * 60_000,
): Promise<string> {
  // An environment for cross-compiling would build for another machine, and go install would refuse GOBIN.
  const { GOOS: _os, GOARCH: _arch, ...rest } = env;
  return new Promise((resolve, reject) => {
    execFile(
      go,
      ['install', goModule],
      { cwd: workDir, env: { ...rest, GOBIN: workDir }, timeout, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (!error) return resolve(join(workDir, program));
        const said = `${stdout}${stderr}`.trim().split('\n').slice(-5).join('\n').trim();
        const how = error.killed
          ? `took more than ${timeout / 1000} s`
          : `ended with ${String(error.code ?? error.message)}`;
        reject(new Error(`'go install ${goModule}' ${how}${said ? `: ${said}` : ''}`, { cause: error }));
      },
    );
  });
}
