/**
 * Where the server binary comes from. Nothing is fetched at install time or at import: only when a server is needed and
 * none is found.
 */
import { access, constants, mkdir, stat } from 'node:fs/promises';
import { delimiter, join, resolve as absolute } from 'node:path';
import { describe } from '../../errors.js';
import { ServerBinaryError, type ServerSearchStep } from '../errors.js';
import { askVersion } from './ask-version.js';
import { addToCache, cacheDirectory, cachedServer } from './cache.js';
import { download } from './download.js';
import { goInstall } from './go-install.js';
import { archiveName, DOWNLOAD_URL, GO_MODULE, pinnedChecksum, releasePlatform, SERVER_VERSION } from './release.js';

export { SERVER_VERSION } from './release.js';
export { cacheDirectory } from './cache.js';

export interface ResolveServerOptions {
  /** Path of the server to use. Taken, or refused: nothing else is tried. */
  server?: string;
  /** Where a fetched server is kept. Default: `RESILIENT_STAN_CACHE`, else the operating system's cache directory. */
  cacheDir?: string;
  /**
   * Where the release's archives are, without a file name: a mirror. Default: `RESILIENT_STAN_DOWNLOAD_URL`, else the
   * official release. What comes from there must have the official checksum.
   */
  downloadUrl?: string;
  /** SHA-256 (hex) of the archive, for a platform that has none pinned, or for a mirror that packs its own. */
  sha256?: string;
  /** Whether it may be downloaded. Default true. */
  download?: boolean;
  /** Whether it may be built with `go install`. Default true. */
  goInstall?: boolean;
  /** ms until a download has to have begun. Default 10 000. */
  downloadTimeout?: number;
  /** Is told what takes long, and of a server that is not 0.25.6. Default: stderr, and only what takes over 2 s. */
  onProgress?: (line: string) => void;
  /** Default `process.env`. */
  env?: NodeJS.ProcessEnv;
}

/** What one step of the search came to. */
export type ServerSearchResult = ServerSearchStep & {
  /** The server it found. */
  path?: string;
  version?: string;
};

type Outcome = { path: string; version: string } | { reason: string; mend?: string; final?: true };

interface Step {
  name: string;
  run: () => Promise<Outcome>;
}

const underway = new Map<string, Promise<string>>();

/**
 * The path of a `nats-streaming-server`, got if need be. Tried in this order, each candidate asked for its `--version`:
 *
 * 1. the option `server`, 2. the environment variable `RESILIENT_STAN_SERVER`: any version is taken (with a warning when
 *    it is not 0.25.6), and if one is given and wrong that is an error, not a reason to look elsewhere;
 * 3. `PATH`, 4. the cache directory: only 0.25.6;
 * 5. download of the official release (Linux; SHA-256 pinned), 6. `go install`: kept in the cache directory.
 *
 * Calls at the same time share one search; processes at the same time do not harm each other.
 * @throws ServerBinaryError that lists each step, why it failed, and what would mend it
 */
export function resolveServer(options: ResolveServerOptions = {}): Promise<string> {
  const { onProgress: _told, env = process.env, ...what } = options;
  const key = JSON.stringify([what, relevant(env)]);
  const already = underway.get(key);
  if (already) return already;
  const search = find(options).finally(() => underway.delete(key));
  underway.set(key, search);
  return search;
}

/** All steps, also those after the first that found one; nothing is downloaded or built. For a diagnosis. */
export async function diagnoseServer(options: ResolveServerOptions = {}): Promise<ServerSearchResult[]> {
  const results: ServerSearchResult[] = [];
  for (const { name, run } of steps({ ...options, download: false, goInstall: false })) {
    const outcome = await run();
    results.push(
      'path' in outcome ? { step: name, reason: 'found', ...outcome } : { step: name, ...publicPart(outcome) },
    );
  }
  return results;
}

async function find(options: ResolveServerOptions): Promise<string> {
  const failed: ServerSearchStep[] = [];
  for (const { name, run } of steps(options)) {
    const outcome = await run();
    if ('path' in outcome) return outcome.path;
    failed.push({ step: name, ...publicPart(outcome) });
    if (outcome.final) {
      throw new ServerBinaryError(`${name}: ${outcome.reason}${outcome.mend ? `. ${outcome.mend}` : ''}`, failed);
    }
  }
  const list = failed.map(
    ({ step, reason, mend }, i) => `  ${i + 1}. ${step}: ${reason}${mend ? `\n     → ${mend}` : ''}`,
  );
  throw new ServerBinaryError(
    `no nats-streaming-server ${SERVER_VERSION} was found or could be got:\n${list.join('\n')}`,
    failed,
  );
}

function publicPart({ reason, mend }: { reason: string; mend?: string }): { reason: string; mend?: string } {
  return mend === undefined ? { reason } : { reason, mend };
}

function relevant(env: NodeJS.ProcessEnv): (string | undefined)[] {
  return ['RESILIENT_STAN_SERVER', 'RESILIENT_STAN_CACHE', 'RESILIENT_STAN_DOWNLOAD_URL', 'XDG_CACHE_HOME', 'PATH'].map(
    (name) => env[name],
  );
}

