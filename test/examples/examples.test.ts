/** The examples as a user runs them. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { StanCluster, waitFor } from '../../src/testing/index.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const runs = new Set<Run>();

class Run {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #ended: Promise<number | null>;

  constructor(file: string, args: readonly string[] = []) {
    const { npm_lifecycle_event: _, ...env } = process.env;
    this.child = spawn(process.execPath, ['--import', 'tsx', `examples/${file}`, ...args], { cwd: ROOT, env });
    this.child.stdout!.on('data', (data: Buffer) => (this.stdout += data.toString()));
    this.child.stderr!.on('data', (data: Buffer) => (this.stderr += data.toString()));
    runs.add(this);
    this.#ended = once(this.child, 'close').then(([code]) => code as number | null);
  }

  async says(what: RegExp): Promise<RegExpExecArray> {
    return await waitFor(() => what.exec(this.stdout) ?? undefined, {
      timeout: 30_000,
      what: () => `it did not say ${what}, but: ${this.stdout}${this.stderr}`,
    });
  }

  /** The exit code. */
  ended(): Promise<number | null> {
    return this.#ended;
  }

  figure(name: string): number {
    const found = new RegExp(`^${name} +(\\d+)`, 'm').exec(this.stdout);
    assert.ok(found, `no '${name}' in: ${this.stdout}${this.stderr}`);
    return Number(found[1]);
  }
}

/** What a failed test leaves behind. */
function endRuns(): void {
  for (const run of runs) run.child.kill('SIGKILL');
  runs.clear();
}

describe('the game', function () {
  this.timeout(90_000);
  afterEach(endRuns);

  it('goes on when the leader is killed with the command it shows, and ends at Ctrl-C with nothing lost', async () => {
    const run = new Run('publisher.ts');
    const [, pid] = await run.says(/leads.*?: kill -9 (\d+)/);
    await run.says(/\.\./);
    process.kill(Number(pid), 'SIGKILL');
    await run.says(/[abc]:down/);
    await run.says(/leads(?:.|\n)*leads/);
    await run.says(/[abc]:up/);
    run.child.kill('SIGINT');
    assert.equal(await run.ended(), 0, run.stdout + run.stderr);
    assert.match(run.stdout, /Nothing was lost\.\n$/);
    assert.equal(run.figure('lost'), 0);
    assert.ok(run.figure('published') > 20);
    assert.equal(run.figure('acknowledged'), run.figure('published'));
    assert.equal(run.figure('received'), run.figure('published'));
    assert.equal(run.stderr, '');
  });

  it('has a monkey, and ends by itself', async () => {
    const run = new Run('publisher.ts', ['--monkey', '--seconds', '8']);
    assert.equal(await run.ended(), 0, run.stdout + run.stderr);
    assert.match(run.stdout, /[abc]:down/);
    assert.equal(run.figure('lost'), 0);
    assert.equal(run.figure('received'), run.figure('published'));
  });

  it('explains a wrong command line, and a server that is not there', async () => {
    const typo = new Run('publisher.ts', ['--second', '5']);
    assert.equal(await typo.ended(), 2);
    assert.match(typo.stderr, /did you mean --seconds\?/);
    const nobody = new Run('publisher.ts', ['nats://127.0.0.1:1']);
    assert.equal(await nobody.ended(), 1);
    assert.match(nobody.stderr, /nats:\/\/127\.0\.0\.1:1 \(connection refused/);
    const help = new Run('publisher.ts', ['--help']);
    assert.equal(await help.ended(), 0);
    assert.match(help.stdout, /--monkey/);
  });
});

describe("the game and a worker on servers of one's own", function () {
  this.timeout(90_000);
  afterEach(endRuns);

  it('share the channel', async () => {
    await using cluster = await StanCluster.start({ mode: 'single' });
    const urls = cluster.urls.join(',');
    const worker = new Run('consumer.ts', [urls]);
    await worker.says(/Connected/);
    const game = new Run('publisher.ts', [urls, '--seconds', '2']);
    assert.equal(await game.ended(), 0, game.stdout + game.stderr);
    worker.child.kill('SIGINT');
    assert.equal(await worker.ended(), 0, worker.stderr);
    const [, handled] = /(\d+) handled, 0 losses survived/.exec(worker.stdout) ?? [];
    assert.ok(Number(handled) > 0, worker.stdout);
    assert.equal(worker.stderr, '');
  });

  it('fails when the servers go away for good', async () => {
    await using cluster = await StanCluster.start({ mode: 'single' });
    const game = new Run('publisher.ts', [...cluster.urls, '--seconds', '2']);
    await game.says(/Connected/);
    await cluster.nodes[0]!.kill();
    assert.equal(await game.ended(), 1, game.stdout + game.stderr);
    assert.match(game.stdout, / lost/);
    assert.match(game.stdout, /messages were not acknowledged when the game ended/);
  });
});
