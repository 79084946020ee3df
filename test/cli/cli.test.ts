import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { resolveServer, waitFor } from '../../src/testing/index.js';
import { COMMAND } from '../support/built-command.js';

const start = (args: string[], env: NodeJS.ProcessEnv = process.env) =>
  spawn(process.execPath, [COMMAND, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });

async function run(args: string[], env?: NodeJS.ProcessEnv) {
  const child = start(args, env);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('the resilient-stan command', () => {
  it('helps', async () => {
    const { code, stdout } = await run(['--help']);
    assert.equal(code, 0);
    for (const word of ['cluster', 'server path', '--nodes']) assert.ok(stdout.includes(word), word);
  });

  for (const [args, ...words] of [
    [[], 'Usage'],
    [['clutser'], "did you mean 'cluster'?", '--help'],
    [['constructor'], "no command 'constructor'"],
    [['server'], "'path', 'install' or 'doctor'"],
    [['server', 'paht'], "not 'paht'"],
    [['server', 'path', 'x'], "not 'x'"],
    [['cluster', 'x'], "not 'x'"],
    [['cluster', '--nods', '3'], "'--nods'"],
    [['cluster', '--nodes', 'many'], '--nodes must be a whole number', "'many'"],
  ] as [string[], ...string[]][]) {
    it(`refuses '${args.join(' ')}' with exit code 2, and nothing on stdout`, async () => {
      const { code, stdout, stderr } = await run(args);
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      for (const word of words) assert.ok(stderr.includes(word), `'${word}' is not in: ${stderr}`);
    });
  }

  it('tells the path of the server, and nothing else', async () => {
    const { code, stdout } = await run(['server', 'path']);
    assert.equal(code, 0);
    assert.equal(stdout, `${await resolveServer()}\n`);
  });

  it('says what is wrong with a server that was named', async () => {
    const { code, stderr } = await run(['server', 'path'], {
      ...process.env,
      RESILIENT_STAN_SERVER: '/does/not/exist',
    });
    assert.equal(code, 1);
    assert.match(stderr, /RESILIENT_STAN_SERVER.*\/does\/not\/exist/s);
    const doctor = await run(['server', 'doctor'], { ...process.env, RESILIENT_STAN_SERVER: '/does/not/exist' });
    assert.match(doctor.stdout, /- RESILIENT_STAN_SERVER: .*\/does\/not\/exist/);
  });

  it('boots a cluster, and stops it at Ctrl-C', async () => {
    const child = start(['cluster', '--nodes', '1', '--mode', 'single']);
    const log: string[] = [];
    createInterface(child.stderr).on('line', (line) => log.push(line));
    const exited = once(child, 'exit');
    const [urls] = (await once(createInterface(child.stdout), 'line')) as [string];
    assert.match(urls, /^nats:\/\/127\.0\.0\.1:\d+$/);
    await waitFor(() => log.includes('Ctrl-C stops it.') || undefined, {
      timeout: 10_000,
      what: () => `it had said ${log.join('\n')}`,
    });
    const pid = Number(/kill -9 (\d+)/.exec(log.join('\n'))?.[1]);
    assert.ok(alive(pid));
    child.kill('SIGINT');
    assert.deepEqual(await exited, [0, null]);
    assert.equal(alive(pid), false);
    assert.doesNotMatch(log.join('\n'), /has died|have died|nobody leads/, 'that it stops them is no news');
  });
});
