/** The examples of metrics and traces, as a user runs them, with the packages that he has. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { StanCluster, waitFor, type StanNode } from '../../src/testing/index.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PATIENCE = 30_000;

class Run {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #ended: Promise<number | null>;

  constructor(file: string, env: Record<string, string>) {
    this.child = spawn(process.execPath, ['--import', 'tsx', `examples/${file}`], {
      cwd: ROOT,
      env: { ...process.env, ...env },
    });
    this.child.stdout!.on('data', (data: Buffer) => (this.stdout += data.toString()));
    this.child.stderr!.on('data', (data: Buffer) => (this.stderr += data.toString()));
    this.#ended = once(this.child, 'close').then(([code]) => code as number | null);
  }

  async says(what: RegExp): Promise<RegExpExecArray> {
    return await waitFor(() => what.exec(this.stdout) ?? undefined, {
      timeout: PATIENCE,
      what: () => `it did not say ${what}, but: ${this.stdout}${this.stderr}`,
    });
  }

  /** Ends it as Ctrl-C does. */
  async end(): Promise<void> {
    this.child.kill('SIGINT');
    assert.equal(await this.#ended, 0, this.stdout + this.stderr);
    assert.equal(this.stderr, '');
  }
}

describe('the examples of observability', function () {
  this.timeout(90_000);
  let cluster: StanCluster;
  let server: StanNode;
  let run: Run | undefined;
  let env: Record<string, string>;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single' });
    server = cluster.nodes[0]!;
    env = { STAN_SERVERS: cluster.urls.join(','), STAN_CLUSTER_ID: cluster.clusterId };
  });
  after(() => cluster.stop());
  afterEach(() => run?.child.kill('SIGKILL'));

  describe('prometheus.ts', () => {
    let url: string;

    /** The values of one scrape, by metric and labels. */
    async function scrape(): Promise<Map<string, number>> {
      const text = await (await fetch(url)).text();
      const values = new Map<string, number>();
      for (const [, name, labels, value] of text.matchAll(/^(\w+)(\{.*\})? (\S+)$/gm)) {
        // The client ID is generated.
        values.set(name! + (labels ?? '').replace(/client="[^"]*",?/, '').replace('{}', ''), Number(value));
      }
      return values;
    }

    const ready = async (): Promise<number> => (await fetch(url.replace('metrics', 'ready'))).status;

    /** A scrape of which something is true. */
    async function until(what: string, holds: (values: Map<string, number>) => boolean): Promise<Map<string, number>> {
      let last = new Map<string, number>();
      return await waitFor(async () => (holds((last = await scrape())) ? last : undefined), {
        timeout: PATIENCE,
        what: () => `${what}: ${JSON.stringify(Object.fromEntries(last))}`,
      });
    }

    it('counts and times messages, and shows lag, health and what an outage was', async () => {
      // It comes up before its servers do.
      await server.kill();
      run = new Run('prometheus.ts', { ...env, PORT: '0' });
      url = (await run.says(/http:\S+\/metrics/))[0];
      const alone = await until('nothing is published', (values) => values.get('stan_pending')! > 2);
      assert.equal(alone.get('stan_healthy'), 0);
      assert.equal(await ready(), 503);
      assert.ok(!alone.has('stan_lag{channel="orders"}'), 'a lag that nobody can know');

      await server.start();
      await until('no messages', (values) => values.get('stan_delivered_total')! > 3);
      await waitFor(async () => ((await ready()) === 200 ? true : undefined), {
        timeout: PATIENCE,
        what: () => 'not ready',
      });
      const up = await until(
        'no lag, or not healthy',
        (values) => values.get('stan_lag{channel="orders"}')! <= 1 && values.get('stan_healthy') === 1,
      );
      assert.equal(up.get('stan_subscriptions'), 1);
      const outcome = '{channel="orders",outcome="ok"}';
      for (const [metric, counter] of [
        ['stan_publish_seconds', 'stan_acknowledged_total'],
        ['stan_process_seconds', 'stan_delivered_total'],
      ] as const) {
        const timed = up.get(`${metric}_count${outcome}`)!;
        assert.ok(timed > 3 && Math.abs(timed - up.get(counter)!) <= 2, `${metric}: ${timed}, ${up.get(counter)}`);
        assert.ok(up.get(`${metric}_sum${outcome}`)! > 0);
      }
      // The handler takes 5 ms, as its timer says: none is quicker by more than its rounding.
      assert.equal(up.get('stan_process_seconds_bucket{le="0.0025",channel="orders",outcome="ok"}'), 0);

      await server.kill();
      await server.start();
      const back = await until('not back', (values) => values.get('stan_reconnects_total')! >= 1);
      assert.ok(back.get('stan_losses_total{reason="disconnect"}')! >= 1);
      assert.equal(back.get('stan_downtime_seconds_count'), back.get('stan_reconnects_total'));
      await until('not healthy again', (values) => values.get('stan_healthy') === 1);
      await run.end();
    });
  });

  describe('opentelemetry.ts', () => {
    interface Line {
      trace: string;
      parent: string;
      span: string;
      name: string;
      failed: string | undefined;
    }

    const spans = (run: Run): Line[] =>
      [...run.stdout.matchAll(/^(\w{32}) (\S{16}) > (\w{16}) (\w+ \w+) [\d.]+ ms(?: failed: (.*))?$/gm)].map(
        ([, trace, parent, span, name, failed]) => ({ trace, parent, span, name, failed }) as Line,
      );

    it('makes one trace of a publish, its handler, and what that publishes; a failure and its repetition are in it', async () => {
      run = new Run('opentelemetry.ts', env);
      await run.says(/order 5 in trace/);
      const [, failed] = await run.says(/^(\w{32}) .* process orders .* failed: out of paper$/m);
      const [, again] = await run.says(/^order 3 in trace (\w{32})$/m);
      assert.equal(again, failed);
      const traceOf = (id: number): string => new RegExp(`order ${id} in trace (\\w{32})`).exec(run!.stdout)![1]!;
      await waitFor(() => (of(traceOf(3)).length >= 5 ? true : undefined), {
        timeout: PATIENCE,
        what: () => `incomplete: ${run!.stdout}`,
      });
      await run.end();
      function of(trace: string): Line[] {
        return spans(run!).filter((span) => span.trace === trace);
      }

      const first = of(traceOf(1));
      const named = (lines: Line[], name: string): Line[] => lines.filter((line) => line.name === name);
      const chain = ['publish orders', 'process orders', 'publish invoices', 'process invoices'];
      assert.deepEqual(first.map(({ name }) => name).sort(), [...chain].sort());
      let parent = '-'.repeat(16);
      for (const name of chain) {
        const [line] = named(first, name);
        assert.equal(line!.parent, parent, `${name}: ${JSON.stringify(first)}`);
        assert.equal(line!.failed, undefined);
        parent = line!.span;
      }

      const third = of(traceOf(3));
      const [publish] = named(third, 'publish orders');
      const tries = named(third, 'process orders');
      assert.deepEqual(
        tries.map(({ parent, failed }) => [parent, failed]),
        [
          [publish!.span, 'out of paper'],
          [publish!.span, undefined],
        ],
      );
      assert.equal(named(third, 'publish invoices')[0]!.parent, tries[1]!.span);
    });
  });
});