function steps(options: ResolveServerOptions): Step[] {
  const env = options.env ?? process.env;
  const cacheDir = absolute(options.cacheDir ?? cacheDirectory(env));
  const platform = releasePlatform();
  const progress = new Progress(options.onProgress);
  const mendEnv = 'export RESILIENT_STAN_SERVER=/path/to/nats-streaming-server';

  const named = async (path: string | undefined, absent: string, mend: string): Promise<Outcome> => {
    if (path === undefined || path === '')
      return absent === 'not set' ? { reason: absent, mend: mendEnv } : { reason: absent };
    const file = absolute(path);
    const answer = await askVersion(file);
    if ('reason' in answer) return { reason: answer.reason, mend, final: true };
    if (answer.version !== SERVER_VERSION) {
      progress.say(
        `${file} is nats-streaming-server ${answer.version}; what is promised is tested with ${SERVER_VERSION}`,
      );
    }
    return { path: file, version: answer.version };
  };

  const only = async (file: string): Promise<Outcome> => {
    const answer = await askVersion(file);
    if ('reason' in answer) return answer;
    if (answer.version === SERVER_VERSION) return { path: file, version: answer.version };
    return { reason: `${file} is version ${answer.version}, not ${SERVER_VERSION}` };
  };

  return [
    {
      name: 'option',
      run: () =>
        named(options.server, 'not given', "Pass the path of a nats-streaming-server as 'server', or leave it out"),
    },
    {
      name: 'RESILIENT_STAN_SERVER',
      run: () => named(env['RESILIENT_STAN_SERVER'], 'not set', `Correct it (${mendEnv}) or unset it`),
    },
    {
      name: 'PATH',
      run: async () => {
        const file = await onPath('nats-streaming-server', env);
        return file ? only(file) : { reason: 'there is no nats-streaming-server in it' };
      },
    },
    {
      name: 'cache',
      run: async () => {
        const file = cachedServer(cacheDir);
        if (await exists(file)) return only(file);
        return { reason: `${file} is not there` };
      },
    },
    {
      name: 'download',
      run: async () => {
        const base = (options.downloadUrl ?? (env['RESILIENT_STAN_DOWNLOAD_URL'] || DOWNLOAD_URL)).replace(/\/+$/, '');
        const url = `${base}/${archiveName(platform)}`;
        const sha256 = options.sha256 ?? pinnedChecksum(platform);
        const mend =
          `curl -fL ${url} | tar -xz --strip-components=1 && ` +
          'export RESILIENT_STAN_SERVER="$PWD/nats-streaming-server"';
        if (options.download === false) return { reason: 'not tried: switched off', mend };
        if (sha256 === undefined)
          return { reason: `no checksum is known for ${platform}, so what came could not be trusted` };
        return fetchInto(
          cacheDir,
          mend,
          progress,
          `downloading nats-streaming-server ${SERVER_VERSION} (${platform})`,
          (dir) =>
            download(dir, {
              url,
              sha256,
              ...(options.downloadTimeout !== undefined && { firstByteTimeout: options.downloadTimeout }),
            }),
        );
      },
    },
    {
      name: 'go install',
      run: async () => {
        const mend = `go install ${GO_MODULE} && export RESILIENT_STAN_SERVER="$(go env GOPATH)/bin/nats-streaming-server"`;
        if (options.goInstall === false) return { reason: 'not tried: switched off', mend };
        const go = await onPath('go', env);
        if (!go)
          return {
            reason: 'there is no go in PATH',
            mend: `install Go 1.20 or later (https://go.dev/dl/), then: ${mend}`,
          };
        return fetchInto(
          cacheDir,
          mend,
          progress,
          `building with 'go install ${GO_MODULE}' (once; a minute or two)`,
          (dir) => goInstall(dir, go, env),
        );
      },
    },
  ];
}

async function fetchInto(
  cacheDir: string,
  mend: string,
  progress: Progress,
  what: string,
  make: (workDir: string) => Promise<string>,
): Promise<Outcome> {
  const done = progress.begin(`${what} …`);
  try {
    await mkdir(cacheDir, { recursive: true });
    return { path: await addToCache(cacheDir, make), version: SERVER_VERSION };
  } catch (error) {
    return { reason: describe(error), mend };
  } finally {
    done();
  }
}

/** Nothing is said by default of what is over before anybody wonders. */
class Progress {
  readonly #listener: ((line: string) => void) | undefined;

  constructor(listener: ((line: string) => void) | undefined) {
    this.#listener = listener;
  }

  say(line: string): void {
    if (this.#listener) this.#listener(line);
    else process.stderr.write(`resilient-stan: ${line}\n`);
  }

  begin(line: string): () => void {
    if (this.#listener) {
      this.#listener(line);
      return () => {};
    }
    const timer = setTimeout(() => this.say(line), 2000);
    return () => clearTimeout(timer);
  }
}

/** The first executable file of this name in PATH. */
async function onPath(name: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const dir of (env['PATH'] ?? '').split(delimiter)) {
    if (dir === '') continue;
    const file = join(dir, name);
    try {
      if (!(await stat(file)).isFile()) continue;
      await access(file, constants.X_OK);
      return file;
    } catch {
      continue;
    }
  }
  return undefined;
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch {
    return false;
  }
}
