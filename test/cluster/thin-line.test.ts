/**
 * Thin lines: what takes long on the wire is not dead as long as bytes move. Everything arrives, once, in the first session.
 * The long run, with the raw client beside it, is `npm run thin-lines`.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan } from '../../src/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { readBack, uniqueName, until } from '../support/clients.js';
import {
  fastUrls,
  indexOf,
  makeThin,
  openResilient,
  payload,
  Tally,
  thinLine,
  type ThinClient,
} from '../support/thin-line.js';

const KB = 1000;

describe('a thin line', function () {
  this.timeout(90_000);
  let cluster: StanCluster;
  let closing: (() => Promise<void>)[];

  before(async () => {
    // The default Raft timings: with fast ones large messages alone can cost a leader its office.
    cluster = await StanCluster.start({ nodes: 3, proxied: true, raft: 'default' });
  });
  after(() => cluster.stop());
  beforeEach(() => (closing = []));
  afterEach(async () => {
    await cluster.heal();
    await Promise.all(closing.map((close) => close()));
  });

  /** A client that has no other way than this line. */
  async function over(mbits: number): Promise<ThinClient> {
    makeThin(cluster, thinLine(mbits));
    const client = await openResilient(cluster.urls);
    closing.push(() => client.close());
    return client;
  }

  /** So many messages in a channel, put there on a fast way. */
  async function stored(count: number, bytes: number): Promise<string> {
    const channel = uniqueName('thin');
    await using writer = await ResilientStan.connect(fastUrls(cluster));
    for (let i = 0; i < count; i++) await writer.publish(channel, payload(i, bytes));
    return channel;
  }

  /** How often each message is in the channel. */
  async function tallyOf(channel: string): Promise<Tally> {
    const tally = new Tally();
    for (const value of await readBack(fastUrls(cluster), channel)) tally.add(Number.parseInt(value, 10));
    return tally;
  }

  /** Every message of the channel is handed over, and how often each was. */
  async function deliver(client: ThinClient, channel: string, count: number): Promise<Tally> {
    const there = new Set<number>();
    const sequences = new Tally();
    await client.subscribe(channel, (data, sequence) => {
      there.add(indexOf(data));
      sequences.add(sequence);
    });
    await until(
      () => there.size === count,
      () => `${there.size} of ${count} have arrived, ${JSON.stringify(client.trouble)}`,
      40_000,
    );
    return sequences;
  }

  /** Within a time in which a livelock shows: acknowledged is everything far sooner. */
  async function acknowledged(client: ThinClient, publishes: readonly Promise<unknown>[]): Promise<void> {
    let left = publishes.length;
    const failures: unknown[] = [];
    for (const publish of publishes)
      publish.then(
        () => left--,
        (error: unknown) => failures.push(error),
      );
    await until(
      () => left === 0 || failures.length > 0,
      () => `${left} of ${publishes.length} are not acknowledged, ${JSON.stringify(client.trouble)}`,
      40_000,
    );
    assert.deepEqual(failures, []);
  }

  const publishAll = (client: ThinClient, channel: string, count: number, bytes: number): Promise<unknown>[] =>
    Array.from({ length: count }, (_, i) => client.publish(channel, payload(i, bytes)));

  for (const { count, mbits } of [
    { count: 6, mbits: 10 },
    { count: 3, mbits: 4 },
  ]) {
    it(`${count} messages of 900 KB at ${mbits} Mbit/s are delivered, each once, and no session is lost`, async () => {
      const channel = await stored(count, 900 * KB);
      const client = await over(mbits);
      const handedOver = await deliver(client, channel, count);
      assert.equal(client.trouble.losses, 0);
      assert.equal(handedOver.twice, 0);
    });
  }

  for (const { count, size, mbits } of [
    { count: 2, size: 900, mbits: 2.4 },
    { count: 20, size: 100, mbits: 5 },
    { count: 5, size: 100, mbits: 1 },
  ]) {
    it(`${count} messages of ${size} KB published at ${mbits} Mbit/s are stored once each, and no session is lost`, async () => {
      const channel = uniqueName('thin');
      const client = await over(mbits);
      await acknowledged(client, publishAll(client, channel, count, size * KB));
      assert.equal(client.trouble.losses, 0);
      const inChannel = await tallyOf(channel);
      assert.equal(inChannel.times.size, count);
      assert.equal(inChannel.twice, 0);
    });
  }

  it('small messages published behind one of 900 KB at 2.4 Mbit/s: none is stored twice', async () => {
    const [large, small] = [uniqueName('thin'), uniqueName('thin')];
    const client = await over(2.4);
    const publishes = publishAll(client, large, 1, 900 * KB);
    for (let i = 0; i < 40; i++) {
      publishes.push(client.publish(small, payload(i, 200)));
      await sleep(25);
    }
    await acknowledged(client, publishes);
    assert.equal(client.trouble.losses, 0);
    for (const [channel, count] of [
      [large, 1],
      [small, 40],
    ] as const) {
      const inChannel = await tallyOf(channel);
      assert.equal(inChannel.times.size, count);
      assert.equal(inChannel.twice, 0, `${count} of ${channel}: ${JSON.stringify([...inChannel.times])}`);
    }
  });

  it('one that dies in the middle of a message of 900 KB is given up for another node, and everything arrives', async () => {
    const channel = await stored(2, 900 * KB);
    makeThin(cluster, thinLine(4));
    const stan = await ResilientStan.connect(cluster.urls);
    closing.push(() => stan.close({ timeout: 0 }));
    const attached = cluster.nodes.find(({ url }) => url === stan.server) as StanNode;
    const there = new Tally();
    const before = attached.proxy.stats.downstream;
    await stan.subscribe(channel, (message) => there.add(message.sequence), { startAt: 'first' });
    await until(() => attached.proxy.stats.downstream > before + 300 * KB, 'nothing comes over the line');
    assert.equal(there.times.size, 0, 'the first message is under way');
    attached.proxy.add({ type: 'timeout' });
    await until(
      () => there.times.size === 2,
      () => `${there.times.size} of 2 have arrived, ${JSON.stringify(stan.stats())}`,
      40_000,
    );
    assert.equal(there.twice, 0);
    assert.equal(stan.stats().losses, 1);
    assert.notEqual(stan.server, attached.url);
  });
});
