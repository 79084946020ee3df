import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitFor } from '../../src/testing/index.js';
import { processState } from '../../src/testing/process-state.js';
import { sleep } from '../../src/testing/wait.js';

const FIXTURE = fileURLToPath(new URL('./fixtures/boot.ts', import.meta.url));

function run(how: string, temporary: string): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', FIXTURE, how], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true, // a process group of its own, for the Ctrl-C
    env: { ...process.env, TMPDIR: temporary },
  });
}

interface Booted {
  pids: number[];
  dir: string;
}

async function booted(child: ChildProcess): Promise<Booted> {
  assert.ok(child.stdout);
  let text = '';
  for await (const chunk of child.stdout) {
    text += String(chunk);
    if (text.includes('\n')) break;
  }
  return JSON.parse(text) as Booted;
}

async function ended(child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  if (child.exitCode !== null || child.signalCode !== null) return [child.exitCode, child.signalCode];
  return (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
}

/** Gone, or dead and only not yet waited for by whoever inherited it. */
async function isGone(pid: number): Promise<boolean> {
  const state = await processState(pid);
  return state === undefined || state === 'Z' || state === 'X';
}

async function allGone({ pids, dir }: Booted): Promise<void> {
  await waitFor(async () => ((await Promise.all(pids.map(isGone))).every(Boolean) ? true : undefined), {
    timeout: 10_000,
    what: () => `a server outlived its process: one of ${pids.join(', ')}`,
  });
  await waitFor(() => (existsSync(dir) ? undefined : true), {
    timeout: 10_000,
    what: () => `${dir} is still there`,
  });
}

describe('testing: no server outlives its process', () => {
  let temporary: string;
  before(async () => {
    temporary = await mkdtemp(join(tmpdir(), 'reaper-test-'));
  });
  after(() => rm(temporary, { recursive: true, force: true }));

  for (const how of ['hang', 'hang-frozen']) {
    it(`killed with SIGKILL${how === 'hang' ? '' : ', one of its servers frozen'}`, async () => {
      const child = run(how, temporary);
      const servers = await booted(child);
      for (const pid of servers.pids) assert.equal(await isGone(pid), false);
      assert.ok(existsSync(servers.dir));
      child.kill('SIGKILL');
      assert.deepEqual(await ended(child), [null, 'SIGKILL']);
      await allGone(servers);
    });
  }

  it('killed with SIGKILL after somebody killed the reaper: it has a successor', async () => {
    const child = run('hang', temporary);
    const servers = await booted(child);
    const first = await reaperOf(child.pid as number);
    assert.ok(first);
    process.kill(first, 'SIGKILL');
    await waitFor(
      async () => {
        const next = await reaperOf(child.pid as number);
        return next !== undefined && next !== first ? true : undefined;
      },
      { timeout: 5000, what: () => 'the reaper has no successor' },
    );
    child.kill('SIGKILL');
    await ended(child);
    await allGone(servers);
  });

  it('killed with SIGKILL at any moment of the boot', async () => {
    for (const delay of [0, 5, 15, 40, 80]) {
      const child = run('hang-frozen', temporary);
      // From the moment on at which it begins to start servers.
      await waitFor(async () => ((await clusterDirs(temporary)).length > 0 ? true : undefined), {
        timeout: 20_000,
        interval: 1,
        what: () => 'the boot has not begun',
      });
      await sleep(delay);
      child.kill('SIGKILL');
      await ended(child);
      await waitFor(async () => ((await serversUnder(temporary)).length === 0 ? true : undefined), {
        timeout: 10_000,
        what: () => 'a server outlived its process',
      });
      await waitFor(async () => ((await clusterDirs(temporary)).length === 0 ? true : undefined), {
        timeout: 10_000,
        what: () => 'its directory is still there',
      });
    }
  });

  it('a Ctrl-C of its terminal, which all processes of its group get', async () => {
    const child = run('hang', temporary);
    const servers = await booted(child);
    process.kill(-(child.pid as number), 'SIGINT');
    assert.deepEqual(await ended(child), [null, 'SIGINT']);
    await allGone(servers);
  });

  it('process.exit()', async () => {
    const child = run('exit', temporary);
    const servers = await booted(child);
    assert.deepEqual(await ended(child), [7, null]);
    await allGone(servers);
  });

  it('an uncaught exception', async () => {
    const child = run('throw', temporary);
    const servers = await booted(child);
    assert.deepEqual(await ended(child), [1, null]);
    await allGone(servers);
  });

  it('the end of a program that stopped its cluster: nothing of the harness keeps it alive', async () => {
    const child = run('stop', temporary);
    const servers = await booted(child);
    assert.deepEqual(await ended(child), [0, null]);
    await allGone(servers);
  });

  it('the end of a program that forgot to', async () => {
    const child = run('forget', temporary);
    const servers = await booted(child);
    assert.deepEqual(await ended(child), [0, null]);
    await allGone(servers);
  });
});

/** The harness's own; others use the directory, too. */
async function clusterDirs(temporary: string): Promise<string[]> {
  return (await readdir(temporary)).filter((name) => name.startsWith('resilient-stan-'));
}

/** Process IDs of programs whose command line has this path in it. */
async function serversUnder(path: string): Promise<number[]> {
  return (await processes()).filter(({ args }) => args.includes(path)).map(({ pid }) => pid);
}

async function reaperOf(parent: number): Promise<number | undefined> {
  return (await processes()).find(({ ppid, args }) => ppid === parent && args.includes('trap'))?.pid;
}

async function processes(): Promise<{ pid: number; ppid: number; args: string }[]> {
  const ps = spawn('ps', ['-A', '-o', 'pid=,ppid=,state=,args='], { stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  for await (const chunk of ps.stdout) text += String(chunk);
  return text.split('\n').flatMap((line) => {
    const [, pid, ppid, state, args] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (args === undefined || state?.startsWith('Z')) return [];
    return [{ pid: Number(pid), ppid: Number(ppid), args }];
  });
}
