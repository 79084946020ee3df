import { randomBytes } from 'node:crypto';
import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { askVersion } from './ask-version.js';
import { releasePlatform, type Release } from './release.js';

/**
 * The directory for servers that were downloaded or built: `RESILIENT_STAN_CACHE`, else the operating system's directory for
 * caches.
 * @category Server binary
 */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env, platform: string = process.platform): string {
  if (env['RESILIENT_STAN_CACHE']) return env['RESILIENT_STAN_CACHE'];
  if (env['XDG_CACHE_HOME']) return join(env['XDG_CACHE_HOME'], 'resilient-stan');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'resilient-stan');
  return join(homedir(), '.cache', 'resilient-stan');
}

export function cachedServer(cacheDir: string, { program, version }: Release): string {
  return join(cacheDir, `${program}-${version}-${releasePlatform()}`);
}

/**
 * Lets `make` put a server into a temporary directory, asks it for its version, and then moves it to its final name. Several
 * processes may do that at the same time: none sees a part of a file, and the last one wins with the same content.
 */
export async function addToCache(
  cacheDir: string,
  release: Release,
  make: (workDir: string) => Promise<string>,
): Promise<string> {
  const workDir = join(cacheDir, `.tmp-${process.pid}-${randomBytes(6).toString('hex')}`);
  await mkdir(workDir, { recursive: true });
  try {
    const made = await make(workDir);
    await chmod(made, 0o755);
    const answer = await askVersion(made, release.program);
    if ('reason' in answer) throw new Error(answer.reason);
    if (answer.version !== release.version) throw new Error(`got version ${answer.version}, not ${release.version}`);
    const final = cachedServer(cacheDir, release);
    await rename(made, final);
    return final;
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}
