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
import {
  archiveName,
  pinnedChecksum,
  releaseOf,
  releasePlatform,
  type Release,
  type ServerProgram,
} from './release.js';

export { NATS_SERVER_VERSION, SERVER_VERSION, type ServerProgram } from './release.js';
export { cacheDirectory } from './cache.js';

/**
 * Options of {@link resolveServer}.
 * @category Server binary
 */
export interface ResolveServerOptions {
  /** Which program. Default `'nats-streaming-server'`. */
  program?: ServerProgram;
  /**
   * Which version of `nats-server`, as `'2.12.15'`. Default: {@link NATS_SERVER_VERSION}. Of the streaming server there is
   * {@link SERVER_VERSION} only.
   */
  version?: string;
  /** Path of the server. It is used or refused, and nothing else is tried. Default: the steps are tried. */
  server?: string;
  /** Directory for a server that was downloaded or built. Default: {@link cacheDirectory}. */
  cacheDir?: string;
  /**
   * URL of the directory with the archives of the release, for a mirror. Default: `RESILIENT_STAN_DOWNLOAD_URL`
   * (`RESILIENT_STAN_NATS_DOWNLOAD_URL` for `nats-server`), else the official release. Archives have to have the official
   * checksum.
   */
  downloadUrl?: string;
  /**
   * SHA-256 of the archive, as hex. It is for a platform without a known one, for a mirror with archives of its own, and for
   * `nats-server`, of which none is known.
   */
  sha256?: string;
  /** Whether the server may be downloaded. Default true. */
  download?: boolean;
  /** Whether the server may be built with `go install`. Default true. */
  goInstall?: boolean;
  /** Time until a download has to begin, in ms. Default 10 000. */
  downloadTimeout?: number;
  /** Called with a line when a step takes long, and when a server is another version. Default: stderr, after 2 s. */
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
 * Finds a `nats-streaming-server`, or with `program` a `nats-server`, or gets one. These steps are tried in their order:
 *
 * 1. the option `server`, and 2. the environment variable `RESILIENT_STAN_SERVER` (`RESILIENT_STAN_NATS_SERVER` for
 *    `nats-server`): any version is taken, with a warning if it is not one that is tested. One that is given and cannot be
 *    used is an error, and no other step is tried. The variable does not count where the option `version` asks for another one;
 * 3. the `PATH`, and 4. the cache directory: only the wanted version is taken;
 * 5. a download of the official release (only where its SHA-256 is known: the streaming server for Linux), and
 *    6. `go install`: the server is kept in the cache directory.
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
  const { program, version } = releaseOf(options.program, options.version);
  throw new ServerBinaryError(`no ${program} ${version} was found or could be got:\n${list.join('\n')}`, failed);
}

function publicPart({ reason, mend }: { reason: string; mend?: string }): { reason: string; mend?: string } {
  return mend === undefined ? { reason } : { reason, mend };
}

function relevant(env: NodeJS.ProcessEnv): (string | undefined)[] {
  return [
    ...['RESILIENT_STAN_SERVER', 'RESILIENT_STAN_DOWNLOAD_URL'],
    ...['RESILIENT_STAN_NATS_SERVER', 'RESILIENT_STAN_NATS_DOWNLOAD_URL'],
    ...['RESILIENT_STAN_CACHE', 'XDG_CACHE_HOME', 'PATH'],
  ].map((name) => env[name]);
}

function steps(options: ResolveServerOptions, { look = false } = {}): Step[] {
  const release = releaseOf(options.program, options.version);
  const { program, version, goModule, variable } = release;
  const env = options.env ?? process.env;
  const cacheDir = absolute(options.cacheDir ?? cacheDirectory(env));
  const platform = releasePlatform();
  const progress = new Progress(options.onProgress);
  const mendEnv = `export ${variable}=/path/to/${program}`;

  const named = async (path: string | undefined, absent: string, mend: string): Promise<Outcome> => {
    if (path === undefined || path === '')
      return absent === 'not set' ? { reason: absent, mend: mendEnv } : { reason: absent };
    const file = absolute(path);
    const answer = await askVersion(file, program);
    if ('reason' in answer) return { reason: answer.reason, mend, final: true };
    if (!release.tested.includes(answer.version)) {
      progress.say(
        `${file} is ${program} ${answer.version}; what is promised is tested with ${release.tested.join(', ')}`,
      );
    }
    return { path: file, version: answer.version };
  };

  const only = async (file: string): Promise<Outcome> => {
    const answer = await askVersion(file, program);
    if ('reason' in answer) return answer;
    if (answer.version === version) return { path: file, version: answer.version };
    return {
      reason: `${file} is version ${answer.version}, not ${version}`,
      mend: `export ${variable}=${file} to use it all the same`,
    };
  };

  return [
    {
      name: 'option',
      run: () => named(options.server, 'not given', `Pass the path of a ${program} as 'server', or leave it out`),
    },
    {
      name: variable,
      run: async () => {
        const outcome = await named(env[variable], 'not set', `Correct it (${mendEnv}) or unset it`);
        if (options.version === undefined || !('path' in outcome) || outcome.version === version) return outcome;
        return { reason: `${outcome.path} is version ${outcome.version}, and ${version} is asked for` };
      },
    },
    {
      name: 'PATH',
      run: async () => {
        const file = await onPath(program, env);
        return file ? only(file) : { reason: `there is no ${program} in it` };
      },
    },
    {
      name: 'cache',
      run: async () => {
        const file = cachedServer(cacheDir, release);
        if (await exists(file)) return only(file);
        return { reason: `${file} is not there` };
      },
    },
    {
      name: 'download',
      run: async () => {
        const base = (options.downloadUrl ?? (env[release.mirrorVariable] || release.downloadUrl)).replace(/\/+$/, '');
        const url = `${base}/${archiveName(release, platform)}`;
        const sha256 = options.sha256 ?? pinnedChecksum(release, platform);
        const mend = `curl -fL ${url} | tar -xz --strip-components=1 && ` + `export ${variable}="$PWD/${program}"`;
        if (options.download === false) return { reason: "not tried: option 'download' is false", mend };
        if (look) return { reason: LOOK_ONLY, mend };
        if (sha256 === undefined) {
          const of = program === 'nats-server' ? `${program} ${version}` : platform;
          return { reason: `no checksum is known for ${of}, so what came could not be trusted` };
        }
        return fetchInto(cacheDir, release, mend, progress, `downloading ${program} ${version} (${platform})`, (dir) =>
          download(dir, {
            program,
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
        const mend = `go install ${goModule} && export ${variable}="$(go env GOPATH)/bin/${program}"`;
        if (options.goInstall === false) return { reason: "not tried: option 'goInstall' is false", mend };
        if (look) return { reason: LOOK_ONLY, mend };
        const go = await onPath('go', env);
        if (!go)
          return {
            reason: 'there is no go in PATH',
            mend: `install Go${release.go === undefined ? '' : ` ${release.go} or later`} (https://go.dev/dl/), then: ${mend}`,
          };
        return fetchInto(
          cacheDir,
          release,
          mend,
          progress,
          `building with 'go install ${goModule}' (once; a minute or two)`,
          (dir) => goInstall(dir, release, go, env),
        );
      },
    },
  ];
}

async function fetchInto(
  cacheDir: string,
  release: Release,
  mend: string,
  progress: Progress,
  what: string,
  make: (workDir: string) => Promise<string>,
): Promise<Outcome> {
  const done = progress.begin(`${what} …`);
  try {
    await mkdir(cacheDir, { recursive: true });
    return { path: await addToCache(cacheDir, release, make), version: release.version };
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
