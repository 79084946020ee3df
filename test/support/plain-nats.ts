/**
 * A NATS server without streaming. NATS Streaming 0.25.6 has one as a library, so where that was built by Go its sources are
 * at hand, and a server of a few lines is built from them without the network.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { releasePorts, takePorts } from '../../src/testing/ports.js';
import { reaper, TEMPORARY_PREFIX } from '../../src/testing/reaper.js';
import { ServerProcess } from './server-process.js';

const run = promisify(execFile);

const BUILT = join(import.meta.dirname, '../../.cache/nats-server-2.9.24');

const GO_MOD = `module plain

go 1.20

require github.com/nats-io/nats-server/v2 v2.9.24

require (
	github.com/klauspost/compress v1.17.3 // indirect
	github.com/minio/highwayhash v1.0.2 // indirect
	github.com/nats-io/jwt/v2 v2.5.3 // indirect
	github.com/nats-io/nkeys v0.4.6 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.15.0 // indirect
	golang.org/x/sys v0.14.0 // indirect
	golang.org/x/time v0.4.0 // indirect
)
`;

/** What the main file of the server does, which itself needs a module that NATS Streaming does not. */
const MAIN_GO = `package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	opts, err := server.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ExitOnError), os.Args[1:], nil, nil, nil)
	if err == nil {
		var s *server.Server
		if s, err = server.NewServer(opts); err == nil {
			s.ConfigureLogger()
			if err = server.Run(s); err == nil {
				s.WaitForShutdown()
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`;

/** Builds the server if that was not done before. Resolves to why it cannot be built, if so. */
export async function buildPlainNats(): Promise<string | undefined> {
  if (existsSync(BUILT)) return undefined;
  const dir = await mkdtemp(join(tmpdir(), TEMPORARY_PREFIX));
  try {
    const { stdout } = await run('go', ['env', 'GOMODCACHE']);
    const streaming = join(stdout.trim(), 'github.com/nats-io/nats-streaming-server@v0.25.6');
    await copyFile(join(streaming, 'go.sum'), join(dir, 'go.sum'));
    await writeFile(join(dir, 'go.mod'), GO_MOD);
    await writeFile(join(dir, 'main.go'), MAIN_GO);
    // As the releases of the server are built.
    const commit = '-X github.com/nats-io/nats-server/v2/server.gitCommit=abc1234';
    await run('go', ['build', '-o', 'nats-server', '-ldflags', commit, '.'], {
      cwd: dir,
      env: { ...process.env, GOFLAGS: '-mod=readonly', GOPROXY: 'off', GOTOOLCHAIN: 'local' },
    });
    await mkdir(join(BUILT, '..'), { recursive: true });
    await rename(join(dir, 'nats-server'), BUILT).catch(() => copyFile(join(dir, 'nats-server'), BUILT));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export class PlainNats {
  readonly url: string;
  readonly dir: string;
  readonly #port: number;
  readonly #processes: ServerProcess[] = [];

  private constructor(port: number, dir: string) {
    this.#port = port;
    this.url = `nats://127.0.0.1:${port}`;
    this.dir = dir;
  }

  /** Starts a server with these arguments. {@link buildPlainNats} comes first. */
  static async start(...args: string[]): Promise<PlainNats> {
    const [port] = await takePorts(1);
    const dir = await mkdtemp(join(tmpdir(), TEMPORARY_PREFIX));
    reaper.guard(dir);
    const nats = new PlainNats(port!, dir);
    const server = nats.launch(BUILT, '-a', '127.0.0.1', '-p', String(port), '-sd', join(dir, 'js'), ...args);
    await server.logs(/Server is ready/);
    return nats;
  }

  /** Starts another server, which ends with this one. */
  launch(file: string, ...args: string[]): ServerProcess {
    const server = new ServerProcess(file, args, this.dir);
    this.#processes.push(server);
    return server;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((server) => server.kill()));
    releasePorts([this.#port]);
    await rm(this.dir, { recursive: true, force: true });
    reaper.release(this.dir);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
