import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import {
  NATS_SERVER_VERSION,
  resolveServer,
  ServerBinaryError,
  type ResolveServerOptions,
} from '../../src/testing/index.js';
import { cacheDirectory, cachedServer } from '../../src/testing/server-binary/cache.js';
import {
  archiveName,
  parseVersion,
  pinnedChecksum,
  releaseOf,
  releasePlatform,
} from '../../src/testing/server-binary/release.js';
import { extractFile } from '../../src/testing/server-binary/tar.js';

/** Something that answers `--version` as the server does. */
const program = (version: string): string =>
  `#!/bin/sh\n[ "$1" = --version ] && echo "nats-streaming-server version ${version}, nats-server: v2.9.24"\n`;

/** Something that answers `--version` as `nats-server` does. */
const natsServer = (version: string): string => `#!/bin/sh\n[ "$1" = --version ] && echo "nats-server: v${version}"\n`;

const STREAMING = releaseOf('nats-streaming-server');

/** A real archive, as the release has it: one folder, the licence before the server. */
async function archive(dir: string, content: string): Promise<Buffer> {
  const folder = 'nats-streaming-server-v0.25.6-linux-amd64';
  const root = await mkdtemp(join(dir, 'archive-'));
  await mkdir(join(root, folder));
  await writeFile(join(root, folder, 'LICENSE'), 'x'.repeat(1234));
  await writeFile(join(root, folder, 'nats-streaming-server'), content, { mode: 0o755 });
  await promisify(execFile)('tar', ['-czf', 'out.tgz', `${folder}/LICENSE`, `${folder}/nats-streaming-server`], {
    cwd: root,
  });
  return readFile(join(root, 'out.tgz'));
}

const EMPTY = gzipSync(Buffer.alloc(1024));

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

async function refused(options: ResolveServerOptions): Promise<ServerBinaryError> {
  try {
    await resolveServer(options);
  } catch (error) {
    assert.ok(error instanceof ServerBinaryError, String(error));
    assert.equal(error.code, 'ERR_STAN_SERVER_BINARY');
    return error;
  }
  throw new assert.AssertionError({ message: 'a server was found' });
}

const reason = (error: ServerBinaryError, step: string): string =>
  error.steps.find((s) => s.step === step)?.reason ?? `no step ${step}`;

