/** Handlers that fail at a real server: they are tried again, and nothing that goes wrong is silent. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import type { ResilientStan, RetryOptions, StanMessage, SubscribeOptions } from '../../src/index.js';
import { StanCluster, type StanNode } from '../../src/testing/index.js';
import { Clients, Recorder, uniqueName, until } from '../support/clients.js';

const KINDS: Record<string, SubscribeOptions> = {
  'a plain subscription': {},
  'a durable': { durableName: 'd' },
  'a queue group': { queueGroup: 'g' },
  'a durable queue group': { durableName: 'd', queueGroup: 'g' },
};
const retry: RetryOptions = { retries: 3, minTimeout: 50, factor: 1, randomize: false };

describe('a handler that fails', function () {
  this.timeout(60_000);

  const clients = new Clients();
  let cluster: StanCluster;
  let server: StanNode;
  let channel: string;
  let stan: ResilientStan;
  /** The sequences in the order in which they came to the handler. */
  let handed: number[];

  before(async () => {
    const few = { store_limits: { max_channels: 0, channels: { 'few.>': { max_msgs: 3 } } } };
    cluster = await StanCluster.start({ mode: 'single', store: 'file', config: { streaming: few } });
    server = cluster.nodes[0]!;
  });
  after(() => cluster.stop());
  beforeEach(async () => {
    channel = uniqueName('retry');
    handed = [];
    stan = await clients.connect(cluster.urls, { clientId: uniqueName('me') });
  });
  afterEach(() => clients.closeAll());

  /** A handler that fails so often on message 2. */
  function failing(times: number): (message: StanMessage) => void {
    return ({ sequence }) => {
      handed.push(sequence);
      if (sequence === 2 && handed.filter((each) => each === 2).length <= times) throw new Error('not this time');
    };
  }

  async function publish(...values: string[]): Promise<void> {
    for (const value of values) await stan.publish(channel, value);
  }

  /** Waits until the server has every acknowledgement. */
  function acknowledged(): Promise<void> {
    return until(async () => {
      const subscriptions = (await server.monitor.channelz(channel))?.subscriptions ?? [];
      return subscriptions.length === 1 && subscriptions[0]!.pending_count === 0;
    }, 'the server has all acknowledgements');
  }

  for (const [kind, options] of Object.entries(KINDS)) {
    it(`is tried again, and what is behind waits: ${kind}`, async () => {
      const counts: number[] = [];
      const handler = failing(2);
      const subscription = await stan.subscribe(
        channel,
        (message) => {
          if (message.sequence === 2) counts.push(message.redeliveryCount);
          handler(message);
        },
        { ...options, retry, startAt: 'first' },
      );
      await publish('a', 'b', 'c');
      await until(() => subscription.lastSequence === 3, 'all are processed');
      assert.deepEqual(handed, [1, 2, 2, 2, 3]);
      assert.deepEqual(counts, [0, 1, 2]);
      assert.equal(stan.stats().handlerErrors, 2);
      await acknowledged();
    });

    it(`is given up to deadLetter after the last try: ${kind}`, async () => {
      const letters: number[] = [];
      const subscription = await stan.subscribe(channel, failing(Infinity), {
        ...options,
        retry,
        startAt: 'first',
        deadLetter: async (message) => {
          await stan.publish(`${channel}.dead`, message.data);
          letters.push(message.sequence);
        },
      });
      await publish('a', 'b', 'c');
      await until(() => subscription.lastSequence === 3, 'all are processed');
      assert.deepEqual(handed, [1, 2, 2, 2, 2, 3]);
      assert.deepEqual(letters, [2]);
      assert.equal(stan.stats().deadLetters, 1);
      await acknowledged();
    });

    it(`is tried again through the death of the server, which comes during the delay: ${kind}`, async () => {
      let running = 0;
      const handler = failing(2);
      const subscription = await stan.subscribe(
        channel,
        async (message) => {
          running++;
          assert.equal(running, 1);
          // The message is with its handler for some turns of the loop.
          await new Promise((resolve) => setImmediate(resolve));
          running--;
          handler(message);
        },
        { ...options, retry: { ...retry, minTimeout: 1200, maxTimeout: 1200 }, ackWait: 5000, startAt: 'first' },
      );
      await publish('a', 'b', 'c');
      await until(() => handed.length === 2, 'message 2 has failed');
      const recorder = new Recorder(stan);
      await server.kill();
      await recorder.until('connection_lost');
      await server.start();
      await recorder.until('reconnect');
      await until(
        () => subscription.lastSequence === 3,
        () => `at ${subscription.lastSequence}, handed over ${handed.join()}`,
      );
      assert.deepEqual(handed, [1, 2, 2, 2, 3]);
      await acknowledged();
    });
  }

  it('is not run twice at a time when the server sends the message again after ackWait', async () => {
    const subscription = await stan.subscribe(channel, failing(4), {
      retry: { ...retry, retries: 9, minTimeout: 600 },
      ackWait: 1000,
      startAt: 'first',
    });
    await publish('a', 'b', 'c');
    await until(() => subscription.lastSequence === 3, 'all are processed');
    assert.deepEqual(handed, [1, 2, 2, 2, 2, 2, 3]);
    assert.ok(stan.stats().redelivered > 0, 'the server has sent the message again');
    await acknowledged();
  });

  it('is not tried again after close(), which waits for no delay', async () => {
    const options: SubscribeOptions = { durableName: 'd', startAt: 'first', ackWait: 60_000 };
    const subscription = await stan.subscribe(channel, failing(Infinity), {
      ...options,
      retry: { retries: 1, minTimeout: 600_000 },
    });
    await publish('a', 'b', 'c');
    await until(() => handed.length === 2, 'message 2 has failed');
    await subscription.close();
    assert.deepEqual(handed, [1, 2]);
    // The durable has kept what was not processed.
    const next: number[] = [];
    await stan.subscribe(channel, ({ sequence }) => void next.push(sequence), options);
    await until(() => next.length === 2, 'the rest');
    assert.deepEqual(next, [2, 3]);
  });

  it('does not keep close() of the client waiting', async () => {
    await stan.subscribe(channel, failing(Infinity), {
      retry: { retries: 1, minTimeout: 600_000 },
      startAt: 'first',
    });
    await publish('a', 'b');
    await until(() => handed.length === 2, 'message 2 has failed');
    await stan.close({ timeout: Infinity });
    assert.deepEqual(handed, [1, 2]);
  });

  it('comes to the client, the log and the health as well, and so does all that goes wrong with messages', async () => {
    channel = uniqueName('few.retry');
    const lines: string[] = [];
    const own = await clients.connect(cluster.urls, {
      logger: { warn: (text) => lines.push(`warn ${text}`), error: (text) => lines.push(`error ${text}`) },
    });
    const told: string[] = [];
    for (const event of ['handler_error', 'gap', 'dead_letter'] as const) {
      own.on(event, ({ subscription }) => told.push(`${event} ${subscription.channel === channel}`));
    }
    assert.equal(own.health().lastTrouble, undefined);
    await publish('a', 'b', 'c', 'd', 'e');
    await own.subscribe(channel, failing(Infinity), { startAt: { sequence: 1 }, maxDeliveries: 1 });
    await until(() => told.length >= 1, 'the gap');
    assert.deepEqual(told, ['gap true']);
    await publish('f');
    await until(() => handed.length === 4, 'the rest');
    // Message 2 is gone, so another one fails.
    const failing6 = await own.subscribe(channel, () => Promise.reject(new Error('no room')), {
      startAt: 'last',
      maxDeliveries: 1,
    });
    await until(() => told.length === 3, 'the failure');
    await failing6.close();
    assert.deepEqual(told, ['gap true', 'handler_error true', 'dead_letter true']);
    const { gaps, handlerErrors, deadLetters, resets, overdue } = own.stats();
    assert.deepEqual([gaps, handlerErrors, deadLetters, resets, overdue], [1, 1, 1, 0, 0]);
    assert.equal(lines.length, 3);
    assert.match(lines[0]!, /^error .*messages 1 to 2 of channel 'few\.retry-\w+' are gone/);
    assert.match(lines[1]!, /^warn .*the handler failed on message 6 of channel 'few\.retry-\w+': no room/);
    assert.match(lines[2]!, /^error .*message 6 of channel .* is given up: acknowledged and dropped/);
    const { lastTrouble, lastError, healthy } = own.health();
    assert.equal(lastTrouble?.event, 'dead_letter');
    assert.equal(lastTrouble.channel, channel);
    assert.ok(lines[2]!.includes(lastTrouble.text));
    assert.deepEqual([lastError, healthy], [undefined, true]);
  });

  it('is told when it does not end within ackWait', async () => {
    const lines: string[] = [];
    const own = await clients.connect(cluster.urls, { logger: { warn: (text) => lines.push(text) } });
    let end!: () => void;
    await own.subscribe(channel, () => new Promise<void>((resolve) => (end = resolve)), {
      startAt: 'first',
      ackWait: 1000,
    });
    await publish('a');
    await until(() => own.stats().overdue === 1, 'it is overdue');
    end();
    assert.equal(lines.length, 1);
    assert.match(
      lines[0]!,
      /the handler of message 1 .* has not ended after ackWait \(1000 ms\).* Set 'ackWait' to more/,
    );
    assert.equal(own.health().lastTrouble?.event, 'overdue');
  });

  it('and every other one runs in the async context of its subscribe(), deadLetter and further tries as well', async () => {
    const context = new AsyncLocalStorage<string>();
    const own = await context.run('connect', () => clients.connect(cluster.urls));
    const seen: string[] = [];
    const see = (where: string): number => seen.push(`${where} ${context.getStore()}`);
    const subscribe = (name: string, fails: boolean): Promise<unknown> =>
      context.run(name, () =>
        own.subscribe(
          channel,
          async () => {
            see('handler');
            await new Promise((resolve) => setImmediate(resolve));
            if (fails) throw new Error('no');
          },
          { startAt: 'first', retry: { ...retry, retries: 1 }, deadLetter: () => void see('deadLetter') },
        ),
      );
    await publish('a', 'b');
    await subscribe('one', false);
    await until(() => seen.length === 2, 'both');
    await subscribe('two', true);
    await until(() => seen.length === 8, 'all tries');
    const tries = ['handler two', 'handler two', 'deadLetter two'];
    assert.deepEqual(seen, ['handler one', 'handler one', ...tries, ...tries]);
    // Messages that come one after the other, and not in a queue.
    await publish('c');
    await until(() => seen.length === 12, 'the third');
    assert.deepEqual(seen.slice(8).sort(), ['deadLetter two', 'handler one', 'handler two', 'handler two']);
  });
});
