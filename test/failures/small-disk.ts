/**
 * A disk of 1 MB for the store of a server, which can be filled. It is a file system in memory that only the server sees, in a
 * namespace of its own, so this needs Linux and no special rights. A server that is started again has an empty one.
 */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveServer } from '../../src/testing/index.js';

export class SmallDisk {
  /** The server to start: a script that mounts the disk and then is the server. */
  readonly server: string;
  readonly #dir: string;
  readonly #store: string;

  private constructor(dir: string) {
    this.#dir = dir;
    this.server = join(dir, 'nats-streaming-server');
    this.#store = join(dir, 'store');
  }

  static async make(): Promise<SmallDisk> {
    const disk = new SmallDisk(await mkdtemp(join(tmpdir(), 'resilient-stan-small-disk-')));
    await mkdir(disk.#store);
    const real = await resolveServer();
    const script = `mount -t tmpfs -o size=1m none '${disk.#store}' && exec '${real}' "$@"`;
    await writeFile(
      disk.server,
      `#!/bin/sh\nexec unshare -rm sh -c ${JSON.stringify(script).replaceAll('$', '\\$')} server "$@"\n`,
    );
    await chmod(disk.server, 0o755);
    return disk;
  }

  /** What the configuration of the server needs. */
  get config(): { streaming: { dir: string } } {
    return { streaming: { dir: this.#store } };
  }

  /** Writes zeros until there is no room left. @param pid of the server */
  async fill(pid: number): Promise<void> {
    for (const size of [65536, 4096, 1]) {
      const block = Buffer.alloc(size);
      try {
        for (;;) await writeFile(this.#filler(pid), block, { flag: 'a' });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  }

  async remove(): Promise<void> {
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** The file that takes the room, as it is seen from outside of the server's namespace. */
  #filler(pid: number): string {
    return join(`/proc/${pid}/root`, this.#store, 'filler');
  }
}
