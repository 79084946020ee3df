/** `migrate durables`, `migrate cut` and `migrate plan --in-place`, as a person runs them. */
import assert from 'node:assert/strict';
import { ResilientStan } from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { until } from '../support/clients.js';
import { runCommand, startCommand, type Ended } from '../support/command.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('migrate, the positions and the cut', function () {
  this.timeout(60_000);
  let cluster: StanCluster;
  let stan: ResilientStan;
  before(async () => {
    cluster = await StanCluster.start({ mode: 'single', jetstream: true });
    stan = await ResilientStan.connect(cluster.urls, { clientId: 'worker' });
    const got: number[] = [];
    const subscription = await stan.subscribe('orders', (message) => void got.push(message.sequence), {
      durableName: 'reader',
      startAt: 'first',
      manualAck: true,
    });
    for (let i = 1; i <= 3; i++) await stan.publish('orders', String(i));
    await until(() => got.length === 3, 'the durable gets nothing');
    await subscription.close();
  });
  after(async () => {
    await stan?.close();
    await cluster?.stop();
  });

  const migrate = (step: string, ...args: string[]): Promise<Ended> =>
    runCommand(['migrate', step, '--from', cluster.urls.join(), '--monitor', cluster.nodes[0]!.monitor.url, ...args]);

  it('plan --in-place: the lines for the file, and what to do then', async () => {
    const { code, stdout } = await migrate('plan', '--in-place');
    assert.equal(code, 0);
    assert.match(stdout, /server test-cluster-a .* add to the file it was started with/);
    assert.match(stdout, /needs a reload\n {2}mappings: \{\n {4}"orders": "\$STANFENCE.orders"/);
    assert.match(stdout, /1\. resilient-stan migrate copy --follow/);
  });

  it('durables: 1 with the client that holds it, 1 for a name that there is not, 2 for a wrong line, 0 when it is done', async () => {
    assert.equal((await migrate('copy')).code, 0);
    const online = await migrate('durables');
    assert.deepEqual([online.code, /client 'worker' holds it/.test(online.stderr)], [1, true]);
    const mistyped = await migrate('durables', '--durables', 'raeder');
    assert.deepEqual([mistyped.code, /did you mean 'reader'/.test(mistyped.stderr)], [1, true]);
    assert.match(mistyped.stdout, /Nothing was made/);
    assert.equal((await migrate('durables', '--durable', 'reader')).code, 2);
    await stan.close();
    const done = await migrate('durables', '--json');
    assert.equal(done.code, 0, done.stderr);
    const { durables } = JSON.parse(done.stdout) as { durables: { consumer: string; pending: number }[] };
    assert.deepEqual(
      durables.map(({ consumer, pending }) => [consumer, pending]),
      [['worker+reader', 3]],
    );
  });

  it('cut: says where each channel was cut, and follows until it is told to stop', async () => {
    const once = await migrate('cut', '--quiet', '100ms');
    assert.equal(once.code, 0, once.stderr);
    assert.match(once.stdout, /orders +orders +open +3 +0/);
    const args = ['migrate', 'cut', '--from', cluster.urls.join(), '--monitor', cluster.nodes[0]!.monitor.url];
    const { child, said, closed } = startCommand([...args, '--follow']);
    await until(
      () => said.stderr.includes('open for native publishers'),
      () => said.stderr,
    );
    const js = await JetStreamSide.open(cluster.urls);
    await js.jetstream.publish('orders', 'native');
    stan = await ResilientStan.connect(cluster.urls);
    await stan.publish('orders', 'late');
    await until(
      () => said.stderr.includes('1 straggler appended'),
      () => said.stderr,
    );
    child.kill('SIGINT');
    const { code, stdout } = await closed;
    await js.close();
    assert.match(stdout, /message 4 of channel 'orders' came late: it is message 5/);
    assert.equal(code, 0);
  });
});
