/** What is unfinished at a real server: messages whose handler failed, or that wait for `ack()`, are never forgotten. */
import assert from 'node:assert/strict';
import type { ResilientStan, StanMessage, SubscribeOptions } from '../../src/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, deferred, Recorder, uniqueName, until } from '../support/clients.js';

const KINDS: Record<string, SubscribeOptions> = {
  'a plain subscription': {},
  'a durable': { durableName: 'd' },
  'a queue group': { queueGroup: 'g' },
  'a durable queue group': { durableName: 'd', queueGroup: 'g' },
};

describe('what is unfinished', function () {
  this.timeout(60_000);

  for (const store of ['file', 'memory'] as const) {
    describe(`at a server with a ${store} store`, () => {
      const clients = new Clients();
      let cluster: StanCluster;
      let server: StanNode;
      let publisher: ResilientStan;
      let channel: string;

      before(async () => {
        cluster = await StanCluster.start({
          mode: 'single',
          store,
          proxied: true,
          config: { streaming: { store_limits: { max_channels: 0, channels: { 'few.>': { max_msgs: 20 } } } } },
        });
        server = cluster.nodes[0]!;
      });
      after(() => cluster.stop());
      beforeEach(async () => {
        channel = uniqueName('few.unfinished');
        publisher = await clients.connect(`127.0.0.1:${server.ports.client}`);
      });
      afterEach(async () => {
        await server.proxy.up();
        await clients.closeAll();
      });

      const publish = async (from: number, to: number, name = channel): Promise<void> => {
        for (let i = from; i <= to; i++) await publisher.publish(name, String(i));
      };

      for (const [kind, options] of Object.entries(KINDS)) {
        for (const manualAck of [false, true]) {
          it(`and the server has no more is told as a gap: ${kind}${manualAck ? ', manualAck' : ''}`, async () => {
            const stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
            const handled: number[] = [];
            const gaps: unknown[] = [];
            const subscription = await stan.subscribe(
              channel,
              (message) => {
                if (message.sequence === 10) {
                  if (manualAck) return;
                  throw new Error('not this time');
                }
                handled.push(message.sequence);
                message.ack();
              },
              { ...options, manualAck, ackWait: 1000, startAt: 'first' },
            );
            subscription.on('gap', ({ from, to }) => gaps.push({ from, to }));
            await publish(1, 60);
            await until(
              () => gaps.length > 0,
              () => `no gap; ${handled.length} handled`,
            );
            assert.deepEqual(gaps, [{ from: 10, to: 10 }]);
            assert.equal(subscription.lastSequence, 60);
            assert.equal(handled.length, 59);
          });
        }

        it(`is handed over again, and is a dead letter in the end: ${kind}`, async () => {
          const name = uniqueName('unfinished');
          const stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
          const attempts: number[] = [];
          const dead: number[] = [];
          const subscription = await stan.subscribe(
            name,
            (message) => {
              if (message.sequence !== 10) return;
              attempts.push(message.redeliveryCount);
              throw new Error('never');
            },
            {
              ...options,
              ackWait: 1000,
              startAt: 'first',
              maxDeliveries: 3,
              deadLetter: (message) => void dead.push(message.sequence),
            },
          );
          await publish(1, 60, name);
          const recorder = new Recorder(stan);
          await server.proxy.down();
          await recorder.until('connection_lost');
          await server.proxy.up();
          await until(
            () => dead.length > 0,
            () => `${attempts.length} attempts`,
          );
          assert.deepEqual(dead, [10]);
          // A delivery that the outage has swallowed counts as well, where the server has counted it.
          assert.equal(Math.max(attempts.length, attempts.at(-1)! + 1), 3, attempts.join());
          await until(() => subscription.lastSequence === 60, 'subscription.lastSequence === 60');
        });
      }

      it('and old does not make a plain subscription read everything since again', async () => {
        const name = uniqueName('unfinished');
        const stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
        const stuck = deferred<void>();
        let count = 0;
        const subscription = await stan.subscribe(
          name,
          (message) => {
            count++;
            return message.sequence === 1 ? stuck.promise : undefined;
          },
          { concurrency: 2, maxInFlight: 50 },
        );
        await publish(1, 1000, name);
        await until(() => count === 1000, 'count === 1000');
        const recorder = new Recorder(stan);
        await server.proxy.down();
        await recorder.until('connection_lost');
        await server.proxy.up();
        await recorder.until('reconnect');
        await publish(1001, 1001, name);
        await until(() => count === 1001, 'count === 1001');
        const { duplicatesDropped } = stan.stats();
        assert.ok(duplicatesDropped <= 50, `${duplicatesDropped} came again`);
        assert.equal(subscription.lastSequence, 0);
        stuck.resolve();
        await until(() => subscription.lastSequence === 1001, 'subscription.lastSequence === 1001');
        assert.equal(count, 1001);
      });
    });
  }

  describe('and the server has', () => {
    const clients = new Clients();
    let cluster: StanCluster;
    let server: StanNode;
    let publisher: ResilientStan;
    let channel: string;

    before(async () => {
      cluster = await StanCluster.start({
        mode: 'single',
        proxied: true,
        config: { streaming: { store_limits: { max_channels: 0, channels: { 'brief.>': { max_age: '2s' } } } } },
      });
      server = cluster.nodes[0]!;
    });
    after(() => cluster.stop());
    beforeEach(async () => {
      channel = uniqueName('unfinished');
      publisher = await clients.connect(`127.0.0.1:${server.ports.client}`);
    });
    afterEach(async () => {
      await server.proxy.up();
      await clients.closeAll();
    });
    const publish = async (from: number, to: number): Promise<void> => {
      for (let i = from; i <= to; i++) await publisher.publish(channel, String(i));
    };

    it('is not called lost when another process had the durable meanwhile', async () => {
      const clientId = uniqueName('me');
      const options: SubscribeOptions = { durableName: 'd', startAt: 'first', ackWait: 1000 };
      const a = await clients.connect(cluster.urls, { clientId });
      const byA: number[] = [];
      const gaps: unknown[] = [];
      const subscription = await a.subscribe(channel, ({ sequence }) => void byA.push(sequence), options);
      subscription.on('gap', (gap) => gaps.push(gap));
      await publish(1, 10);
      await until(() => byA.length === 10, 'byA.length === 10');
      // It notices nothing, as if it were frozen.
      const hole = server.proxy.add({ type: 'timeout', stream: 'downstream' });
      const recorder = new Recorder(a);
      const b = await clients.connect(`127.0.0.1:${server.ports.client}`, { clientId });
      const byB: number[] = [];
      await b.subscribe(channel, ({ sequence }) => void byB.push(sequence), options);
      await publish(11, 210);
      await until(
        () => byB.length === 200,
        () => `${byB.length}`,
      );
      await b.close();
      hole.remove();
      await recorder.until('reconnect');
      await publish(211, 220);
      await until(
        () => subscription.lastSequence === 220,
        () => `${byA.length}, at ${subscription.lastSequence}`,
      );
      const own = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
      assert.deepEqual(byA, [...own(1, 10), ...own(211, 220)]);
      assert.deepEqual(gaps, []);
    });

    it('is told when the channel has been emptied, all at once', async () => {
      const stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
      const name = uniqueName('brief.unfinished');
      const gone = new Set<number>();
      let handled = 0;
      const subscription = await stan.subscribe(
        name,
        ({ sequence }) => {
          // Farther apart than what is read together.
          if (sequence % 200 === 0) throw new Error('never');
          handled++;
        },
        { ackWait: 1000, startAt: 'first' },
      );
      subscription.on('gap', ({ from, to }) => {
        for (let n = from; n <= to; n++) gone.add(n);
      });
      await Promise.all(Array.from({ length: 1000 }, () => publisher.publish(name, 'x')));
      await until(
        () => gone.size === 5,
        () => `${gone.size} told, ${handled} handled`,
      );
      assert.equal(subscription.lastSequence, 1000);
    });

    it('of a queue group is what an outage brings, where a sequence was asked for that was not there', async () => {
      const stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
      await publish(1, 3);
      const got: number[] = [];
      await stan.subscribe(channel, ({ sequence }) => void got.push(sequence), {
        queueGroup: 'g',
        startAt: { sequence: 10 },
      });
      // Until it has been looked whether the sequence is there.
      await until(
        async () =>
          (await server.monitor.channelz(channel))?.subscriptions?.every(({ queue_name }) => queue_name !== undefined),
        'the look is over',
      );
      const recorder = new Recorder(stan);
      await server.proxy.down();
      await recorder.until('connection_lost');
      await publish(4, 6);
      await server.proxy.up();
      await recorder.until('reconnect');
      await publish(7, 7);
      await until(
        () => got.includes(7),
        () => got.join(),
      );
      // The start is an age, which is increased where the request takes longer than the first one did. So what was published
      // right before subscribe() may come, too; it comes before the others.
      assert.deepEqual(got.slice(-4), [4, 5, 6, 7]);
      assert.ok(
        got.slice(0, -4).every((sequence) => sequence <= 3),
        got.join(),
      );
    });

    it('is not asked for at once when a full window fails: a queue group', async () => {
      const stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
      const at = new Map<number, number[]>();
      await stan.subscribe(
        channel,
        ({ sequence }) => {
          at.set(sequence, [...(at.get(sequence) ?? []), performance.now()]);
          throw new Error('never');
        },
        { queueGroup: 'g', maxInFlight: 4, ackWait: 4000 },
      );
      await publish(1, 4);
      await until(
        () => [...at.values()].every((times) => times.length >= 3) && at.size === 4,
        () => `${at.size}`,
        30_000,
      );
      for (const times of at.values()) {
        // The server's own wait: nothing comes sooner.
        for (let i = 1; i < 3; i++) assert.ok(times[i]! - times[i - 1]! > 3800, `${times[i]! - times[i - 1]!} ms`);
      }
    });

    it('goes to another member in the same client when one closes that has not acknowledged', async () => {
      const stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
      const first: StanMessage[] = [];
      const second: number[] = [];
      const options: SubscribeOptions = { queueGroup: 'g', ackWait: 60_000, startAt: 'first' };
      const one = await stan.subscribe(channel, (message) => void first.push(message), { ...options, manualAck: true });
      await publish(1, 5);
      await until(() => first.length === 5, 'first.length === 5');
      await stan.subscribe(channel, ({ sequence }) => void second.push(sequence), options);
      await one.close();
      // Long before ackWait.
      await until(
        () => second.length === 5,
        () => `${second.length}`,
        20_000,
      );
    });
  });
});
