/** The recipes as a user runs them, on one cluster; its leader is killed while they work. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ResilientStan } from '../../src/index.js';
import { makeCertificates } from '../../src/testing/certificates.js';
import { StanCluster, waitFor } from '../../src/testing/index.js';
import { CopiedExamples, type ModuleKind, type Run } from '../support/copied.js';

const PATIENCE = 60_000;
const numbers = (run: Run, what: RegExp): number[] => run.all(what).map(Number);
const range = (length: number): number[] => Array.from({ length }, (_, index) => index + 1);

describe('the recipes', function () {
  this.timeout(120_000);
  let cluster: StanCluster;
  let stan: ResilientStan;
  let env: Record<string, string>;
  const projects = {} as Record<ModuleKind, CopiedExamples>;

  before(async () => {
    cluster = await StanCluster.start({ nodes: 3 });
    stan = await ResilientStan.connect(cluster.urls, cluster.connectOptions);
    env = { STAN_SERVERS: cluster.urls.join(','), STAN_CLUSTER_ID: cluster.clusterId };
    for (const type of ['module', 'commonjs'] as const) projects[type] = new CopiedExamples(type);
  });
  after(async () => {
    for (const project of Object.values(projects)) project.remove();
    await stan?.close();
    await cluster?.stop();
  });

  /** Some recipes are at work together when the leader dies. What became of each is told by a test of its own. */
  describe('while the leader of their cluster dies', () => {
    /** Does what comes before the death, and returns what comes after it. */
    type Course = () => Promise<() => Promise<void>>;
    const outcomes = new Map<Course, unknown>();

    before(async () => {
      const courses = [queueGroup, ordered, outbox];
      const told = async (course: Course, part: Promise<unknown>): Promise<unknown> => {
        try {
          return await part;
        } catch (error) {
          outcomes.set(course, error);
          return undefined;
        }
      };
      const rests = await Promise.all(
        courses.map((course) => told(course, course()) as Promise<(() => Promise<void>) | undefined>),
      );
      const leader = await cluster.leader();
      await leader.kill();
      await cluster.leader();
      await leader.start();
      await Promise.all(courses.map((course, index) => told(course, Promise.resolve(rests[index]?.()))));
      await cluster.settled();
    });
    const goesWell = (course: Course): void => {
      const error = outcomes.get(course);
      if (error !== undefined) throw error;
    };

    it('queue-group.ts shares the work; what a killed member had is done by another, and a leader may die', () =>
      goesWell(queueGroup));
    async function queueGroup(): Promise<() => Promise<void>> {
      const [one, two] = (['module', 'commonjs'] as const).map((type) =>
        projects[type].start(['recipes/queue-group.ts'], env),
      ) as [Run, Run];
      await Promise.all([one.says(/ready/), two.says(/ready/)]);
      const publish = (from: number, to: number): Promise<unknown> =>
        Promise.all(
          range(to)
            .slice(from)
            .map((number) => stan.publish('tasks', String(number))),
        );
      await publish(0, 100);
      await Promise.all([one.says(/task .* is done/), two.says(/task .* is done/)]);
      one.child.kill('SIGKILL');
      await one.ended;
      return async () => {
        await publish(100, 150);
        const done = (): Set<number> => new Set([one, two].flatMap((run) => numbers(run, /^task (\d+) is done$/gm)));
        await waitFor(() => (done().size === 150 ? true : undefined), {
          timeout: PATIENCE,
          what: () => `only ${done().size} tasks are done`,
        });
        assert.ok(numbers(one, /^task (\d+) is done$/gm).length > 0);
        await two.stop();
      };
    }

    it('ordered.ts keeps the order with retry, and with one in flight; with neither, entries are overtaken', () =>
      goesWell(ordered));
    async function ordered(): Promise<() => Promise<void>> {
      const run = (way: string, type: ModuleKind): Run =>
        projects[type].start(['recipes/ordered.ts', way], { ...env, CHANNEL: `account.${way}` });
      const runs = [run('retry', 'module'), run('one-in-flight', 'commonjs'), run('neither', 'module')] as const;
      await Promise.all(runs.map((each) => each.says(/ready/)));
      return async () => {
        await Promise.all(runs.map((each) => each.endsWell()));
        const [retry, oneInFlight, neither] = runs;
        assert.match(retry.stdout, /40 booked, 0 overtaken\.\n$/);
        assert.match(oneInFlight.stdout, /40 booked, 0 overtaken\.\n$/);
        assert.match(neither.stdout, /entry \d0 was overtaken by entry/);
        assert.match(neither.stdout, /40 booked, [1-9]\d* overtaken\.\n$/);
      };
    }

    it('outbox.ts publishes every order that is in its database, though it is killed, and a leader dies', () =>
      goesWell(outbox));
    async function outbox(): Promise<() => Promise<void>> {
      const project = projects.module;
      const file = join(project.folder('outbox'), 'shop.db');
      const first = project.start(['recipes/outbox.ts', file], { ...env, ORDERS: '200' });
      await first.says(/open/);
      await waitFor(async () => ((await stan.lastSequence('orders.placed')) > 10 ? true : undefined), {
        timeout: PATIENCE,
        what: () => first.said,
      });
      first.child.kill('SIGKILL');
      await first.ended;
      const second = project.start(['recipes/outbox.ts', file], { ...env, ORDERS: '200' });
      await second.says(/open/);
      return async () => {
        await second.endsWell();
        assert.match(second.stdout, /200 orders placed, and the outbox is empty\.\n$/);
        const published: number[] = [];
        for await (const message of stan.read('orders.placed'))
          published.push(message.json<{ number: number }>().number);
        assert.deepEqual([...new Set(published)], range(200), 'in their order, if what came twice is left out');
      };
    }
  });

  it('worker.ts tries again, parks what cannot be done, and dead-letters.ts sends it back once', async () => {
    const worker = projects.module.start(['recipes/worker.ts'], env);
    await worker.says(/ready/);
    const orders = [{ id: 1 }, { id: 2, failures: 2 }, { id: 3, failures: 9 }, { id: 4 }];
    for (const order of orders) await stan.publish('orders', JSON.stringify(order));
    await stan.publish('orders', 'no JSON');
    await worker.says(/message 5 is a dead letter: InvalidArgumentError/);
    // One after the other, because the worker handles one at a time and waits through its tries.
    assert.deepEqual(numbers(worker, /^order (\d) is done/gm), [1, 2, 4]);
    assert.equal(worker.all(/^(message 2: .*, again in \d+ ms)$/gm).length, 2);
    assert.equal(worker.all(/^(message 3: .*, again in \d+ ms)$/gm).length, 3);
    assert.match(worker.stdout, /^message 3: Error: order 3 does not get through, given up$/m);
    assert.match(worker.stdout, /^message 3 is a dead letter: Error: order 3 does not get through$/m);
    assert.equal(worker.all(/^(message 5: )/gm).length, 0, 'it was tried again');

    await stan.publish('orders', JSON.stringify({ id: 5 }));
    await worker.says(/order 5 is done/);
    await worker.stop();

    // The worker is down, so what comes back is seen in the channel.
    const before = await stan.lastSequence('orders');
    const back = projects.commonjs.start(['recipes/dead-letters.ts'], env);
    await back.endsWell();
    assert.match(back.stdout, /^message 3 of orders is back in its channel; it had failed with: Error: order 3/m);
    assert.match(back.stdout, /2 sent back\.\n$/);
    const sent: string[] = [];
    for await (const message of stan.read('orders', { from: before + 1 })) sent.push(message.string());
    assert.deepEqual(sent, [JSON.stringify(orders[2]), 'no JSON']);
    const again = projects.commonjs.start(['recipes/dead-letters.ts'], env);
    await again.endsWell();
    assert.equal(again.stdout, '0 sent back.\n');
  });

  it('batching.ts writes many at a time, and again what was in a batch that failed', async () => {
    const writer = projects.commonjs.start(['recipes/batching.ts'], env);
    await writer.says(/ready/);
    await Promise.all(range(1000).map((number) => stan.publish('measurements', String(number))));
    const written = (): number[] => writer.all(/^written \d+: (.*)$/gm).flatMap((line) => line.split(' ').map(Number));
    await waitFor(() => (new Set(written()).size === 1000 ? true : undefined), {
      timeout: PATIENCE,
      what: () => `${new Set(written()).size} of 1000 are written; ${writer.said}`,
    });
    assert.equal(written().length, 1000, 'written twice');
    const sizes = numbers(writer, /^written (\d+):/gm);
    assert.ok(Math.max(...sizes) === 100 && sizes.length < 500, `sizes: ${sizes.join()}`);
    await writer.stop();
  });

  it('http-service.ts answers through an election, and at SIGTERM what has come before it ends', async () => {
    const service = projects.module.start(['recipes/http-service.ts'], { ...env, PORT: '0', LINGER: '300' });
    const [, url] = (await service.says(/(http:\S+)\/orders/)) as unknown as [string, string];
    const status = async (path: string): Promise<number> => (await fetch(url + path)).status;
    const post = async (body: string): Promise<number> =>
      (await fetch(`${url}/orders`, { method: 'POST', body })).status;
    await waitFor(async () => ((await status('/ready')) === 200 ? true : undefined), {
      timeout: PATIENCE,
      what: () => service.said,
    });
    assert.equal(await status('/live'), 200);
    assert.equal(await status('/'), 404);
    assert.equal(await post('{"id":1}'), 202);
    assert.equal(await post('x'.repeat(2_000_000)), 413);

    const leader = await cluster.leader();
    await leader.kill();
    const during = Promise.all(range(20).map((id) => post(JSON.stringify({ id }))));
    await waitFor(async () => ((await status('/ready')) === 503 ? true : undefined), {
      timeout: PATIENCE,
      what: () => 'it was ready all the time',
    });
    assert.equal(await status('/live'), 200, 'a restart would lose what it keeps');
    service.child.kill('SIGTERM');
    assert.deepEqual(
      await during,
      range(20).map(() => 202),
    );
    await service.endsWell();
    await leader.start();
    await cluster.settled();
    assert.match(service.stdout, /Everything is answered\.\n$/);
  });

  it('tls.ts takes a new certificate and new credentials without a restart', async () => {
    const users = [
      { user: 'streaming', password: 's' },
      { user: 'old', password: 'o' },
      { user: 'new', password: 'n' },
    ];
    await using secure = await StanCluster.start({
      mode: 'single',
      tls: { verify: true },
      config: { authorization: { users }, streaming: { username: 'streaming', password: 's' } },
    });
    const node = secure.nodes[0]!;
    const { ca, cert, key } = secure.connectOptions.tls!;
    const project = projects.commonjs;
    const SECRETS = project.folder('secrets');
    const put = (name: string, content: string): Promise<void> => writeFile(join(SECRETS, name), content);
    const stranger = makeCertificates().client;
    await Promise.all([
      put('ca.pem', ca),
      put('client.pem', stranger.cert),
      put('client.key', stranger.key),
      put('user.json', JSON.stringify({ user: 'old', pass: 'o' })),
    ]);
    const secured = project.start(['recipes/tls.ts'], {
      STAN_SERVERS: secure.urls.join(','),
      STAN_CLUSTER_ID: secure.clusterId,
      SECRETS,
    });
    await secured.says(/^not yet: /m);
    await Promise.all([put('client.pem', cert!), put('client.key', key!)]);
    await secured.says(/^connected to /m);
    const userNow = async (): Promise<unknown> => {
      const connections = (await (await fetch(`http://127.0.0.1:${node.ports.monitor}/connz?auth=1`)).json()) as {
        connections: { name?: string; authorized_user?: string }[];
      };
      return connections.connections.find(({ name }) => name === 'secure-1')?.authorized_user;
    };
    assert.equal(await userNow(), 'old');

    await put('user.json', JSON.stringify({ user: 'nobody', pass: 'x' }));
    await node.kill();
    await node.start();
    await secured.says(/^look at this: /m);
    await put('user.json', JSON.stringify({ user: 'new', pass: 'n' }));
    await secured.says(/^back, at /m);
    assert.equal(await userNow(), 'new');
    await secured.stop();
  });
});
