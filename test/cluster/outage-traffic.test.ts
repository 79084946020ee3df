/** Subscriptions of every kind side by side, and publishes with deadlines under traffic, through a full outage. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AbortedError,
  PublishTimeoutError,
  type Delivery,
  type ResilientStanError,
  type SubscribeOptions,
} from '../../src/index.js';
import { StanCluster } from '../../src/testing/index.js';
import { Clients, readBack, Recorder, rejection, uniqueName, until } from '../support/clients.js';

describe('a full outage of a three-node cluster, with everything going on', function () {
  this.timeout(120_000);
  const clients = new Clients();
  let cluster: StanCluster;

  before(async () => {
    cluster = await StanCluster.start({ nodes: 3 });
  });
  after(() => cluster.stop());
  afterEach(async () => {
    await clients.closeAll();
    await up();
  });

  const down = (): Promise<unknown> => Promise.all(cluster.nodes.map((node) => node.kill()));
  const up = async (): Promise<void> => {
    await Promise.all(cluster.nodes.map((node) => node.start()));
    await cluster.settled();
  };

  it('subscriptions of every kind get what is published during and after it, from wherever they were', async () => {
    const publisher = await clients.connect(cluster.urls);
    const subscriber = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
    const history = uniqueName('history');
    const empty = uniqueName('empty');
    const publish = async (from: number, to: number): Promise<void> => {
      const all = [];
      for (let i = from; i <= to; i++) {
        all.push(publisher.publish(history, String(i)), publisher.publish(empty, String(i)));
      }
      await Promise.all(all);
    };
    for (let i = 1; i <= 300; i++) await publisher.publish(history, String(i));

    interface Watched {
      name: string;
      got: number[];
      expected: (first: number) => boolean;
    }
    const watched: Watched[] = [];
    const watch = async (
      name: string,
      channel: string,
      options: SubscribeOptions,
      expected: (value: number) => boolean,
    ): Promise<void> => {
      const got: number[] = [];
      watched.push({ name, got, expected });
      await subscriber.subscribe(channel, (message) => void got.push(Number(message.string())), {
        ...options,
        ackWait: 1000,
      });
    };
    const fresh = (value: number): boolean => value > 300;
    await watch('new, of an empty channel', empty, { startAt: 'new' }, fresh);
    await watch('last, of an empty channel', empty, { startAt: 'last' }, fresh);
    await watch('new', history, { startAt: 'new' }, fresh);
    await watch('last', history, { startAt: 'last' }, (value) => value >= 300);
    await watch('first', history, { startAt: 'first' }, () => true);
    await watch('a durable', history, { startAt: 'first', durableName: 'd' }, () => true);
    await watch('a new durable', empty, { startAt: 'new', durableName: 'n' }, fresh);
    await watch('a queue group', history, { startAt: 'first', queueGroup: 'q' }, () => true);
    await watch('a new queue group', empty, { startAt: 'new', queueGroup: 'n' }, fresh);
    await watch('a durable queue group', history, { startAt: 'first', queueGroup: 'q', durableName: 'd' }, () => true);
    await until(
      () => watched.every(({ got, expected }) => (expected(1) ? got.length >= 300 : true)),
      () => watched.map(({ name, got }) => `${name}: ${got.length}`).join(', '),
    );
    // What the group received within ackWait may be handed over again; the history is older.
    await sleep(1200);

    const recorder = new Recorder(subscriber);
    await down();
    await recorder.until('connection_lost');
    const during = publish(301, 320);
    await sleep(1000);
    await up();
    await during;
    await publish(321, 340);
    const wanted = (expected: (value: number) => boolean): number[] =>
      Array.from({ length: 340 }, (_, i) => i + 1).filter(expected);
    await until(
      () => watched.every(({ got, expected }) => wanted(expected).every((value) => got.includes(value))),
      () =>
        watched
          .map(
            ({ name, got, expected }) =>
              `${name}: lacks ${wanted(expected)
                .filter((v) => !got.includes(v))
                .join()}`,
          )
          .join('; '),
    );
    for (const { name, got, expected } of watched) {
      assert.deepEqual([...new Set(got)], wanted(expected), `${name}: in order`);
      const again = got.length - new Set(got).size;
      if (name.includes('queue')) assert.ok(again <= 40, `${name}: ${again} of ${got.length} were handed over again`);
      else assert.equal(again, 0, `${name}: handed over again`);
    }
  });

  it('publishes with a timeout of 500 ms, and aborted ones, are what their rejection says', async () => {
    const stan = await clients.connect(cluster.urls);
    const recorder = new Recorder(stan);
    const channel = uniqueName('timeouts');
    const outcomes = new Map<string, Delivery | 'acknowledged'>();
    const settled: Promise<unknown>[] = [];
    let count = 0;
    const abort = new AbortController();
    const publish = (): void => {
      const value = String(count++);
      const options = count % 3 === 0 ? { signal: abort.signal } : { timeout: 500 };
      settled.push(
        stan.publish(channel, value, options).then(
          () => outcomes.set(value, 'acknowledged'),
          (error: ResilientStanError) => {
            assert.ok(error instanceof ('signal' in options ? AbortedError : PublishTimeoutError));
            outcomes.set(value, error.delivery!);
          },
        ),
      );
    };
    const timer = setInterval(publish, 5);
    try {
      await until(() => count > 50, 'not published');
      await down();
      await recorder.until('connection_lost');
      const late = stan.publish(channel, 'late', { timeout: 500 });
      const error = await rejection(late, PublishTimeoutError, '500 ms');
      assert.equal(error.delivery, 'not-sent');
      outcomes.set('late', 'not-sent');
    } finally {
      clearInterval(timer);
    }
    abort.abort();
    await Promise.all(settled);
    await up();
    await stan.publish(channel, 'end');
    const stored = new Set(await readBack(cluster.urls, channel));
    const kinds = new Set(outcomes.values());
    assert.ok(kinds.has('acknowledged') && kinds.has('not-sent'), [...kinds].join());
    for (const [value, outcome] of outcomes) {
      if (outcome === 'acknowledged') assert.ok(stored.has(value), `${value} was acknowledged, and is lost`);
      if (outcome === 'not-sent') assert.ok(!stored.has(value), `${value} is stored, and was rejected as not sent`);
    }
  });
});
