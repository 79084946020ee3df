/**
 * Finds or gets the server. Nothing is downloaded when this package is installed or imported, but only when a server is
 * needed and none is found.
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

/**
 * Options of {@link resolveServer}.
 * @category Server binary
 */
export interface ResolveServerOptions {
  /** Path of the server. It is used or refused, and nothing else is tried. Default: the steps are tried. */
  server?: string;
  /** Directory for a server that was downloaded or built. Default: {@link cacheDirectory}. */
  cacheDir?: string;
  /**
   * URL of the directory with the archives of the release, for a mirror. Default: `RESILIENT_STAN_DOWNLOAD_URL`, else the
   * official release. Archives have to have the official checksum.
   */
  downloadUrl?: string;
  /** SHA-256 of the archive, as hex. It is for a platform without a known one, and for a mirror with archives of its own. */
  sha256?: string;
  /** Whether the server may be downloaded. Default true. */
  download?: boolean;
  /** Whether the server may be built with `go install`. Default true. */
  goInstall?: boolean;
  /** Time until a download has to begin, in ms. Default 10 000. */
  downloadTimeout?: number;
  /** Called with a line when a step takes long, and when a server is not 0.25.6. Default: stderr, after 2 s. */
  onProgress?: (line: string) => void;
  /** The environment variables. Default `process.env`. */
  env?: NodeJS.ProcessEnv;
}

/**
 * The result of one step of the search.
 * @category Server binary
 */
export type ServerSearchResult = ServerSearchStep & {
  /** Path of the server. Undefined when the step has found none. */
  path?: string;
  /** Version of the server. */
  version?: string;
};

type Outcome = { path: string; version: string } | { reason: string; mend?: string; final?: true };

interface Step {
  name: string;
  run: () => Promise<Outcome>;
}

/** Why a step that would take its time is left out by who only looks. */
const LOOK_ONLY = 'not tried now, because this only looks: the next start tries it, or do it yourself';

const underway = new Map<string, Promise<string>>();

/**
 * Finds a `nats-streaming-server`, or gets one. These steps are tried in their order:
 *
 * 1. the option `server`, and 2. the environment variable `RESILIENT_STAN_SERVER`: any version is taken, with a warning if it
 *    is not 0.25.6. One that is given and cannot be used is an error, and no other step is tried;
 * 3. the `PATH`, and 4. the cache directory: only 0.25.6 is taken;
 * 5. a download of the official release (Linux only, with a known SHA-256), and 6. `go install`: the server is kept in the
 *    cache directory.
 *
 * Calls at the same time share one search, and several processes may search at the same time.
 *
 * @param options all optional
 * @returns path of the server
 * @throws ServerBinaryError with each step, why it failed, and what to do
 * @category Server binary
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

/**
 * Tries all steps of {@link resolveServer} but download and build, also those after a step that has found a server.
 *
 * @param options as those of {@link resolveServer}
 * @returns the result of each step
 * @category Server binary
 */
export async function diagnoseServer(options: ResolveServerOptions = {}): Promise<ServerSearchResult[]> {
  const results: ServerSearchResult[] = [];
  for (const { name, run } of steps(options, { look: true })) {
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

function steps(options: ResolveServerOptions, { look = false } = {}): Step[] {
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
        if (options.download === false) return { reason: "not tried: option 'download' is false", mend };
        if (look) return { reason: LOOK_ONLY, mend };
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
        if (options.goInstall === false) return { reason: "not tried: option 'goInstall' is false", mend };
        if (look) return { reason: LOOK_ONLY, mend };
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

/** Tells what takes long. By default it says nothing of a step that is over within 2 s. */
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
