import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { describe } from '../../errors.js';
import type { ServerProgram } from './release.js';
import { extractFile } from './tar.js';

export interface DownloadOptions {
  /** The program in the archive. */
  program: ServerProgram;
  url: string;
  /** SHA-256 of the archive, as hex. */
  sha256: string;
  /** How long the headers may take, in ms. Default 10 000. */
  firstByteTimeout?: number;
  /** How long no byte may come, in ms. Default 30 000. */
  idleTimeout?: number;
}

/** The largest download, in bytes. The largest archive has 8 MB, and more must not fill a disk. */
const MAX_BYTES = 100 * 1024 * 1024;

/**
 * Downloads the archive into `workDir`, checks its checksum, and takes the server out of it. Returns the path of the server.
 * Nothing of the archive is read before its checksum was found right.
 */
export async function download(workDir: string, options: DownloadOptions): Promise<string> {
  const { program, url, sha256, firstByteTimeout = 10_000, idleTimeout = 30_000 } = options;
  const archive = join(workDir, 'archive.tar.gz');
  const watchdog = new Watchdog();
  const hash = createHash('sha256');
  let received = 0;
  try {
    watchdog.expect(firstByteTimeout, () => `no answer from ${new URL(url).host} within ${firstByteTimeout} ms`);
    const response = await fetch(url, { redirect: 'follow', signal: watchdog.signal });
    if (!response.ok || !response.body) {
      await response.body?.cancel();
      throw new Error(`${url} answered HTTP ${response.status} ${response.statusText}`.trimEnd());
    }
    const announced = Number(response.headers.get('content-length') ?? Number.NaN);
    const silence = () => `${url} fell silent for ${idleTimeout} ms after ${received} bytes`;
    watchdog.expect(idleTimeout, silence);
    await pipeline(
      Readable.fromWeb(response.body),
      async function* (source: AsyncIterable<Buffer>) {
        for await (const chunk of source) {
          received += chunk.length;
          if (received > MAX_BYTES) throw new Error(`${url} sent more than ${MAX_BYTES} bytes`);
          watchdog.expect(idleTimeout, silence);
          hash.update(chunk);
          yield chunk;
        }
      },
      createWriteStream(archive),
    );
    if (received < announced) throw new Error(`${url} ended after ${received} of ${announced} bytes`);
  } catch (error) {
    throw watchdog.expired ?? explained(error, url, received);
  } finally {
    watchdog.stop();
  }

  const actual = hash.digest('hex');
  if (actual !== sha256.toLowerCase()) {
    throw new Error(
      `${url} is not the official archive (${received} bytes): its SHA-256 is ${actual}, expected ${sha256}. It was thrown away`,
    );
  }
  const server = extractFile(await promisify(gunzip)(await readFile(archive)), program);
  if (!server) throw new Error(`there is no ${program} in ${url}`);
  const file = join(workDir, program);
  await writeFile(file, server, { mode: 0o755 });
  return file;
}

/** The reason of an error of `fetch`, which hides it in causes behind "fetch failed" or "terminated". */
function explained(error: unknown, url: string, received: number): Error {
  const causes: string[] = [];
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if (!['fetch failed', 'terminated'].includes(e.message))
      causes.push(describe(e) || ((e as { code?: string }).code ?? ''));
  }
  const why = causes.join(': ') || describe(error);
  if (why.includes(url)) return new Error(why, { cause: error });
  return new Error(received > 0 ? `${url} broke off after ${received} bytes: ${why}` : `${url}: ${why}`, {
    cause: error,
  });
}

/** A limit of time for the next step. */
class Watchdog {
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  expired: Error | undefined;

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  expect(ms: number, otherwise: () => string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.expired = new Error(otherwise());
      this.#abort.abort(this.expired);
    }, ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
