/** A copy in place, in a cluster of three, while copiers and servers die: a short version of `npm run migration`. */
import assert from 'node:assert/strict';
import { copy, verify } from '../../src/migrate/index.js';
import { Nemesis, planFaults, StanCluster } from '../../src/testing/index.js';
import { hardship } from '../migration/hardship.js';
import { Clients, until } from '../support/clients.js';
import { JetStreamSide } from '../support/jetstream-side.js';

describe('a copy in place, in a cluster, under faults', function () {
  this.timeout(240_000);
  const clients = new Clients();
  let cluster: StanCluster;
  beforeEach(async () => {
    cluster = await StanCluster.start({ jetstream: true });
  });
  afterEach(async () => {
    await clients.closeAll();
    await cluster.stop();
  });

  it('two copiers at once, each killed again and again, and servers and leaders: nothing is lost, doubled or shifted', async () => {
    const said: string[] = [];
    const say = (line: string): void => void said.push(line);
    const found = await hardship({
      from: cluster,
      copiers: 4,
      targets: 2,
      leaders: 2,
      messages: 6000,
      rate: 100,
      seed: 4,
      say,
    });
    assert.deepEqual([found.lost, found.doubled, found.shifted], [0, 0, 0], said.join('\n'));
    assert.ok(found.messages >= 6000);
  });

  it('a server that dies right after the copy has its stream when it is back', async () => {
    const stan = await clients.connect(cluster.urls);
    await Promise.all(Array.from({ length: 20 }, (_, i) => stan.publish('few', `message ${i + 1}`)));
    const monitor = cluster.nodes.map((node) => node.monitor.url);
    assert.deepEqual((await copy({ from: cluster.urls, monitor, channels: ['few'] })).problems, []);
    const js = await JetStreamSide.open(cluster.urls);
    const { cluster: place } = await js.manager.streams.info('few');
    const holder = cluster.nodes.find(({ name }) => place?.leader?.endsWith(`-${name}`) === true)!;
    await holder.kill();
    await holder.start();
    const found = (): Promise<number | undefined> =>
      js.manager.streams.info('few').then(
        ({ state }) => state.messages,
        () => undefined,
      );
    await until(async () => (await found()) !== undefined, 'the stream does not come back', 30_000);
    assert.equal(await found(), 20);
    await js.close();
  });

  it('500 messages a second, while servers are killed and frozen: the copy follows without a gap', async () => {
    const stan = await clients.connect(cluster.urls);
    const options = {
      from: cluster.urls,
      monitor: cluster.nodes.map(({ monitor }) => monitor.url),
      channels: ['ticks'],
    };
    let published = 0;
    let over = false;
    const publishing = (async () => {
      while (!over) {
        const batch = Array.from({ length: 10 }, () => stan.publish('ticks', `tick ${++published}`));
        await Promise.all([...batch, new Promise((resolve) => setTimeout(resolve, 20))]);
      }
    })();
    await until(() => published > 0, 'nothing is published');
    const told = new AbortController();
    let stored = 0;
    const following = copy({
      ...options,
      follow: true,
      signal: told.signal,
      onProgress: ({ messagesDone }) => (stored = messagesDone),
    });
    await until(() => stored > 0, 'nothing is copied', 30_000);
    const time = new AbortController();
    const faults: string[] = [];
    const nemesis = new Nemesis(cluster, {
      signal: time.signal,
      onEvent: ({ event, text }) => {
        if (event === 'begin') faults.push(text);
      },
    });
    const timer = setTimeout(() => time.abort(), 15_000);
    await nemesis.run(planFaults({ seed: 17, faults: ['kill', 'pause'], maxDuration: 3000, overlap: 0 }));
    clearTimeout(timer);
    assert.ok(faults.length >= 2, faults.join('\n'));
    over = true;
    await publishing;
    const last = await stan.lastSequence('ticks');
    await until(() => stored >= last, `the copy does not reach ${last}`, 60_000);
    told.abort();
    const report = await following;
    assert.deepEqual([report.problems, report.channels[0]?.first, report.channels[0]?.last], [[], 1, last]);
    const verified = await verify(options);
    assert.deepEqual([verified.problems, verified.compared], [[], last]);
    const js = await JetStreamSide.open(cluster.urls);
    const { state } = await js.manager.streams.info('ticks');
    await js.close();
    assert.deepEqual([state.messages, state.first_seq, state.last_seq], [last, 1, last]);
  });
});
