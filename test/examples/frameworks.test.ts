/**
 * The examples of frameworks as a user runs them, on one cluster; its leader is killed while they work. As the other kind of module
 * than here they are run by the test of their pages.
 */
import assert from 'node:assert/strict';
import { ResilientStan } from '../../src/index.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';
import { CopiedExamples, type ModuleKind, type Run } from '../support/copied.js';

const PATIENCE = 60_000;
const range = (length: number): number[] => Array.from({ length }, (_, index) => index + 1);
const numbers = (run: Run, what: RegExp): number[] => [...new Set(run.all(what).map(Number))].sort((a, b) => a - b);

describe('the examples of frameworks', function () {
  this.timeout(120_000);
  let cluster: StanCluster;
  let stan: ResilientStan;
  let env: Record<string, string>;
  const projects = {} as Record<ModuleKind, CopiedExamples>;

  before(async () => {
    cluster = await StanCluster.start({ nodes: 3 });
    stan = await ResilientStan.connect(cluster.urls, cluster.connectOptions);
    env = { STAN_SERVERS: cluster.urls.join(','), STAN_CLUSTER_ID: cluster.clusterId, PORT: '0' };
    for (const type of ['module', 'commonjs'] as const) projects[type] = new CopiedExamples(type);
  });
  after(async () => {
    for (const project of Object.values(projects)) project.remove();
    await stan?.close();
    await cluster?.stop();
  });

  /** Kills the leader, and has it back when another one leads. */
  async function killLeader(): Promise<void> {
    const leader = await cluster.leader();
    await leader.kill();
    await cluster.leader();
    await leader.start();
    await cluster.settled();
  }

  for (const [name, type] of [
    ['fastify', 'module'],
    ['express', 'commonjs'],
  ] as const) {
    it(`${name}.ts answers through an election, tells whether it is ready, and ends in order`, async () => {
      const channelEnd = await stan.lastSequence('orders');
      const service = projects[type].start([`frameworks/${name}.ts`], env);
      const [, url] = (await service.says(/(http:\S+)\/orders/)) as unknown as [string, string];
      const post = async (id: number): Promise<number> => {
        const body = JSON.stringify({ id, by: name });
        const headers = { 'content-type': 'application/json', connection: 'close' };
        return (await fetch(`${url}/orders`, { method: 'POST', headers, body })).status;
      };
      const ready = async (): Promise<number> =>
        (await fetch(`${url}/ready`, { headers: { connection: 'close' } })).status;
      await waitFor(async () => ((await ready()) === 200 ? true : undefined), {
        timeout: PATIENCE,
        what: () => service.said,
      });
      assert.equal(await post(1), 202);
      const leader = await cluster.leader();
      await leader.kill();
      const during = Promise.all([2, 3, 4, 5].map(post));
      await waitFor(async () => ((await ready()) === 503 ? true : undefined), {
        timeout: PATIENCE,
        what: () => 'it was ready all the time',
      });
      assert.deepEqual(await during, [202, 202, 202, 202]);
      await leader.start();
      await cluster.settled();
      await waitFor(() => (new RegExp(`"id":5,"by":"${name}"`).test(service.stdout) ? true : undefined), {
        timeout: PATIENCE,
        what: () => service.said,
      });
      await service.stop();
      const ids = new Set<number>();
      for await (const message of stan.read('orders', { from: channelEnd + 1 }))
        ids.add(message.json<{ id: number }>().id);
      assert.deepEqual([...ids].sort(), [1, 2, 3, 4, 5]);
    });
  }

  it('nestjs.ts: events come to their handlers, again if these fail; requests are answered; a leader may die', async () => {
    const app = projects.commonjs.start(['frameworks/nestjs.ts'], env);
    await app.says(/order 5 is placed/);
    await killLeader();
    await app.says(/All are told/);
    await waitFor(() => (numbers(app, /^order (\d+) is placed$/gm).length === 100 ? true : undefined), {
      timeout: PATIENCE,
      what: () => app.said,
    });
    assert.deepEqual(numbers(app, /^order (\d+) is placed$/gm), range(100));
    assert.match(app.stdout, /^price 15$/m);
    assert.match(app.stdout, /^no price: no such amount$/m);
    app.child.kill('SIGTERM');
    // NestJS sends the signal to itself when all is shut down.
    assert.equal(await app.ended, 'SIGTERM', app.said);
    assert.equal(app.stderr, '');
  });

  it('moleculer.ts: calls are answered, and none fails, though the leader dies', async () => {
    const service = projects.module.start(['frameworks/moleculer.ts', 'service-1', 'service'], env);
    await service.says(/ready/);
    const caller = projects.commonjs.start(['frameworks/moleculer.ts', 'caller-1', 'caller'], env);
    await caller.says(/2 · 5 = 10/);
    await killLeader();
    await caller.endsWell();
    assert.deepEqual(
      numbers(caller, /^2 · \d+ = (\d+)$/gm),
      range(100).map((number) => 2 * number),
    );
    await service.stop();
  });
});