describe('testing: resolveServer', () => {
  let dir: string;
  /** No server anywhere, nothing downloaded, no Go. */
  let nothing: ResolveServerOptions & { cacheDir: string };
  let progress: string[];
  let servers: Server[] = [];

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'server-binary-test-'));
    await mkdir(join(dir, 'bin'));
    progress = [];
    nothing = {
      cacheDir: join(dir, 'cache'),
      download: false,
      goInstall: false,
      env: { PATH: join(dir, 'bin') },
      onProgress: (line) => progress.push(line),
    };
  });
  afterEach(async () => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
    servers = [];
    await rm(dir, { recursive: true, force: true });
  });

  async function put(path: string, content: string): Promise<string> {
    const file = join(dir, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
    await chmod(file, 0o755);
    return file;
  }

  async function serve(listener: RequestListener): Promise<string> {
    const server = createServer(listener);
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mirror`;
  }

  describe('the order', () => {
    it('takes the option before everything else', async () => {
      const wanted = await put('given', program('0.25.6'));
      const env = {
        PATH: dirname(await put('bin/nats-streaming-server', program('0.25.6'))),
        RESILIENT_STAN_SERVER: '/no',
      };
      assert.equal(await resolveServer({ ...nothing, server: wanted, env }), wanted);
    });

    it('then RESILIENT_STAN_SERVER, then PATH, then the cache', async () => {
      const variable = await put('variable', program('0.25.6'));
      const onPath = await put('bin/nats-streaming-server', program('0.25.6'));
      const cached = cachedServer(nothing.cacheDir, STREAMING);
      await mkdir(nothing.cacheDir);
      await writeFile(cached, program('0.25.6'), { mode: 0o755 });
      assert.equal(
        await resolveServer({ ...nothing, env: { ...nothing.env, RESILIENT_STAN_SERVER: variable } }),
        variable,
      );
      assert.equal(await resolveServer(nothing), onPath);
      await rm(onPath);
      assert.equal(await resolveServer(nothing), cached);
    });

    it('does not fall through a wrong option or a wrong variable', async () => {
      await put('bin/nats-streaming-server', program('0.25.6'));
      const missing = await refused({ ...nothing, server: join(dir, 'missing') });
      assert.match(missing.message, /^option: .*missing does not exist/);
      assert.match(missing.message, /leave it out/);
      const variable = await refused({ ...nothing, env: { ...nothing.env, RESILIENT_STAN_SERVER: '/dev/null' } });
      assert.match(variable.message, /^RESILIENT_STAN_SERVER: \/dev\/null is not an executable file.* unset it/s);
    });

    it('tells what a wrong file is', async () => {
      const text = async (content: string) =>
        (await refused({ ...nothing, server: await put('wrong', content) })).message;
      assert.match(await text('#!/bin/sh\necho hello\n'), /it says 'hello'/);
      assert.match(await text('#!/bin/sh\nexit 3\n'), /asked for --version, it ended with 3/);
      assert.match(await text('#!/bin/sh\necho nats-server: v2.9.24\n'), /is not nats-streaming-server/);
    });

    it('takes another version when it was told to, with a warning, and not from PATH', async () => {
      const old = await put('old', program('0.24.1'));
      assert.equal(await resolveServer({ ...nothing, server: old }), old);
      assert.equal(progress.length, 1);
      assert.match(progress[0] ?? '', /0\.24\.1/);
      await put('bin/nats-streaming-server', program('0.24.1'));
      assert.match(reason(await refused(nothing), 'PATH'), /is version 0\.24\.1, not 0\.25\.6/);
    });

    it('lists every step with its mend when all fail', async () => {
      const error = await refused(nothing);
      assert.deepEqual(
        error.steps.map((step) => step.step),
        ['option', 'RESILIENT_STAN_SERVER', 'PATH', 'cache', 'download', 'go install'],
      );
      assert.match(error.message, /1\. option: not given\n/);
      assert.match(error.message, /→ export RESILIENT_STAN_SERVER=/);
      assert.match(
        error.message,
        /→ curl -fL https:\/\/github\.com\/.*nats-streaming-server-v0\.25\.6-.*tar\.gz \| tar/,
      );
      assert.match(error.message, /→ go install github\.com\/nats-io\/nats-streaming-server@v0\.25\.6/);
    });

    it('searches once for calls at the same time', async () => {
      const marks = join(dir, 'marks');
      const file = await put('given', `${program('0.25.6')}echo run >> ${marks}\n`);
      const found = await Promise.all([1, 2, 3].map(() => resolveServer({ ...nothing, server: file })));
      assert.deepEqual(found, [file, file, file]);
      assert.equal((await readFile(marks, 'utf8')).trim(), 'run');
    });
  });

  describe('download', () => {
    it('verifies, unpacks and keeps the server', async () => {
      const content = `${program('0.25.6')}# ${'padding '.repeat(5000)}\n`;
      const data = await archive(dir, content);
      const asked: string[] = [];
      const downloadUrl = await serve((request, response) => {
        asked.push(request.url ?? '');
        if (request.url?.startsWith('/mirror')) {
          response.writeHead(302, { location: `/elsewhere${request.url}` }).end(); // as the official host does
        } else {
          response.end(data);
        }
      });
      const options = { ...nothing, download: true, downloadUrl, sha256: sha256(data).toUpperCase() };
      const found = await resolveServer(options);
      assert.equal(found, cachedServer(nothing.cacheDir, STREAMING));
      assert.equal(await readFile(found, 'utf8'), content);
      assert.deepEqual(await readdir(nothing.cacheDir), [found.split('/').pop()], 'nothing else is left');
      assert.match(progress[0] ?? '', /^downloading nats-streaming-server 0\.25\.6 \(.+-.+\) …$/);
      assert.match(asked[0] ?? '', new RegExp(`^/mirror/${archiveName(STREAMING, releasePlatform())}$`));
      // And the next time it is in the cache.
      assert.equal(await resolveServer({ ...nothing }), found);
      assert.equal(asked.length, 2);
    });

    it('may come from a mirror named by RESILIENT_STAN_DOWNLOAD_URL', async () => {
      const data = await archive(dir, program('0.25.6'));
      const url = await serve((_request, response) => response.end(data));
      const env = { ...nothing.env, RESILIENT_STAN_DOWNLOAD_URL: `${url}/` };
      assert.ok(await resolveServer({ ...nothing, download: true, sha256: sha256(data), env }));
    });

    it('is harmless from many processes, and several searches, at once', async () => {
      const data = await archive(dir, program('0.25.6'));
      const downloadUrl = await serve((_request, response) => response.end(data));
      const search = (n: number) =>
        resolveServer({ ...nothing, download: true, downloadUrl, sha256: sha256(data), downloadTimeout: 5000 + n });
      const found = await Promise.all([1, 2, 3, 4].map(search));
      assert.equal(new Set(found).size, 1);
      assert.deepEqual(await readdir(nothing.cacheDir), [found[0]?.split('/').pop()]);
    });

    const failing = (
      name: string,
      listener: (data: Buffer) => RequestListener,
      expected: RegExp,
      sum?: string,
    ): void => {
      it(name, async () => {
        const data = await archive(dir, program('0.25.6'));
        const downloadUrl = await serve(listener(data));
        const error = await refused({
          ...nothing,
          download: true,
          downloadUrl,
          sha256: sum ?? sha256(data),
          downloadTimeout: 300,
        });
        assert.match(reason(error, 'download'), expected);
        assert.match(error.steps.find((s) => s.step === 'download')?.mend ?? '', /^curl /);
        assert.deepEqual(await readdir(nothing.cacheDir), [], 'nothing is left behind');
      });
    };

    failing(
      'refuses another archive',
      () => (_q, r) => r.end('surprise'),
      /is not the official archive \(8 bytes\): its SHA-256 is/,
    );
    failing(
      'tells of a body that ends early',
      (data) => (_q, r) => {
        r.writeHead(200, { 'content-length': data.length });
        r.write(data.subarray(0, 100), () => r.destroy());
      },
      /broke off after \d+ bytes/,
    );
    failing('tells of a 404', () => (_q, r) => r.writeHead(404).end('no'), /answered HTTP 404/);
    failing('tells of a host that does not answer', () => () => {}, /no answer from 127\.0\.0\.1:\d+ within 300 ms/);
    failing(
      'tells of an endless redirect',
      () => (q, r) => r.writeHead(302, { location: q.url ?? '' }).end(),
      /redirect/,
    );
    failing(
      'tells of an archive without a server',
      () => (_q, r) => r.end(EMPTY),
      /there is no nats-streaming-server in/,
      sha256(EMPTY),
    );

    it('tells of a server that is another version', async () => {
      const data = await archive(dir, program('0.20.0'));
      const downloadUrl = await serve((_q, r) => r.end(data));
      const error = await refused({ ...nothing, download: true, downloadUrl, sha256: sha256(data) });
      assert.match(reason(error, 'download'), /got version 0\.20\.0/);
      assert.deepEqual(await readdir(nothing.cacheDir), []);
    });

    it('tells of a host that refuses, and of one that does not exist', async () => {
      const gone = await serve(() => {});
      const server = servers.pop();
      server?.close();
      const error = await refused({ ...nothing, download: true, downloadUrl: gone, sha256: '00' });
      assert.match(reason(error, 'download'), /ECONNREFUSED/);
    });

    it('has a checksum for Linux only', () => {
      assert.equal(pinnedChecksum(STREAMING, 'darwin-arm64'), undefined);
      assert.equal(pinnedChecksum(STREAMING, 'linux-amd64')?.length, 64);
    });
  });

  describe('go install', () => {
    it('keeps what it built', async () => {
      // A go that does what go install would, offline.
      const built = program('0.25.6').replaceAll("'", '');
      await put(
        'bin/go',
        `#!/bin/sh\n[ "$1" = install ] && [ "$2" = github.com/nats-io/nats-streaming-server@v0.25.6 ] || exit 9\n` +
          `[ -z "$GOOS" ] || exit 8\n/bin/cat > "$GOBIN/nats-streaming-server" <<'END'\n${built}END\n`,
      );
      const env = { ...nothing.env, GOOS: 'plan9' };
      const found = await resolveServer({ ...nothing, goInstall: true, env });
      assert.equal(found, cachedServer(nothing.cacheDir, STREAMING));
      assert.match(progress[0] ?? '', /^building with 'go install/);
      assert.equal((await readdir(nothing.cacheDir)).length, 1);
    });

    it('tells that there is no Go', async () => {
      const error = await refused({ ...nothing, goInstall: true });
      assert.equal(reason(error, 'go install'), 'there is no go in PATH');
      assert.match(error.message, /→ install Go 1\.20 or later/);
    });

    it("tells Go's own words when it fails", async () => {
      await put('bin/go', '#!/bin/sh\necho "go: module lookup disabled" >&2\nexit 1\n');
      const error = await refused({ ...nothing, goInstall: true });
      assert.match(reason(error, 'go install'), /ended with 1: go: module lookup disabled/);
      assert.deepEqual(await readdir(nothing.cacheDir), []);
    });
  });

  describe('nats-server', () => {
    const wanted = { program: 'nats-server' } as const;

    it('is looked for by variables of its own, then in PATH, then in the cache, and is the newest tested version', async () => {
      const variable = await put('variable', natsServer('2.15.2'));
      const onPath = await put('bin/nats-server', natsServer('2.15.2'));
      const cached = await put(`cache/nats-server-2.15.2-${releasePlatform()}`, natsServer('2.15.2'));
      const env = { ...nothing.env, RESILIENT_STAN_NATS_SERVER: variable, RESILIENT_STAN_SERVER: '/no' };
      assert.equal(await resolveServer({ ...nothing, ...wanted, env }), variable);
      assert.equal(await resolveServer({ ...nothing, ...wanted }), onPath);
      await rm(onPath);
      assert.equal(await resolveServer({ ...nothing, ...wanted }), cached);
      assert.equal(NATS_SERVER_VERSION, '2.15.2');
      assert.deepEqual(progress, []);
    });

    it('is taken in the version that is asked for, whatever the variable and PATH say', async () => {
      const variable = await put('variable', natsServer('2.15.2'));
      await put('bin/nats-server', natsServer('2.10.27'));
      const cached = await put(`cache/nats-server-2.12.15-${releasePlatform()}`, natsServer('2.12.15'));
      const env = { ...nothing.env, RESILIENT_STAN_NATS_SERVER: variable };
      assert.equal(await resolveServer({ ...nothing, ...wanted, version: '2.12.15', env }), cached);
      await rm(cached);
      const error = await refused({ ...nothing, ...wanted, version: '2.12.15', env });
      assert.match(error.message, /^no nats-server 2\.12\.15 was found/);
      assert.match(reason(error, 'RESILIENT_STAN_NATS_SERVER'), /is version 2\.15\.2, and 2\.12\.15 is asked for/);
      assert.match(reason(error, 'PATH'), /is version 2\.10\.27, not 2\.12\.15/);
      assert.match(error.message, /→ export RESILIENT_STAN_NATS_SERVER=.*bin\/nats-server to use it all the same/);
      assert.match(error.message, /→ go install github\.com\/nats-io\/nats-server\/v2@v2\.12\.15 && /);
    });

    it('is not mixed up with the streaming server', async () => {
      const streaming = await put('streaming', program('0.25.6'));
      const plain = await put('plain', natsServer('2.15.2'));
      assert.match(
        (await refused({ ...nothing, ...wanted, server: streaming })).message,
        /is not nats-server: it says 'nats-streaming-server version 0\.25\.6/,
      );
      assert.match((await refused({ ...nothing, server: plain })).message, /is not nats-streaming-server/);
    });

    it('is taken by path in a version that is not tested, with a warning', async () => {
      const server = await put('other', natsServer('2.11.3'));
      assert.equal(await resolveServer({ ...nothing, ...wanted, server }), server);
      assert.match(
        progress.join(),
        /is nats-server 2\.11\.3; what is promised is tested with 2\.10\.27, 2\.12\.15, 2\.15\.2/,
      );
    });

    it('is downloaded only with a checksum that the caller knows', async () => {
      const error = await refused({ ...nothing, ...wanted, download: true });
      assert.match(reason(error, 'download'), /no checksum is known for nats-server 2\.15\.2/);
      const folder = await mkdtemp(join(dir, 'archive-'));
      await writeFile(join(folder, 'nats-server'), natsServer('2.15.2'), { mode: 0o755 });
      await promisify(execFile)('tar', ['-czf', 'out.tgz', 'nats-server'], { cwd: folder });
      const data = await readFile(join(folder, 'out.tgz'));
      const asked: string[] = [];
      const mirror = await serve((request, response) => {
        asked.push(request.url ?? '');
        response.end(data);
      });
      const env = { ...nothing.env, RESILIENT_STAN_NATS_DOWNLOAD_URL: mirror };
      const found = await resolveServer({ ...nothing, ...wanted, download: true, sha256: sha256(data), env });
      assert.equal(found, cachedServer(nothing.cacheDir, releaseOf('nats-server')));
      assert.deepEqual(asked, [`/mirror/nats-server-v2.15.2-${releasePlatform()}.tar.gz`]);
    });

    it('is built by go install, and kept by its version', async () => {
      await put(
        'bin/go',
        `#!/bin/sh\n[ "$2" = github.com/nats-io/nats-server/v2@v2.10.27 ] || exit 9\n` +
          `/bin/cat > "$GOBIN/nats-server" <<'END'\n${natsServer('2.10.27')}END\n`,
      );
      const found = await resolveServer({ ...nothing, ...wanted, version: '2.10.27', goInstall: true });
      assert.equal(found, join(nothing.cacheDir, `nats-server-2.10.27-${releasePlatform()}`));
    });

    it('names the Go that it needs, where there is none', async () => {
      const needs = async (version?: string): Promise<string> =>
        (await refused({ ...nothing, ...wanted, goInstall: true, ...(version && { version }) })).message;
      assert.match(await needs(), /→ install Go 1\.26 or later/);
      assert.match(await needs('2.12.15'), /→ install Go 1\.25 or later/);
      assert.match(await needs('2.11.3'), /→ install Go \(https/);
    });

    it('refuses what is no version and no program', async () => {
      const wrong = (options: unknown): Promise<string> => resolveServer(options as ResolveServerOptions);
      await assert.rejects(
        wrong({ ...nothing, ...wanted, version: 'latest' }),
        /three numbers, as '2\.12\.15', not 'latest'/,
      );
      await assert.rejects(wrong({ ...nothing, version: '0.24.0' }), /only nats-streaming-server 0\.25\.6 can be got/);
      await assert.rejects(wrong({ ...nothing, program: 'redis' }), /there is no program 'redis'/);
    });
  });

  it('reads versions, platforms and places', () => {
    assert.equal(
      parseVersion('nats-streaming-server', 'nats-streaming-server version 0.25.6, nats-server: v2.9.24\n'),
      '0.25.6',
    );
    assert.equal(parseVersion('nats-streaming-server', 'nats-server: v2.9.24'), undefined);
    assert.equal(parseVersion('nats-server', 'nats-server: v2.15.2\n'), '2.15.2');
    assert.equal(parseVersion('nats-server', 'nats-server: v2.11.0-RC.1\n'), '2.11.0-RC.1');
    assert.equal(
      parseVersion('nats-server', 'nats-streaming-server version 0.25.6, nats-server: v2.9.24\n'),
      undefined,
    );
    assert.equal(releasePlatform('linux', 'x64'), 'linux-amd64');
    assert.equal(releasePlatform('linux', 'ia32'), 'linux-386');
    assert.equal(releasePlatform('linux', 'arm', '6'), 'linux-arm6');
    assert.equal(releasePlatform('linux', 'arm', '7'), 'linux-arm7');
    assert.equal(releasePlatform('darwin', 'arm64'), 'darwin-arm64');
    assert.equal(cacheDirectory({ RESILIENT_STAN_CACHE: '/a', XDG_CACHE_HOME: '/b' }), '/a');
    assert.equal(cacheDirectory({ XDG_CACHE_HOME: '/b' }), '/b/resilient-stan');
    assert.match(cacheDirectory({}, 'darwin'), /Library\/Caches\/resilient-stan$/);
    assert.match(cacheDirectory({}, 'linux'), /\.cache\/resilient-stan$/);
  });

  it('does not read past a damaged tar', () => {
    assert.equal(extractFile(new Uint8Array(100), 'x'), undefined);
    assert.equal(extractFile(new Uint8Array(5120), 'x'), undefined);
    const header = new Uint8Array(1024);
    header.set(Buffer.from('dir/x'), 0);
    header.set(Buffer.from('00000077777'), 124);
    header.set(Buffer.from('0'), 156);
    assert.equal(extractFile(header, 'x'), undefined, 'it claims more than there is');
  });
});
