/** The package as its users get it: packed, installed into an empty project, imported, required, type-checked. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
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
      exports: Record<string, string | Record<string, string>>;
      bin: Record<string, string>;
      main: string;
      types: string;
    };
    const paths = [
      ...Object.values(manifest.exports).flatMap((target) =>
        typeof target === 'string' ? target : Object.values(target),
      ),
      ...Object.values(manifest.bin),
      manifest.main,
      manifest.types,
      'stan.js',
      'stan.d.ts',
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

  it('has the API of node-nats-streaming, for import and require, with types for old resolvers as well', async () => {
    const esm = await write(
      'stan.mjs',
      `
      import stan, { connect, StartPosition } from 'resilient-stan/stan';
      console.log(stan.connect === connect, StartPosition.FIRST);`,
    );
    assert.equal(await succeed(project, process.execPath, esm), 'true 4\n');
    const cjs = await write(
      'stan.cjs',
      `
      const { connect, version } = require('resilient-stan/stan');
      console.log(typeof connect, version);`,
    );
    assert.match(await succeed(project, process.execPath, '--no-warnings', cjs), /^function 0\.3\.\d+\n$/);
    const code = `
      import stan, { connect, type Message, type Stan, type StanOptions } from 'resilient-stan/stan';
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
      console.log(client.publish('foo', 'bar', (error, guid) => console.log(error?.message, guid)), stan.version);
    `;
    for (const [name, extension, module, resolution] of [
      ['new', 'mts', 'NodeNext', 'NodeNext'],
      ['old', 'ts', 'ES2022', 'node10'],
    ] as const) {
      const file = await write(`stan-${name}.${extension}`, code);
      const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')];
      const flags = [
        '--noEmit',
        '--strict',
        '--target',
        'ES2022',
        '--skipLibCheck',
        '--lib',
        'ES2023,ESNext.Disposable',
      ];
      const how = ['--module', module, '--moduleResolution', resolution];
      await succeed(project, join(BIN, 'tsc'), ...flags, ...types, ...how, file);
    }
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

  it('is required by CommonJS modules, as the same classes', async () => {
    const file = await write(
      'user.cjs',
      `const { ${NAMES} } = require('resilient-stan');
       const { ${HARNESS} } = require('resilient-stan/testing');
       import('resilient-stan').then(async (imported) => {
         const error = await ResilientStan.connect('http://a').catch((error) => error);
         console.log(error.code, imported.OutboxFullError === OutboxFullError, typeof StanCluster.start, typeof resolveServer);
       });`,
    );
    const output = await succeed(project, process.execPath, '--disable-warning=ExperimentalWarning', file);
    assert.equal(output.trim(), 'ERR_STAN_INVALID_ARGUMENT true function function');
  });

  it('has a command that runs', async () => {
    const { version } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as { version: string };
    const output = await succeed(project, join(project, 'node_modules', '.bin', 'resilient-stan'), '--version');
    assert.equal(output.trim(), version);
  });

  it('does nothing at import: no output, no timer, no handle', async () => {
    const file = await write(
      'idle.mjs',
      `import 'resilient-stan';
       import 'resilient-stan/testing';
       console.log(JSON.stringify(process.getActiveResourcesInfo().filter((kind) => !/^(PipeWrap|TTYWrap|FSReqPromise|CloseReq)$/.test(kind))));`,
    );
    assert.equal((await succeed(project, process.execPath, file)).trim(), '[]');
  });

  for (const [what, name, module, head] of [
    [
      'ECMAScript modules (node16)',
      'esm/user.mts',
      'node16',
      `import { ${NAMES}, ${TYPES} } from 'resilient-stan';
       import { ${HARNESS} } from 'resilient-stan/testing';`,
    ],
    [
      'CommonJS modules (node20, which may require an ECMAScript module)',
      'cjs/user.cts',
      'node20',
      `import { ${NAMES}, ${TYPES} } from 'resilient-stan';
       import { ${HARNESS} } from 'resilient-stan/testing';`,
    ],
    [
      'CommonJS modules (node16, which may import() one)',
      'cjs16/user.cts',
      'node16',
      `import type { ${TYPES.replaceAll('type ', '')} } from 'resilient-stan' with { 'resolution-mode': 'import' };
       declare const ResilientStan: typeof import('resilient-stan', { with: { 'resolution-mode': 'import' } }).ResilientStan;
       declare const OutboxFullError: typeof import('resilient-stan', { with: { 'resolution-mode': 'import' } }).OutboxFullError;
       declare const StanCluster: typeof import('resilient-stan/testing', { with: { 'resolution-mode': 'import' } }).StanCluster;
       declare const resolveServer: typeof import('resilient-stan/testing', { with: { 'resolution-mode': 'import' } }).resolveServer;`,
    ],
    [
      'bundlers',
      'bundler/user.ts',
      'bundler',
      `import { ${NAMES}, ${TYPES} } from 'resilient-stan';
       import { ${HARNESS} } from 'resilient-stan/testing';`,
    ],
  ] as const) {
    it(`has types for ${what}, its own declarations included`, async () => {
      await write(name, `${head}\n${USER_CODE}`);
      const config = await write(
        `${dirname(name)}/tsconfig.json`,
        JSON.stringify({
          compilerOptions: {
            target: 'ES2022',
            lib: ['ES2023', 'ESNext.Disposable'],
            ...(module === 'bundler' ? { module: 'preserve', moduleResolution: 'bundler' } : { module }),
            strict: true,
            exactOptionalPropertyTypes: true,
            // Our declarations are checked, too.
            skipLibCheck: false,
            noEmit: true,
            typeRoots: [join(ROOT, 'node_modules', '@types')],
            types: ['node'],
          },
          include: ['*'],
        }),
      );
      await succeed(project, join(BIN, 'tsc'), '-p', config);
    });
  }

  it('passes publint', async () => {
    await succeed(dir, join(BIN, 'publint'), 'run', '--strict', tarball);
  });

  it('passes "are the types wrong"', async () => {
    // That a CommonJS module gets an ECMAScript module is meant: every supported Node can require() it.
    await succeed(
      dir,
      join(BIN, 'attw'),
      '--profile',
      'node16',
      '--ignore-rules',
      'cjs-resolves-to-esm',
      '--',
      tarball,
    );
  });
});
