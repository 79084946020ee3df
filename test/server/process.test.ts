/** What a client does to its process: keeps it alive while it is open, lets it end afterwards, and never kills it. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { until } from '../support/clients.js';

const FIXTURE = fileURLToPath(new URL('./fixtures/ends.ts', import.meta.url));

interface Ending {
  child: ChildProcess;
  out: () => string;
  /** When it said "done", and when it ended. */
  doneAt: () => number;
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; at: number }>;
}

describe('the process of a client', function () {
  this.timeout(40_000);
  let cluster: StanCluster;
  let server: StanNode;
  const children: ChildProcess[] = [];

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', store: 'memory', proxied: true });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await server.proxy.up();
  });

  function run(how: string): Ending {
    const child = spawn(process.execPath, ['--import', 'tsx', FIXTURE, how, cluster.urls[0]!], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    children.push(child);
    let out = '';
    let doneAt = NaN;
    child.stdout.on('data', (data: Buffer) => {
      out += data.toString();
      if (out.includes('done')) doneAt = performance.now();
    });
    child.stderr.on('data', (data: Buffer) => (out += data.toString()));
    return {
      child,
      out: () => out,
      doneAt: () => doneAt,
      ended: new Promise((resolve) => {
        child.once('close', (code, signal) => resolve({ code, signal, at: performance.now() }));
      }),
    };
  }

  async function endsByItself({ ended, doneAt, out }: Ending): Promise<void> {
    const { code, signal, at } = await ended;
    assert.deepEqual([code, signal], [0, null], out());
    assert.match(out(), /done\n$/);
    // Far less than any timer of ours, far more than a busy machine needs to end a process.
    assert.ok(at - doneAt() < 4000, `it took ${Math.round(at - doneAt())} ms from the last line to the end`);
  }

  for (const how of ['close', 'aborted', 'failed']) {
    it(`ends by itself: ${how}`, () => endsByItself(run(how)));
  }

  for (const how of ['close-in-outage', 'gives-up']) {
    it(`ends by itself: ${how}`, async () => {
      const ending = run(how);
      await until(() => ending.out().includes('up'), ending.out);
      ending.child.stdin!.write('go\n');
      await server.proxy.down();
      await endsByItself(ending);
    });
  }

  it('lives through listeners, handlers and loggers that reject, by the default of Node', async () => {
    const ending = run('careless');
    await until(() => ending.out().includes('up'), ending.out);
    ending.child.stdin!.write('go\n');
    await server.proxy.down();
    await server.proxy.up();
    await endsByItself(ending);
  });

  it('stays alive as long as the client is open, in an outage as well', async () => {
    const { child, out, ended } = run('open');
    await until(() => out().includes('up'), out);
    child.stdin!.write('go\n');
    await until(() => out().includes('done'), out);
    const { accepted } = server.proxy.stats;
    await server.proxy.down();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await server.proxy.up();
    await until(() => server.proxy.stats.accepted > accepted, 'it does not come back');
    assert.equal(child.exitCode, null, out());
    child.kill('SIGTERM');
    assert.equal((await ended).signal, 'SIGTERM');
  });
});
