/** The package as its users get it: packed, installed into an empty project, imported, required, type-checked. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIN = join(ROOT, 'node_modules', '.bin');

interface Result {
  code: number;
  output: string;
}

/** Runs a command to its end; what it says is in the failure's message. */
function run(cwd: string, command: string, ...args: string[]): Promise<Result> {
  return new Promise((resolve, reject) => {
    // The outer npm's settings (its prefix, its lifecycle event) are not the inner one's business.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^npm_(package|lifecycle|command)/i.test(name)),
    );
    execFile(command, args, { cwd, env, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number') reject(error);
      else resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}

async function succeed(cwd: string, command: string, ...args: string[]): Promise<string> {
  const { code, output } = await run(cwd, command, ...args);
  assert.equal(code, 0, `${command} ${args.join(' ')} exited with ${code}:\n${output}`);
  return output;
}

interface Targets {
  [condition: string]: string | string[] | Targets;
}

const leaves = (targets: Targets): string[] =>
  Object.values(targets).flatMap((target) =>
    typeof target === 'string' || Array.isArray(target) ? target : leaves(target),
  );

/** What a user may write against the types; the lines that expect an error show that the types are really there. */
const USER_CODE = `
  const options: ConnectOptions = { clientId: 'me', pings: { interval: 1000 }, publishing: { ordering: 'strict' } };
  // @ts-expect-error there is no such ordering
  const wrong: ConnectOptions = { publishing: { ordering: 'loose' } };

  export async function main(): Promise<void> {
    await using stan = await ResilientStan.connect(['nats://a:4222', 'nats://b:4222'], options);
    stan.on('connection_lost', ({ error }) => console.log(error.reason, wrong));
    const subscription = await stan.subscribe('foo', async (message) => console.log(message.sequence, message.string()));
    const { guid }: PubAck = await stan.publish('foo', Buffer.from('bar'), { timeout: 500 });
    for await (const message of stan.messages('foo', { startAt: { sequence: 1 } })) console.log(message.json<number>(), guid);
    // @ts-expect-error a channel is a string
    await stan.publish(5, 'bar').catch((error: unknown) => error instanceof OutboxFullError);
    await subscription.unsubscribe();
  }

  export async function test(): Promise<void> {
    await using cluster = await StanCluster.start({ nodes: 3 });
    const urls: string[] = cluster.urls;
    console.log(urls, await resolveServer());
  }
`;
/** The same for the API of node-nats-streaming, after an import of it. */
const STAN_CODE = `
  const options: StanOptions = { url: 'nats://localhost:4222' };
  const client: Stan = connect('test-cluster', 'me', options);
  const subscription = client.subscribe('foo', 'group', client.subscriptionOptions().setManualAckMode(true));
  subscription.on('message', (message: Message) => {
    const data: string | Buffer = message.getData();
    console.log(data, message.getSequence());
    message.ack();
  });
  // @ts-expect-error a channel is a string
  client.publish(5);
  console.log(client.publish('foo', 'bar', (error, guid) => console.log(error?.message, guid)), StartPosition.FIRST);
`;
const STAN_TYPES = 'type Message, type Stan, type StanOptions';
const NAMES = 'ResilientStan, OutboxFullError';
const TYPES = 'type ConnectOptions, type PubAck';
const HARNESS = 'StanCluster, resolveServer';

describe('the package', function () {
  this.timeout(300_000);

  let dir: string;
  let tarball: string;
  /** An empty project that has installed the tarball. */
  let project: string;
  let installed: string;

  before(async () => {
    dir = await realpath(await mkdtemp(join(tmpdir(), 'resilient-stan-package-')));
    await succeed(ROOT, 'npm', 'pack', '--pack-destination', dir);
    const packed = (await readdir(dir)).filter((name) => name.endsWith('.tgz'));
    assert.equal(packed.length, 1);
    tarball = join(dir, packed[0]!);

    project = join(dir, 'project');
    installed = join(project, 'node_modules', 'resilient-stan');
    await mkdir(project);
    await writeFile(join(project, 'package.json'), '{ "name": "project", "private": true }');
    await succeed(project, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball);
  });

  after(() => rm(dir, { recursive: true, force: true }));

  const write = async (name: string, content: string) => {
    const path = join(project, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
    return path;
  };

  it('has every file that its package.json names, a licence, a readme, and no sources of ours', async () => {
    const manifest = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
      exports: Targets;
      typesVersions: Targets;
      bin: Record<string, string>;
      main: string;
      types: string;
    };
    const paths = [
      ...leaves(manifest.exports),
      ...leaves(manifest.typesVersions),
      ...Object.values(manifest.bin),
      manifest.main,
      manifest.types,
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'SECURITY.md',
    ];
    for (const path of paths)
      await assert.doesNotReject(readFile(join(installed, path)), `${path} is not in the package`);

    const entries = await readdir(installed);
    for (const entry of ['src', 'test', 'node_modules', '.ci'])
      assert.ok(!entries.includes(entry), `${entry} is in the package`);
  });

  it('installs nothing but its dependencies, and runs no script at install', async () => {
    const lock = JSON.parse(await readFile(join(project, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean; dev?: boolean }>;
    };
    for (const [path, { hasInstallScript }] of Object.entries(lock.packages)) {
      assert.ok(hasInstallScript !== true, `${path} has an install script`);
    }
    for (const tool of ['typescript', 'mocha', 'tsx', 'eslint']) {
      assert.ok(!(`node_modules/${tool}` in lock.packages), `${tool} is a dependency`);
    }
  });

  it('loads nothing but its dependencies, and has the licences of what is built in', async () => {
    const { dependencies } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const dist = join(installed, 'dist');
    const loaded = new Set<string>();
    for (const file of (await readdir(dist)).filter((name) => name.endsWith('.js'))) {
      for (const [, name] of (await readFile(join(dist, file), 'utf8')).matchAll(/\brequire\("([^".][^"]*)"\)/g)) {
        if (!isBuiltin(name!)) loaded.add(name!.split('/')[0]!);
      }
    }
    assert.deepEqual([...loaded].sort(), Object.keys(dependencies).sort());
    assert.match(await readFile(join(dist, 'LICENSES.txt'), 'utf8'), /is-network-error .*MIT.*p-retry .*MIT/s);
  });

  it('is imported by ECMAScript modules', async () => {
    const file = await write(
      'user.mjs',
      `import { ${NAMES} } from 'resilient-stan';
       import { ${HARNESS} } from 'resilient-stan/testing';
       const error = await ResilientStan.connect('http://a').catch((error) => error);
       console.log(error.code, typeof OutboxFullError, typeof StanCluster.start, typeof resolveServer);`,
    );
    const output = await succeed(project, process.execPath, file);
    assert.equal(output.trim(), 'ERR_STAN_INVALID_ARGUMENT function function function');
  });

  it('is required by CommonJS modules, and is the same in both: one copy in a process', async () => {
    const file = await write(
      'user.cjs',
      `const required = require('resilient-stan');
       const { ${HARNESS} } = require('resilient-stan/testing');
       (async () => {
         const imported = await import('resilient-stan');
         const testing = await import('resilient-stan/testing');
         const fail = ({ ResilientStan }) => ResilientStan.connect('http://a').catch((error) => error);
         console.log(
           (await fail(required)) instanceof imported.InvalidArgumentError,
           (await fail(imported)) instanceof required.ResilientStanError,
           new testing.ServerBinaryError('', []) instanceof required.ResilientStanError,
           testing.StanCluster === StanCluster,
           Object.keys(required).every((name) => required[name] === imported[name]),
           Object.keys(required).length === Object.keys(imported).length,
         );
       })();`,
    );
    // As on a Node that cannot require() an ECMAScript module, and in a test runner that will not.
    const output = await succeed(project, process.execPath, '--no-experimental-require-module', file);
    assert.equal(output.trim(), 'true true true true true true');
  });

  it('has the API of node-nats-streaming as node-nats-streaming has it: the whole of it, and each name', async () => {
    const cjs = await write(
      'stan.cjs',
      `const stan = require('resilient-stan/stan');
       const { connect } = require('resilient-stan/stan');
       const original = require('node-nats-streaming');
       import('resilient-stan/stan').then((imported) => {
         console.log(
           typeof stan.connect,
           connect === stan.connect,
           imported.default === stan,
           Object.keys(stan).every((name) => imported[name] === stan[name]),
           Object.keys(original).filter((name) => !(name in stan)).join(),
         );
       });`,
    );
    assert.equal(
      await succeed(project, process.execPath, '--no-experimental-require-module', cjs),
      'function true true true \n',
    );
    const esm = await write(
      'stan.mjs',
      `import stan, { connect } from 'resilient-stan/stan';
       import { ConnectError } from 'resilient-stan';
       stan.connect('test-cluster', 'me', 'nats://127.0.0.1:1').on('error', ({ message, cause }) =>
         console.log(stan.connect === connect, /^Could not connect to server: /.test(message), cause instanceof ConnectError));`,
    );
    assert.equal(await succeed(project, process.execPath, esm), 'true true true\n');
  });

  it('has a folder for each entry, for what does not read "exports"', async () => {
    const file = await write(
      'old.cjs',
      `const { join } = require('node:path');
       const manifest = require('resilient-stan/package.json');
       const root = join(__dirname, 'node_modules', 'resilient-stan');
       for (const entry of Object.keys(manifest.exports).filter((entry) => !entry.endsWith('.json')))
         console.log(entry, require(join(root, entry)) === require(join('resilient-stan', entry)));`,
    );
    assert.equal(
      (await succeed(project, process.execPath, file)).trim(),
      '. true\n./stan true\n./testing true\n./migrate true',
    );
  });

  it('has a command that runs', async () => {
    const { version } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as { version: string };
    const output = await succeed(project, join(project, 'node_modules', '.bin', 'resilient-stan'), '--version');
    assert.equal(output.trim(), version);
  });

  it('has a command that finds the file of its processes', async () => {
    const command = join(project, 'node_modules', '.bin', 'resilient-stan');
    const args = ['verify', '--minutes', '0.05', '--mode', 'single', '--nodes', '1', '--faults', 'kill'];
    assert.match(await succeed(project, command, ...args, '--out', join(dir, 'report')), /✓ Clean/);
  });

  it('does nothing at import: no output, no timer, no handle', async () => {
    const file = await write(
      'idle.mjs',
      `import 'resilient-stan';
       import 'resilient-stan/stan';
       import 'resilient-stan/testing';
       import 'resilient-stan/migrate';
       console.log(JSON.stringify(process.getActiveResourcesInfo().filter((kind) => !/^(PipeWrap|TTYWrap|FSReqPromise|CloseReq)$/.test(kind))));`,
    );
    assert.equal((await succeed(project, process.execPath, file)).trim(), '[]');
  });

  /** Checks the TypeScript files of a folder. */
  const compile = async (folder: string, settings: object): Promise<void> => {
    const config = await write(
      `${folder}/tsconfig.json`,
      JSON.stringify({
        compilerOptions: {
          target: 'ES2022',
          lib: ['ES2023', 'ESNext.Disposable'],
          strict: true,
          exactOptionalPropertyTypes: true,
          // Nothing of ours may stand on it.
          esModuleInterop: false,
          // Our declarations are checked, too.
          skipLibCheck: false,
          noEmit: true,
          typeRoots: [join(ROOT, 'node_modules', '@types')],
          types: ['node'],
          ...settings,
        },
        include: ['*'],
      }),
    );
    await succeed(project, join(BIN, 'tsc'), '-p', config);
  };

  for (const [what, name, settings] of [
    ['ECMAScript modules (node16)', 'esm/user.mts', { module: 'node16' }],
    ['CommonJS modules (node16)', 'cjs/user.cts', { module: 'node16' }],
    ['CommonJS modules (nodenext)', 'next/user.cts', { module: 'nodenext' }],
    ['bundlers', 'bundler/user.ts', { module: 'preserve', moduleResolution: 'bundler' }],
    [
      'resolvers that do not read "exports" (node10)',
      'node10/user.ts',
      { module: 'commonjs', moduleResolution: 'node10' },
    ],
  ] as const) {
    it(`has types for ${what}, its own declarations included`, async () => {
      await write(
        name,
        `import { ${NAMES}, ${TYPES} } from 'resilient-stan';
         import { ${HARNESS} } from 'resilient-stan/testing';
         ${USER_CODE}`,
      );
      await write(
        name.replace('user', 'stan'),
        `import { connect, StartPosition, ${STAN_TYPES} } from 'resilient-stan/stan';
         ${STAN_CODE}`,
      );
      await compile(dirname(name), settings);
    });
  }

  for (const [what, name, settings, line] of [
    ["'import stan from' in ECMAScript modules", 'whole/stan.mts', { module: 'node16' }, 'import stan from'],
    [
      "'import stan from' in CommonJS modules, with esModuleInterop",
      'interop/stan.cts',
      { module: 'node16', esModuleInterop: true },
      'import stan from',
    ],
    [
      '\'import stan from\' of resolvers that do not read "exports", with esModuleInterop',
      'interop10/stan.ts',
      { module: 'commonjs', moduleResolution: 'node10', esModuleInterop: true },
      'import stan from',
    ],
    ["'import * as stan from' in CommonJS modules", 'star/stan.cts', { module: 'node16' }, 'import * as stan from'],
  ] as const) {
    it(`has types of the API of node-nats-streaming for ${what}`, async () => {
      await write(
        name,
        `${line} 'resilient-stan/stan';
         import { ${STAN_TYPES} } from 'resilient-stan/stan';
         const { connect, StartPosition } = stan;
         ${STAN_CODE}`,
      );
      await compile(dirname(name), settings);
    });
  }

  it('passes publint', async () => {
    await succeed(dir, join(BIN, 'publint'), 'run', '--strict', tarball);
  });

  it('passes "are the types wrong"', async () => {
    await succeed(dir, join(BIN, 'attw'), tarball);
  });
});
